"""Which encoding a file's bytes are in: the policy, apart from reading the file.

Sure signs first: a byte order mark, strict UTF-8 on the whole file. Then evidence: every codec that texts are met in
reads a sample, `plausibility` says what each reading costs, chardet has one vote, and the cheapest that decodes the whole
file strictly is taken. What the evidence does not support well is a doubt, which names the alternatives.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import chardet

from rnntk.corpora.plausibility import CODECS, SEVEN_BIT, WIDE, WITHOUT_BLANKS, Reading, read
from rnntk.errors import DataError, EmptyError, EncodingError, UsageError, nearest

WINDOW = 1 << 16
"""Bytes that statistics see, from the first that is not ASCII: an ASCII head would hide the rest."""

SAMPLE = 1 << 14
"""Bytes of distinct words in which codecs are compared."""

SURE = 8.0
"""Nats by which the next reading of another text must be worse, or the encoding is in doubt."""

ODD = 0.05
"""Share of the characters beyond ASCII, and one more, that may be unusual in the language before that is a doubt."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_BINARY = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"),
    (b"PK\x03\x04", "a ZIP archive (also .docx, .epub, .npz)", "unzip"),
    (b"%PDF-", "PDF", "pdftotext"),
    (b"\x89PNG", "a PNG image", None),
    (b"\xff\xd8\xff", "a JPEG image", None),
    (b"\x7fELF", "a program (ELF)", None),
)
# What Windows made of a standard, and what has the same letters in the same places.
_SUPERSET = {
    "euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "big5": "big5hkscs",
    "cp950": "big5hkscs", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874", "iso8859-11": "cp874",
}  # fmt: skip
_ASCII = bytes(range(128))
_TEXT = b"\b\t\n\f\r\x0e\x0f\x1a\x1b" + bytes(
    range(32, 256)
)  # and the shifts of ISO 2022 and of terminals
_RUN = re.compile(rb"([\x80-\xff]{1,2}?)\1{12,}")
# UTF-8, and what is nearly that: surrogates apart (CESU-8), and overlong forms (Java's NUL).
_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_SEQUENCE = re.compile(
    rb"[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3}"
)
_SHIFT = re.compile(rb"\x1b\$|~\{|\+[A-Za-z0-9+/]{3,}-")
_EXAMPLES = "for example utf-8, cp949, euc-kr, latin-1"

Decodes = Callable[[str], "EncodingError | None"]


class Verdict(NamedTuple):
    """The codec, how it was found in words, and, where it was judged by evidence, confidence and doubt.

    Confidence is m / (m + 32), where m is by how many nats the next reading is worse: 0.2 at `SURE`, towards 1 above.
    """

    codec: str
    how: str
    confidence: float | None = None
    doubt: str = ""


def undecodable(
    name: str, encoding: str, offset: int, wrong: bytes, before: str = ""
) -> EncodingError:
    """The error for bytes that do not decode; the message begins with `before`."""
    return EncodingError(
        f"{before}{name} does not decode as {encoding}: at byte {offset:,} stands"
        f" {wrong[:8].hex(' ')}. Say what it is with --encoding ({_EXAMPLES}).",
        " Or pass --errors replace to put U+FFFD in the place of such bytes.",
    )


class Scan:
    """What one pass over the bytes finds out.

    Attributes:
        head: the first bytes.
        window: bytes from the first word that is not ASCII.
        places: the line or word around the first of each byte value that comes later than the window.
        shifted: bytes from what may be the first shift of a seven-bit encoding.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.head, self.window, self.shifted = bytearray(), bytearray(), bytearray()
        self.places: list[bytes] = []
        self.nuls = 0
        self.first_nul: int | None = None
        self.utf8_failure: tuple[int, bytes] | None = None
        self.last = b""
        self._met = _ASCII
        self._sha = hashlib.sha256()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    @property
    def trailing_sub(self) -> bool:
        return self.last[-1:] == b"\x1a"

    def add(self, chunk: bytes) -> None:
        self._sha.update(chunk)
        self.head += chunk[: WINDOW - len(self.head)]
        if 0 in chunk:
            if self.first_nul is None:
                self.first_nul = self.size + chunk.index(0)
            self.nuls += chunk.count(0)
        if self.shifted:
            self.shifted += chunk[: WINDOW - len(self.shifted)]
        elif found := _SHIFT.search(chunk):
            self.shifted += chunk[found.start() : found.start() + WINDOW]
        if not chunk.isascii():
            self._keep(chunk)
        elif self.window:
            self.window += chunk[: WINDOW - len(self.window)]
        if self.utf8_failure is None and (not chunk.isascii() or self._utf8.getstate()[0]):
            self._try_utf8(chunk, final=False)
        self.size += len(chunk)
        self.last = (self.last + chunk[-40:])[-40:]

    def _keep(self, chunk: bytes) -> None:
        """The window, and places behind it where a byte stands that was not met before."""
        if not self.window:
            start = len(chunk) - len(chunk.lstrip(_ASCII))
            before = (self.last + chunk[max(start - 40, 0) : start])[-40:]
            self.window += before[-len(before.split()[-1]) :] if before[-1:].strip() else b""
            self.window += chunk[start : start + WINDOW]
            self._met += bytes(set(self.window) - set(self._met))
            chunk = chunk[start + WINDOW :]
        elif len(self.window) < WINDOW:
            rest = WINDOW - len(self.window)
            self.window += chunk[:rest]
            self._met += bytes(set(chunk[:rest]) - set(self._met))
            chunk = chunk[rest:]
        for value in set(chunk.translate(None, self._met)):
            at = chunk.index(value)
            start = max(chunk.rfind(space, 0, at) for space in (b"\n", b" ")) + 1
            end = min(x for x in (chunk.find(b"\n", at), chunk.find(b" ", at), at + 400) if x >= 0)
            self.places.append(chunk[max(start, at - 400) : end])
            self._met += bytes([value])

    def finish(self) -> None:
        if self.utf8_failure is None:
            self._try_utf8(b"", final=True)

    def _try_utf8(self, chunk: bytes, final: bool) -> None:
        try:
            self._utf8.decode(chunk, final)
        except UnicodeDecodeError as error:
            offset = self.size + len(chunk) - len(error.object) + error.start
            self.utf8_failure = (offset, error.object[error.start : error.end])


def decide(
    scan: Scan, decodes: Decodes, *, encoding: str | None, stated_by: str, errors: str
) -> Verdict:
    """The policy, step by step. `decodes(codec)` tries the whole file, strictly.

    Raises:
        EncodingError, DataError, UsageError: as `encoding.detect` says.
    """
    head = bytes(scan.head)
    if scan.size == 0:
        raise EmptyError(f"{scan.name} is empty: there is no text in it.")
    bom, bom_codec, bom_name = next(
        (entry for entry in _BOMS if head.startswith(entry[0])), (b"", "", "")
    )
    if bom and scan.size == len(bom):
        raise EmptyError(f"{scan.name} is empty: a byte order mark and no text.")
    if encoding is not None:
        codec = _known_codec(encoding)
        if bom and re.sub("-(sig|le|be)$", "", codec.replace("_", "-")) == bom_name.lower():
            return Verdict(bom_codec, f"stated by {stated_by}; its byte order mark is left out")
        return Verdict(codec, f"stated by {stated_by}")
    if bom:
        # The pass over the bytes has tried UTF-8 already.
        wrong = bom_codec != "utf-8-sig" or scan.utf8_failure is not None
        if wrong and errors == "strict" and (failure := decodes(bom_codec)):
            raise failure
        return Verdict(bom_codec, f"its byte order mark says {bom_name}")
    for magic, kind, tool in _BINARY:
        if head.startswith(magic):
            hint = f" Unpack it first ({tool})." if tool else " Give a file of text."
            raise DataError(f"{scan.name} is {kind}, not text.{hint}")
    if scan.first_nul is not None or 10 * len(head.translate(None, _TEXT)) > len(head):
        return _with_controls(scan, decodes)
    if scan.utf8_failure is None:
        if scan.window:
            return Verdict("utf-8", "the whole file is valid UTF-8")
        return _seven_bit(scan, decodes, errors)
    if _nearly_utf8(bytes(scan.window)):
        if errors == "strict":
            nearly = "Nearly all of it is UTF-8, but not quite. "
            raise undecodable(scan.name, "utf-8", *scan.utf8_failure, before=nearly)
        return Verdict("utf-8", "nearly all of it is valid UTF-8, and --errors replace is given")
    codec, confidence = _ask_chardet(bytes(scan.window))
    said = f"chardet says {codec} ({confidence:.2f})" if codec else "chardet has no answer"
    if 50 * (head.count(b" ") + head.count(b"\n")) < len(head):
        ranked = _ranked(head[:SAMPLE], CODECS | WITHOUT_BLANKS, codec)
    else:
        ranked = _ranked(_sample(scan), CODECS, codec, _words(scan))
    return _judged(scan, ranked, decodes, errors, said)


def _known_codec(encoding: str) -> str:
    """Python's name of an encoding of text."""
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding:
            raise LookupError
    except LookupError as error:
        guess = nearest(encoding, ["utf-8", "cp949", "euc-kr", "johab", "latin-1", "utf-16"])
        raise UsageError(
            f"Python knows no encoding {encoding!r} (--encoding)."
            + (f" Did you mean {guess!r}?" if guess else f" Use {_EXAMPLES}.")
        ) from error
    return info.name


def _seven_bit(scan: Scan, decodes: Decodes, errors: str) -> Verdict:
    """ASCII, or one of the encodings that hide other letters in it."""
    sample = b"\n".join(
        dict.fromkeys(bytes(scan.shifted[:SAMPLE]).split(b"\n")[:-1] or [bytes(scan.shifted)])
    )
    ranked = [r for r in _ranked(sample, SEVEN_BIT) if "\ufffd" not in r.text]
    if len({r.text for r in ranked}) > 1:
        found = _judged(scan, ranked, decodes, errors, "")
        if found.codec != "utf-8" or found.doubt:
            return found
    return Verdict("utf-8", "pure ASCII")


def _with_controls(scan: Scan, decodes: Decodes) -> Verdict:
    """NUL or other control characters: UTF-8 with NUL in it, UTF-16 or UTF-32 without a mark, or no text at all."""
    sample = bytes(scan.head[: min(len(scan.head), SAMPLE) // 4 * 4 or 2])
    # NUL is half of a character of ASCII or Latin-1; in UTF-8 it stands between fields, as line ends do.
    readings = [
        r for r in _ranked(sample, WIDE) if _plausible(r, sample) and decodes(r.codec) is None
    ]
    if scan.utf8_failure is None and 4 * scan.nuls <= 3 * scan.size:
        readings.append(read(sample.replace(b"\0", b"\n"), "utf-8"))
    readings = sorted(r for r in readings if r.junk <= 0.02)
    if readings:
        found = _judged(scan, readings, decodes, "strict", "no byte order mark")
        how = f"the whole file is valid UTF-8, with {scan.nuls:,} NUL in it"
        return found._replace(how=how) if found.codec == "utf-8" else found
    signs = "many control characters"
    if scan.first_nul is not None:
        signs = f"{scan.nuls:,} NUL bytes, the first at byte {scan.first_nul:,}"
    raise DataError(
        f"{scan.name} is binary, not text: it has {signs}. If it is text all the same, say which with"
        " --encoding (for example utf-16-le), or take its bytes as they are with --preprocessor bytes."
    )


def _plausible(reading: Reading, sample: bytes) -> bool:
    """Whether UTF-16 or UTF-32 explains the NUL bytes, and most letters are of one script."""
    if reading.codec == "utf-8":
        return False
    pages = Counter(ord(c) >> 8 for c in reading.text if not c.isascii())
    one_script = reading.fit >= 0.5 or max(pages.values(), default=1) > 0.6 * pages.total()
    halves = 2 * sum(c < "\u0100" for c in reading.text)
    return one_script and ("32" in reading.codec or halves >= sample.count(0))


def _nearly_utf8(window: bytes) -> bool:
    """Far more good sequences than bad: a damaged UTF-8 text, not one in another encoding.

    Few good ones may be an accident, so they need the better ratio.
    """
    rest, good = _SEQUENCE.subn(b"", window)
    good += 2 * len(_PAIR.findall(window))
    bad = len(rest.translate(None, _ASCII)) - (3 if len(window) == WINDOW else 0)
    return good >= 3 and good >= (4 if good >= 12 else 20) * bad


def _sample(scan: Scan) -> bytes:
    """The distinct words that are not ASCII; long runs of one character are cut, and figures alike."""
    window = bytes(scan.window)
    if scan.trailing_sub:
        window = window.removesuffix(b"\x1a")
    words = window.split()
    if len(scan.window) == WINDOW and len(words) > 1:
        del words[-1]
    words = [word for place in (*scan.places, b" ".join(words)) for word in place.split()]
    kept = dict.fromkeys(
        re.sub(rb"[0-9]+", b"0", _RUN.sub(rb"\1" * 12, word))
        for word in words
        if not word.isascii()
    )
    return b" ".join(kept)[: SAMPLE + 400 * len(scan.places)]


def _words(scan: Scan) -> frozenset[str]:
    """The words in ASCII letters."""
    text = bytes(scan.head + scan.window).lower()
    return frozenset(
        word.decode() for word in re.findall(rb"(?<![\x80-\xff])[a-z]+(?![\x80-\xff])", text)
    )


def _ask_chardet(window: bytes) -> tuple[str | None, float]:
    """The codec chardet names, or its superset, and its confidence."""
    answer = chardet.detect(window)
    try:
        codec = codecs.lookup(answer["encoding"] or "").name
    except LookupError:
        return None, 0.0
    # UTF-8 has been tried on all of the file, and statistics cannot tell UTF-16 without NUL bytes
    # and without a mark from a legacy encoding.
    if codec in ("ascii", "utf-8") or codec.startswith(("utf-16", "utf-32")):
        return None, 0.0
    return _SUPERSET.get(codec, codec), answer["confidence"]


def _ranked(
    sample: bytes,
    owed: dict[int, str],
    vote: str | None = None,
    words: frozenset[str] = frozenset(),
) -> list[Reading]:
    """The readings, cheapest first. The vote counts for all codecs that give the same text."""
    costs = {codec: cost for cost, names in owed.items() for codec in names.split()}
    if vote:
        costs.setdefault(vote, max(costs.values()) + 1)
    readings = [read(sample, codec, words, cost) for codec, cost in costs.items()]
    said = next((r.text for r in readings if r.codec == vote), None)
    readings = [r._replace(cost=r.cost - 3.0) if r.text == said else r for r in readings]
    return sorted(readings, key=lambda reading: reading.cost)


def _judged(scan: Scan, ranked: list[Reading], decodes: Decodes, errors: str, said: str) -> Verdict:
    """The cheapest reading that decodes the whole file, and whether it is in doubt."""
    first = ranked[0]
    if first.junk > 0.1 and first.seen > 20:
        raise DataError(
            f"{scan.name} is binary, not text. Take its bytes as they are with --preprocessor bytes."
        )
    whole: list[Reading] = []
    failure = None
    for reading in ranked:
        if any(reading.text == known.text for known in whole):
            continue
        far = reading.cost - (whole[0] if whole else first).cost
        if len(whole) == 3 or (whole and far > 4 * SURE) or (failure and far > SURE):
            break
        wrong = decodes(reading.codec)
        if wrong is None:
            whole.append(reading)
        elif reading is first:
            failure = wrong
    if failure and (errors == "replace" or not whole or whole[0].cost > first.cost + SURE):
        if errors == "replace":
            how = f"nearly all of it is {first.language} in {first.codec}, and --errors replace is given"
            return Verdict(first.codec, how)
        nearly = f"Nearly all of it is {first.codec} ({first.language}), but not quite. "
        raise EncodingError(nearly + failure.message, failure.or_replace)
    best, *others = whole
    margin = min([other.cost - best.cost for other in others], default=4 * SURE)
    evidence = f"{best.fit:.0%} of {best.seen:,} characters beyond ASCII are as in {best.language}"
    how = ", ".join(filter(None, [evidence, said]))
    needed = SURE + SURE / max(best.seen, 1)
    confidence = margin / (margin + 4 * needed)
    stray = any(unicodedata.category(c) in ("Cc", "Cn", "Co") for c in best.text if not c.isascii())
    odd = best.seen and (best.strange or best.seen * (1 - best.fit) > 1 + ODD * best.seen)
    if margin >= needed and (best.codec == "utf-8" or not (odd or stray)):
        return Verdict(best.codec, how, confidence)
    shown = ", ".join(
        f"as {r.codec} {_excerpt(r.text, others or [best])!r}" for r in [best, *others]
    )
    use = f" If another is right, say so with --encoding {others[0].codec}." if others else ""
    return Verdict(best.codec, how, min(confidence, 0.19), f"({how}). It reads {shown}.{use}")


def _excerpt(text: str, others: list[Reading]) -> str:
    """A few words of the text, from the first on that another reading has otherwise."""
    words, rest = text.split(), others[-1].text.split()
    places = (i for i, (a, b) in enumerate(zip(words, rest, strict=False)) if a != b)
    return " ".join(words[next(places, 0) :][:4])[:30]
