"""Download one file, check it, and only then replace the target.

`keras.utils.get_file` deletes the old file before a new download has succeeded; pooch has no limit on the total time.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import socket
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import BinaryIO

import rnntk
from rnntk.errors import CorpusError
from rnntk.files import disk_errors, replacing

CONNECT_SECONDS = 5.0  # for the server to answer, and between its bytes
TOTAL_SECONDS = 600.0

ANOTHER_CACHE = "Name another folder with RNNTK_CACHE."  # advice for an unwritable cache

_BLOCK = 1 << 16
_RETRY_SECONDS = 0.5


class _PassingError(CorpusError):
    """A failure to retry."""


def fetch(url: str, target: Path, *, sha256: str = "", member: str = "") -> None:
    """Download `url`, with one retry after a temporary error; proxies are those of `urllib`.

    Args:
        url: `http:`, `https:` or `file:`.
        target: the file; it is replaced only by checked bytes.
        sha256: to check, 64 hex digits; empty: not checked.
        member: the file to take from a tar or zip archive.

    Raises:
        CorpusError: the download failed; the message is the reason.
    """
    try:
        _fetch_once(url, target, sha256, member)
    except _PassingError:
        time.sleep(_RETRY_SECONDS)
        _fetch_once(url, target, sha256, member)


def _fetch_once(url: str, target: Path, sha256: str, member: str) -> None:
    with disk_errors(target, advice=ANOTHER_CACHE, error=CorpusError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part:
            with part.open("wb") as file:
                _download(url, file)
            if member:
                _extract(part, member)
            if sha256 and (found := sha256_of(part)) != sha256:
                raise CorpusError(
                    f"what came is not what the card names: SHA-256 {found}, not {sha256}; it was discarded"
                )


def _download(url: str, file: BinaryIO) -> None:
    deadline = time.monotonic() + TOTAL_SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": f"rnntk/{rnntk.__version__}"})
    done, total = 0, None
    try:
        # A new opener: the shared one keeps the proxies of its first use.
        opener = urllib.request.build_opener()
        with opener.open(request, timeout=CONNECT_SECONDS) as response:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            while block := response.read1(_BLOCK):
                file.write(block)
                done += len(block)
                if time.monotonic() > deadline:
                    raise CorpusError(f"it took too long: {_amount(done, total)} came in time")
    except urllib.error.HTTPError as error:
        error.close()
        kind = _PassingError if error.code in (429, 500, 502, 503, 504) else CorpusError
        raise kind(f"the server answered {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _connection_error(error.reason, done, total) from None
    except (OSError, http.client.HTTPException) as error:
        raise _connection_error(error, done, total) from None
    if total is not None and done < total:
        raise _PassingError(f"the download was cut short: {_amount(done, total)}")


def _connection_error(reason: object, done: int, total: int | None) -> CorpusError:
    """The message of an error below HTTP."""
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
    return CorpusError(str(reason) or type(reason).__name__)


def _amount(done: int, total: int | None) -> str:
    return f"{done:,} bytes" if total is None else f"{done:,} of {total:,} bytes"


def _extract(archive: Path, member: str) -> None:
    """Replace a tar or zip archive by its `member`."""
    inner = archive.with_name("member")
    try:
        with inner.open("wb") as file:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
                    shutil.copyfileobj(source, file)
            else:
                with tarfile.open(archive) as opened_tar:
                    found = opened_tar.extractfile(member)
                    if found is None:
                        raise KeyError(member)
                    shutil.copyfileobj(found, file)
        inner.replace(archive)
    except KeyError:
        raise CorpusError(f"the archive has no file {member}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise CorpusError(f"the archive cannot be read: {error}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
