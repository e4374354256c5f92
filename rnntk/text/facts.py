"""Facts about a prepared text: counts, entropy, unusual characters."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from rnntk.text.preprocessors import Preprocessor

CONJOINING = "conjoining jamo"  # those of NFD
SHOWN = 10  # symbols listed at either end of the frequencies, and examples
_UNUSUAL = {
    "Cc": "control characters",
    "Co": "private use characters",
    "Cn": "unassigned characters",
}


def entropy_bits(counts: Iterable[int]) -> float:
    """Entropy of single symbols in bits: the loss of a model that knows only their frequencies.

    >>> entropy_bits([1, 1])
    1.0
    """
    listed = [count for count in counts if count]
    total = sum(listed)
    return -sum(count / total * math.log2(count / total) for count in listed) + 0.0


def _kind(character: str) -> str | None:
    code = ord(character)
    if 0x1100 <= code <= 0x11FF or 0xA960 <= code <= 0xA97F or 0xD7B0 <= code <= 0xD7FF:
        return CONJOINING
    if character == "\ufffd":
        return "replacement characters already in the text"
    if character in "\t\n\r\f":
        return None
    return (
        "DOS end of file (0x1A)"
        if character == "\x1a"
        else _UNUSUAL.get(unicodedata.category(character))
    )


def unusual(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Characters that are rarely intended, from the count of each character.

    Returns:
        One entry per kind, most common first: `kind`, `count`, `distinct`, and `examples` such as `U+0007`.
    """
    found: dict[str, dict[str, int]] = {}
    for character, count in counts.items():
        if kind := _kind(character):
            found.setdefault(kind, {})[character] = count
    entries: list[dict[str, Any]] = [
        {
            "kind": kind,
            "count": sum(members.values()),
            "distinct": len(members),
            "examples": [
                f"U+{ord(c):04X}" for c in sorted(members, key=lambda c: -members[c])[:SHOWN]
            ],
        }
        for kind, members in found.items()
    ]
    entries.sort(key=lambda entry: entry["count"], reverse=True)
    return entries


def changed(counts: Mapping[str, int], preprocessor: Preprocessor) -> dict[str, Any]:
    """Characters that the preprocessor does not reproduce.

    Returns:
        `count`, `distinct` and `examples`: `[character, reproduced, count]`, most common first.
    """
    lossy: list[list[Any]] = []
    for character, count in counts.items():
        back = preprocessor.decode(preprocessor.encode(character))
        if back != character:
            lossy.append([character, back, count])
    lossy.sort(key=lambda entry: entry[2], reverse=True)
    count = sum(entry[2] for entry in lossy)
    return {"count": count, "distinct": len(lossy), "examples": lossy[:SHOWN]}


def frequencies(counts: Mapping[str, int]) -> dict[str, list[list[Any]]]:
    """The most and the least common symbols, `[symbol, count]`; `counts` in descending order."""
    ranked = [[symbol, count] for symbol, count in counts.items()]
    return {"most_frequent": ranked[:SHOWN], "least_frequent": ranked[-SHOWN:][::-1]}
