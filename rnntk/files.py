"""Atomic writes: a crash leaves the old file or folder, or the new one.

Data is written to a folder `.rnntk-<machine>-<process>-<start>-<n>.tmp` beside the target and then renamed. The next
write there removes the folders of dead processes. Copies that are only read have such a folder too.
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from rnntk.errors import RnntkError, TrainingError, os_error

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SCRATCH = re.compile(r"\.rnntk-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-\d+\.tmp")
_STALE_SECONDS = 86_400.0
_RENAME_WAITS = (0.01, 0.05, 0.2, 0.5) if os.name == "nt" else ()
_START = os.urandom(4).hex()  # process ids are reused
_numbers = itertools.count()


class DiskRefused(TrainingError):
    """The disk is full, read-only or failing; `problem` is a sentence, `cure` another without its full stop."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem} {cure}.")
        self.problem, self.cure = problem, cure


@contextmanager
def disk_errors(
    path: Path, *, advice: str | None = None, error: type[RnntkError] = TrainingError
) -> Iterator[None]:
    """Turn an `OSError`, also TensorFlow's, into an error with the path, the reason and what to do.

    Raises `error` with `advice`, else `DiskRefused`.
    """
    try:
        yield
    except Exception as raised:
        refusal = os_error(raised)
        if refusal is None:
            raise
        if refusal.errno in _FULL:
            what, cure = f"No space is left to write {path}", "Free some space"
        else:
            what, cure = f"{path} cannot be written", "Make it writable"
            if os.name == "nt":  # it cannot replace a file that another program has open
                cure += ", and close other programs that use it"
        problem = f"{what} ({refusal.strerror or refusal})."
        if advice is not None:
            raise error(f"{problem} {advice}") from raised
        raise DiskRefused(problem, cure) from raised


@contextmanager
def scratch(parent: Path, *, private: bool = False) -> Iterator[Path]:
    """Make a temporary folder in `parent` for unfinished files; if `private`, for this user alone."""
    remove_stale(parent, own=private)
    folder = parent / f".rnntk-{_machine()}-{os.getpid()}-{_START}-{next(_numbers)}.tmp"
    folder.mkdir(0o700 if private else 0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def temporary_folder() -> AbstractContextManager[Path]:
    """Make a folder in the system's temporary folder, which other users may share."""
    return scratch(Path(tempfile.gettempdir()), private=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it replaces `path` if the block succeeds. The block must remove an old folder."""
    with scratch(path.parent) as folder:
        temporary = folder / path.name
        yield temporary
        rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Rename, replacing a file or empty folder; retry on Windows while another program has one open."""
    for wait in _RENAME_WAITS:
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(wait)
    source.replace(target)


def write_bytes(
    path: Path, data: bytes, *, advice: str | None = None, error: type[RnntkError] = TrainingError
) -> None:
    """Write a file atomically and sync it to disk; write to a device or pipe directly. Raises as `disk_errors`."""
    with disk_errors(path, advice=advice, error=error):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = path.resolve()  # replace the target of a symbolic link, not the link
        with replacing(path) as temporary:
            _write_synced(temporary, data)
        _sync_folder(path.parent)


def write_json(path: Path, value: Any, *, advice: str | None = None) -> None:
    """Write JSON with `write_bytes`."""
    write_bytes(path, (json_text(value, indent=2) + "\n").encode(), advice=advice)


def printable(name: str) -> str:
    """Replace the characters of a file name that UTF-8 cannot encode."""
    return name.encode("utf-8", "replace").decode()


def json_text(value: Any, **layout: Any) -> str:
    """Encode as JSON; escape the lone surrogates that file names may have."""
    text = json.dumps(value, ensure_ascii=False, **layout)
    return text.encode("utf-8", "backslashreplace").decode()


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write or replace a folder of files atomically and sync it to disk. Raises `DiskRefused`."""
    with disk_errors(path):
        with replacing(path) as temporary:
            temporary.mkdir()
            for name, data in contents.items():
                _write_synced(temporary / name, data)
            _sync_folder(temporary)
            if path.exists():
                remove(path)
        _sync_folder(path.parent)


def remove(path: Path) -> Path | None:
    """Remove a file, a symbolic link, or a folder and its contents; return where files are left that cannot be."""
    if path.is_dir() and not path.is_symlink():
        with scratch(path.parent) as aside:
            rename(path, aside / path.name)
        return aside if aside.exists() else None
    path.unlink(missing_ok=True)
    return None


def remove_stale(folder: Path, *, own: bool = False) -> None:
    """Remove unfinished files of dead processes; on Windows or from other machines, after a day.

    If `own`, only those of this user.
    """
    for path in folder.glob(".rnntk-*.tmp"):
        if own and not _is_own(path):
            continue
        if (found := _SCRATCH.fullmatch(path.name)) and _is_stale(path, *found.groups()):
            shutil.rmtree(path, ignore_errors=True)


def _is_own(path: Path) -> bool:
    """Whether a path is this user's and no symbolic link; on Windows, each user has a temporary folder."""
    try:
        status = path.lstat()
    except OSError:  # removed right now
        return False
    return not stat.S_ISLNK(status.st_mode) and (os.name != "posix" or status.st_uid == os.getuid())


def _is_stale(path: Path, machine: str, process: str, start: str) -> bool:
    if os.name == "posix" and machine == _machine():
        if int(process) == os.getpid():
            return start != _START
        try:
            os.kill(int(process), 0)
        except OSError as error:
            return isinstance(error, ProcessLookupError)
        except OverflowError:
            pass
        return False
    try:
        newest = max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    except OSError:  # being written or removed right now
        return False
    return time.time() - newest > _STALE_SECONDS


@functools.cache
def _machine() -> str:
    """Eight hex digits that identify this machine or container."""
    name = os.uname().nodename if os.name == "posix" else os.environ.get("COMPUTERNAME", "")
    with suppress(OSError):  # Linux: containers may share a host name, but not process ids
        name += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(name.encode()):08x}"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable; Windows cannot open folders."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
