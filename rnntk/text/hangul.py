"""Hangul syllables as jamo, and back.

`Hangul` is lossless for every Unicode text. Each precomposed syllable becomes its initial, vowel
and final (compatibility jamo, U+3131..U+3163) and a marker, U+1D25 `ᴥ`; a lone jamo becomes itself
and a marker; the marker itself is doubled; all else stays. So a unit always ends in an odd run of
markers, and no two texts share a stream.

`HangulSlides` is what the 2017 notebooks did, byte for byte, faults included.

`Recomposer` makes syllables of a text in NFD, whose jamo are others (U+1100..).

The arithmetic is that of the Unicode Standard, section 3.12 (Conjoining Jamo Behavior).
"""

from __future__ import annotations

import re

MARKER = "\u1d25"
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")

FIRST_SYLLABLE, LAST_SYLLABLE = 0xAC00, 0xD7A3
JAMO = "".join(map(chr, range(0x3131, 0x3164)))


def _jamo_of(index: int) -> str:
    """Initial, vowel and final of the syllable `index` places after U+AC00."""
    initial, rest = divmod(index, len(VOWELS) * len(FINALS))
    vowel, final = divmod(rest, len(FINALS))
    return INITIALS[initial] + VOWELS[vowel] + FINALS[final]


def _slides_jamo(code: int) -> str:
    """A lone jamo taken for a syllable: its index is negative, and the initial is always ㄱ."""
    index = code - FIRST_SYLLABLE
    vowel = VOWELS[index // len(FINALS) % len(VOWELS)]
    return INITIALS[0] + vowel + FINALS[index % len(FINALS)]


_SYLLABLES = {
    chr(code): _jamo_of(code - FIRST_SYLLABLE) for code in range(FIRST_SYLLABLE, LAST_SYLLABLE + 1)
}
_UNITS = {ord(syllable): jamo + MARKER for syllable, jamo in _SYLLABLES.items()}
_COMPOSED = {jamo: syllable for syllable, jamo in _SYLLABLES.items()}
_COMPOSED |= {jamo + MARKER: syllable for jamo, syllable in _COMPOSED.items()}

_LOSSLESS = {**_UNITS, **{ord(j): j + MARKER for j in JAMO}, ord(MARKER): MARKER * 2}


class _Slides(dict[int, str]):
    """For `str.translate`: what is not listed stays if it is Latin-1, and vanishes if not."""

    def __missing__(self, code: int) -> str:
        return chr(code) if code <= 0xFF else ""


_SLIDES = _Slides({**_UNITS, **{ord(j): _slides_jamo(ord(j)) + MARKER for j in JAMO}})

# A consonant that may be initial belongs to the next syllable if a vowel follows; a final cluster
# such as ㄳ cannot, and stays.
_BOTH = "".join(f for f in FINALS if f and f in INITIALS)
_CLUSTERS = "".join(f for f in FINALS if f and f not in INITIALS)
_UNIT = f"[{INITIALS}][{VOWELS}](?:[{_BOTH}](?![{VOWELS}])|[{_CLUSTERS}])?"
_UNIT_OR_MARKERS = re.compile(f"{_UNIT}(?:{MARKER}(?!{MARKER}))?|{MARKER}+")
# A syllable with a cluster is certain already, but its marker is still to come: it ends with it.
_UNDECIDED = re.compile(f"[{INITIALS}](?:[{VOWELS}][{_BOTH}{_CLUSTERS}]?)?\\Z")


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
        """Text from any stream of symbols, also one that `encode` cannot give.

        Each initial + vowel [+ final] becomes a syllable; then each run of k markers becomes k // 2
        literal ones.
        """
        return _UNIT_OR_MARKERS.sub(_text_of, symbols)

    def decoder(self) -> HangulDecoder:
        """A streaming decoder."""
        return HangulDecoder()


def _text_of(match: re.Match[str]) -> str:
    found = match[0]
    return _COMPOSED.get(found) or MARKER * (len(found) // 2)


class HangulDecoder:
    """The streaming form of `Hangul.decode`.

    Held back is at most an initial, a vowel and a final: the next symbol may still join them.
    """

    def __init__(self) -> None:
        self._held = ""
        self._odd = False

    def feed(self, symbols: str) -> str:
        """The text that is certain now."""
        stream = self._held + symbols
        undecided = _UNDECIDED.search(stream, max(len(stream) - 3, 0))
        cut = undecided.start() if undecided else len(stream)
        self._held = stream[cut:]
        return self._decode(stream[:cut])

    def flush(self) -> str:
        """What was held back. A new stream may follow."""
        held, self._held = self._held, ""
        text = self._decode(held)
        self._odd = False
        return text

    def _decode(self, certain: str) -> str:
        # Half a pair of markers may have come before; put in front again it completes the pair, or
        # alone it is nothing.
        if not certain:
            return ""
        stream = MARKER + certain if self._odd else certain
        self._odd = (len(stream) - len(stream.rstrip(MARKER))) % 2 == 1
        return _UNIT_OR_MARKERS.sub(_text_of, stream)


_UNIT_OR_MARKER = re.compile(f"{_UNIT}{MARKER}?|{MARKER}")


class HangulSlides:
    """The 2017 notebooks' rules, byte for byte. Lossy: use `Hangul` for anything else.

    Syllables become jamo and a marker; characters up to U+00FF stay; all others are dropped, but
    for lone jamo, which turn into garbage that begins with ㄱ.

    >>> HangulSlides().encode("각 ㅎ“漢”")
    'ㄱㅏㄱᴥ ㄱㅛㄶᴥ'
    """

    name = "hangul-slides"
    version = 1

    def encode(self, text: str) -> str:
        """The notebooks' stream of jamo and markers."""
        return text.translate(_SLIDES)

    def decode(self, symbols: str) -> str:
        """Text from any stream of symbols: syllables are composed, markers dropped."""
        return _UNIT_OR_MARKER.sub(lambda match: _COMPOSED.get(match[0], ""), symbols)

    def decoder(self) -> SlidesDecoder:
        """A streaming decoder."""
        return SlidesDecoder()


class SlidesDecoder:
    """The streaming form of `HangulSlides.decode`."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, symbols: str) -> str:
        """The text that is certain now."""
        stream = self._held + symbols
        undecided = _UNDECIDED.search(stream, max(len(stream) - 3, 0))
        cut = undecided.start() if undecided else len(stream)
        self._held = stream[cut:]
        return HangulSlides().decode(stream[:cut])

    def flush(self) -> str:
        """What was held back. A new stream may follow."""
        held, self._held = self._held, ""
        return HangulSlides().decode(held)


_CONJOINING = re.compile("[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?")
_CONJOINING_HELD = re.compile("[\u1100-\u1112][\u1161-\u1175]?\\Z")


class Recomposer:
    """Makes syllables of conjoining jamo (NFD), and touches nothing else; text may come in pieces.

    Only initial U+1100..U+1112 + vowel U+1161..U+1175 [+ final U+11A8..U+11C2] are joined. NFC
    would do that too, but it also changes 270 characters of KS X 1001.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is certain now."""
        text = self._held + text
        held = _CONJOINING_HELD.search(text, max(len(text) - 2, 0))
        cut = held.start() if held else len(text)
        self._held = text[cut:]
        return _CONJOINING.sub(_syllable, text[:cut])

    def flush(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return _CONJOINING.sub(_syllable, held)


def _syllable(match: re.Match[str]) -> str:
    initial, vowel, *final = map(ord, match[0])
    index = (initial - 0x1100) * len(VOWELS) + vowel - 0x1161
    return chr(FIRST_SYLLABLE + index * len(FINALS) + (final[0] - 0x11A7 if final else 0))


def recompose(text: str) -> str:
    """`text` with its conjoining jamo made syllables: `--normalize` for a whole string.

    >>> recompose("\u1112\u1161\u11ab")
    '한'
    """
    return _CONJOINING.sub(_syllable, text)
