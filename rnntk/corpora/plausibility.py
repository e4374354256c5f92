"""How well bytes read in a codec look like text that somebody wrote: evidence in nats.

A reading costs the negative log-likelihood of its characters under a rough model of a language (`languages.txt`), and
more where neighbours do not belong together in words. A page in the right codec wins by hundreds of nats.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

CODECS = {
    0: "cp1252 cp949",
    1: "cp1251 cp1250 gb18030 cp932 big5hkscs",
    2: "cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 koi8-r euc_jp iso8859-2 iso8859-7",
    3: "iso8859-15 cp437 cp866 koi8-u",
    4: "mac-roman cp850 cp852 iso8859-5 iso8859-6 iso8859-8 iso8859-13 cp1125 johab cp862 cp737 cp775",
    6: "mac-cyrillic mac-latin2 mac-greek mac-turkish cp855 cp720 cp857 cp865 kz1048 iso8859-3 iso8859-14",
    8: "cp860 cp861 cp863 iso8859-1",
}
"""Codecs in which texts are met, by their rarity in nats. Those of Windows come before their ISO siblings."""

SEVEN_BIT = {0: "utf-8", 1: "iso2022_kr iso2022_jp iso2022_jp_ext", 8: "hz", 20: "utf-7"}
NO_SPACES = {4: "cp500 cp037 cp273 cp1140", 10: "utf-16-le utf-16-be"}
"""Codecs in whose texts ASCII's bytes of spaces and line ends are rare."""
WIDE = {1: "utf-16-le utf-16-be utf-32-le utf-32-be"}

_MARKS = "’“”—–…«»„‘‚\xa0·•°€§©®™£¿¡½²×³¼¾±µªº†‡‰‹›№¶،؟"
_CJK_MARKS = "，。、「」！？：；“”（）・…《》—『』【】‘’～〜·"
_CJK = "knjq"  # the kinds Hangul, Han, kana; q: jamo and other letters that are often repeated
_ALPHABETS = "lcghrto"
_SCRIPTS = {
    "LATIN": "l", "CYRILLIC": "c", "GREEK": "g", "HEBREW": "h", "ARABIC": "r", "THAI": "t", "HANGUL": "k",
    "CJK": "n", "FULLWIDTH": "n", "IDEOGRAPHIC": "n", "HIRAGANA": "j", "KATAKANA": "j", "HALFWIDTH": "j",
    "KATAKANA-HIRAGANA": "q",
}  # fmt: skip
# By language and kind: the rows of a standard with everyday characters, and what those cost that are in no list.
_EVERYDAY = {
    ("Korean", "k"): ("euc_kr", 0xB0, 0xC8, 8.5),
    ("Korean", "q"): ("euc_kr", 0xA4, 0xA4, 7.0),
    ("Japanese", "j"): ("euc_jp", 0xA4, 0xA5, 7.0),
    ("Japanese", "n"): ("euc_jp", 0xB0, 0xCF, 9.0),
    ("Chinese", "n"): ("gb2312", 0xB0, 0xD7, 9.0),
    ("Chinese-traditional", "n"): ("big5", 0xA4, 0xC6, 9.0),
}


class Reading(NamedTuple):
    """A sample of bytes in one codec.

    Attributes:
        cost: negative log-likelihood, nats.
        codec: Python's name.
        text: the sample decoded.
        language: the one whose letters fit best.
        fit: share of the characters beyond ASCII that are usual in that language and stand where they may.
        seen: number of characters beyond ASCII.
        strange: hardly any common word of the language (in Latin letters); all capitals, or none (in others).
    """

    cost: float
    codec: str
    text: str
    language: str
    fit: float
    seen: int
    strange: bool

    @property
    def junk(self) -> float:
        """Share of control characters, unassigned and private code points, and of what does not decode."""
        return sum(_kind(c) == "x" for c in self.text) / max(len(self.text), 1)


@lru_cache(1 << 16)
def _kind(c: str) -> str:
    """The script of a letter as a small letter (a capital's as a capital), or a sign for any other character."""
    category = unicodedata.category(c)
    if c.isspace() or c == "\x1a":
        return " "
    if category in ("Cc", "Cn", "Co", "Cs") or c == "\ufffd":
        return "x"
    if c.isascii():
        return "a" if c.islower() else "A" if c.isupper() else "1" if c.isdigit() else "."
    if c == "’":
        return "'"
    if category[0] == "L" and c not in "ªºµ":
        jamo = "\u3131" <= c <= "\u318e" or c == "ー"
        script = "q" if jamo else _SCRIPTS.get(unicodedata.name(c, "?").split()[0], "o")
        return script.upper() if c.isupper() else script
    if category in ("Ps", "Pi"):
        return "("
    if category in ("Pe", "Pf"):
        return ")"
    if category[0] in "PM" and c not in "§¶†‡":
        return "-" if category[0] == "P" else "m"
    # Of what frames and bars are made of: b is repeated along a line, e stands here and there.
    return "b" if c in "─━═░▒▓█▄▀" else "e" if "\u2500" <= c <= "\u259f" else "s"


@lru_cache(1 << 10)
def _beside(x: str, y: str) -> float:
    """What two kinds side by side cost, beyond the characters themselves; from 3 on they do not belong in a text."""
    if x in "aA1. " and y in "aA1. ":
        return 0.0
    left, right = x.lower().replace("a", "l"), y.lower().replace("a", "l")
    if left in _ALPHABETS and right in _ALPHABETS:
        if left != right:
            return 8.0
        return (0.3 if x.isupper() else 5.0) if y.isupper() else 0.0
    if y == "'" and x == " ":
        return 6.0
    if y == "m":
        return 0.0 if left in _ALPHABETS + "m" else 6.0
    if left in _ALPHABETS or right in _ALPHABETS:
        if {left, right} & {*_CJK, *"sbe"} or y == "(" or x == ")":
            return 3.0
        return 1.5 if y.isupper() or x == "1" else 0.0
    return -6.0 if x == y == "b" else 1.0 if {x, y} == {"k", "n"} else 0.0


class _Language:
    """What characters cost in one language, in nats."""

    def __init__(self, name: str, letters: str = "", *words: str) -> None:
        self.name, self.words = name, frozenset(words)
        self.kind = _kind(letters[-1]) if letters else "l"
        self.cjk = self.kind in _CJK
        marks, first, span = (_CJK_MARKS, 3.5, 6.0) if self.cjk else (_MARKS, 5.0, 4.0)
        self._costs = {mark: first + span * i / len(marks) for i, mark in enumerate(marks)}
        # Letters get rarer by rank, of an alphabet from a tenth of the text to a fiftieth of that. Those beyond ASCII
        # are a twentieth of a text in Latin letters, and nearly none of an English one; the listed half of CJK.
        span = 2.5 if self.cjk else 3.0 if self.kind == "l" else 4.0
        ranks = [span * i / len(letters) for i in range(len(letters))]
        share = 0.7 if self.cjk else 5.5 if name == "English" else 3.0 if self.kind == "l" else 0.0
        first = share + log(sum(exp(-rank) for rank in ranks) or 1)
        self._costs |= {
            c: first + rank for c, rank in zip(letters, ranks, strict=True)
        } | self._costs
        self.usual = max(first + span, 9.4)
        self._foreign = first + span + 4.5

    def cost(self, c: str) -> float:
        """Negative log-probability of the character."""
        if c not in self._costs:
            self._costs[c] = self._costs.get(c.lower()) or self._unlisted(c, _kind(c).lower())
        return self._costs[c]

    def _unlisted(self, c: str, kind: str) -> float:
        if kind == self.kind == "l":
            return self._foreign if self.words else 9.5 if c < "\u0100" else 12.0
        if (self.name, kind) in _EVERYDAY:
            codec, first, last, cost = _EVERYDAY[self.name, kind]
            code = c.encode(codec, "ignore")
            if len(code) == 2 and first <= code[0] <= last:
                return cost
            return {"k": 12.0, "j": 5.5}.get(kind, 13.5)  # j: of half width
        if c.isascii():
            return {"a": 3.0, " ": 3.0, "x": 14.0}.get(_kind(c), 4.5)
        others = {
            "x": 14.0,
            "s": 11.0,
            "m": 11.0,
            "b": 8.5,
            "e": 8.5,
            " ": 6.0,
            "(": 10.0,
            ")": 10.0,
            "-": 10.0,
        }
        return others.get(kind, 13.0)


@lru_cache(1)
def _languages() -> list[_Language]:
    lines = resources.files(__package__).joinpath("languages.txt").read_text("utf-8").splitlines()
    return [_Language(*line.split()) for line in [*lines, "any"] if line and line[0] != "#"]


def read(
    sample: bytes, codec: str, words: frozenset[str] = frozenset(), owed: float = 0
) -> Reading:
    """The sample in a codec.

    Args:
        sample: bytes to read; what does not decode counts against the codec.
        codec: Python's name.
        words: words in ASCII letters that the text has elsewhere.
        owed: nats added for a codec that is seldom met.
    """
    text = sample.decode(codec, "replace")
    folded = re.sub(r"([^\W\da-zA-Z_])\1{2,}", "\\1\\1\\1", text, flags=re.IGNORECASE)
    folded = re.sub(r"([^\w\s])\1{3,}", "\\1\\1\\1", folded)
    counts = Counter(folded)
    kinds = "".join(map(_kind, folded))
    pairs = {pair: n for pair, n in Counter(pairwise(kinds)).items() if _beside(*pair)}
    runs = sum(
        _kind(m[1]) not in "aAqm" for m in re.finditer(r"([^\W\d_])\1\1", folded, re.IGNORECASE)
    )
    beyond = {c: n for c, n in counts.items() if not c.isascii() or _kind(c) == "x"}
    seen = sum(beyond.values())
    cjk = 2 * sum(n for c, n in beyond.items() if _kind(c) in _CJK) > seen
    words |= frozenset(re.findall(r"[^\W\d_]+", text.lower()))
    cost, best = min(
        (
            (
                sum(n * one.cost(c) for c, n in beyond.items())
                - 2.5 * min(len(words & one.words), 20),
                one,
            )
            for one in _languages()
            if one.cjk == cjk
        ),
        key=lambda pair: pair[0],
    )
    misplaced = sum(n for pair, n in pairs.items() if _beside(*pair) >= 3) + 3 * runs
    usual = sum(n for c, n in beyond.items() if best.cost(c) <= best.usual)
    strange = len(words & best.words) < min(3, len(words) / 10)
    if best.kind != "l":
        letters = "".join(beyond)
        strange = best.kind in "cg" and seen > 20 and (letters.islower() or letters.isupper())
    inner = len(re.findall(r"[ςםןךףץ](?=\w)", folded))  # letters that only end words
    cost += (
        owed
        + sum(n * best.cost(c) for c, n in counts.items() if c not in beyond)
        + 15.0 * runs
        + 5.0 * inner
    )
    cost += sum(n * _beside(*pair) for pair, n in pairs.items())
    return Reading(
        cost,
        codec,
        text,
        best.name,
        max(usual - misplaced, 0) / seen if seen else 1.0,
        seen,
        strange,
    )


def ranked(
    sample: bytes,
    rarity: dict[int, str],
    vote: str | None = None,
    words: frozenset[str] = frozenset(),
) -> list[Reading]:
    """The sample in these codecs, likeliest first.

    Args:
        sample: bytes to read.
        rarity: codecs by the nats that each owes.
        vote: a codec that somebody named; 3 nats for all codecs that give its text.
        words: see `read`.
    """
    owed = {codec: cost for cost, names in rarity.items() for codec in names.split()}
    if vote:
        owed.setdefault(vote, max(owed.values()) + 1)
    readings = {codec: read(sample, codec, words, cost) for codec, cost in owed.items()}
    named = readings[vote].text if vote else None
    voted = [r._replace(cost=r.cost - 3.0) if r.text == named else r for r in readings.values()]
    return sorted(voted, key=lambda reading: reading.cost)
