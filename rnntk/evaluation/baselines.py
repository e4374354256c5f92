"""Baselines for an evaluated text: interpolated n-grams and xz.

The n-grams use Witten and Bell's weights (1991; method C in Bell, Cleary and Witten, "Text Compression", 1990), which
need no tuning: the fewer different symbols followed a context, the more weight its counts get over those of order k -
1.
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
"""Maximum number of training symbols for n-grams; sorting more takes minutes and gigabytes."""


def ngram_nats(
    training: ArrayLike, held_out: ArrayLike, vocabulary_size: int, order: int = ORDER
) -> NDArray[np.float64]:
    """Surprisal of each held-out symbol under interpolated n-grams of a training text.

    Takes about a second per million symbols.

    Args:
        training, held_out: ids `(N,)` and `(M,)`. Contexts do not reach back into the training text.
        vocabulary_size, order: V, and the length of the longest n-gram.

    Returns:
        Nats `(order, M)`: row k - 1 uses n-grams up to length k.

    Raises:
        DataError: a text is empty or has ids outside the vocabulary.
    """
    train = np.asarray(training, np.int64)
    held = np.asarray(held_out, np.int64)
    if not train.size or not held.size:
        raise DataError("A text is empty; n-grams need training and held-out text.")
    both = np.concatenate([train, held])
    if both.min() < 0 or both.max() >= vocabulary_size:
        raise DataError(f"The text has symbols outside the vocabulary of {vocabulary_size}.")
    N, M = len(train), len(held)
    nats = np.empty((order, M))
    probability = np.full(M, 1.0 / vocabulary_size)
    # An id of the k - 1 symbols before t.
    context: NDArray[np.int64] = np.zeros(N + M, np.int64)
    has_context: NDArray[np.bool_] = np.ones(N + M, bool)
    for k in range(1, order + 1):
        _, gram = np.unique(context * vocabulary_size + both, return_inverse=True)
        contexts = int(context.max()) + 1
        seen = has_context[:N]
        counts = np.bincount(gram[:N][seen], minlength=int(gram.max()) + 1)
        followers = np.bincount(context[:N][seen], minlength=contexts)
        # Count distinct n-grams of the training text by their context.
        where = np.zeros(len(counts), np.int64)
        where[gram] = context
        kinds = np.bincount(where[counts > 0], minlength=contexts)

        now = context[N:]
        total = followers[now] + kinds[now]
        known = has_context[N:] & (total > 0)
        count, kind = counts[gram[N:]][known], kinds[now][known]
        probability[known] = (count + kind * probability[known]) / total[known]
        nats[k - 1] = -np.log(probability)
        # The n-gram ending at t - 1 is the context of t for the next order.
        context = np.concatenate([[0], gram[:-1]])
        has_context = np.concatenate([[False], has_context[:-1]])
        has_context[N] = False
    return nats


def xz_bits(training: str, held_out: str) -> tuple[float, float]:
    """Bits of the held-out text in UTF-8 under xz at its best setting: alone, and after the training text.

    Raises `DataError` if the held-out text is empty.
    """
    if not held_out:
        raise DataError("The held-out text is empty.")

    def bits(text: str) -> int:
        raw = text.encode("utf-8", "surrogatepass")
        return 8 * len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))

    return bits(held_out), bits(training + held_out) - bits(training)


@dataclass(frozen=True)
class Baselines:
    """Results of the baselines on a text."""

    ngrams: dict[int, float]  # bits per symbol by order
    xz: float  # bits per character of the text alone
    xz_given_training: float | None  # bits per character after the training text, if measured
    symbols_per_character: float

    @property
    def ngrams_per_character(self) -> dict[int, float]:
        """Bits per character by order."""
        return {k: bits * self.symbols_per_character for k, bits in self.ngrams.items()}

    def rows(self) -> list[tuple[str, float]]:
        """Readable names and bits per character."""
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
        """The measured figures by name, for JSON."""
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
    """Measure an evaluated text with n-grams and xz; like the network, n-grams are given the first symbol.

    Args:
        model, evaluation: the model, and its evaluation of the text.
        training: ids `(N,)` to count n-grams in; if None, only xz is measured.
        held_out: whether the text is not part of `training`. If it is, only single symbols are counted: longer n-grams
            would have memorized it.

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
