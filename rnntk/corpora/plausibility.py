"""Score how much bytes decoded with a codec look like text, in nats.

The cost is the negative log-likelihood under a rough character model of a language (`languages.txt`), plus penalties
for unlikely neighbours. On one page, the right codec leads by hundreds of nats.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from math import exp, log
from pathlib import Path
from typing import Any, NamedTuple

from rnntk.config import read_toml

DATA = read_toml(Path(__file__).with_name("detection.toml"))

SAMPLE = 1 << 14  # bytes on which codecs are compared

_CJK = "jknq"
_UNLISTED: dict[str, float] = DATA["unlisted"]
_EVERYDAY: dict[str, dict[str, list[Any]]] = DATA["everyday"]
_NEIGHBOURS = [(re.compile(pattern), cost) for pattern, cost in DATA["neighbours"]]
_IN_WORDS = [(re.compile(pattern), cost) for pattern, cost in DATA["in_words"]]


class Reading(NamedTuple):
    """A sample decoded with one codec."""

    cost: float  # negative log-likelihood, nats
    codec: str
    text: str
    language: str  # the one that fits best
    seen: int  # non-ASCII characters in distinct words
    odd: int  # of these, unusual in that language or misplaced
    junk: float  # fraction of control, unassigned, private and undecodable characters
    strange: bool  # whether Latin letters form no common words
    one_case: bool  # whether all Cyrillic or Greek letters are capitals, or none is

    @property
    def cjk(self) -> bool:
        return self.language in _EVERYDAY


@lru_cache(1 << 16)
def _kind(c: str) -> str:
    """The kind of `c` as one character: a letter for its script, in the case of `c`, or a sign."""
    category = unicodedata.category(c)
    if category == "Zs" or c in "\t\n\r\f\x1a":
        return " "
    if category in ("Cc", "Cn", "Co", "Cs") or c == "\ufffd":
        return "!"
    if c.isascii():
        return "a" if c.islower() else "A" if c.isupper() else "1" if c.isdigit() else "."
    if category[0] in "LM" and c not in "ªºµ":
        jamo = "\u3131" <= c <= "\u318e" or c == "ー"
        other = "o" if category[0] == "L" else "^"  # "^": a combining mark
        script = "q" if jamo else DATA["scripts"].get(unicodedata.name(c, "?").split()[0], other)
        return script.upper() if c.isupper() else str(script)
    if "\u2500" <= c <= "\u259f":  # frames and shades
        return "#"
    other = '"' if category[0] == "P" else "="
    return next((sign for sign, listed in DATA["signs"].items() if c in listed), other)


class _Language:
    """A character model of one language, in nats."""

    def __init__(self, marks: str, name: str, letters: str = "", *words: str) -> None:
        self.name, self.words = name, frozenset(words)
        self.script = _kind(letters[-1]) if letters else "l"
        self.cjk = self.script in _CJK
        first, span = (3.5, 6.0) if self.cjk else (5.0, 4.0)
        self._costs = {mark: first + span * i / len(marks) for i, mark in enumerate(marks)}
        # Log probabilities fall with rank, by `span` nats in all. The fraction of the listed letters in a text is
        # exp(-`share`): 5 % in Latin script, nearly none in English, half in CJK.
        span, share = (2.5, 0.7) if self.cjk else (3.0, 3.0) if self.script == "l" else (4.0, 0.0)
        share = 5.5 if name == "English" else share
        ranks = [span * i / len(letters) for i in range(len(letters))]
        first = share + log(sum(exp(-rank) for rank in ranks) or 1)
        self._costs |= {c: first + rank for c, rank in zip(letters, ranks, strict=True)}
        self.usual = max(first + span, 9.4)
        self._foreign = first + span + 4.5

    def cost(self, c: str) -> float:
        if c not in self._costs:
            self._costs[c] = self._costs.get(c.lower()) or self._unlisted(c, _kind(c).lower())
        return self._costs[c]

    def _unlisted(self, c: str, kind: str) -> float:
        if kind == self.script == "l":
            return self._foreign if self.words else 9.5 if c < "\u0100" else 12.0
        if kind in _EVERYDAY.get(self.name, {}):
            codec, first, last, cost, other = _EVERYDAY[self.name][kind]
            code = c.encode(codec, "ignore")
            return float(cost if len(code) == 2 and first <= code[0] <= last else other)
        return _UNLISTED.get(kind, 13.0)


@lru_cache(1)
def _languages() -> list[_Language]:
    text = Path(__file__).with_name("languages.txt").read_text("utf-8")
    lines = [line.split() for line in text.splitlines() if line and line[0] != "#"]
    marks = {words[0]: words[1] + "\xa0" for words in lines[:2]}
    listed = [*lines[2:], ["any"]]
    return [_Language(marks["cjk" if one[0] in _EVERYDAY else "marks"], *one) for one in listed]


@lru_cache
def _home(codec: str) -> str:
    """The script of most of the codec's non-ASCII bytes."""
    kinds = Counter(map(_kind, bytes(range(128, 256)).decode(codec, "ignore").lower()))
    return max((kinds[kind], kind) for kind in "lcghrt" + _CJK)[1]


def read(data: bytes, codec: str, words: frozenset[str] = frozenset(), prior: float = 0) -> Reading:
    """Decode and score a sample. `prior`: nats to add; `words`: ASCII words from elsewhere in the text."""
    text = data.decode(codec, "replace")
    if len(data) >= SAMPLE:  # the last character may be cut
        text = text.removesuffix("\ufffd")
    # Count numbers, runs of one character and repeated words once.
    folded = re.sub(r"(\S)\1{3,}", r"\1\1\1", re.sub("[0-9]+", "0", text), flags=re.IGNORECASE)
    distinct = dict.fromkeys(re.split("[ \t\r\n]+", folded))
    folded = " ".join(distinct)
    counts = Counter(folded)
    kinds = "".join(map(_kind, folded))
    beyond = {c: n for c, n in counts.items() if not c.isascii() or _kind(c) == "!"}
    seen = sum(beyond.values())
    cjk = 2 * sum(n for c, n in beyond.items() if _kind(c) in _CJK) > seen
    found = words | frozenset(re.findall(r"[^\W\d_]+", folded.lower()))
    # Few words among many in ASCII are seldom of a non-Latin script.
    few = min(2 * len(words) / len(distinct), 15.0)
    common = [2.5 * min(len(found & x.words), 20) * (x.script == "l") for x in _languages()]

    def fits(number: int, one: _Language) -> float:
        gain = common[number] if one.script == "l" else max(common) - few
        letters = sum(n * one.cost(c) for c, n in beyond.items())
        return letters - gain + (2 + 0.03 * number if number else 0)

    fitting = [(fits(i, one), i) for i, one in enumerate(_languages()) if one.cjk == cjk]
    cost, index = min(fitting)
    best = _languages()[index]
    pairs = [(one, len(pattern.findall(kinds))) for pattern, one in _NEIGHBOURS]
    pairs += [(one, len(pattern.findall(folded))) for pattern, one in _IN_WORDS]
    # The rarer case is the unlikely one: capitals, or small letters in a text of capitals.
    capitals, small = (len(re.findall(case, kinds)) for case in ("[CGHLORT]", "[acghlort]"))
    pairs.append((1.0, min(capitals, small + kinds.count("a") + 4)))
    if not best.cjk:
        alone = re.finditer(r"(?<![\w^])(?i:[cghlort])(?![\w^])", kinds)
        lone = {folded[found.start()].lower() for found in alone}
        pairs.append((2.9, len(lone - best.words)))
    strange = best.script == "l" and len(found & best.words) < min(3, len(found) / 10)
    one_case = best.script in "cg" and seen > 0 and 0 in (capitals, small)
    usual = sum(n for c, n in beyond.items() if best.cost(c) <= best.usual)
    misplaced = sum(n for one, n in pairs if one >= 3)
    home = _home(codec)
    # A codec made for another script is less likely.
    prior += 0.0 if (home in _CJK if best.cjk else home == best.script) else 4.0
    cost += prior + sum(n * best.cost(c) for c, n in counts.items() if c not in beyond)
    cost += sum(one * n for one, n in pairs)
    odd = min(seen - usual + misplaced, seen)
    junk = kinds.count("!") / max(len(kinds), 1)
    return Reading(cost, codec, text, best.name, seen, odd, junk, strange, one_case)


def ranked(
    sample: bytes, uses: str, vote: str | None = None, words: frozenset[str] = frozenset()
) -> list[Reading]:
    """Readings of the sample in the codecs that decode it, likeliest first; up to 5 % damage is allowed in CJK.

    `uses` names tables of codecs in `detection.toml`. Readings equal to that of the codec `vote` gain up to 3 nats.
    """
    tables = [table for use in uses.split() for table in DATA["codecs"][use].items()]
    priors = {codec: float(cost) for cost, names in tables for codec in names.split()}
    if vote:
        priors.setdefault(vote, max(priors.values()) + 1)
    readings = [read(sample, codec, words, prior) for codec, prior in priors.items()]
    named = next((r for r in readings if r.codec == vote), None)
    weight = min(named.seen / 2, 3.0) if named else 0.0
    return sorted(
        r._replace(cost=r.cost - weight) if named and r.text == named.text else r
        for r in readings
        if (bad := r.text.count("\ufffd")) == 0 or (r.cjk and 20 * bad <= r.seen)
    )
