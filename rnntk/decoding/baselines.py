"""Baselines: what simpler models make of the text that a network was evaluated on.

Interpolated n-grams with Witten and Bell's weights (1991; method C in Bell, Cleary and Witten, "Text Compression",
1990): an n-gram model of order k trusts its own counts the more, the fewer different symbols it saw after a context,
and leaves the rest to the model of order k - 1, down to the uniform distribution. Nothing has to be tuned. And xz,
which knows nothing of probabilities but finds whatever repeats.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnntk.errors import DataError

if TYPE_CHECKING:
    from rnntk.decoding.evaluate import Evaluation
    from rnntk.decoding.language_model import LanguageModel

ORDER = 6
COUNTED = 20_000_000
"""Training symbols that n-grams are counted over, at most; sorting more would take minutes and gigabytes."""


def ngram_nats(
    training: ArrayLike, held_out: ArrayLike, vocabulary_size: int, order: int = ORDER
) -> NDArray[np.float64]:
    """Surprisal of each held-out symbol under interpolated n-grams of a training text; a second per million symbols.

    Args:
        training: ids `(N,)`.
        held_out: ids `(M,)`. Contexts do not reach back into the training text.
        vocabulary_size: V; probabilities sum to 1 over these.
        order: the longest n-gram.

    Returns:
        Nats `(order, M)`: row k - 1 is the model of n-grams up to length k.

    Raises:
        DataError: a text is empty or has ids outside the vocabulary.
    """
    train = np.asarray(training, np.int64)
    held = np.asarray(held_out, np.int64)
    if not train.size or not held.size:
        raise DataError("The n-gram models need a training and a held-out text, neither empty.")
    both = np.concatenate([train, held])
    if both.min() < 0 or both.max() >= vocabulary_size:
        raise DataError(f"The text has symbols outside the vocabulary of {vocabulary_size}.")
    N, M = len(train), len(held)
    nats = np.empty((order, M))
    probability = np.full(M, 1.0 / vocabulary_size)
    # context[t]: a number for the last k - 1 symbols before t, the same wherever these are the same.
    context = np.zeros(N + M, np.int64)
    has_context = np.ones(N + M, bool)
    for k in range(1, order + 1):
        _, gram = np.unique(context * vocabulary_size + both, return_inverse=True)
        contexts = int(context.max()) + 1
        seen = has_context[:N]
        counts = np.bincount(gram[:N][seen], minlength=int(gram.max()) + 1)
        followers = np.bincount(context[:N][seen], minlength=contexts)
        # Each different n-gram of the training text counts once for the context it starts with.
        where = np.zeros(len(counts), np.int64)
        where[gram] = context
        kinds = np.bincount(where[counts > 0], minlength=contexts)

        now = context[N:]
        total = followers[now] + kinds[now]
        known = has_context[N:] & (total > 0)
        count, kind = counts[gram[N:]][known], kinds[now][known]
        probability[known] = (count + kind * probability[known]) / total[known]
        nats[k - 1] = -np.log(probability)
        # The n-gram that ends at t - 1 is the context of t in the next order.
        context = np.concatenate([[0], gram[:-1]])
        has_context = np.concatenate([[False], has_context[:-1]])
        has_context[N] = False
    return nats


def xz_bits(training: str, held_out: str) -> tuple[float, float]:
    """Bits that xz needs at its best setting for the held-out text in UTF-8: alone, and after the training text.

    Raises:
        DataError: the held-out text is empty.
    """
    if not held_out:
        raise DataError("The held-out text is empty.")

    def bits(text: str) -> int:
        raw = text.encode("utf-8", "surrogatepass")
        return 8 * len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))

    return bits(held_out), bits(training + held_out) - bits(training)


@dataclass(frozen=True)
class Baselines:
    """Bits that a text costs without a network."""

    ngrams: dict[int, float]  # bits per symbol of n-grams, by order; 1 is single symbols
    xz: float  # bits per character, the text alone
    xz_given_training: float | None  # and after the training text; None where that was not measured
    symbols_per_character: float

    @property
    def ngrams_per_character(self) -> dict[int, float]:
        """Bits per character by order."""
        return {k: bits * self.symbols_per_character for k, bits in self.ngrams.items()}

    def rows(self) -> list[tuple[str, float]]:
        """Names and bits per character, for people."""
        single = "single characters" if self.symbols_per_character == 1 else "single symbols"
        found = [
            (f"n-grams up to {k}" if k > 1 else single, bits)
            for k, bits in self.ngrams_per_character.items()
        ]
        found.append(("xz", self.xz))
        if self.xz_given_training is not None:
            found.append(("xz after the training text", self.xz_given_training))
        return found

    def summary(self) -> dict[str, Any]:
        """The figures that were measured by name, for JSON."""
        found: dict[str, Any] = {}
        if self.ngrams:
            for unit, bits in (("symbol", self.ngrams), ("character", self.ngrams_per_character)):
                found[f"ngram_bits_per_{unit}"] = {str(k): value for k, value in bits.items()}
        found["xz_bits_per_character"] = self.xz
        if self.xz_given_training is not None:
            found["xz_given_training_bits_per_character"] = self.xz_given_training
        return found


def measure(
    model: LanguageModel,
    evaluation: Evaluation,
    training: NDArray[np.integer] | None,
    *,
    held_out: bool = True,
) -> Baselines:
    """Measure the text of an evaluation with n-grams and xz.

    Like the network, the n-grams are given the first symbol and predict the others.

    Args:
        model: the model that was evaluated.
        evaluation: of the text.
        training: ids that the n-grams are counted over, `(N,)`; without them there is only xz.
        held_out: whether the text is no part of them. If it is, longer n-grams would know it by
            heart, so there are only single symbols.

    Raises:
        DataError: a text is empty, or an id is outside the vocabulary.
    """
    ngrams: dict[int, float] = {}
    before = ""
    if training is not None:
        training = training[-COUNTED:]
        ids = model.vocabulary.encode(evaluation.symbols)
        order = ORDER if held_out else 1
        nats = ngram_nats(training, ids, len(model.vocabulary), order)[:, 1:]
        ngrams = {k: float(bits) for k, bits in enumerate(nats.mean(axis=1) / np.log(2), 1)}
        if held_out:
            before = model.preprocessor.decode(model.vocabulary.decode(training))
    alone, given = xz_bits(before, evaluation.text)
    count = max(evaluation.characters, 1)
    return Baselines(
        ngrams, alone / count, given / count if before else None, len(evaluation.symbols) / count
    )
