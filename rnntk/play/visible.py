"""Visible features of a text and the units that follow them.

A unit's score, from -1 to 1, is 2 AUC - 1 on binary features and Spearman's rank correlation on others. After
Karpathy, Johnson and Li, "Visualizing and Understanding Recurrent Networks" (2015).
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.errors import UsageError
from rnntk.play.reading import GATES, QUANTITIES, Text, Trace

_LEAST = 5  # symbols with and without a binary feature, at least
_BEST = 5  # units listed per feature
_TAB = 8
# From the opening quote to before the closing one.
_QUOTED = re.compile(
    r"""(?P<inside>"(?:\\.|[^"\\\n])*|(?<!\w)'(?:\\.|[^'\\\n])*|“[^”\n]*|‘[^’\n]*|「[^」\n]*|『[^』\n]*|«[^»\n]*).?"""
)
# C comments, and those that begin with `# `.
_COMMENT = re.compile(
    r"(?P<inside>/\*(?:(?!\*/).)*\*?|(?<!:)//[^\n]*|(?<!\S)\#(?!\S)[^\n]*)", re.DOTALL
)


@dataclass(frozen=True)
class Feature:
    """A visible feature: key, title and values `(T,)` float64."""

    name: str
    title: str
    values: NDArray[np.float64]

    @property
    def binary(self) -> bool:
        return bool(np.isin(self.values, (0, 1)).all())

    @property
    def varies(self) -> bool:
        """Whether it has enough different values to be scored."""
        if self.binary:
            return _LEAST <= int(self.values.sum()) <= len(self.values) - _LEAST
        return len(np.unique(self.values)) > 2


def features(text: Text) -> list[Feature]:
    """The features that vary in a text, with their values after each symbol."""
    of = text.text
    by_character: list[tuple[str, str, Any]] = [
        ("column", "position in the line", _positions(of, lambda c: c != "\n")),
        ("indent", "indentation", _indents(of)),
        ("quotes", "inside quotes", _within(of, _QUOTED)),
        ("comment", "inside a comment", _within(of, _COMMENT)),
        ("parentheses", "bracket depth", _depth(of, "([", ")]")),
        ("braces", "brace depth", _depth(of, "{", "}")),
        ("word", "position in the word", _positions(of, lambda c: c.isalnum() or c == "_")),
        ("space", "white space", [c.isspace() for c in of]),
        ("capital", "capital letters", [c.isupper() for c in of]),
        ("digit", "digits", [c.isdigit() for c in of]),
        ("punctuation", "punctuation", [unicodedata.category(c)[0] in "PS" for c in of]),
    ]
    found = [
        Feature(name, title, np.repeat(np.array(values, np.float64), text.counts))
        for name, title, values in by_character
    ]
    return [feature for feature in found + _syllables(text) if feature.varies]


def follows(units: NDArray[np.floating], feature: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores `(N,)` of units `(T, N)` on a feature `(T,)`, from -1 to 1; 0 for constant units."""
    return _against(ranks(units), feature)


def ranks(units: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1 along the first axis; ties get their mean rank."""
    found = np.empty(units.shape)
    for k in range(units.shape[1]):
        column = units[:, k]
        ordered = np.sort(column)
        found[:, k] = ordered.searchsorted(column, "left") + ordered.searchsorted(column, "right")
    return (found + 1) / 2


def ranking(found: Trace, quantity: str | None = None) -> dict[str, Any]:
    """Units of all layers that best follow each feature of the text, as JSON; `UsageError` if no such `quantity`."""
    known = QUANTITIES[found.model.decoder.cell]
    quantity = quantity or next(iter(known))
    L, _, H = found.states["h"].shape
    units = np.concatenate([found.values(layer, quantity) for layer in range(L)], axis=1)
    return {
        **found.text.to_json(),
        "step": found.model.step,
        "quantity": quantity,
        "quantities": known,
        "features": ranked(units, features(found.text), H),
    }


def ranked(units: NDArray[np.floating], found: Sequence[Feature], H: int) -> list[dict[str, Any]]:
    """The units `(T, layers * H)` that best follow each feature, features furthest above chance first.

    `chance`: the best score on the feature rotated by 1/4, 1/2 and 3/4 of the text, averaged. Among many units, some
    follow anything.
    """
    by_rank = ranks(units)
    rows = []
    for feature in found:
        scores = _against(by_rank, feature.values)
        order = np.argsort(-np.abs(scores), kind="stable")[:_BEST].tolist()
        moved = [np.roll(feature.values, len(units) * k // 4) for k in (1, 2, 3)]
        chance = np.mean([np.abs(_against(by_rank, values)).max() for values in moved])
        best = [{"layer": k // H, "unit": k % H, "score": _rounded(scores[k])} for k in order]
        row = {"name": feature.name, "title": feature.title, "binary": feature.binary}
        rows.append({**row, "chance": _rounded(chance), "best": best})
    return sorted(rows, key=lambda row: row["chance"] - abs(row["best"][0]["score"]))


def unit(found: Trace, layer: int, index: int, quantity: str) -> dict[str, Any]:
    """Values of one unit and its score on each feature, as JSON; `UsageError` if there is no such unit."""
    H = found.states["h"].shape[2]
    if not 0 <= index < H:
        raise UsageError(f"Unit {index} does not exist; units are 0 to {H - 1}.")
    column = found.values(layer, quantity)[:, [index]]
    scored = [
        {"title": feature.title, "score": _rounded(follows(column, feature.values)[0])}
        for feature in features(found.text)
    ]
    return {
        "layer": layer,
        "unit": index,
        "quantity": quantity,
        "gate": quantity in GATES,
        "values": column[:, 0].round(3).tolist(),
        "follows": sorted(scored, key=lambda row: -abs(row["score"])),
    }


def layer(found: Trace, layer: int, quantity: str) -> dict[str, Any]:
    """Values of all units of a layer as JSON: `units` rows of signed bytes in base64, 127 for 1."""
    values = found.values(layer, quantity).T
    packed = np.rint(values * 127).astype(np.int8)
    return {
        "units": len(values),
        "quantity": quantity,
        "values": base64.b64encode(packed.tobytes()).decode(),
    }


def _rounded(score: np.floating) -> float:
    return round(float(score), 3)


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
    """Columns of leading white space in the line so far."""
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
    """Characters in the pattern's group `inside`."""
    found = np.zeros(len(text), bool)
    for match in pattern.finditer(text):
        found[slice(*match.span("inside"))] = True
    return found


def _depth(text: str, opening: str, closing: str) -> list[int]:
    step = lambda depth, c: max(0, depth + (c in opening) - (c in closing))  # noqa: E731
    return list(accumulate(text, step, initial=0))[1:]


def _positions(text: str, inside: Callable[[str], bool]) -> list[int]:
    """Position from 1 of each character in its stretch of `inside` characters; 0 outside."""
    return list(accumulate(text, lambda place, c: place + 1 if inside(c) else 0, initial=0))[1:]


def _syllables(text: Text) -> list[Feature]:
    """The parts of Hangul syllables, if the preprocessor splits them into jamo."""
    parts = np.zeros((4, len(text.symbols)))
    start = 0
    for c, count in zip(text.text, text.counts.tolist(), strict=True):
        if "가" <= c <= "힣" and count > 2:
            parts[0, start] = parts[1, start + 1] = parts[3, start + count - 1] = 1
            parts[2, start + 2 : start + count - 1] = 1
        start += count
    names = {
        "initial": "first consonant of a syllable",
        "vowel": "vowel of a syllable",
        "final": "final consonant of a syllable",
        "boundary": "end of a syllable",
    }
    return [Feature(*name, part) for name, part in zip(names.items(), parts, strict=True)]
