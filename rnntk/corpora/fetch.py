"""Downloads a file and checks it before it replaces the target, with limits on size, time and redirects.

`keras.utils.get_file` deletes the old file first; pooch has no total time limit.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import http.client
import lzma
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

CONNECT_SECONDS = 5.0  # also between two blocks
TOTAL_SECONDS = 600.0
MOST_BYTES = 10**9  # of an archive, or a file of unknown size
MOST_UNPACKED = 4 * 10**9  # of a tar archive, up to the member

_BLOCK = 1 << 16
_RETRY_SECONDS = 0.5


class _PassingError(CorpusError):
    """A temporary failure, to retry."""


def fetch(
    url: str, target: Path, *, sha256: str = "", member: str = "", most: int = MOST_BYTES
) -> None:
    """Download `url` (`http:`, `https:`, `file:`) to `target`, with one retry. Raises `CorpusError`.

    Takes at most `most` bytes, of the file `member` if the download is a tar or zip archive, and checks the `sha256`.
    """
    try:
        _fetch_once(url, target, sha256, member, most)
    except _PassingError:
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
                raise CorpusError(
                    f"what came is not what the card names: SHA-256 {found}, not {sha256}; it was discarded"
                )


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


def _copy(source: Any, file: BinaryIO, most: int) -> None:
    while block := source.read(_BLOCK):
        most -= len(block)
        if most < 0:
            raise CorpusError("the file in the archive is larger than its card says")
        file.write(block)


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
                raise CorpusError(f"it has {total:,} bytes, and at most {most:,} are taken")
            while block := response.read1(_BLOCK):
                file.write(block)
                done += len(block)
                if done > most:
                    raise CorpusError(f"it has over {most:,} bytes, the most that are taken")
                if time.monotonic() > deadline:
                    raise CorpusError(f"it took too long: {_amount(done, total)} came in time")
    except urllib.error.HTTPError as error:
        error.close()
        kind = _PassingError if error.code in (429, 500, 502, 503, 504) else CorpusError
        reason = str(error.reason).partition("\n")[0][:200]  # of a redirect loop, several lines
        raise kind(f"the server answered {error.code} {reason}") from None
    except urllib.error.URLError as error:
        raise _connection_error(error.reason, done, total) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _connection_error(error, done, total) from None
    if total is not None and done < total:
        raise _PassingError(f"the download was cut short: {_amount(done, total)}")


def _connection_error(reason: object, done: int, total: int | None) -> CorpusError:
    if isinstance(reason, socket.gaierror):
        return CorpusError("no network: the server's name cannot be looked up")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return CorpusError(f"the server's certificate cannot be verified: {reason.verify_message}")
    if isinstance(reason, TimeoutError):
        if done:
            return CorpusError(f"the server stopped sending: {_amount(done, total)}")
        return CorpusError("the server did not answer in time")
    if isinstance(reason, ConnectionRefusedError):
        return CorpusError("the server refused the connection")
    if isinstance(reason, ConnectionError | http.client.IncompleteRead):
        return _PassingError(f"the connection broke: {_amount(done, total)}")
    if isinstance(reason, OSError) and reason.strerror:
        return CorpusError(reason.strerror)
    if isinstance(reason, ValueError):
        return CorpusError(f"the server's answer makes no sense ({reason})")
    return CorpusError(str(reason) or type(reason).__name__)


def _amount(done: int, total: int | None) -> str:
    return f"{done:,} bytes" if total is None else f"{done:,} of {total:,} bytes"


class _Limited:
    """A stream that fails after `left` bytes, as `tarfile` reads headers of any size."""

    def __init__(self, source: Any, left: int) -> None:
        self._source, self._left = source, left

    def read(self, size: int) -> bytes:
        block: bytes = self._source.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise CorpusError("the archive is too large unpacked")
        return block


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
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise  # a disk error
        # Bad archives raise BadZipFile, RuntimeError, NotImplementedError, LZMAError, ...
        raise CorpusError(f"the archive cannot be read: {error or type(error).__name__}") from None


def _extract_tar(archive: Path, member: str, file: BinaryIO, most: int) -> None:
    with unpacked(archive) as stream:
        limited: Any = _Limited(stream, MOST_UNPACKED)
        with tarfile.open(fileobj=limited, mode="r|") as opened:
            for info in opened:
                if info.name == member and info.isfile():
                    _copy(opened.extractfile(info), file, most)
                    return
    raise KeyError(member)


def unpacked(path: Path) -> Any:
    """A file as a stream of bytes; gzip, bzip2 and xz (by their first bytes) are decompressed."""
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
