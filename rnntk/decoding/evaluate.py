"""Evaluation of a model on a text: nats, bits and perplexity, in total and per character."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnntk.text.preprocessors import Preprocessor

_FIRST_SYLLABLE, _LAST_SYLLABLE = "\uac00", "\ud7a3"


@dataclass(frozen=True, repr=False, eq=False)  # arrays have no single truth value
class Evaluation:
    """Surprisal of a text under a model that reads it once from zero states, given the first symbol.

    Attributes:
        text: the characters evaluated.
        symbols: the T symbols that the model reads (jamo count separately).
        nats: surprisal of each symbol but the first, `(T - 1,)`.
        character_nats: surprisal of each character of `text`, summed over its symbols, `(len(text),)`; NaN for a
            character cut off at either end. None if the preprocessor does not make `symbols` from `text`.
        characters: the count for bits per character: `len(text)`, or for a part of a corpus the characters whose last
            symbol is in it (`Prepared.characters`).
        left_out: number of unknown characters skipped.
    """

    text: str
    symbols: str
    nats: NDArray[np.float64]
    character_nats: NDArray[np.float64] | None
    characters: int
    left_out: int = 0

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats per symbol, which training minimises."""
        return float(self.nats.mean())

    @property
    def bits_per_symbol(self) -> float:
        """Mean cross-entropy in bits."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """Exponential of the loss; infinity above 1.8e308."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.loss))

    @property
    def bits_per_character(self) -> float:
        """Bits per symbol times symbols per character, comparable between preprocessors."""
        return self.bits_per_symbol * len(self.symbols) / max(self.characters, 1)

    bpc = bits_per_character

    def __repr__(self) -> str:
        return (
            f"Evaluation(loss {self.loss:.3f} nats per symbol, {self.bpc:.3f} bits per character, "
            f"perplexity {self.perplexity:.3f}, {self.characters:,} characters)"
        )

    @property
    def syllables(self) -> int:
        """Hangul syllables in the text."""
        return int(self._syllables().sum())

    @property
    def bits_per_syllable(self) -> float | None:
        """Mean bits per Hangul syllable including its jamo and marker; None without syllables."""
        if self.character_nats is None:
            return None
        chosen = self._syllables() & ~np.isnan(self.character_nats)
        return float(self.character_nats[chosen].mean() / math.log(2)) if chosen.any() else None

    def summary(self) -> dict[str, float | int | None]:
        """The figures by name, for JSON; None for a perplexity that is not finite."""
        return {
            "characters": self.characters,
            "symbols": len(self.symbols),
            "nats_per_symbol": self.loss,
            "bits_per_symbol": self.bits_per_symbol,
            "perplexity": self.perplexity if math.isfinite(self.perplexity) else None,
            "bits_per_character": self.bits_per_character,
            "syllables": self.syllables,
            "bits_per_syllable": self.bits_per_syllable,
        }

    def _syllables(self) -> NDArray[np.bool_]:
        return np.array([_FIRST_SYLLABLE <= c <= _LAST_SYLLABLE for c in self.text], bool)


_LONGEST_UNIT = 8
"""Upper bound of symbols per character, and so of a cut character's symbols at either end of a text."""


def by_character(
    preprocessor: Preprocessor, text: str, symbols: str, nats: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """`Evaluation.character_nats` of a text from the surprisal of its symbols."""
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
    found = np.full(len(text), np.nan)
    found[len(head) : len(head) + len(middle)] = np.add.reduceat(np.append(0.0, nats)[:end], starts)
    return found


def _whole(preprocessor: Preprocessor, symbols: str) -> tuple[int, int] | None:
    """The range `symbols[start:end]` of whole characters, without those cut at the ends."""
    N = len(symbols)
    for start in range(min(_LONGEST_UNIT, N)):
        rest = symbols[start:]
        again = preprocessor.encode(preprocessor.decode(rest))
        certain = max(0, len(rest) - _LONGEST_UNIT)  # not affected by a cut at the end
        if again[:certain] != rest[:certain]:
            continue
        for end in range(N, max(start, N - _LONGEST_UNIT), -1):
            part = symbols[start:end]
            if preprocessor.encode(preprocessor.decode(part)) == part:
                return start, end
    return None
