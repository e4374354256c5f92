"""Writes that a crash cannot leave half done: aside, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnntk.errors import TrainingError


class DiskRefused(TrainingError):
    """What a disk refuses.

    Attributes:
        problem: what could not be written, and why; a sentence.
        cure: what to do to the disk, without a full stop.
    """

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(
            f"{problem} What was saved before is whole. {cure} and go on with --resume, "
            "or choose another folder with --run."
        )
        self.problem, self.cure = problem, cure


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_errors(path: Path, *, advice: str | None = None) -> Iterator[None]:
    """Turn what a disk refuses (it is full, read-only, forbidden, failing) into a message.

    Args:
        path: what is written.
        advice: what to do about it; by default what helps a run.

    Raises:
        TrainingError: with what could not be written, and what to do; a `DiskRefused` where no advice is given.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            what, cure = f"No space is left to write {path}", "Free some space"
        else:
            what, cure = f"{path} cannot be written", "Make it writable"
        problem = f"{what} ({error.strerror or error})."
        if advice is not None:
            raise TrainingError(f"{problem} {advice}") from error
        raise DiskRefused(problem, cure) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes, *, advice: str | None = None) -> None:
    """Write and sync a file under a temporary name, then rename it to `path`.

    Args:
        path: the file.
        data: its content.
        advice: what to do when the disk refuses it, see `disk_errors`.

    Raises:
        TrainingError: the disk refuses it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path, advice=advice):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong before says more
                aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any, *, advice: str | None = None) -> None:
    """Write a JSON document as `write_bytes` writes a file."""
    data = (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
    write_bytes(path, data, advice=advice)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files so that it is there whole or not at all.

    An older folder of the same name is replaced; a crash between the two renames leaves the old one
    gone and the new one under its temporary name, which the next run of the same step writes again.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            for name, data in files.items():
                with (aside / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            sync_folder(aside)
            if path.exists():
                shutil.rmtree(path)
            aside.rename(path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync_folder(path.parent)
