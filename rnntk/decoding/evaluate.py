"""How well a model knows a text: nats, bits, perplexity, and what each character costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder
from rnntk.errors import DataError, RunError
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary

_FIRST_SYLLABLE, _LAST_SYLLABLE = "\uac00", "\ud7a3"


@dataclass(frozen=True)
class Evaluation:
    """What a text costs under a model that reads it once, its state carried through from zero.

    The first symbol is given, not predicted, so there is one cost less than symbols.

    Attributes:
        text: what was evaluated.
        symbols: the same as the model reads it (jamo count one by one).
        costs: nats of each symbol but the first, `(len(symbols) - 1,)`.
        character_costs: nats of each character of `text`, the sum over its symbols, `(len(text),)`; that of the first
            leaves out its first symbol; NaN for a character that is cut at either end of the text. None where
            the symbols are not those that the preprocessor makes of the text, so that characters have no symbols
            of their own.
    """

    text: str
    symbols: str
    costs: NDArray[np.float64]
    character_costs: NDArray[np.float64] | None

    @property
    def nats_per_symbol(self) -> float:
        """Mean cross-entropy, what training minimises."""
        return float(self.costs.mean())

    @property
    def bits_per_symbol(self) -> float:
        """The same in bits."""
        return self.nats_per_symbol / math.log(2)

    @property
    def perplexity(self) -> float:
        """Of a symbol: e to the nats."""
        return math.exp(self.nats_per_symbol)

    @property
    def bits_per_character(self) -> float:
        """Bits of a symbol times symbols a character: comparable between preprocessors."""
        return self.bits_per_symbol * len(self.symbols) / len(self.text)

    @property
    def syllables(self) -> int:
        """Hangul syllables in the text."""
        return int(self._syllables().sum())

    @property
    def bits_per_syllable(self) -> float | None:
        """Mean bits of a Hangul syllable, all its jamo and its marker; None if there is none."""
        if self.character_costs is None:
            return None
        chosen = self._syllables() & ~np.isnan(self.character_costs)
        if not chosen.any():
            return None
        return float(self.character_costs[chosen].mean() / math.log(2))

    def summary(self) -> dict[str, float | int | None]:
        """The figures by name, for JSON."""
        return {
            "characters": len(self.text),
            "symbols": len(self.symbols),
            "nats_per_symbol": self.nats_per_symbol,
            "bits_per_symbol": self.bits_per_symbol,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "syllables": self.syllables,
            "bits_per_syllable": self.bits_per_syllable,
        }

    def _syllables(self) -> NDArray[np.bool_]:
        return np.array([_FIRST_SYLLABLE <= c <= _LAST_SYLLABLE for c in self.text], bool)


def evaluate_text(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    text: str,
    *,
    on_unknown: str = "error",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluates a text.

    Args:
        decoder: the model.
        vocabulary: its symbols.
        preprocessor: what turned its text into symbols.
        text: any text.
        on_unknown: `error`, or `skip` to leave out characters that the model does not know.
        progress: called with the symbols read so far, and how many there are.

    Raises:
        DataError: the text has fewer than two symbols, or characters outside the vocabulary.
        RunError: the vocabulary is not the model's.
    """
    if vocabulary.unknown_symbol is None:
        unknown = [c for c in dict.fromkeys(text) if vocabulary.unknown(preprocessor.encode(c))]
        if unknown and on_unknown == "skip":
            text = text.translate(dict.fromkeys(map(ord, unknown)))
        elif unknown:
            shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in unknown[:20])
            more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
            raise DataError(
                f"The text has characters that the model has never seen: {shown}{more}. "
                "Leave them out with --on-unknown skip."
            )
    return _evaluate(decoder, vocabulary, preprocessor, text, preprocessor.encode(text), progress)


def evaluate_ids(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    ids: NDArray[np.integer],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluates a part of a prepared corpus, such as its validation split.

    Args:
        decoder: the model.
        vocabulary: its symbols.
        preprocessor: what turned its text into symbols.
        ids: `(T,)`.
        progress: called with the symbols read so far, and how many there are.

    Raises:
        DataError: there are fewer than two ids.
        RunError: the vocabulary is not the model's.
    """
    symbols = vocabulary.decode(ids)
    return _evaluate(
        decoder, vocabulary, preprocessor, preprocessor.decode(symbols), symbols, progress
    )


def _evaluate(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    text: str,
    symbols: str,
    progress: Callable[[int, int], None] | None,
) -> Evaluation:
    if len(vocabulary) != decoder.vocabulary_size:
        raise RunError(
            f"The vocabulary has {len(vocabulary)} symbols and the model {decoder.vocabulary_size}: "
            "they belong to different runs."
        )
    if len(symbols) < 2:
        raise DataError(
            f"The text has {len(symbols)} symbols; it needs at least 2, since the first is given."
        )
    costs = decoder.costs(vocabulary.encode(symbols), progress=progress)
    return Evaluation(text, symbols, costs, _by_character(preprocessor, text, symbols, costs))


_LONGEST_UNIT = 8
"""More symbols than any character has; so much of a text may belong to characters that were cut."""


def _by_character(
    preprocessor: Preprocessor, text: str, symbols: str, costs: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Nats of each character; NaN for one that is cut at either end of the text."""
    bounds = _whole(preprocessor, symbols)
    if bounds is None:
        return None
    start, end = bounds
    middle = preprocessor.decode(symbols[start:end])
    head, tail = preprocessor.decode(symbols[:start]), preprocessor.decode(symbols[end:])
    # encode(a + b) == encode(a) + encode(b), so each character has its own symbols.
    lengths = {c: len(preprocessor.encode(c)) for c in set(middle)}
    if head + middle + tail != text or not middle or min(lengths.values()) == 0:
        return None
    ends = start + np.cumsum([lengths[c] for c in middle])
    starts = np.concatenate([[start], ends[:-1]])
    known = np.add.reduceat(np.concatenate([[0.0], costs])[:end], starts)
    unknown = np.full(len(head), np.nan), np.full(len(tail), np.nan)
    return np.concatenate([unknown[0], known, unknown[1]])


def _whole(preprocessor: Preprocessor, symbols: str) -> tuple[int, int] | None:
    """The part `symbols[start:end]` that encode gives back: all but the characters cut at the ends."""
    N = len(symbols)
    for start in range(min(_LONGEST_UNIT, N)):
        rest = symbols[start:]
        again = preprocessor.encode(preprocessor.decode(rest))
        certain = max(0, len(rest) - _LONGEST_UNIT)  # what a cut at the other end cannot change
        if again[:certain] != rest[:certain]:
            continue
        for end in range(N, max(start, N - _LONGEST_UNIT), -1):
            part = symbols[start:end]
            if preprocessor.encode(preprocessor.decode(part)) == part:
                return start, end
    return None
