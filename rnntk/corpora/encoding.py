"""Detect the encoding of a text file (plain, gzip or xz), and decode it in pieces."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import lzma
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from rnntk.corpora.detection import EncodingReport, Scan, decide, undecodable
from rnntk.errors import DataError, EmptyError, EncodingError

CHUNK = 1 << 20  # bytes read at a time

BYTES = "bytes"  # instead of an encoding: UTF-8 with `surrogateescape` (PEP 383), lossless for any bytes

Progress = Callable[[int], object]  # called with the bytes read from the file so far

_COMPRESSED: dict[str | None, tuple[bytes, Callable[[BinaryIO], Any]]] = {
    "gzip": (b"\x1f\x8b", gzip.open),
    "xz": (b"\xfd7zXZ\x00", lzma.open),
    None: (b"", lambda file: file),
}


def iter_bytes(path: Path, *, progress: Progress | None = None) -> Iterator[bytes]:
    """The bytes of a file, decompressed, in pieces of `CHUNK`; `DataError` if it is unreadable or damaged."""
    try:
        with Path(path).open("rb") as raw:
            _, opened = _COMPRESSED[_compression(raw)]
            stream = opened(raw)
            while chunk := stream.read(CHUNK):
                if progress:
                    progress(raw.tell())
                yield chunk
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder. Give a file.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        damage = f"{path} is compressed, but damaged or cut short ({error})."
        raise DataError(f"{damage} Download or copy it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _compression(raw: BinaryIO) -> str | None:
    head = raw.read(6)
    raw.seek(0)
    return next(name for name, (magic, _) in _COMPRESSED.items() if head.startswith(magic))


def detect(
    path: Path,
    *,
    raw: bool = False,
    encoding: str | None = None,
    stated_by: str = "the user",
    errors: str = "strict",
    name: str | None = None,
    progress: Progress | None = None,
) -> EncodingReport:
    """Detect the encoding of a text file in bounded memory. Reads it once, or twice if it is not UTF-8.

    Args:
        raw: report `BYTES`, for a text that is not decoded.
        encoding: the encoding, if it is known.
        stated_by: who gave it, for the report.
        errors: with `replace`, a damaged text (UTF-8, cp949) is no error.
        name: the file's name in messages; default: its path.

    Raises `EncodingError` if no encoding fits, `DataError` for a missing, empty or binary file, and `UsageError` if
    Python does not know `encoding`.
    """
    scan = Scan(name or str(path), evidence=not raw and encoding is None)
    for chunk in iter_bytes(path, progress=progress):
        scan.add(chunk)

    def failure(codec: str) -> EncodingError | None:
        try:
            for _ in _decode(iter_bytes(path), codec, None, scan.name):
                pass
        except EncodingError as error:
            return error
        return None

    if raw and not scan.size:
        raise EmptyError(f"{scan.name} is empty.")
    found = EncodingReport(BYTES, "not decoded")
    if not raw:
        found = decide(scan, failure, encoding=encoding, stated_by=stated_by, errors=errors)
        found.hangul = scan.hangul(found.encoding)
    found.bytes, found.sha256 = scan.size, scan.sha256
    found.trailing_sub = scan.last.endswith(b"\x1a")
    with Path(path).open("rb") as file:
        found.compression = _compression(file)
    return found


def iter_text(
    path: Path,
    report: EncodingReport,
    *,
    errors: str = "strict",
    newline: str = "keep",
    name: str | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """The text of a file, in pieces of bounded size; `report` is from `detect`.

    Args:
        errors: `strict`, or `replace`: U+FFFD for undecodable bytes, counted in `report.replaced`.
        newline: `keep`, or `lf`: CRLF and CR become LF.

    Raises `EncodingError` (`strict`), and `DataError` if the file is unreadable or has changed (checked at its end).
    """
    report.replaced = 0
    lines = io.IncrementalNewlineDecoder(None, translate=True) if newline == "lf" else None
    chunks = _unchanged(iter_bytes(Path(path), progress=progress), report, name or str(path))
    counted = report if errors == "replace" else None
    for text in _decode(chunks, report.encoding, counted, name or str(path)):
        if whole := lines.decode(text) if lines else text:
            yield whole
    if lines and (rest := lines.decode("", final=True)):
        yield rest


def _unchanged(chunks: Iterable[bytes], report: EncodingReport, name: str) -> Iterator[bytes]:
    """The chunks; at the end `DataError` if their SHA-256 is not the report's."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != report.sha256:
        raise DataError(f"{name} changed while it was read. Try again when it is complete.")


_decoding = threading.local()


def _replace_and_count(error: UnicodeError) -> tuple[str | bytes, int]:
    _decoding.report.replaced += 1
    return codecs.replace_errors(error)


codecs.register_error("rnntk-replace", _replace_and_count)

# Codecs that may output half of a surrogate pair.
_HALVES = ("unicode-escape", "raw-unicode-escape", "utf-7", "punycode")


def _decode(
    chunks: Iterable[bytes], codec: str, counted: EncodingReport | None, name: str
) -> Iterator[str]:
    """The text of the chunks; undecodable bytes raise, unless `counted` is there to count their replacements."""
    errors = "rnntk-replace" if counted else "strict"
    if codec == BYTES:
        codec, errors = "utf-8", "surrogateescape"
    decoder = codecs.getincrementaldecoder(codec)(errors)
    # The UTF-16 decoder joins surrogate halves across pieces.
    joiner = codecs.getincrementaldecoder("utf-16-le")(errors)
    halves = codecs.lookup(codec).name in _HALVES
    done = 0
    try:
        for chunk, final in chain(((chunk, False) for chunk in chunks), [(b"", True)]):
            done += len(chunk)
            # Before every call, because one thread may read two texts alternately.
            _decoding.report = counted
            text = decoder.decode(chunk, final)
            if halves:
                text = joiner.decode(text.encode("utf-16-le", "surrogatepass"), final)
            yield text
    except UnicodeDecodeError as error:
        wrong = error.object[error.start : max(error.end, error.start + 1)]
        if halves and error.encoding.startswith("utf-16"):
            half = int.from_bytes(error.object[error.start : error.start + 2], "little")
            raise _wrong_codec(
                name, codec, f"it has half of a surrogate pair, U+{half:04X}"
            ) from error
        offset = done - len(error.object) + error.start
        raise undecodable(name, codec, offset, wrong, cut=final) from error
    except UnicodeError as error:
        raise _wrong_codec(name, codec, error) from error


def _wrong_codec(name: str, codec: str, why: object) -> EncodingError:
    return EncodingError(f"{name} is not {codec}: {why}. Set `encoding`.")
