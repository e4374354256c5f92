"""Beam search: the likeliest continuations, as far as a beam of given width sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder, States
from rnntk.errors import UsageError


class Hypothesis(NamedTuple):
    """A continuation that the search found.

    Attributes:
        ids: `(length,)`.
        costs: nats of each symbol, `(length,)`.
        score: what hypotheses are ranked by, higher is better: log probability over length ** alpha.
    """

    ids: NDArray[np.intp]
    costs: NDArray[np.float64]
    score: float


def beam_search(
    decoder: Decoder,
    states: States,
    length: int,
    width: int,
    *,
    alpha: float = 1.0,
    stop: Sequence[int] = (),
    min_length: int = 1,
    banned: Iterable[int] = (),
) -> list[Hypothesis]:
    """Searches for the likeliest continuations.

    A hypothesis ends when it has `length` symbols, or with the symbols of `stop` if it has at least
    `min_length`. Without a stop all have the same length, and `alpha` changes nothing. A beam of 1 is
    greedy; one of V ** (length - 1) or more is exhaustive.

    Args:
        decoder: the model.
        states: one stream, primed: its logits say what comes first. It is left as it is.
        length: symbols at most.
        width: hypotheses kept at each step.
        alpha: length control (Wu et al., 2016, without their offset): 0 ranks by probability, which
            favours the short; 1 by the mean a symbol; more favours the long.
        stop: ids that end a hypothesis.
        min_length: a stop does not count before.
        banned: ids never to be used.

    Returns:
        At most `width` hypotheses, the best first.

    Raises:
        UsageError: `width` or `length` is less than 1, `alpha` is negative, or every symbol is banned.
    """
    if width < 1:
        raise UsageError(f"--beam is {width}; it must be at least 1.")
    if length < 1:
        raise UsageError(f"--length is {length}; a beam search needs at least 1.")
    if alpha < 0:
        raise UsageError(f"--beam-alpha is {alpha}; it must be 0 or more.")
    V = decoder.vocabulary_size
    forbidden = np.unique(np.array(list(banned), np.intp))
    if len(forbidden) >= V:
        raise UsageError("Every symbol of the vocabulary is banned; nothing is left to draw.")
    stop_ids = np.array(stop, np.intp)

    beams = decoder.initial_states(width)
    beams.assign(states)
    ids = np.zeros((width, length), np.intp)
    costs = np.zeros((width, length))
    # All streams begin equal, so only the first counts; the others come alive as it branches.
    total = np.full(width, np.inf)
    total[0] = 0.0
    finished: list[Hypothesis] = []
    for t in range(length):
        step = _costs(beams.logits)
        step[:, forbidden] = np.inf
        candidates = (total[:, None] + step).ravel()
        chosen = _smallest(candidates, width)
        parents, symbols = np.divmod(chosen, V)
        total = candidates[chosen]
        ids, costs = ids[parents], costs[parents]
        ids[:, t] = symbols
        costs[:, t] = step[parents, symbols]
        if len(stop_ids) and t + 1 >= max(min_length, len(stop_ids)):
            ends = (ids[:, t + 1 - len(stop_ids) : t + 1] == stop_ids).all(axis=1)
            for row in np.flatnonzero(ends & np.isfinite(total)):
                finished.append(_hypothesis(ids[row, : t + 1], costs[row, : t + 1], alpha))
            total[ends] = np.inf
            finished.sort(key=lambda found: -found.score)
            del finished[width:]
            # Costs only grow, so this is the best score that a live hypothesis can still reach.
            reachable = -total.min() / length**alpha
            if np.isneginf(reachable) or (
                len(finished) == width and finished[-1].score >= reachable
            ):
                break
        if t + 1 < length:
            beams.assign(beams, parents)
            decoder.step(symbols, beams)
    else:
        finished += [
            _hypothesis(ids[row], costs[row], alpha) for row in np.flatnonzero(np.isfinite(total))
        ]
    finished.sort(key=lambda found: -found.score)
    return finished[:width]


def _costs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Minus the log softmax, `(n, V)`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted


def _smallest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Where the `count` smallest values are, in order; of equals, those that stand first."""
    if count < len(values):
        bound = np.partition(values, count - 1)[count - 1]
        places = np.flatnonzero(values <= bound)
    else:
        places = np.arange(len(values))
    return places[np.argsort(values[places], kind="stable")[:count]]


def _hypothesis(ids: NDArray[np.intp], costs: NDArray[np.float64], alpha: float) -> Hypothesis:
    return Hypothesis(ids.copy(), costs.copy(), -float(costs.sum()) / len(ids) ** alpha)
