"""Hangul syllables as jamo, and back.

`Hangul` is lossless for every Unicode text. A precomposed syllable becomes its initial, vowel and final (compatibility
jamo, U+3131..U+3163) and a marker, U+1D25 `ᴥ`; a lone jamo becomes itself and a marker; the marker is doubled; all else
stays. So a unit always ends in an odd run of markers, and no two texts have the same encoding.

`HangulSlides` reproduces the 2017 notebooks byte for byte, including their faults. `Recomposer` composes the syllables
of a text in NFD, whose jamo are others (U+1100..). Decomposition is by `hangul_jamo`, after the Unicode Standard,
section 3.12 (Conjoining Jamo Behavior).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from hangul_jamo import decompose_syllable
from hangul_jamo.constants import (
    BASE_OF_SYLLABLES,
    LEADING_CONSONANTS,
    NUMBER_OF_SYLLABLES,
    TRAILING_CONSONANTS,
    VOWELS,
)

MARKER = "\u1d25"
JAMO = "".join(map(chr, range(0x3131, 0x3164)))

_INITIAL, _VOWEL = "".join(LEADING_CONSONANTS), "".join(VOWELS)
_FINALS = [final or "" for final in TRAILING_CONSONANTS]


def _slides_jamo(code: int) -> str:
    """A lone jamo taken for a syllable: its index is negative, and the initial is always ㄱ."""
    index = code - BASE_OF_SYLLABLES
    return "ㄱ" + VOWELS[index // len(_FINALS) % len(VOWELS)] + _FINALS[index % len(_FINALS)]


_SYLLABLES = {
    chr(code): "".join(filter(None, decompose_syllable(chr(code))))
    for code in range(BASE_OF_SYLLABLES, BASE_OF_SYLLABLES + NUMBER_OF_SYLLABLES)
}
_UNITS = {ord(syllable): jamo + MARKER for syllable, jamo in _SYLLABLES.items()}
_COMPOSED = {jamo: syllable for syllable, jamo in _SYLLABLES.items()}
_COMPOSED |= {jamo + MARKER: syllable for jamo, syllable in _COMPOSED.items()}

_LOSSLESS = {**_UNITS, **{ord(j): j + MARKER for j in JAMO}, ord(MARKER): MARKER * 2}


class _Slides(dict[int, str]):
    """For `str.translate`: characters not listed stay if they are Latin-1, and are dropped if not."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code <= 0xFF else ""


_SLIDES = _Slides({**_UNITS, **{ord(j): _slides_jamo(ord(j)) + MARKER for j in JAMO}})

# A consonant before a vowel is the next syllable's initial; a cluster such as ㄳ cannot be one, and stays final.
_BOTH = "".join(f for f in _FINALS if f and f in _INITIAL)
_CLUSTERS = "".join(f for f in _FINALS if f and f not in _INITIAL)
_UNIT = f"[{_INITIAL}][{_VOWEL}](?:[{_BOTH}](?![{_VOWEL}])|[{_CLUSTERS}])?"
_UNIT_OR_MARKERS = re.compile(f"{_UNIT}(?:{MARKER}(?!{MARKER}))?|{MARKER}+")
_UNIT_OR_MARKER = re.compile(f"{_UNIT}{MARKER}?|{MARKER}")
# A final cluster is certain already, but its syllable ends with the marker to come.
_UNDECIDED = re.compile(f"[{_INITIAL}](?:[{_VOWEL}][{_BOTH}{_CLUSTERS}]?)?\\Z")
_OPEN = "".join(map(chr, range(0xAC00, 0xD7A4, 28)))  # the syllables without a final
_CONJOINING = re.compile(f"[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|[{_OPEN}][\u11a8-\u11c2]")
_CONJOINING_UNDECIDED = re.compile(f"(?:[\u1100-\u1112][\u1161-\u1175]?|[{_OPEN}])\\Z")


class _Streaming:
    """Converts a stream in pieces; holds back the end that the next piece may change."""

    def __init__(self, convert: Callable[[str], str], undecided: re.Pattern[str]) -> None:
        self._convert, self._undecided = convert, undecided
        self._held = ""

    def feed(self, symbols: str) -> str:
        """The text that is certain now."""
        stream = self._held + symbols
        # At most an initial, a vowel and a final are held back.
        undecided = self._undecided.search(stream, max(len(stream) - 3, 0))
        cut = undecided.start() if undecided else len(stream)
        self._held = stream[cut:]
        return self._convert(stream[:cut])

    def flush(self) -> str:
        """The text held back. A new stream may follow."""
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
        """The stream of jamo and markers."""
        return text.translate(_LOSSLESS)

    def decode(self, symbols: str) -> str:
        """Text from any symbols: initial + vowel [+ final] is a syllable, then k markers are k // 2 literal ones."""
        return _UNIT_OR_MARKERS.sub(_text_of, symbols)

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
        # Half a pair of markers may have come before: put in front again, it completes the pair or is nothing.
        if not certain:
            return ""
        stream = MARKER + certain if self._odd else certain
        self._odd = (len(stream) - len(stream.rstrip(MARKER))) % 2 == 1
        return _UNIT_OR_MARKERS.sub(_text_of, stream)


class HangulSlides:
    """The 2017 notebooks' rules, byte for byte. Lossy: use `Hangul` for anything else.

    Syllables become jamo and a marker; characters up to U+00FF stay; lone jamo turn into garbage that begins with ㄱ;
    all others are dropped.

    >>> HangulSlides().encode("각 ㅎ“漢”")
    'ㄱㅏㄱᴥ ㄱㅛㄶᴥ'
    """

    name = "hangul-slides"
    version = 1

    def encode(self, text: str) -> str:
        return text.translate(_SLIDES)

    def decode(self, symbols: str) -> str:
        """Text from any symbols: syllables are composed, markers dropped."""
        return _UNIT_OR_MARKER.sub(lambda match: _COMPOSED.get(match[0], ""), symbols)

    def decoder(self) -> _Streaming:
        return _Streaming(self.decode, _UNDECIDED)


def recompose(text: str) -> str:
    """`text` with its conjoining jamo composed: `Recomposer` for a whole string."""
    # NFC of such a run alone is its syllable.
    return _CONJOINING.sub(lambda found: unicodedata.normalize("NFC", found[0]), text)


class Recomposer(_Streaming):
    """Composes syllables of conjoining jamo (NFD), and changes nothing else; text may come in pieces.

    Only initial U+1100..U+1112 + vowel U+1161..U+1175 [+ final U+11A8..U+11C2] are joined. NFC also changes
    270 characters of KS X 1001.
    """

    def __init__(self) -> None:
        super().__init__(recompose, _CONJOINING_UNDECIDED)
