"""Beam search for likely continuations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.reference import States
from rnntk.decoding.strategies import Ban, log_softmax


class Hypothesis(NamedTuple):
    """A continuation."""

    ids: NDArray[np.intp]  # `(length,)`
    nats: NDArray[np.float64]  # surprisal of each symbol, `(length,)`
    rank: float  # log(surprisal / length ** alpha), as the power may overflow; lower is better

    @property
    def score(self) -> float:
        """Log probability over length ** alpha; higher is better."""
        return -math.exp(self.rank)


def beam_search(
    decoder: Decoder,
    states: States,
    length: int,
    width: int,
    alpha: float = 1.0,
    *,
    stop: Sequence[int] = (),
    banned: Sequence[int] = (),
    left: Callable[[NDArray[np.intp]], int] | None = None,
) -> list[Hypothesis]:
    """Search for the likeliest continuations; at most `width` hypotheses, best first.

    A beam of 1 is greedy; one of V ** (length - 1) or more is exhaustive.

    Args:
        decoder: the model.
        states: one stream that has read the prompt; not changed.
        length, width: maximum number of symbols, and hypotheses kept per step; at least 1.
        alpha: length control (Wu et al., 2016, without their offset): 0 ranks by probability, which favours short
            texts; 1 by the mean per symbol; more favours long texts.
        stop, banned: the symbols that together end a hypothesis, and symbols never used.
        left: the fewest symbols that ids `(t,)` still need to be long enough; by default `length - t`.

    Raises:
        UsageError: every symbol is banned.
    """
    V = decoder.vocabulary_size
    ban = Ban(banned)
    stop_ids = np.array(stop, np.intp)
    beams = decoder.initial_states(width)
    beams.assign(states)
    ids = np.zeros((width, length), np.intp)
    nats = np.zeros((width, length))
    # All streams start equal, so only the first counts.
    total: NDArray[np.float64] = np.full(width, np.inf)
    total[0] = 0.0
    due = np.full(width, 1)  # number of symbols at which `left` is asked again
    finished: list[Hypothesis] = []
    for t in range(length):
        logs = log_softmax(beams.logits)
        ban.adjust(logs)
        candidates = (total[:, None] - logs).ravel()
        chosen = _smallest(candidates, width)
        parents, symbols = np.divmod(chosen, V)
        total = candidates[chosen]
        ids[:, :t], nats[:, :t], due = ids[parents, :t], nats[parents, :t], due[parents]
        ids[:, t] = symbols
        nats[:, t] = -logs[parents, symbols]
        if left is not None:
            for row in np.flatnonzero((due == t + 1) & np.isfinite(total)):
                due[row] += left(ids[row, : t + 1])
        ends = due == t + 1 if left else np.full(width, False)
        ends |= t + 1 == length
        if len(stop_ids) and t + 1 >= len(stop_ids):
            ends |= (ids[:, t + 1 - len(stop_ids) : t + 1] == stop_ids).all(axis=1)
        for row in np.flatnonzero(ends & np.isfinite(total)):
            own = nats[row, : t + 1].copy()
            rank = _rank(own.sum(), len(own), alpha)
            finished.append(Hypothesis(ids[row, : t + 1].copy(), own, rank))
        total[ends] = np.inf
        finished.sort(key=lambda found: found.rank)
        del finished[width:]
        if np.isinf(total.min()):
            break
        # Surprisal only grows, so this bounds the rank of all live hypotheses.
        if len(finished) == width and finished[-1].rank <= _rank(total.min(), length, alpha):
            break
        beams.assign(beams, parents)
        beams.step(symbols)
    return finished


def _smallest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices of the `count` smallest values in ascending order; ties by index."""
    places: NDArray[np.intp] = np.arange(len(values))
    if count < len(values):
        places = np.flatnonzero(values <= np.partition(values, count - 1)[count - 1])
    return places[np.argsort(values[places], kind="stable")[:count]]


def _rank(nats: float, length: int, alpha: float) -> float:
    return (math.log(nats) if nats > 0 else -math.inf) - alpha * math.log(length)
