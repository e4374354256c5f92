"""Which encoding a file's bytes are in: the policy, apart from reading the file.

First certain signs: a byte order mark, strict UTF-8 on the whole file. Then evidence: a sample is read in every codec
in which texts are met (`plausibility`), chardet has one vote, and the likeliest reading that decodes the whole file
wins. Weak evidence is a doubt, which names the alternatives.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import chardet

from rnntk.corpora.plausibility import CODECS, NO_SPACES, SEVEN_BIT, WIDE, Reading, ranked, read
from rnntk.corpora.scan import ASCII, WINDOW, Scan
from rnntk.errors import DataError, EmptyError, EncodingError, UsageError, nearest

SAMPLE = 1 << 14
"""Bytes of distinct words in which codecs are compared."""

SURE = 8.0
"""Nats by which the next reading must be less likely (twice that for a single character), or there is a doubt."""

ODD = 0.05
"""Share of the characters beyond ASCII, and one more, that may be unusual in the language before there is a doubt."""

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
# Windows' extension of a standard, or the codec with the same letters in the same places.
_SUPERSET = {
    "euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "big5": "big5hkscs",
    "cp950": "big5hkscs", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874", "iso8859-11": "cp874",
}  # fmt: skip
# Control characters of ISO 2022 and of terminals are no sign of a binary file.
_PRINTED = b"\b\t\n\f\r\x0e\x0f\x1a\x1b" + bytes(range(32, 256))
_RUN = re.compile(rb"([\x80-\xff]{1,2}?)\1{12,}")
# UTF-8, and its relatives: surrogates apart (CESU-8), overlong forms (Java's NUL).
_SEQUENCE = re.compile(
    rb"[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3}"
)
_CESU_PAIR = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_EXAMPLES = "for example utf-8, cp949, euc-kr, latin-1"

Decodes = Callable[[str], "EncodingError | None"]


class Verdict(NamedTuple):
    """The codec; how it was found; and, if by evidence, confidence and doubt.

    Confidence is m / (m + 4 t), where the next reading is m nats less likely and t is `SURE`: 0.2 at the threshold.
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
        f" {wrong[:8].hex(' ')}. Say what it is with `encoding` ({_EXAMPLES}).",
        ' Or set `errors="replace"` to put U+FFFD in the place of such bytes.',
    )


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
    if scan.first_nul is not None or 10 * len(head.translate(None, _PRINTED)) > len(head):
        return _with_controls(scan, decodes)
    if scan.utf8_failure is None:
        if scan.window:
            return Verdict("utf-8", "the whole file is valid UTF-8")
        return _seven_bit(scan, decodes, errors)
    if _nearly_utf8(bytes(scan.window)):
        if errors == "strict":
            nearly = "Nearly all of it is UTF-8, but not quite. "
            raise undecodable(scan.name, "utf-8", *scan.utf8_failure, before=nearly)
        return Verdict("utf-8", "nearly all of it is valid UTF-8, the rest is replaced")
    vote, confidence = _ask_chardet(bytes(scan.window))
    said = f"chardet says {vote} ({confidence:.2f})" if vote else "chardet has no answer"
    if 50 * (head.count(b" ") + head.count(b"\n")) < len(head):
        readings = ranked(head[:SAMPLE], CODECS | NO_SPACES, vote)
    else:
        ascii_words = re.findall(
            rb"(?<![\x80-\xff])[a-z]+(?![\x80-\xff])", (head + scan.window).lower()
        )
        readings = ranked(_sample(scan), CODECS, vote, frozenset(map(bytes.decode, ascii_words)))
    return _judged(scan, readings, decodes, errors, said)


def _known_codec(encoding: str) -> str:
    """Python's name of an encoding of text."""
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding:
            raise LookupError
    except LookupError as error:
        guess = nearest(encoding, ["utf-8", "cp949", "euc-kr", "johab", "latin-1", "utf-16"])
        raise UsageError(
            f"`encoding` {encoding!r} is not known to Python."
            + (f" Did you mean {guess!r}?" if guess else f" Use {_EXAMPLES}.")
        ) from error
    return info.name


def _seven_bit(scan: Scan, decodes: Decodes, errors: str) -> Verdict:
    """ASCII, or an encoding that keeps other letters in seven bits."""
    whole_lines = bytes(scan.shifted[:SAMPLE]).split(b"\n")[:-1] or [bytes(scan.shifted[:SAMPLE])]
    readings = ranked(b"\n".join(dict.fromkeys(whole_lines)), SEVEN_BIT)
    readings = [r for r in readings if "\ufffd" not in r.text]
    if len({r.text for r in readings}) > 1:
        found = _judged(scan, readings, decodes, errors, "")
        if found.codec != "utf-8" or found.doubt:
            return found
    return Verdict("utf-8", "pure ASCII")


def _with_controls(scan: Scan, decodes: Decodes) -> Verdict:
    """NUL or other control characters: UTF-8 with NUL in it, UTF-16 or UTF-32 without a mark, or no text at all."""
    sample = bytes(scan.head[: min(len(scan.head), SAMPLE) // 4 * 4 or 2])
    readings = [r for r in ranked(sample, WIDE) if _explains(r, sample) and not decodes(r.codec)]
    if scan.utf8_failure is None and 4 * scan.nuls <= 3 * scan.size:
        # NUL stands between fields, as line ends do.
        readings.append(read(sample.replace(b"\0", b"\n"), "utf-8"))
    if readings := sorted(r for r in readings if r.junk <= 0.02):
        found = _judged(scan, readings, decodes, "strict", "no byte order mark")
        how = f"the whole file is valid UTF-8, with {scan.nuls:,} NUL in it"
        return found._replace(how=how) if found.codec == "utf-8" else found
    signs = "many control characters"
    if scan.first_nul is not None:
        signs = f"{scan.nuls:,} NUL bytes, the first at byte {scan.first_nul:,}"
    raise DataError(
        f"{scan.name} is binary, not text: it has {signs}. If it is text all the same, say which with"
        ' `encoding` (for example utf-16-le), or take its bytes as they are with `preprocessor="bytes"`.'
    )


def _explains(reading: Reading, sample: bytes) -> bool:
    """Whether UTF-16 or UTF-32 explains the NUL bytes, and gives letters of one script."""
    pages = Counter(ord(c) >> 8 for c in reading.text if not c.isascii())
    one_script = max(pages.values(), default=1) > 0.6 * pages.total()
    # In UTF-16 NUL is half of a character of ASCII or Latin-1.
    halves = 2 * sum(c < "\u0100" for c in reading.text)
    return reading.fit >= 0.9 or (
        one_script and ("32" in reading.codec or halves >= sample.count(0))
    )


def _nearly_utf8(window: bytes) -> bool:
    """Far more good sequences than bad: a damaged UTF-8 text, not one in another encoding.

    Few good ones may be an accident, so they need the better ratio.
    """
    rest, good = _SEQUENCE.subn(b"", window)
    good += 2 * len(_CESU_PAIR.findall(window))
    bad = len(rest.translate(None, ASCII)) - (
        3 if len(window) >= WINDOW else 0
    )  # its end may be cut
    return good >= 3 and good >= (4 if good >= 12 else 20) * bad


def _sample(scan: Scan) -> bytes:
    """The distinct words that are not ASCII, with long runs shortened and all numbers alike."""
    window = bytes(scan.window)
    words = (window.removesuffix(b"\x1a") if scan.trailing_sub else window).split()
    if len(window) >= WINDOW and len(words) > 1:
        del words[-1]  # it may be cut
    found = dict.fromkeys(
        re.sub(rb"[0-9]+", b"0", _RUN.sub(rb"\1" * 12, word))
        for word in [*b" ".join(scan.places).split(), *words]
        if not word.isascii()
    )
    return b" ".join(found)[: SAMPLE + 400 * len(scan.places)]


def _ask_chardet(window: bytes) -> tuple[str | None, float]:
    """The codec chardet names, or its superset, and its confidence."""
    answer = chardet.detect(window)
    try:
        codec = codecs.lookup(answer["encoding"] or "").name
    except LookupError:
        return None, 0.0
    # UTF-8 was tried on the whole file, and UTF-16 without a mark is not chardet's strength.
    if codec in ("ascii", "utf-8") or codec.startswith(("utf-16", "utf-32")):
        return None, 0.0
    return _SUPERSET.get(codec, codec), answer["confidence"]


def _judged(
    scan: Scan, readings: list[Reading], decodes: Decodes, errors: str, said: str
) -> Verdict:
    """The likeliest reading that decodes the whole file, and whether it is in doubt."""
    first = readings[0]
    if first.junk > 0.1 and first.seen > 20:
        raise DataError(
            f'{scan.name} is binary, not text. Take its bytes as they are with `preprocessor="bytes"`.'
        )
    whole: list[Reading] = []
    failure = None
    for reading in readings:
        far = reading.cost - (whole or [first])[0].cost
        if len(whole) == 3 or (whole and far > 4 * SURE) or (failure and far > SURE):
            break
        if all(reading.text != other.text for other in whole):
            wrong = decodes(reading.codec)
            if wrong is None:
                whole.append(reading)
            failure = failure or (wrong if reading is first else None)
    if failure and (errors == "replace" or not whole):
        nearly = f"early all of it is {first.codec} ({first.language})"
        if errors == "replace":
            return Verdict(first.codec, f"n{nearly}, the rest is replaced")
        raise EncodingError(f"N{nearly}, but not quite. {failure.message}", failure.or_replace)
    best, *others = whole
    margin = min([other.cost - best.cost for other in others], default=4 * SURE)
    needed = SURE + SURE / max(best.seen, 1)
    confidence = margin / (margin + 4 * needed)
    evidence = f"{best.fit:.0%} of {best.seen:,} distinct characters beyond ASCII are as in {best.language}"
    how = ", ".join(filter(None, [evidence if best.seen else "", said])) or "by its shifts"
    odd = best.seen * (1 - best.fit) > 1 + ODD * best.seen
    stray = any(unicodedata.category(c) in ("Cc", "Cn", "Co") for c in best.text if not c.isascii())
    strange = best.codec != "utf-8" and best.seen and (odd or stray or best.strange)
    if margin >= needed and not strange:
        return Verdict(best.codec, how, confidence)
    shown = ", ".join(f"as {r.codec} {_excerpt(r, others or whole)!r}" for r in whole)
    use = f' If another is right, set `encoding="{others[0].codec}"`.' if others else ""
    return Verdict(best.codec, how, min(confidence, 0.19), f"({how}). It reads {shown}.{use}")


def _excerpt(reading: Reading, others: list[Reading]) -> str:
    """A few words of the reading, from the first that another reading has otherwise."""
    words, other = reading.text.split(), others[-1].text.split()
    differing = (i for i, (a, b) in enumerate(zip(words, other, strict=False)) if a != b)
    return " ".join(words[next(differing, 0) :][:4])[:30]
