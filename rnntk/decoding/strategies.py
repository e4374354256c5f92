"""What to draw from a model's logits: small classes on one protocol, and the sampler that runs them.

A strategy changes log scores in place; minus infinity means "never". The sampler copies the logits to
float64, lets each strategy change them in turn, and draws from their softmax by inverse CDF with one
uniform number a stream. So a seed gives the same text wherever the logits are the same.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rnntk.errors import UsageError

Scores = NDArray[np.float64]


class Strategy(Protocol):
    """One step of the pipeline from logits to a draw."""

    def start(self, n: int) -> None:
        """Forgets what came before: `n` new streams begin."""

    def adjust(self, scores: Scores) -> None:
        """Changes log scores `(n, V)` in place. At least one in each row must stay finite."""

    def observe(self, ids: NDArray[np.intp]) -> None:
        """What was drawn, `(n,)`."""


class _Stateless:
    def start(self, n: int) -> None:
        """Nothing to forget."""

    def observe(self, ids: NDArray[np.intp]) -> None:
        """Nothing to remember."""


class Ban(_Stateless):
    """Symbols that are never drawn, such as the one for unknown characters.

    Args:
        ids: which.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = np.unique(np.array(list(ids), np.intp))

    def adjust(self, scores: Scores) -> None:
        """Rules them out."""
        if len(self.ids) >= scores.shape[1]:
            raise UsageError("Every symbol of the vocabulary is banned; nothing is left to draw.")
        scores[:, self.ids] = -np.inf


class RepetitionGuard:
    """No run of `length` symbols is drawn twice in a stream.

    It breaks the loops that greedy and cold sampling fall into. Penalties on single symbols, as used with
    word pieces, would only starve a character model of spaces and vowels; forbidden n-grams (Paulus et
    al., 2017) leave short runs alone. Where every symbol is forbidden, none is.

    Args:
        length: of a run in symbols, at least 2.

    Raises:
        UsageError: `length` is less.
    """

    def __init__(self, length: int) -> None:
        if length < 2:
            raise UsageError(f"--no-repeat is {length}; it must be at least 2 symbols.")
        self.length = length
        self.start(1)

    def start(self, n: int) -> None:
        """Forgets what was drawn."""
        self._recent = [deque[int](maxlen=self.length - 1) for _ in range(n)]
        self._after = [defaultdict[tuple[int, ...], set[int]](set) for _ in range(n)]

    def adjust(self, scores: Scores) -> None:
        """Rules out what would end a run that was drawn before."""
        for row, recent, after in zip(scores, self._recent, self._after, strict=True):
            found = after.get(tuple(recent))
            if found:
                before = row.copy()
                row[list(found)] = -np.inf
                if np.isneginf(row).all():
                    row[:] = before

    def observe(self, ids: NDArray[np.intp]) -> None:
        """Remembers what was drawn."""
        for symbol, recent, after in zip(ids.tolist(), self._recent, self._after, strict=True):
            if len(recent) == self.length - 1:
                after[tuple(recent)].add(symbol)
            recent.append(symbol)


class Greedy(_Stateless):
    """Only the likeliest symbol; of equals, the one with the lowest id."""

    def adjust(self, scores: Scores) -> None:
        """Rules out all others."""
        best = scores.argmax(axis=1)[:, None]
        scores[:] = -np.inf
        np.put_along_axis(scores, best, 0.0, axis=1)


class Temperature(_Stateless):
    """Divides the scores: below 1 likely symbols become likelier, towards 0 it is greedy.

    Args:
        temperature: 0 or more.

    Raises:
        UsageError: it is negative or not a number.
    """

    def __init__(self, temperature: float) -> None:
        if not (math.isfinite(temperature) and temperature >= 0):
            raise UsageError(f"--temperature is {temperature}; it must be a number from 0 up.")
        self.temperature = temperature

    def adjust(self, scores: Scores) -> None:
        """Divides by the temperature."""
        if self.temperature == 1:
            return
        # float32 logits over anything smaller would leave float64's range.
        if self.temperature < 1e-200:
            Greedy().adjust(scores)
        else:
            scores /= self.temperature


def by_softmax(strategies: Sequence[Strategy]) -> float | None:
    """The temperature, if these strategies are nothing more; None if they are, or as good as greedy."""
    if not strategies:
        return 1.0
    only = strategies[0]
    if len(strategies) > 1 or not isinstance(only, Temperature):
        return None
    return only.temperature if only.temperature > 1e-3 else None


class TopK(_Stateless):
    """Only the `k` likeliest symbols, and what is as likely as the last of them.

    Args:
        k: at least 1; the vocabulary's size or more changes nothing.

    Raises:
        UsageError: `k` is less.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise UsageError(f"--top-k is {k}; it must be at least 1.")
        self.k = k

    def adjust(self, scores: Scores) -> None:
        """Rules out all others."""
        V = scores.shape[1]
        if self.k < V:
            threshold = np.partition(scores, V - self.k, axis=1)[:, V - self.k, None]
            scores[scores < threshold] = -np.inf


class TopP(_Stateless):
    """The fewest likeliest symbols whose probabilities sum to `p` or more (Holtzman et al., 2020).

    Args:
        p: over 0, at most 1.

    Raises:
        UsageError: `p` is out of range.
    """

    def __init__(self, p: float) -> None:
        if not 0 < p <= 1:
            raise UsageError(f"--top-p is {p}; it must be over 0 and at most 1.")
        self.p = p

    def adjust(self, scores: Scores) -> None:
        """Rules out the tail."""
        if self.p == 1:
            return
        rows = np.arange(len(scores))[:, None]
        order = np.argsort(-scores, axis=1, kind="stable")
        likely = np.exp(scores[rows, order] - scores[rows, order[:, :1]])
        reached = np.add.accumulate(likely, axis=1)
        # A symbol stays if those before it do not reach p yet: the first always does.
        scores[rows, order] = np.where(
            reached - likely < self.p * reached[:, -1:], scores[rows, order], -np.inf
        )


class MinP(_Stateless):
    """Only symbols at least `p` times as likely as the likeliest (Nguyen et al., 2024).

    Args:
        p: from 0 to 1.

    Raises:
        UsageError: `p` is out of range.
    """

    def __init__(self, p: float) -> None:
        if not 0 <= p <= 1:
            raise UsageError(f"--min-p is {p}; it must be from 0 to 1.")
        self.p = p

    def adjust(self, scores: Scores) -> None:
        """Rules out the unlikely."""
        if self.p > 0:
            scores[scores < scores.max(axis=1, keepdims=True) + math.log(self.p)] = -np.inf


def pipeline(
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    greedy: bool = False,
    no_repeat: int | None = None,
    banned: Iterable[int] = (),
) -> list[Strategy]:
    """The strategies that options ask for, in the order that makes sense.

    What may not be drawn goes first, so that the others choose among the rest; then the temperature,
    which top-p and min-p must see; then the cuts.

    Raises:
        UsageError: a value is out of range; the message names the flag.
    """
    banned = list(banned)
    found: list[Strategy] = []
    if banned:
        found.append(Ban(banned))
    if no_repeat is not None:
        found.append(RepetitionGuard(no_repeat))
    if greedy:
        return [*found, Greedy()]
    heat = Temperature(temperature)
    if temperature != 1:
        found.append(heat)
    if top_k is not None:
        found.append(TopK(top_k))
    if top_p is not None:
        found.append(TopP(top_p))
    if min_p is not None:
        found.append(MinP(min_p))
    return found


class Sampler:
    """Draws from logits.

    Args:
        strategies: applied in this order; none is the model's own softmax.
        rng: where every draw comes from.
        n: streams.
        vocabulary_size: V.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        rng: np.random.Generator,
        n: int,
        vocabulary_size: int,
    ) -> None:
        self.strategies = list(strategies)
        self.rng = rng
        self.scores: Scores = np.empty((n, vocabulary_size))
        self.ids = np.zeros(n, np.intp)
        self._row = self.scores[0]
        self._last = vocabulary_size - 1
        for strategy in self.strategies:
            strategy.start(n)

    def draw(
        self, logits: NDArray[np.floating], chances: NDArray[np.float64] | None = None
    ) -> NDArray[np.intp]:
        """One symbol for each stream.

        Args:
            logits: `(n, V)`.
            chances: `(n,)` uniform numbers from [0, 1), where they are drawn already.

        Returns:
            Ids `(n,)`, in a buffer that the next draw overwrites.
        """
        scores, ids = self.scores, self.ids
        scores[:] = logits
        for strategy in self.strategies:
            strategy.adjust(scores)
        if len(ids) == 1:
            self._draw_one(self.rng.random() if chances is None else chances[0])
        else:
            scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
            np.exp(scores, scores)
            np.add.accumulate(scores, axis=1, out=scores)
            total = scores[:, -1:]
            # u * total may round up to the total, which no symbol's share of the CDF reaches past.
            chances = self.rng.random(len(ids)) if chances is None else chances
            reach = np.minimum(chances[:, None] * total, np.nextafter(total, 0))
            np.sum(scores <= reach, axis=1, out=ids)
        for strategy in self.strategies:
            strategy.observe(ids)
        return ids

    def _draw_one(self, chance: float) -> None:
        row = self._row
        np.subtract(row, row[row.argmax()], row)  # a quarter of the time of max()
        np.exp(row, row)
        np.add.accumulate(row, out=row)
        total = row[self._last]
        reach = chance * total
        self.ids[0] = row.searchsorted(reach, "right" if reach < total else "left")


def softmax(scores: Scores) -> Scores:
    """Probabilities along the last axis; minus infinity gives 0."""
    found = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found /= found.sum(axis=-1, keepdims=True)
    return found


def surprise(logits: NDArray[np.floating], ids: NDArray[np.intp]) -> NDArray[np.float64]:
    """What symbols cost under the model's own softmax: logits `(n, V)`, ids `(n,)` to nats `(n,)`."""
    top = logits.max(axis=1).astype(np.float64)
    total = np.exp(logits - top[:, None]).sum(axis=1)
    return np.log(total) + top - logits[np.arange(len(ids)), ids]
