"""Hangul syllables as jamo, and back (Unicode Standard, section 3.12; decomposition by `hangul_jamo`).

Lossless: a syllable becomes compatibility jamo (U+3131..U+3163) and a marker, U+1D25 `ᴥ`; a lone jamo gets a marker
too; a marker is doubled; all else stays. So an odd run of markers always ends a syllable or a lone jamo.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from hangul_jamo import decompose_syllable
from hangul_jamo.constants import LEADING_CONSONANTS, TRAILING_CONSONANTS, VOWELS

MARKER = "\u1d25"
JAMO = "".join(map(chr, range(0x3131, 0x3164)))

_CODES = range(0xAC00, 0xD7A4)  # of the syllables
_INITIAL, _VOWEL = "".join(LEADING_CONSONANTS), "".join(VOWELS)
_FINALS = [final or "" for final in TRAILING_CONSONANTS]


def _slides_jamo(code: int) -> str:
    """A lone jamo decomposed as if it were a syllable: the index is negative, and the initial always ㄱ."""
    index = code - _CODES.start
    return "ㄱ" + VOWELS[index // len(_FINALS) % len(VOWELS)] + _FINALS[index % len(_FINALS)]


_SYLLABLES = {c: "".join(filter(None, decompose_syllable(c))) for c in map(chr, _CODES)}
_MARKED = {ord(syllable): jamo + MARKER for syllable, jamo in _SYLLABLES.items()}
_COMPOSED = {jamo: syllable for syllable, jamo in _SYLLABLES.items()}
_COMPOSED |= {jamo + MARKER: syllable for jamo, syllable in _COMPOSED.items()}

_LOSSLESS = {**_MARKED, **{ord(j): j + MARKER for j in JAMO}, ord(MARKER): MARKER * 2}


class _Slides(dict[int, str]):
    """For `str.translate`: of the characters not listed, only Latin-1 stays."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code <= 0xFF else ""


_SLIDES = _Slides({**_MARKED, **{ord(j): _slides_jamo(ord(j)) + MARKER for j in JAMO}})

# A consonant before a vowel is the next initial; clusters such as ㄳ are always final.
_BOTH = "".join(f for f in _FINALS if f and f in _INITIAL)
_CLUSTERS = "".join(f for f in _FINALS if f and f not in _INITIAL)
_SPELLED = f"[{_INITIAL}][{_VOWEL}](?:[{_BOTH}](?![{_VOWEL}])|[{_CLUSTERS}])?"  # of a syllable
_SPELLED_OR_MARKERS = re.compile(f"{_SPELLED}(?:{MARKER}(?!{MARKER}))?|{MARKER}+")
_SPELLED_OR_MARKER = re.compile(f"{_SPELLED}{MARKER}?|{MARKER}")
# A final cluster or a lone jamo is certain, but its marker is still to come.
_UNDECIDED = re.compile(f"(?:[{_INITIAL}](?:[{_VOWEL}][{_BOTH}{_CLUSTERS}]?)?|[{JAMO}])\\Z")
_OPEN = "".join(map(chr, _CODES[::28]))  # the syllables without a final
_CONJOINING = re.compile(f"[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|[{_OPEN}][\u11a8-\u11c2]")
_CONJOINING_UNDECIDED = re.compile(f"(?:[\u1100-\u1112][\u1161-\u1175]?|[{_OPEN}])\\Z")


class _Streaming:
    """Converts a stream piece by piece, and holds back the end that the next piece may change."""

    def __init__(self, convert: Callable[[str], str], undecided: re.Pattern[str]) -> None:
        self._convert, self._undecided = convert, undecided
        self._held = ""

    def feed(self, symbols: str) -> str:
        stream = self._held + symbols
        # At most an initial, a vowel and a final are held back.
        undecided = self._undecided.search(stream, max(len(stream) - 3, 0))
        cut = undecided.start() if undecided else len(stream)
        self._held = stream[cut:]
        return self._convert(stream[:cut])

    def flush(self) -> str:
        held, self._held = self._held, ""
        return self._convert(held)


class Hangul:
    """Syllables as jamo with a marker after each; lossless: `decode(encode(x)) == x` for every `x`.

    >>> Hangul().encode("값이 ㅋ")
    'ㄱㅏㅄᴥㅇㅣᴥ ㅋᴥ'
    >>> Hangul().decode("ㄱㅏㄴㅏᴥ")
    '가나'
    """

    name = "hangul"
    version = 1

    def encode(self, text: str) -> str:
        return text.translate(_LOSSLESS)

    def decode(self, symbols: str) -> str:
        """The text of any symbols: initial + vowel [+ final] is a syllable; k markers are k // 2 literal ones."""
        return _SPELLED_OR_MARKERS.sub(_text_of, symbols)

    def decoder(self) -> HangulDecoder:
        return HangulDecoder()


def _text_of(match: re.Match[str]) -> str:
    found = match[0]
    return _COMPOSED.get(found) or MARKER * (len(found) // 2)


class HangulDecoder(_Streaming):
    """The streaming form of `Hangul.decode`."""

    def __init__(self) -> None:
        super().__init__(self._decode, _UNDECIDED)
        self._odd = False

    def flush(self) -> str:
        text = super().flush()
        self._odd = False
        return text

    def _decode(self, certain: str) -> str:
        # A marker without a partner came before: put in front, it completes a pair or is dropped.
        if not certain:
            return ""
        stream = MARKER + certain if self._odd else certain
        self._odd = (len(stream) - len(stream.rstrip(MARKER))) % 2 == 1
        return _SPELLED_OR_MARKERS.sub(_text_of, stream)


class HangulSlides:
    """The rules of the 2017 notebooks, including their errors; lossy.

    Like `Hangul`, but lone jamo become wrong jamo that begin with ㄱ, and other characters above U+00FF are dropped.

    >>> HangulSlides().encode("각 ㅎ“漢”")
    'ㄱㅏㄱᴥ ㄱㅛㄶᴥ'
    """

    name = "hangul-slides"
    version = 1

    def encode(self, text: str) -> str:
        return text.translate(_SLIDES)

    def decode(self, symbols: str) -> str:
        """The text of any symbols: syllables are composed, markers dropped."""
        return _SPELLED_OR_MARKER.sub(lambda match: _COMPOSED.get(match[0], ""), symbols)

    def decoder(self) -> _Streaming:
        return _Streaming(self.decode, _UNDECIDED)


def recompose(text: str) -> str:
    """`text` with conjoining jamo (NFD) composed to syllables.

    Only U+1100..U+1112 + U+1161..U+1175 [+ U+11A8..U+11C2] are joined; NFC changes 270 characters of KS X 1001 too.
    """
    return _CONJOINING.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)


class Recomposer(_Streaming):
    """The streaming form of `recompose`."""

    def __init__(self) -> None:
        super().__init__(recompose, _CONJOINING_UNDECIDED)
