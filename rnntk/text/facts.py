"""Facts about a text: entropy, unusual characters, losses of the preprocessor."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rnntk.text.preprocessors import Preprocessor

CONJOINING = "conjoining jamo"  # those of NFD
SHOWN = 10  # symbols and examples listed
_UNUSUAL = {  # by Unicode category
    "Cc": "control characters", "Co": "private use characters", "Cn": "unassigned characters",
}  # fmt: skip


def entropy_bits(counts: Iterable[int]) -> float:
    """Entropy of single symbols in bits: the loss of a unigram model.

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
    if character == "\x1a":
        return "DOS end of file (0x1A)"
    return None if character in "\t\n\r\f" else _UNUSUAL.get(unicodedata.category(character))


def conjoining(counts: Mapping[str, int]) -> int:
    """The number of conjoining jamo."""
    return sum(count for character, count in counts.items() if _kind(character) == CONJOINING)


def unusual(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Kinds of unusual characters, most common first: `kind`, `count`, `distinct`, `examples` such as `U+0007`."""
    found: dict[str, Counter[str]] = {}
    for character, count in counts.items():
        if kind := _kind(character):
            found.setdefault(kind, Counter())[character] = count
    entries: list[dict[str, Any]] = []
    for kind, members in found.items():
        examples = [f"U+{ord(c):04X}" for c, _ in members.most_common(SHOWN)]
        entry = {"kind": kind, "count": members.total(), "distinct": len(members)}
        entries.append({**entry, "examples": examples})
    return sorted(entries, key=lambda entry: entry["count"], reverse=True)


def changed(counts: Mapping[str, int], preprocessor: Preprocessor) -> dict[str, Any]:
    """Characters that the preprocessor changes: `count`, `distinct`, `examples` of `[character, changed, count]`."""
    decoded = {c: preprocessor.decode(preprocessor.encode(c)) for c in counts}
    lossy = Counter({c: counts[c] for c, back in decoded.items() if back != c})
    examples = [[c, decoded[c], count] for c, count in lossy.most_common(SHOWN)]
    return {"count": lossy.total(), "distinct": len(lossy), "examples": examples}


def frequencies(counts: Mapping[str, int]) -> dict[str, list[list[Any]]]:
    """The most and the least common symbols, `[symbol, count]`; `counts` are in descending order."""
    ranked = [[symbol, count] for symbol, count in counts.items()]
    return {"most_frequent": ranked[:SHOWN], "least_frequent": ranked[-SHOWN:][::-1]}
