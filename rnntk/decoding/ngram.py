"""What simpler models make of the same text, so that a network's figure has neighbours.

Interpolated n-grams with Witten and Bell's weights (1991; method C in Bell, Cleary and Witten, "Text
Compression", 1990): an n-gram model of order k trusts its own counts the more, the fewer different
symbols it saw after a context, and leaves the rest to the model of order k - 1, down to the uniform
distribution. Nothing has to be tuned, and every symbol has some probability everywhere. And xz, which
knows nothing of probabilities but finds whatever repeats.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnntk.errors import DataError


def ngram_costs(
    training: ArrayLike, held_out: ArrayLike, vocabulary_size: int, order: int = 6
) -> NDArray[np.float64]:
    """What each held-out symbol costs under interpolated n-grams of a training text.

    Everything is sorting and counting of whole arrays: a million symbols take about a second.

    Args:
        training: ids `(N,)`.
        held_out: ids `(M,)`. Contexts do not reach back into the training text: the first symbol
            has none, the second a context of one, and so on.
        vocabulary_size: V; probabilities sum to 1 over these.
        order: the longest n-gram.

    Returns:
        Nats `(order, M)`: row k - 1 is the model of n-grams up to length k; row 0 knows only how
        frequent single symbols are.

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
    costs = np.empty((order, M))
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
        costs[k - 1] = -np.log(probability)
        # The n-gram that ends at t - 1 is the context of t in the next order.
        context = np.concatenate([[0], gram[:-1]])
        has_context = np.concatenate([[False], has_context[:-1]])
        has_context[N] = False
    return costs


def xz_bits(training: str, held_out: str) -> tuple[float, float]:
    """Bits a character that xz needs, at its best setting, texts in UTF-8.

    Returns:
        For the held-out text alone, and given the training text: what it adds to the compressed
        size when it stands after it.

    Raises:
        DataError: the held-out text is empty.
    """
    if not held_out:
        raise DataError("The held-out text is empty.")

    def size(text: str) -> int:
        raw = text.encode("utf-8", "surrogatepass")
        return len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME))

    alone = size(held_out)
    given = size(training + held_out) - size(training)
    return alone * 8 / len(held_out), given * 8 / len(held_out)


@dataclass(frozen=True)
class Floors:
    """What the held-out text costs without a network, in bits a symbol and bits a character.

    Attributes:
        ngrams: bits a symbol of interpolated n-grams, by order; 1 is single symbols.
        xz: bits a character, the held-out text alone.
        xz_given_training: bits a character after the training text.
        symbols_per_character: of the held-out text; times this, bits a symbol are bits a character.
    """

    ngrams: dict[int, float]
    xz: float
    xz_given_training: float
    symbols_per_character: float

    @property
    def ngrams_per_character(self) -> dict[int, float]:
        """Bits a character by order."""
        return {k: bits * self.symbols_per_character for k, bits in self.ngrams.items()}

    def summary(self) -> dict[str, object]:
        """The figures by name, for JSON."""
        return {
            "ngram_bits_per_symbol": {str(k): v for k, v in self.ngrams.items()},
            "ngram_bits_per_character": {str(k): v for k, v in self.ngrams_per_character.items()},
            "xz_bits_per_character": self.xz,
            "xz_given_training_bits_per_character": self.xz_given_training,
        }


def floors(
    training_ids: ArrayLike,
    held_out_ids: ArrayLike,
    vocabulary_size: int,
    *,
    training_text: str,
    held_out_text: str,
    order: int = 6,
) -> Floors:
    """All neighbours of a network's figure at once.

    Like the network, the n-grams are given the first held-out symbol and score the others.

    Args:
        training_ids: what the models count.
        held_out_ids: what they predict, at least 2.
        vocabulary_size: V.
        training_text: the text of `training_ids`.
        held_out_text: the text of `held_out_ids`.
        order: the longest n-gram.

    Raises:
        DataError: a text is empty, or an id is outside the vocabulary.
    """
    held = np.asarray(held_out_ids)
    if held.size < 2:
        raise DataError(f"The held-out text has {held.size} symbols; it needs at least 2.")
    costs = ngram_costs(training_ids, held, vocabulary_size, order)[:, 1:]
    bits = costs.mean(axis=1) / np.log(2)
    alone, given = xz_bits(training_text, held_out_text)
    return Floors(
        ngrams={k + 1: float(b) for k, b in enumerate(bits)},
        xz=alone,
        xz_given_training=given,
        symbols_per_character=held.size / len(held_out_text),
    )
