"""Download a file and check it before it replaces the target, with limits on size, time and redirects.

`keras.utils.get_file` deletes the old file first; pooch has no limit on the total time.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
import lzma
import shutil
import socket
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import rnntk
from rnntk.cache import ANOTHER_CACHE
from rnntk.errors import CorpusError
from rnntk.files import disk_errors, rename, replacing

CONNECT_SECONDS = 5.0  # to connect, and between two blocks
TOTAL_SECONDS = 600.0
MOST_BYTES = 10**9  # of an archive, or a file of unknown size
MOST_UNPACKED = 4 * 10**9  # bytes of a tar archive up to the end of the member

_BLOCK = 1 << 16
_RETRY_SECONDS = 0.5


class _TemporaryError(CorpusError):
    """A failure that a retry may fix."""


def fetch(
    url: str, target: Path, *, sha256: str = "", member: str = "", most: int = MOST_BYTES
) -> None:
    """Download `url` (`http:`, `https:`, `file:`) to `target`, with one retry. Raises `CorpusError`.

    Args:
        sha256: required SHA-256, if any.
        member: file to extract, if the download is a tar or zip archive.
        most: largest size of the resulting file, in bytes.
    """
    try:
        _fetch_once(url, target, sha256, member, most)
    except _TemporaryError:
        time.sleep(_RETRY_SECONDS)
        _fetch_once(url, target, sha256, member, most)


def _fetch_once(url: str, target: Path, sha256: str, member: str, most: int) -> None:
    with disk_errors(target, advice=ANOTHER_CACHE, error=CorpusError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            with part.open("wb") as file:
                _download(url, file, max(most, MOST_BYTES) if member else most)
            if member:
                _extract(part, member, most)
            if sha256 and (found := sha256_of(part)) != sha256:
                problem = f"its SHA-256 is {found}, but its card says {sha256}"
                raise CorpusError(f"the download was discarded: {problem}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects from HTTPS to HTTP, and to any other scheme."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        """As urllib's, but closes the response after an error."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, url: str
    ) -> Any:
        if not url.lower().startswith("https:" if req.type == "https" else ("http:", "https:")):
            raise CorpusError(f"the server redirects to {url[:80]!r}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, url)


def _download(url: str, file: BinaryIO, most: int) -> None:
    deadline = time.monotonic() + TOTAL_SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": f"rnntk/{rnntk.__version__}"})
    done, total = 0, None
    try:
        # urllib's shared opener would keep the proxies of its first use.
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(request, timeout=CONNECT_SECONDS) as response:
            length = response.headers.get("Content-Length")
            if length and not (length.isascii() and length.isdigit() and len(length) < 16):
                raise CorpusError(f"the server gives {length[:20]!r} as the file's size")
            total = int(length) if length else None
            if total is not None and total > most:
                raise CorpusError(f"it has {total:,} bytes; the limit is {most:,}")
            while block := response.read1(_BLOCK):
                file.write(block)
                done += len(block)
                if done > most:
                    raise CorpusError(f"it has over {most:,} bytes, the limit")
                if time.monotonic() > deadline:
                    got = _amount(done, total)
                    raise CorpusError(f"only {got} arrived in {TOTAL_SECONDS:g} seconds")
    except urllib.error.HTTPError as error:
        error.close()
        kind = _TemporaryError if error.code in (429, 500, 502, 503, 504) else CorpusError
        reason = str(error.reason).partition("\n")[0][:200]  # of a redirect loop, several lines
        raise kind(f"the server answered {error.code} {reason}") from None
    except urllib.error.URLError as error:
        raise _connection_error(error.reason, done, total) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _connection_error(error, done, total) from None
    if total is not None and done < total:
        raise _TemporaryError(f"the download was cut short: {_amount(done, total)}")


def _connection_error(reason: object, done: int, total: int | None) -> CorpusError:
    amount = _amount(done, total)
    stopped = (
        f"the server stopped sending: {amount}" if done else "the server did not answer in time"
    )
    if isinstance(reason, ssl.SSLCertVerificationError):
        return CorpusError(f"the server's certificate cannot be verified: {reason.verify_message}")
    for kind, text in (
        (socket.gaierror, "no network: the server's name cannot be looked up"),
        (TimeoutError, stopped),
        (ConnectionRefusedError, "the server refused the connection"),
        (ValueError, f"the server's answer makes no sense ({reason})"),
    ):
        if isinstance(reason, kind):
            return CorpusError(text)
    if isinstance(reason, ConnectionError | http.client.IncompleteRead):
        return _TemporaryError(f"the connection broke: {amount}")
    return CorpusError(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)


def _amount(done: int, total: int | None) -> str:
    return f"{done:,} bytes" if total is None else f"{done:,} of {total:,} bytes"


class _Limited:
    """A stream that fails with the message `problem` after `left` bytes."""

    def __init__(self, source: Any, left: int, problem: str) -> None:
        self._source, self._left, self._problem = source, left, problem

    def read(self, size: int) -> bytes:
        block: bytes = self._source.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise CorpusError(self._problem)
        return block


def _copy(source: Any, file: BinaryIO, most: int) -> None:
    limited: Any = _Limited(source, most, "the file in the archive is larger than its card says")
    shutil.copyfileobj(limited, file, _BLOCK)


def _extract(archive: Path, member: str, most: int) -> None:
    """Replace a tar or zip archive by its `member`; no path comes from the archive."""
    inner = archive.with_name("member")
    try:
        with inner.open("wb") as file:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
                    _copy(source, file, most)
            else:
                _extract_tar(archive, member, file, most)
        rename(inner, archive)
    except KeyError:
        raise CorpusError(f"the archive has no file {member}") from None
    except CorpusError:
        raise
    except Exception as error:  # BadZipFile, RuntimeError, NotImplementedError, LZMAError, ...
        if isinstance(error, OSError) and error.errno:
            raise  # a disk error
        raise CorpusError(f"the archive cannot be read: {error or type(error).__name__}") from None


def _extract_tar(archive: Path, member: str, file: BinaryIO, most: int) -> None:
    with unpacked(archive) as stream:
        # Limited, because `tarfile` reads headers of any size.
        limited: Any = _Limited(stream, MOST_UNPACKED, "the archive is too large unpacked")
        with tarfile.open(fileobj=limited, mode="r|") as opened:
            for info in opened:
                if info.name == member and info.isfile():
                    _copy(opened.extractfile(info), file, most)
                    return
    raise KeyError(member)


def unpacked(path: Path) -> Any:
    """A file as a stream of bytes, decompressed if its first bytes are those of gzip, bzip2 or xz."""
    with path.open("rb") as packed:
        start = packed.read(2)
    opener: Any = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(start, open)
    return opener(path, "rb")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
