"""What encoding a file of text is in, and its text.

Nothing is dropped or replaced in silence. Files compressed with gzip or xz are read as what they
contain. The bytes are read once, in pieces, also for their SHA-256; only a text in a legacy
encoding or UTF-16 is read once more, to make sure that all of it decodes.
"""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import hashlib
import io
import lzma
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rnntk.corpora.detection import decide, undecodable
from rnntk.corpora.scan import Scan
from rnntk.errors import DataError, EmptyError, EncodingError

CHUNK = 1 << 20
"""Bytes read at a time."""

BYTES = "bytes"
"""In the place of an encoding: the bytes as they are, in a string by UTF-8 with `surrogateescape` (PEP 383)."""

UNSURE = 0.2
"""A user is warned of an encoding in which there is less confidence than this."""

Progress = Callable[[int], object]
"""Called with the bytes of the file read so far (compressed bytes, if it is compressed)."""

_COMPRESSED = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00"}


@dataclass
class EncodingReport:
    """What is known of a file's bytes and encoding.

    Attributes:
        encoding: the Python codec that decodes it.
        how: how that was found, in words that follow "utf-8: ".
        confidence: 0 to 1, by the evidence (`detection.Verdict`); None where nothing was guessed.
        bytes: size of the text in bytes (after decompression).
        sha256: of those bytes.
        trailing_sub: the text ends in 0x1A, DOS' end of file. It is part of the text all the same.
        compression: `gzip`, `xz` or None.
        replaced: how many times `iter_text` put U+FFFD in the place of bytes that do not decode.
        doubt: the evidence and the alternatives, where the encoding is little better than a guess.
    """

    encoding: str
    how: str
    confidence: float | None
    bytes: int
    sha256: str
    trailing_sub: bool
    compression: str | None = None
    replaced: int = 0
    doubt: str = ""

    @property
    def unsure(self) -> bool:
        """Whether the encoding is little better than a guess."""
        return self.confidence is not None and self.confidence < UNSURE

    def to_json(self) -> dict[str, Any]:
        """The report as an object for JSON."""
        return dataclasses.asdict(self)


def iter_bytes(path: Path, *, progress: Progress | None = None) -> Iterator[bytes]:
    """The bytes of a file in pieces of `CHUNK`; a gzip or xz file is decompressed.

    Raises:
        DataError: it cannot be read, or the compressed data is damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            openers: dict[str | None, Callable[[BinaryIO], Any]] = {
                "gzip": gzip.open,
                "xz": lzma.open,
                None: lambda file: file,
            }
            stream = openers[_compression(raw)](raw)
            while chunk := stream.read(CHUNK):
                if progress:
                    progress(raw.tell())
                yield chunk
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"{path} is compressed, but damaged or cut short ({error}). Fetch it again."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def compression_of(path: Path) -> str | None:
    """`gzip`, `xz` or None, by the file's first bytes."""
    with Path(path).open("rb") as file:
        return _compression(file)


def _compression(raw: BinaryIO) -> str | None:
    head = raw.read(6)
    raw.seek(0)
    return next((name for name, magic in _COMPRESSED.items() if head.startswith(magic)), None)


def detect(
    path: Path,
    *,
    encoding: str | None = None,
    stated_by: str = "the user",
    errors: str = "strict",
    name: str | None = None,
    progress: Progress | None = None,
) -> EncodingReport:
    """Find the encoding of a file of text, whatever its size, in bounded memory.

    Args:
        path: a file; gzip and xz are looked into.
        encoding: the encoding, if it is known. Then nothing is guessed.
        stated_by: who says so, for the report.
        errors: with `replace`, a text that is all but UTF-8 is taken as UTF-8, one all but cp949 as cp949.
        name: what messages call the file, instead of its path.
        progress: called with the bytes read so far.

    Raises:
        EncodingError: no encoding fits; the message gives the offset and the bytes that do not
            decode.
        DataError: the file is missing, empty or binary.
        UsageError: `encoding` is no encoding that Python knows.
    """
    path = Path(path)
    scan = Scan(name or str(path))
    for chunk in iter_bytes(path, progress=progress):
        scan.add(chunk)
    report = _report(scan, lambda: iter_bytes(path), encoding, stated_by, errors)
    report.compression = compression_of(path)
    return report


def undecoded(
    path: Path, *, name: str | None = None, progress: Progress | None = None
) -> EncodingReport:
    """The report on a file that is taken as bytes, whatever they are.

    Args:
        path, name, progress: as in `detect`.

    Raises:
        DataError: the file is missing or empty.
    """
    path = Path(path)
    sha, size, last = hashlib.sha256(), 0, b""
    for chunk in iter_bytes(path, progress=progress):
        sha.update(chunk)
        size, last = size + len(chunk), chunk[-1:]
    if not size:
        raise EmptyError(f"{name or path} is empty: there is nothing in it.")
    how = "taken as they are, whatever they stand for"
    return EncodingReport(
        BYTES, how, None, size, sha.hexdigest(), last == b"\x1a", compression_of(path)
    )


def detect_bytes(
    data: bytes, *, encoding: str | None = None, errors: str = "strict", name: str = "The text"
) -> EncodingReport:
    """As `detect`, for bytes in memory. Nothing is decompressed: gzip bytes are refused."""
    scan = Scan(name)
    scan.add(data)
    return _report(scan, lambda: [data], encoding, "the caller", errors)


def _report(
    scan: Scan,
    reopen: Callable[[], Iterable[bytes]],
    encoding: str | None,
    stated_by: str,
    errors: str,
) -> EncodingReport:
    scan.finish()

    def decodes(codec: str) -> EncodingError | None:
        try:
            for _ in _decode(reopen(), codec, None, scan.name):
                pass
        except EncodingError as error:
            return error
        return None

    found = decide(scan, decodes, encoding=encoding, stated_by=stated_by, errors=errors)
    return EncodingReport(
        found.codec,
        found.how,
        found.confidence,
        scan.size,
        scan.sha256,
        scan.trailing_sub,
        doubt=found.doubt,
    )


def iter_text(
    path: Path,
    report: EncodingReport,
    *,
    errors: str = "strict",
    newline: str = "keep",
    name: str | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """The text of a file, in pieces of bounded size.

    Args:
        path: the file.
        report: what `detect` said of it.
        errors: `strict`, or `replace`: U+FFFD for what does not decode, counted in
            `report.replaced`.
        newline: `keep`, or `lf`: CRLF and CR become LF.
        name: what messages call the file, instead of its path.
        progress: called with the bytes read so far.

    Raises:
        EncodingError: bytes that do not decode, under `strict`.
        DataError: the file cannot be read.
    """
    report.replaced = 0
    lines = io.IncrementalNewlineDecoder(None, translate=True) if newline == "lf" else None
    chunks = iter_bytes(Path(path), progress=progress)
    counted = report if errors == "replace" else None
    for text in _decode(chunks, report.encoding, counted, name or str(path)):
        whole = lines.decode(text) if lines else text
        if whole:
            yield whole
    if lines and (rest := lines.decode("", final=True)):
        yield rest


_HALVES = ("unicode-escape", "raw-unicode-escape", "utf-7", "punycode")
"""Codecs that may give half of a surrogate pair."""


def _joined(text: str, errors: str, final: bool) -> tuple[str, str]:
    """The text with its surrogates joined, and half of a pair at its end, which the next piece may complete.

    Raises:
        UnicodeError: half of a pair stands alone, under `strict`.
    """
    cut = len(text) - (not final and "\ud800" <= text[-1:] <= "\udbff")
    try:
        whole = text[:cut].encode("utf-16-le", "surrogatepass").decode("utf-16-le", errors)
    except UnicodeDecodeError as error:
        half = int.from_bytes(error.object[error.start : error.start + 2], "little")
        raise UnicodeError(f"it has half of a surrogate pair, U+{half:04X}") from error
    return whole, text[cut:]


_decoding = threading.local()


def _replace_and_count(error: UnicodeError) -> tuple[str | bytes, int]:
    _decoding.report.replaced += 1
    return codecs.replace_errors(error)


codecs.register_error("rnntk-replace", _replace_and_count)


def _decode(
    chunks: Iterable[bytes], codec: str, counted: EncodingReport | None, name: str
) -> Iterator[str]:
    """The chunks' text: strictly, or with replacements counted in a report."""
    if codec == BYTES:
        codec, errors = "utf-8", "surrogateescape"
    else:
        errors = "rnntk-replace" if counted else "strict"
    decoder = codecs.getincrementaldecoder(codec)(errors)
    halves = codecs.lookup(codec).name in _HALVES
    done, held = 0, ""
    try:
        for chunk in chunks:
            done += len(chunk)
            # Set before every call, as two texts may be read in turns by one thread.
            _decoding.report = counted
            text = held + decoder.decode(chunk)
            if halves:
                text, held = _joined(text, errors, final=False)
            yield text
        _decoding.report = counted
        text = held + decoder.decode(b"", True)
        yield _joined(text, errors, final=True)[0] if halves else text
    except UnicodeDecodeError as error:
        offset = done - len(error.object) + error.start
        wrong = error.object[error.start : max(error.end, error.start + 1)]
        raise undecodable(name, codec, offset, wrong) from error
    except UnicodeError as error:
        raise EncodingError(
            f"{name} is not {codec}: {error}. Set the right one with `encoding`."
        ) from error
