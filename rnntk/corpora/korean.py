"""Korean particles and verb endings.

A syllable is U+AC00 + (initial * 21 + vowel) * 28 + final, where final 0 is none.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST, _LAST = 0xAC00, 0xD7A3
_WITH_GA = {"나": "내가", "너": "네가", "저": "제가", "누구": "누가"}
_RIEUL, _PIEUP, _SSANG_SIOT = 8, 17, 20


def final_of(word: str) -> int:
    """The index of the word's final consonant, 0 for none; `ValueError` if it does not end in Hangul."""
    last = ord(word[-1])
    if not _FIRST <= last <= _LAST:
        raise ValueError(f"{word!r} does not end in a Hangul syllable")
    return (last - _FIRST) % 28


class Noun(str):
    """A word that ends in a Hangul syllable.

    The format is a particle: its form after consonants, then that after vowels (with 으, also after ㄹ).

    >>> f"{Noun('책'):을/를} {Noun('차'):을/를} {Noun('물'):으로/로}"
    '책을 차를 물로'
    """

    __slots__ = ()

    def __format__(self, particle: str) -> str:
        if particle == "이/가" and self in _WITH_GA:
            return _WITH_GA[self]
        after_consonant, _, after_vowel = particle.partition("/")
        final = final_of(self) if particle else 0
        open_ended = final == 0 or (final == _RIEUL and after_consonant.startswith("으"))
        return str(self) + (after_vowel if open_ended else after_consonant)


def _with_final(word: str, final: int) -> str:
    assert final_of(word) == 0, word
    return word[:-1] + chr(ord(word[-1]) + final)


def _without_rieul(word: str) -> str:
    """The word without a final ㄹ, which is dropped before ㄴ, ㅂ and ㅅ: 만들 -> 만드."""
    return word[:-1] + chr(ord(word[-1]) - _RIEUL) if final_of(word) == _RIEUL else word


@dataclass(frozen=True)
class Predicate:
    """A verb or an adjective, as its three bases. The format is an ending.

    >>> eat, make, hear = map(Predicate.parse, ("먹 먹어", "만들 만들어", "듣 들어 들으"))
    >>> f"{eat:고} {eat:었다} {make:는} {make:은} {hear:을까요} {hear:습니다} {hear:으면서}"
    '먹고 먹었다 만드는 만든 들을까요 듣습니다 들으면서'
    """

    stem: str  # before ㄱ, ㅈ, ㄷ: 듣(고), 돕(지만), 만들(고)
    infinitive: str  # with 아/어, contracted where usual: 들어, 도와, 만들어, 가, 해
    soft: str  # before endings with 으 after consonants: 들으(면), 도우(면), 만들(면)

    @classmethod
    def parse(cls, text: str) -> Predicate:
        """Parse `stem infinitive [soft]`; the default of `soft` is the regular form.

        >>> Predicate.parse("먹 먹어").soft, Predicate.parse("듣 들어 들으").soft
        ('먹으', '들으')
        """
        stem, infinitive, *rest = text.split()
        regular = stem if final_of(stem) in (0, _RIEUL) else stem + "으"
        return cls(stem, infinitive, rest[0] if rest else regular)

    def __format__(self, ending: str) -> str:
        first, rest = ending[0], ending[1:]
        if first == "어":
            return self.infinitive + rest
        if first == "었":
            return _with_final(self.infinitive, _SSANG_SIOT) + rest
        if first in "은을":
            return _with_final(_without_rieul(self.soft), final_of(first)) + rest
        if first == "으":
            return (_without_rieul(self.soft) if rest[0] == "세" else self.soft) + rest
        base = _without_rieul(self.stem)
        if ending == "습니다" and not final_of(base):
            return _with_final(base, _PIEUP) + "니다"
        return (base if first in "는네" else self.stem) + ending
