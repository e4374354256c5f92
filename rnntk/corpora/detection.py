"""Detect the encoding of a file's bytes.

A byte order mark or valid UTF-8 decides. Otherwise a sample is decoded with each common codec and scored
(`plausibility`, and chardet's vote); of the codecs that decode the whole file, the one with the best score wins.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import chardet

from rnntk.corpora.plausibility import DATA, SAMPLE, Reading, ranked, read
from rnntk.errors import DataError, EmptyError, EncodingError, UsageError, did_you_mean, quoted

WINDOW = 1 << 16  # bytes examined, from the first non-ASCII one
UNSURE = 0.2  # the user is warned below this confidence
SURE = 8.0  # nats by which the best reading must lead (for few characters up to two, in English up to four times that)

_PIECE = 512  # bytes; a multiple of any code unit
_MOST_PIECES = 1024
_HANGUL = re.compile("[\uac00-\ud7a3\u3131-\u3163]")

_NON_ASCII = re.compile(rb"[\x80-\xff]")
_AROUND = re.compile(
    rb"^[!-/:-?]+|[!-/:-?]+s?$"
)  # punctuation around a word, which no codec has inside a character
# Escapes of the seven-bit encodings ISO 2022, HZ and UTF-7; three patterns are faster than one.
_UTF7 = rb"\+[A-Za-z0-9+/]{3}(?:[A-Za-z0-9+/]*-|[A-Za-z0-9+/]{2})"
_SHIFTS = [re.compile(shift) for shift in (rb"\x1b\$", rb"~\{", _UTF7)]
# Bytes that do not make a file binary: ISO 2022 and terminals use some control characters.
_PRINTED = b"\b\t\n\f\r\x0e\x0f\x1a\x1b" + bytes(range(32, 256))
# UTF-8, and the additions of CESU-8 and Java: surrogate pairs, an overlong NUL.
_SEQUENCE = re.compile(
    rb"(?:[\xc0-\xdf]|[\xe0-\xef][\x80-\xbf]|[\xf0-\xf7][\x80-\xbf]{2})[\x80-\xbf]"
)
_CESU_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]|\xc0\x80")
_OR_REPLACE = ' Or set `errors="replace"` to read them as U+FFFD.'
_EXAMPLES = "for example utf-8, cp949, euc-kr, latin-1"
_AS_BYTES = 'To train on its bytes, set `preprocessor="bytes"`.'
SAVE_AS_TEXT = "Save it as plain text (in Word: Save As, Plain Text (.txt))."

Decodes = Callable[[str], "EncodingError | None"]


class Scan:
    """Collects facts about a file's bytes in one pass; without `evidence`, only size, hash and both ends."""

    def __init__(self, name: str, *, evidence: bool = True) -> None:
        self.name = name
        self.size = self.nuls = 0
        self.first_nul = -1  # offset
        self.ascii = True
        self.head, self.last = bytearray(), b""  # the first and the last bytes
        # `WINDOW` bytes from the first non-ASCII word or escape; later words with new bytes are put in front.
        self.window = bytearray()
        # Pieces of `_PIECE` bytes, `_apart` bytes apart, from the whole file.
        self._pieces: list[bytes] = []
        self._apart = 4 * _PIECE
        self._failure: tuple[int, bytes] | None = None
        self._evidence = evidence
        self._seen = bytes(range(128))  # values in the window
        self._sha = hashlib.sha256()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    @property
    def failure(self) -> tuple[int, bytes] | None:
        """Offset and bytes of the first place that is not UTF-8, or None."""
        pending = self._utf8.getstate()[0]
        return self._failure or ((self.size - len(pending), pending) if pending else None)

    @property
    def cut(self) -> bool:
        """Whether all is UTF-8, but for a character that the end cuts."""
        return self._failure is None and bool(self._utf8.getstate()[0])

    def add(self, chunk: bytes) -> None:
        self._sha.update(chunk)
        self.head += chunk[: WINDOW - len(self.head)]
        if self._evidence:
            plain = chunk.isascii()
            if self._failure is None and (not plain or self._utf8.getstate()[0]):
                try:
                    self._utf8.decode(chunk)
                except UnicodeDecodeError as error:
                    offset = self.size + len(chunk) - len(error.object) + error.start
                    self._failure = (offset, error.object[error.start : error.end])
            if 0 in chunk:
                self.first_nul = self.first_nul if self.nuls else self.size + chunk.index(0)
                self.nuls += chunk.count(0)
            self._look(chunk, plain)
        starts = range(-self.size % self._apart, len(chunk), self._apart)
        self._pieces += [chunk[start : start + _PIECE] for start in starts]
        while len(self._pieces) > _MOST_PIECES:
            self._pieces, self._apart = self._pieces[::2], 2 * self._apart
        self.size += len(chunk)
        self.last = (self.last + chunk[-40:])[-40:]

    def _look(self, chunk: bytes, plain: bool) -> None:
        """Fill the window."""
        start = 0
        if not self.window or (self.ascii and not plain):
            signs = _SHIFTS if plain else [_NON_ASCII]
            starts = [found.start() for sign in signs if (found := sign.search(chunk))]
            if not starts:
                return
            start = min(starts)
            before = self.last + chunk[max(start - 40, 0) : start]  # the beginning of its word
            self.window = bytearray(re.split(rb"\s", before[-40:])[-1])
        self.ascii = self.ascii and plain
        room = max(WINDOW - len(self.window), 0)
        self.window += chunk[start : start + room]
        if self._failure and not plain:
            beyond = chunk[start + room :]
            seen = self._seen + bytes(set(self.window)) if room else self._seen
            for value in set(beyond.translate(None, seen)):
                at = beyond.index(value)
                # Whole words, so as not to cut multi-byte characters.
                begin = max(beyond.rfind(space, 0, at) for space in (b"\n", b" ")) + 1
                words = beyond[max(begin, at - 400) : at + 400].split()
                self.window[:0] = b" ".join(words[:-1] or words) + b" "
                seen += bytes([value])
            self._seen = seen

    def hangul(self, codec: str) -> float:
        """The fraction of Hangul among the letters in pieces from the whole file, with conjoining jamo composed."""
        try:
            text = unicodedata.normalize("NFC", b"".join(self._pieces).decode(codec, "ignore"))
        except UnicodeError:  # some codecs do not support "ignore"
            return 0.0
        letters = sum(map(str.isalpha, text))
        return len(_HANGUL.findall(text)) / max(letters, 1)

    def words(self) -> bytes:
        """Distinct non-ASCII words of the window, at most `SAMPLE` bytes; punctuation makes none distinct."""
        words = self.window.rstrip(b"\x1a").split()
        if len(self.window) >= WINDOW:
            words = words[:-1] or words  # the last one may be cut
        first: dict[bytes, bytes] = {}
        for word in map(bytes, words):
            if not word.isascii():
                first.setdefault(_AROUND.sub(b"", word), word)
        return b" ".join(first.values())[:SAMPLE]


@dataclass
class EncodingReport:
    """A file's encoding, size and SHA-256."""

    encoding: str  # name of the Python codec
    how: str  # how it was found
    # 0 to 1: lead / (lead + 4 × the lead needed), in nats over the next reading; None: not guessed.
    confidence: float | None = None
    bytes: int = 0  # after decompression
    sha256: str = ""  # of those bytes
    trailing_sub: bool = False  # whether the text ends in 0x1A, the DOS end of file, which is kept
    compression: str | None = None  # `gzip` or `xz`
    replaced: int = 0  # undecodable byte sequences for which `iter_text` put U+FFFD
    doubt: str = ""  # evidence and alternatives, if the guess is weak
    # Fraction of Hangul among the letters of a sample; not stored.
    hangul: float = dataclasses.field(default=0.0, compare=False, repr=False)

    @property
    def unsure(self) -> bool:
        """Whether to warn the user of a low confidence."""
        return self.confidence is not None and self.confidence < UNSURE

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in dataclasses.asdict(self).items() if k != "hangul"}


def undecodable(
    name: str, codec: str, offset: int, wrong: bytes, why: str = "", *, cut: bool = False
) -> EncodingError:
    """The error for the `wrong` bytes at an offset, `cut` at the file's end; its message begins with `why`."""
    if cut:
        problem = (
            f"{name} ends inside a character of {codec}: {wrong[:8].hex(' ')} at byte {offset:,}."
        )
        return EncodingError(f"{why}{problem} If it was cut short, copy it again.", _OR_REPLACE)
    problem = f"{name} does not decode as {codec}: {wrong[:8].hex(' ')} at byte {offset:,}."
    advice = f"Set `encoding` ({_EXAMPLES})."
    return EncodingError(f"{why}{problem} {advice}", _OR_REPLACE)


def decide(
    scan: Scan, decodes: Decodes, *, encoding: str | None, stated_by: str, errors: str
) -> EncodingReport:
    """The encoding of a scanned file; `decodes(codec)` tries the whole file. Raises as `encoding.detect`."""
    head = bytes(scan.head)
    marks = {bytes.fromhex(mark): codec for mark, codec in DATA["marks"].items()}
    mark = next(filter(head.startswith, marks), b"")
    mark_codec = marks.get(mark, "")
    if scan.size == len(mark):
        content = "only a byte order mark" if mark else "no text"
        raise EmptyError(f"{scan.name} is empty: it has {content}.")
    if encoding is not None:
        codec = _text_codec(encoding)
        if codec is None:
            common = ["utf-8", "cp949", "euc-kr", "johab", "latin-1", "utf-16"]
            hint = did_you_mean(encoding, common) or f" Use {_EXAMPLES}."
            raise UsageError(f"Python has no codec for `encoding` {encoding!r}.{hint}")
        how = f"stated by {stated_by}"
        family = re.sub("-(sig|le|be)$", "", codec.replace("_", "-"))
        if mark and mark_codec.startswith(family):
            return EncodingReport(mark_codec, f"{how}; its byte order mark is left out")
        return EncodingReport(codec, how)
    decodes = lru_cache(decodes)
    if mark:
        # The scan has already tried UTF-8.
        doubtful = mark_codec != "utf-8-sig" or scan.failure is not None
        if doubtful and errors == "strict" and (failure := decodes(mark_codec)):
            raise failure
        family = mark_codec.removesuffix("-sig").upper()
        return EncodingReport(mark_codec, f"its byte order mark says {family}")
    if known := _binary(head):
        kind, advice = known
        advice = SAVE_AS_TEXT if advice == "save" else advice or "Give a text file."
        file = quoted(scan.name) if Path(scan.name).exists() else "FILE"
        raise DataError(f"{scan.name} is {kind}, not text. {advice.format(file=file)}")
    if scan.first_nul >= 0 or 10 * len(head.translate(None, _PRINTED)) > len(head):
        return _with_controls(scan, decodes)
    if scan.failure is None:
        whole = EncodingReport("utf-8", "the whole file is valid UTF-8")
        return _seven_bit(bytes(scan.window[:SAMPLE]), decodes) if scan.ascii else whole
    if error := _nearly_utf8(scan, *scan.failure):
        if errors == "strict":
            raise error
        return EncodingReport("utf-8", "nearly all is valid UTF-8, the rest is replaced")
    answer = chardet.detect(bytes(scan.window))
    vote, confidence = _text_codec(answer["encoding"] or ""), answer["confidence"]
    # UTF-8 has been ruled out, and chardet often guesses UTF-16 wrongly.
    vote = None if (vote or "ascii").startswith(("ascii", "utf")) else vote
    said = f"chardet says {vote} ({confidence:.2f})" if vote else "chardet has no answer"
    spaced = 50 * (head.count(b" ") + head.count(b"\n")) >= len(head)
    if spaced:
        source = bytes(scan.window)
        plain = re.findall(rb"(?<![\x80-\xff])[a-z]+(?![\x80-\xff])", (head + source).lower())
        readings = ranked(scan.words(), "text", vote, frozenset(map(bytes.decode, plain)))
    else:
        source, readings = head, ranked(head[:SAMPLE], "text no_spaces", vote)
    first = readings[0]
    if error := _partly_utf8(scan, first.codec):
        if errors == "strict":
            raise error
        return EncodingReport("utf-8", "part of it is valid UTF-8, the rest is replaced")
    # Few bytes make a text of CJK by accident, and names and old texts have many rare characters.
    most_odd = 1 if spaced else 2 / 3 if first.cjk else 1 / 5
    if first.seen > 20 and (first.junk > 0.1 or first.odd > most_odd * first.seen):
        raise DataError(f"{scan.name} is binary, not text. {_AS_BYTES}")
    return _judged(source, readings, decodes, said, errors, vote)


def _binary(head: bytes) -> tuple[str, str] | None:
    """The kind of a file that is not text, and the advice for it; None if its first bytes do not tell."""
    for magic, known in DATA["binary"].items():
        if head.startswith(bytes.fromhex(magic)):
            return tuple(known)
    for pattern, known in DATA["binary_patterns"].items():
        if re.match(pattern.encode(), head, re.DOTALL):
            return tuple(known)
    return None


def _text_codec(encoding: str) -> str | None:
    """Python's name of a text encoding; None if Python has none."""
    try:
        info = codecs.lookup(encoding)
    except LookupError:
        return None
    return info.name if info._is_text_encoding else None


def _seven_bit(window: bytes, decodes: Decodes) -> EncodingReport:
    """ASCII, or an encoding with other letters in seven bits."""
    lines = window.split(b"\n")[:-1] or [window]
    readings = ranked(b"\n".join(dict.fromkeys(lines)), "seven_bit")
    if len({r.text for r in readings}) > 1:
        found = _judged(window, readings, decodes, "")
        if found.encoding != "utf-8" or found.doubt:
            return found
    return EncodingReport("utf-8", "pure ASCII")


def _with_controls(scan: Scan, decodes: Decodes) -> EncodingReport:
    """UTF-8 with NUL, UTF-16 or UTF-32 without a mark; `DataError` for a binary file."""
    sample = bytes(scan.head[:SAMPLE])
    readings = [r for r in ranked(sample, "wide") if _explains(r, sample) and not decodes(r.codec)]
    if scan.failure is None and 4 * scan.nuls <= 3 * scan.size:
        # NUL as a separator of fields, like a line end.
        readings.append(read(sample.replace(b"\0", b"\n"), "utf-8"))
    if readings := sorted(r for r in readings if r.junk <= 0.02):
        found = _judged(sample, readings, decodes, "no byte order mark")
        how = f"the whole file is valid UTF-8, with {scan.nuls:,} NUL in it"
        return replace(found, how=how) if found.encoding == "utf-8" else found
    signs = "many control characters"
    if scan.first_nul >= 0:
        signs = f"{scan.nuls:,} NUL bytes, the first at byte {scan.first_nul:,}"
    text = bytes(scan.window[:SAMPLE]).replace(b"\0", b"\n")
    few = 50 * len(text.translate(None, _PRINTED)) < len(text)
    likely = ranked(text, "text") if few else []
    plausible = (r for r in likely if 5 * r.odd <= r.seen and not r.junk and not decodes(r.codec))
    use = next((f' If it is text, set `encoding="{r.codec}"`.' for r in plausible), "")
    raise DataError(f"{scan.name} is binary, not text: it has {signs}. {_AS_BYTES}{use}")


def _explains(reading: Reading, sample: bytes) -> bool:
    """Whether this UTF-16 or UTF-32 explains the NUL bytes, with letters of one script."""
    pages = Counter(ord(c) >> 8 for c in reading.text if not c.isascii())
    one_script = max(pages.values(), default=1) > 0.6 * pages.total()
    # In UTF-16 a NUL byte is half of an ASCII or Latin-1 character.
    halves = "32" in reading.codec or 2 * sum(c < "\u0100" for c in reading.text) >= sample.count(0)
    return 10 * reading.odd <= reading.seen or (one_script and halves)


def _nearly_utf8(scan: Scan, offset: int, wrong: bytes) -> EncodingError | None:
    """The error for damaged UTF-8, or None. That is 4 good sequences per bad byte, or 20 if the good ones are few."""
    rest, good = _SEQUENCE.subn(b"", scan.window)
    pairs = len(_CESU_PAIR.findall(scan.window))
    good += 2 * pairs
    bad = len(rest.translate(None, bytes(range(128))))
    bad -= 3 if len(scan.window) >= WINDOW else 0  # a character may be cut at its end
    if good < 3 or good < (4 if good >= 12 else 20) * bad:
        return None
    if not pairs:
        nearly = "Nearly all of it is UTF-8, but "
        return undecodable(scan.name, "utf-8", offset, wrong, nearly, cut=scan.cut)
    return EncodingError(
        f"Nearly all of {scan.name} is UTF-8; byte {offset:,} begins CESU-8 or Java's modified UTF-8. "
        "Convert it to UTF-8.",
        _OR_REPLACE,
    )


def _partly_utf8(scan: Scan, codec: str) -> EncodingError | None:
    """The error for UTF-8 joined with another encoding, or None.

    Its words that are valid UTF-8 make better text so than in the likeliest `codec`.
    """
    words = scan.words().split()
    valid = b" ".join(word for word in words if _SEQUENCE.search(word) and _is_utf8(word))
    if len(set(_SEQUENCE.findall(valid))) < 2:
        return None
    if read(valid, "utf-8").cost + SURE > read(valid, codec).cost:
        return None
    offset, wrong = scan.failure or (0, b"")
    return EncodingError(
        f"{scan.name} mixes encodings: {wrong.hex(' ')} at byte {offset:,} is not UTF-8, and other words are "
        f"not {codec}. Convert each part to UTF-8, or set `encoding`.",
        _OR_REPLACE,
    )


def _is_utf8(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True


def _judged(
    source: bytes,
    readings: list[Reading],
    decodes: Decodes,
    said: str,
    errors: str = "strict",
    vote: str | None = None,
) -> EncodingReport:
    """The likeliest reading that decodes the whole file, with a doubt if others come close.

    The doubt names the two next readings, that of the codec `vote` before others.
    """
    first = readings[0]
    best = next((r for r in readings if not decodes(r.codec)), first)
    # An undecodable byte means damage in a multi-byte codec, but the wrong codec in others.
    if first.cjk and (failure := decodes(first.codec)):
        nearly = f"early all of it is {first.codec} ({first.language})"
        if errors == "replace":
            return EncodingReport(first.codec, f"n{nearly}, the rest is replaced")
        if best is first or best.cost - first.cost > SURE:
            raise EncodingError(f"N{nearly}, but {failure.message}", failure.or_replace)
    distinct = {best.text: best}
    for reading in readings:
        distinct.setdefault(reading.text, reading)
    _, *rest = distinct.values()
    far = (r for r in rest if r.cost - best.cost > 4 * SURE or not decodes(r.codec))
    margin = next((r.cost - best.cost for r in far), 4 * SURE)
    # English has no letters of its own: a few of another language also fit it, in codecs that are rare for it.
    rare = best.language == "English" and best.codec != "cp1252"
    # In another codec, capitals may be small letters: koi8-r and cp1251 have them the other way round.
    needed = SURE * (1 + (3 if rare else 1) / max(best.seen, 1) + best.one_case)
    confidence = margin / (margin + 4 * needed)
    how = f"{best.seen - best.odd:,} of {best.seen:,} characters beyond ASCII fit {best.language}"
    escapes = "no escape sequences" if best.codec == "utf-8" else "its escapes stand for ASCII only"
    how = ", ".join(filter(None, [how if best.seen else "", said])) or escapes
    odd = best.odd > 1 + best.seen / 20 or best.junk > 0 or best.strange
    if margin >= needed and not (odd and best.seen and best.codec != "utf-8"):
        return EncodingReport(best.codec, how, confidence)
    voted = next((r.text for r in readings if r.codec == vote), None)
    rest.sort(key=lambda r: r.text != voted)
    shown = [best.codec, *islice((r.codec for r in rest if not decodes(r.codec)), 2)]
    own, *others = _samples(source, shown)
    samples = [f"it reads {own!r}", *map("as {} {!r}".format, shown[1:], others)]
    choices = " or ".join(map('`encoding="{}"`'.format, shown[1:]))
    use = f" If that is wrong, set {choices}." if choices else ""
    doubt = f"({how}). As {best.codec} {', '.join(samples)}.{use}"
    return EncodingReport(best.codec, how, min(confidence, 0.19), doubt=doubt)


def _samples(source: bytes, names: list[str]) -> list[str]:
    """The same few words in each codec, where the codecs differ most."""
    texts = [re.split(r"[ \t\r\n]+", source.decode(name, "replace")) for name in names]
    rows = list(zip(*texts, strict=False))
    at = max(range(len(rows)), key=lambda i: (len(set(rows[i])), not rows[i][0].isascii()))
    same = (len(set(letters)) == 1 for letters in zip(*rows[at], strict=False))
    start = max(sum(takewhile(bool, same)) - 10, 0)
    return [" ".join(words[at : at + 4])[start : start + 30].strip() for words in texts]
