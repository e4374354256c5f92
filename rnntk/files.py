"""Files and folders written aside and renamed, so that a crash leaves the old one or the new one, never half of one.

Unfinished files lie in a folder `.rnntk-<machine>-<process>-<start>-<n>.tmp` beside their target. The next write beside
it removes those whose process has died.
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rnntk.errors import RnntkError, TrainingError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SCRATCH = re.compile(r"\.rnntk-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})-\d+\.tmp")
_STALE_SECONDS = 86_400.0
_RENAME_WAITS = (0.01, 0.05, 0.2, 0.5) if os.name == "nt" else ()
_START = os.urandom(4).hex()  # tells this process from an earlier one of the same id
_numbers = itertools.count()


class DiskRefused(TrainingError):
    """A disk is full, read-only, forbidden or failing.

    Attributes:
        problem: the path and the reason; a sentence.
        cure: what to do to the disk, without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem} {cure}.")
        self.problem, self.cure = problem, cure


@contextmanager
def disk_errors(
    path: Path, *, advice: str | None = None, error: type[RnntkError] = TrainingError
) -> Iterator[None]:
    """Turn an `OSError` into one message: which path could not be written, why, and what to do.

    Args:
        path: what is written.
        advice: what to do about it; None for the cure alone.
        error: the class to raise where advice is given.

    Raises:
        DiskRefused: no advice is given.
        RnntkError: advice is given; of class `error`.
    """
    try:
        yield
    except OSError as refusal:
        if refusal.errno in _FULL:
            what, cure = f"No space is left to write {path}", "Free some space"
        else:
            what, cure = f"{path} cannot be written", "Make it writable"
        problem = f"{what} ({refusal.strerror or refusal})."
        if advice is not None:
            raise error(f"{problem} {advice}") from refusal
        raise DiskRefused(problem, cure) from refusal


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` for what is unfinished, removed in the end.

    Raises:
        OSError: it cannot be made.
    """
    remove_stale(parent)
    name = f".rnntk-{_machine()}-{os.getpid()}-{_START}-{next(_numbers)}.tmp"
    folder = parent / name
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path of the same name to write a file or folder to, which takes the place of `path` when the block succeeds.

    An older folder at `path` must be removed within the block.

    Raises:
        OSError: it cannot be written or renamed.
    """
    with scratch(path.parent) as folder:
        made = folder / path.name
        yield made
        rename(made, path)


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder, replacing a file or an empty folder.

    On Windows it is tried again for a second while another program, such as a virus scanner, holds one of them open.

    Raises:
        OSError: it cannot be renamed.
    """
    for wait in _RENAME_WAITS:
        with suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(wait)
    source.replace(target)


def write_bytes(
    path: Path,
    data: bytes,
    *,
    advice: str | None = None,
    error: type[RnntkError] = TrainingError,
) -> None:
    """Write a file that survives a power cut: synced, renamed to `path`, and its folder synced.

    Args:
        path: the file; it is replaced, or written to where it is a device or a pipe.
        data: its content.
        advice: see `disk_errors`.
        error: see `disk_errors`.

    Raises:
        RnntkError: the disk refuses it, see `disk_errors`.
    """
    with disk_errors(path, advice=advice, error=error):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = path.resolve()  # of a symbolic link, the file it names is replaced
        with replacing(path) as made:
            _write_synced(made, data)
        _sync_folder(path.parent)


def write_json(path: Path, value: Any, *, advice: str | None = None) -> None:
    """Write a JSON document as `write_bytes` writes a file."""
    write_bytes(path, (json_text(value, indent=2) + "\n").encode(), advice=advice)


def printable(name: str) -> str:
    """The name without what UTF-8 does not hold, which the name of a file may have."""
    return name.encode("utf-8", "replace").decode()


def json_text(value: Any, **layout: Any) -> str:
    """A JSON document that UTF-8 can hold: lone surrogates, as names of files may have, are escaped.

    Args:
        value: the document.
        layout: `indent` and `separators`, as of `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=False, **layout)
    return text.encode("utf-8", "backslashreplace").decode()


def write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files, synced, so that it is there whole or not at all.

    An older folder of the same name is replaced; a crash after its removal leaves neither, and the next run of the
    same step writes it again.

    Raises:
        DiskRefused: the disk refuses it.
    """
    with disk_errors(path):
        with replacing(path) as made:
            made.mkdir()
            for name, data in contents.items():
                _write_synced(made / name, data)
            _sync_folder(made)
            if path.exists():
                shutil.rmtree(path)
        _sync_folder(path.parent)


def remove_stale(folder: Path) -> None:
    """Remove what processes left in `folder` that were killed while they wrote there.

    A process of this machine counts as dead when it no longer runs. Of other machines (and on Windows, where asking is
    not safe) a temporary is removed after a day without a write.
    """
    for path in folder.glob(".rnntk-*.tmp"):
        if (found := _SCRATCH.fullmatch(path.name)) and _is_stale(path, *found.groups()):
            shutil.rmtree(path, ignore_errors=True)


def _is_stale(path: Path, machine: str, process: str, start: str) -> bool:
    if os.name == "posix" and machine == _machine():
        if int(process) == os.getpid():
            return start != _START
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
        return False
    try:
        newest = max(p.stat().st_mtime for p in (path, *path.rglob("*")))
    except OSError:  # it is being written or removed at this moment
        return False
    return time.time() - newest > _STALE_SECONDS


@functools.cache
def _machine() -> str:
    """Eight hex digits for this machine, or container, in which a process id means one process."""
    name = os.uname().nodename if os.name == "posix" else os.environ.get("COMPUTERNAME", "")
    with suppress(OSError):  # Linux only: containers of one host name have process ids of their own
        name += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(name.encode()):08x}"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable; nothing on Windows, where folders cannot be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
