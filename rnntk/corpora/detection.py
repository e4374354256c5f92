"""Which encoding a file's bytes are in: the policy, apart from reading the file.

Sure signs first (a byte order mark, strict UTF-8 on the whole file), then statistics, whose answer
must decode the whole file strictly.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import chardet

from rnntk.errors import DataError, EncodingError, UsageError, nearest

WINDOW = 1 << 16
"""Bytes that statistics see, from the first non-ASCII one: an ASCII head would hide the rest."""

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
_NON_ASCII = re.compile(rb"[\x80-\xff]")
_KOREAN = {"euc_kr", "euckr", "cp949", "uhc", "ks_c_5601", "ks_c_5601_1987", "ksc5601"}
_EXAMPLES = "for example utf-8, cp949, euc-kr, latin-1"


Decodes = Callable[[str], "EncodingError | None"]


class Verdict(NamedTuple):
    """The codec, how it was found in words, and chardet's confidence if it was chardet."""

    codec: str
    how: str
    confidence: float | None = None


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
    """What one pass over the bytes finds out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.last = b""
        self.head = bytearray()
        self.window = bytearray()
        self.window_start: int | None = None
        self.nuls = [0, 0]
        self.first_nul: int | None = None
        self.utf8_failure: tuple[int, bytes] | None = None
        self._sha = hashlib.sha256()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    @property
    def trailing_sub(self) -> bool:
        return self.last == b"\x1a"

    def add(self, chunk: bytes) -> None:
        self._sha.update(chunk)
        if len(self.head) < WINDOW:
            self.head += chunk[: WINDOW - len(self.head)]
        if 0 in chunk:
            self._count_nuls(chunk)
        if self.window_start is not None:
            if len(self.window) < WINDOW:
                self.window += chunk[: WINDOW - len(self.window)]
        elif not chunk.isascii():
            found = _NON_ASCII.search(chunk)
            start = found.start() if found else 0
            self.window_start = self.size + start
            self.window += chunk[start : start + WINDOW]
        if self.utf8_failure is None and (not chunk.isascii() or self._utf8.getstate()[0]):
            self._try_utf8(chunk, final=False)
        self.size += len(chunk)
        self.last = chunk[-1:] or self.last

    def finish(self) -> None:
        if self.utf8_failure is None:
            self._try_utf8(b"", final=True)

    def _count_nuls(self, chunk: bytes) -> None:
        if self.first_nul is None:
            self.first_nul = self.size + chunk.index(0)
        for parity in (0, 1):
            self.nuls[parity] += chunk[(parity - self.size) % 2 :: 2].count(0)

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
        raise DataError(f"{scan.name} is empty: there is no text in it.")
    bom, bom_codec, bom_name = next(
        (entry for entry in _BOMS if head.startswith(entry[0])), (b"", "", "")
    )
    if bom and scan.size == len(bom):
        raise DataError(f"{scan.name} is empty: a byte order mark and no text.")
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
    _refuse_known_binary(scan.name, head)
    if scan.first_nul is not None:
        return _with_nuls(scan, decodes)
    if scan.utf8_failure is None:
        ascii_only = scan.window_start is None
        return Verdict("utf-8", "pure ASCII" if ascii_only else "the whole file is valid UTF-8")
    if not _nearly_utf8(bytes(scan.window)):
        return _legacy(scan, decodes, errors)
    if errors == "replace":
        return Verdict("utf-8", "nearly all of it is valid UTF-8, and --errors replace is given")
    nearly = "Nearly all of it is UTF-8, but not quite. "
    raise undecodable(scan.name, "utf-8", *scan.utf8_failure, before=nearly)


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


def _refuse_known_binary(name: str, head: bytes) -> None:
    for magic, kind, tool in _BINARY:
        if head.startswith(magic):
            hint = f" Unpack it first ({tool})." if tool else " Give a file of text."
            raise DataError(f"{name} is {kind}, not text.{hint}")


def _with_nuls(scan: Scan, decodes: Decodes) -> Verdict:
    """A text with NUL bytes: odd UTF-8, UTF-16 or UTF-32 without a mark, or no text at all."""
    nuls = sum(scan.nuls)
    if scan.utf8_failure is None and nuls * 1000 <= scan.size:
        return Verdict("utf-8", f"the whole file is valid UTF-8, with {nuls:,} NUL in it")
    candidates = []
    if scan.size % 4 == 0 and nuls * 4 >= scan.size:
        candidates += ["utf-32-le", "utf-32-be"]
    if scan.size % 2 == 0 and nuls * 50 >= scan.size:
        # The high byte of an ASCII character is NUL: second in little-endian, first in big-endian.
        # So is the low byte of a few others, such as 가, U+AC00.
        even, odd = scan.nuls
        candidates += ["utf-16-le"] if odd >= 4 * even else []
        candidates += ["utf-16-be"] if even >= 4 * odd else []
    for codec in candidates:
        sample = bytes(scan.head[: len(scan.head) // 4 * 4 or 2])
        if _plausible(sample.decode(codec, "replace")) and decodes(codec) is None:
            return Verdict(codec, "no byte order mark, but its NUL bytes stand as they do there")
    raise DataError(
        f"{scan.name} is binary, not text: it has {nuls:,} NUL bytes, the first at byte"
        f" {scan.first_nul:,}. If it is text all the same, say which with --encoding"
        " (for example utf-16-le)."
    )


def _plausible(text: str) -> bool:
    """Nearly no control characters, unassigned or private code points, as in real text."""
    odd = sum(
        1
        for c in text
        if c not in "\t\n\r\f\x1a" and unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs")
    )
    return (odd + text.count("\ufffd")) * 50 <= len(text)


def _nearly_utf8(window: bytes) -> bool:
    """Far more good sequences than bad: a damaged UTF-8 text, not one in another encoding.

    Few good ones may be an accident, so they need the better ratio.
    """
    # The window may end inside a character.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(window)
    bad = text.count("\ufffd")
    good = sum(not c.isascii() for c in text) - bad
    return good >= 3 and good >= (4 if good >= 12 else 20) * bad


def _legacy(scan: Scan, decodes: Decodes, errors: str) -> Verdict:
    """Neither UTF-8 nor NUL bytes: ask chardet, and mistrust it."""
    window = bytes(scan.window)
    if scan.trailing_sub and (scan.window_start or 0) + len(window) == scan.size:
        window = window[:-1]
    codec, confidence = _ask_chardet(window)
    said = f"chardet says {codec}" if codec else "chardet has no answer"
    hangul, common, bad = _hangul_share(window)
    if hangul >= 0.9 and common >= 0.5 and (failure := decodes("cp949")):
        if errors == "replace":
            how = "nearly all of it is Korean and valid cp949, and --errors replace is given"
            return Verdict("cp949", how)
        nearly = "Nearly all of it is cp949 (Korean), but not quite. "
        raise EncodingError(nearly + failure.message, failure.or_replace)
    tries: list[Verdict] = []
    if codec == "cp949":
        tries.append(Verdict(codec, "chardet says Korean", confidence))
    else:
        if not bad and hangul >= 0.9 and (codec is None or common >= 0.5 or confidence < 0.5):
            how = f"{said}, but as cp949 {hangul:.0%} of its letters are Hangul"
            tries.append(Verdict("cp949", how))
        if codec:
            tries.append(Verdict(codec, said, confidence))
    fallback = f"{said} that decodes, but all of it decodes as"
    tries += [Verdict(codec, f"{fallback} {codec}") for codec in ("cp949", "johab")]
    failures = []
    for verdict in tries:
        failure = decodes(verdict.codec)
        if failure is None:
            return verdict
        failures.append(failure)
    if errors == "replace":
        first = tries[0]
        return first._replace(
            how=f"{first.how}; not all of it decodes, and --errors replace is given"
        )
    raise failures[0]


def _ask_chardet(window: bytes) -> tuple[str | None, float]:
    """The codec chardet names (any Korean one but johab is cp949), and its confidence."""
    answer = chardet.detect(window)
    name = answer["encoding"]
    if not name:
        return None, 0.0
    if name.lower().replace("-", "_") in _KOREAN:
        return "cp949", answer["confidence"]
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None, 0.0
    # UTF-8 has been tried on all of the file, and statistics cannot tell UTF-16 without NUL bytes
    # and without a mark from a legacy encoding.
    if codec in ("ascii", "utf-8") or codec.startswith(("utf-16", "utf-32")):
        return None, 0.0
    return codec, answer["confidence"]


def _hangul_share(window: bytes) -> tuple[float, float, int]:
    """Of the window's non-ASCII letters in cp949: the share of Hangul, and of KS X 1001's Hangul.

    The third number is how many places do not decode. The shares are 0 when these are more than a
    twentieth of the letters, or when most second bytes are ASCII: real Korean has few of the
    syllables that KS X 1001 lacks, while a Latin-1 text looks like them by accident.
    """
    text = codecs.getincrementaldecoder("cp949")("replace").decode(window)
    bad = text.count("\ufffd")
    letters = [c for c in text if not c.isascii() and c.isalpha()]
    if not letters or len(letters) < 20 * bad:
        return 0.0, 0.0, bad
    letters = letters[:5000]
    syllables = [c for c in letters if "가" <= c <= "힣"]
    # Lone jamo (ㅋㅋㅋ) say nothing for or against, unless there are as many as the kana, which stand
    # in their place in EUC-JP.
    jamo = sum("ㄱ" <= c <= "ㅣ" for c in letters)
    if jamo * 2 < len(syllables):
        letters = [c for c in letters if not "ㄱ" <= c <= "ㅣ"]
    pairs = [c.encode("cp949") for c in syllables]
    if sum(pair[1] >= 0x80 for pair in pairs) * 2 < len(letters):
        return 0.0, 0.0, bad
    common = sum(pair[0] >= 0xB0 and pair[1] >= 0xA1 for pair in pairs)
    return len(syllables) / len(letters), common / len(letters), bad
