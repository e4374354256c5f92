"""Visible features of a text, symbol by symbol, and the units that follow them.

The score of a unit on a yes-or-no feature is 2 AUC - 1 (AUC: the probability that a random yes ranks above a random
no), from -1 to 1; on a feature of several values, Spearman's rank correlation. Both depend on order only, not on scale.
The idea is that of Karpathy, Johnson and Li, "Visualizing and Understanding Recurrent Networks" (2015).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.play.reading import Text

_LEAST = 5  # symbols on either side of a yes-or-no feature, to be ranked at all
_TAB = 8
_OPENING, _CLOSING = "([", ")]"
# The inside begins with the opening quote and ends before the closing one: a reader knows it from then on.
_QUOTED = re.compile(
    r"""(?P<inside>"(?:\\.|[^"\\\n])*|(?<!\w)'(?:\\.|[^'\\\n])*|“[^”\n]*|‘[^’\n]*|「[^」\n]*|『[^』\n]*|«[^»\n]*).?"""
)
# As C writes them, and with `# ` as Python and the shell do.
_COMMENT = re.compile(
    r"(?P<inside>/\*(?:(?!\*/).)*\*?|(?<!:)//[^\n]*|(?<!\S)\#(?!\S)[^\n]*)", re.DOTALL
)
_FIRST_SYLLABLE, _LAST_SYLLABLE = "\uac00", "\ud7a3"


@dataclass(frozen=True)
class Feature:
    """A visible feature: its key, its title (completes "this unit follows ...") and its values, `(T,)` float64."""

    name: str
    title: str
    values: NDArray[np.float64]

    @property
    def binary(self) -> bool:
        return bool(np.isin(self.values, (0, 1)).all())

    @property
    def varies(self) -> bool:
        """Whether a unit can follow it: it has enough different values."""
        if self.binary:
            return _LEAST <= self.values.sum() <= len(self.values) - _LEAST
        return len(np.unique(self.values)) > 2


def features(text: Text) -> list[Feature]:
    """The features that vary in a text.

    Each value is known after the symbol: after a line end the position in the line is 0, an opening quote is
    inside, the closing one outside.
    """
    by_character = {
        "column": ("the position in the line", _positions(text.text, lambda c: c != "\n")),
        "indent": ("the indentation of the line", _indents(text.text)),
        "quotes": ("being inside quotes", _within(text.text, _QUOTED)),
        "comment": ("being inside a comment", _within(text.text, _COMMENT)),
        "parentheses": ("the depth of parentheses", _depth(text.text, _OPENING, _CLOSING)),
        "braces": ("the depth of braces", _depth(text.text, "{", "}")),
        "word": (
            "the position in the word",
            _positions(text.text, lambda c: c.isalnum() or c == "_"),
        ),
        "space": ("white space", [c.isspace() for c in text.text]),
        "capital": ("capital letters", [c.isupper() for c in text.text]),
        "digit": ("digits", [c.isdigit() for c in text.text]),
        "punctuation": ("punctuation", [unicodedata.category(c)[0] in "PS" for c in text.text]),
    }
    found = [
        Feature(name, title, np.repeat(np.array(values, np.float64), text.counts))
        for name, (title, values) in by_character.items()
    ]
    found += _syllables(text)
    return [feature for feature in found if feature.varies]


def follows(units: NDArray[np.floating], feature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score `(N,)` of units `(T, N)` on a feature `(T,)`, from -1 to 1; 0 for a unit that never changes."""
    return _against(ranks(units), feature)


def ranks(units: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks along the first axis from 1; equals share their mean rank."""
    found = np.empty(units.shape)
    for k in range(units.shape[1]):
        column = units[:, k]
        ordered = np.sort(column)
        found[:, k] = ordered.searchsorted(column, "left") + ordered.searchsorted(column, "right")
    return (found + 1) / 2


def ranking(
    units: NDArray[np.floating], found: Sequence[Feature], best: int = 5
) -> list[dict[str, Any]]:
    """For each feature the `best` units `(T, N)` that follow it; features furthest above chance come first.

    With many units some follow anything by chance, so each feature has a baseline: the best unit's score on the
    same feature moved along the text, the mean over a quarter, a half and three quarters.
    """
    by_rank = ranks(units)
    listed = []
    for feature in found:
        scores = _against(by_rank, feature.values)
        order = np.argsort(-np.abs(scores), kind="stable")[:best]
        moved = [np.roll(feature.values, len(units) * k // 4) for k in (1, 2, 3)]
        chance = np.mean([np.abs(_against(by_rank, values)).max() for values in moved])
        listed.append(
            {
                **{name: getattr(feature, name) for name in ("name", "title", "binary")},
                "chance": round(float(chance), 3),
                "best": [[int(k), round(float(scores[k]), 3)] for k in order],
            }
        )
    return sorted(listed, key=lambda row: row["chance"] - abs(row["best"][0][1]))


def _against(by_rank: NDArray[np.float64], feature: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.isin(feature, (0, 1)).all():
        yes = feature == 1
        n, m = int(yes.sum()), int((~yes).sum())
        if not n or not m:
            return np.zeros(by_rank.shape[1])
        above = by_rank[yes].sum(axis=0) - n * (n + 1) / 2
        return 2 * above / (n * m) - 1
    x = ranks(feature[:, None])[:, 0]
    x -= x.mean()
    y = by_rank - by_rank.mean(axis=0)
    scale = np.sqrt((x**2).sum() * (y**2).sum(axis=0))
    return np.divide(x @ y, scale, out=np.zeros(y.shape[1]), where=scale > 0)


def _indents(text: str) -> list[int]:
    """Indentation of the line so far: it grows in leading white space, and stays to the line's end."""
    found, width, leading = [], 0, True
    for c in text:
        if c == "\n":
            width, leading = 0, True
        elif leading and c in " \t":
            width += _TAB - width % _TAB if c == "\t" else 1
        else:
            leading = False
        found.append(width)
    return found


def _within(text: str, pattern: re.Pattern[str]) -> NDArray[np.bool_]:
    """Where the pattern's group `inside` matches."""
    found = np.zeros(len(text), bool)
    for match in pattern.finditer(text):
        found[slice(*match.span("inside"))] = True
    return found


def _depth(text: str, opening: str, closing: str) -> list[int]:
    step = lambda depth, c: max(0, depth + (c in opening) - (c in closing))  # noqa: E731
    return list(accumulate(text, step, initial=0))[1:]


def _positions(text: str, inside: Callable[[str], bool]) -> list[int]:
    """Position of each character in its stretch of characters that are `inside`, from 1; 0 outside."""
    return list(accumulate(text, lambda place, c: place + 1 if inside(c) else 0, initial=0))[1:]


def _syllables(text: Text) -> list[Feature]:
    """The parts of each syllable, where syllables are read jamo by jamo."""
    parts = np.zeros((4, len(text.symbols)))
    start = 0
    for c, count in zip(text.text, text.counts.tolist(), strict=True):
        if _FIRST_SYLLABLE <= c <= _LAST_SYLLABLE and count > 2:
            parts[0, start] = parts[1, start + 1] = parts[3, start + count - 1] = 1
            parts[2, start + 2 : start + count - 1] = 1
        start += count
    titles = {
        "initial": "the first consonant of a syllable",
        "vowel": "the vowel of a syllable",
        "final": "the last consonant of a syllable",
        "boundary": "the end of a syllable",
    }
    return [
        Feature(name, title, part)
        for (name, title), part in zip(titles.items(), parts, strict=True)
    ]
