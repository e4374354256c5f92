"""Writes that a crash cannot leave half done: aside, synced, renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnntk.errors import TrainingError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into a message.

    Raises:
        TrainingError: with what could not be written, and what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TrainingError(
                f"No space is left to write {path} ({error.strerror}). What was saved before is whole. "
                "Free some space and go on with --resume, or write to another disk with --run."
            ) from error
        if error.errno in _FORBIDDEN:
            raise TrainingError(
                f"{path} cannot be written ({error.strerror}). Choose another folder with --run."
            ) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write and sync a file under a temporary name, then rename it to `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically."""
    write_bytes(path, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode())


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
