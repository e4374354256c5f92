"""Finds the files of a text: paths, folders, standard input."""

from __future__ import annotations

import glob as patterns
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rnntk.errors import DataError, UsageError

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """A file to read, and its name in messages."""

    path: Path
    name: str


@contextmanager
def opened(paths: Iterable[str | Path], *, glob: str = "*.txt") -> Iterator[list[Input]]:
    """The files of `paths`, in order; of a folder all that match `glob`, at any depth, sorted.

    Standard input (`-`), pipes and devices are copied to temporary files, because texts are read twice. Raises
    `DataError` if a path is missing or a folder has no match, `UsageError` if `glob` is not a pattern.
    """
    with tempfile.TemporaryDirectory(prefix="rnntk-") as spool:
        found: list[Input] = []
        for path in map(str, paths):
            if is_stream(path):
                name = "standard input" if path == STDIN else path
                if any(one.name == name for one in found):
                    raise DataError(f"{name} is given twice; it can be read only once.")
                copy = Path(spool) / str(len(found))
                stdin = nullcontext(sys.stdin.buffer)
                with (
                    copy.open("wb") as to,
                    stdin if path == STDIN else Path(path).open("rb") as source,
                ):
                    shutil.copyfileobj(source, to, 1 << 20)
                found.append(Input(copy, name))
            else:
                found += _files(Path(path), glob)
        if not found:
            raise DataError("No text is given. Name a file or a folder with `input`.")
        yield found


def is_stream(path: str) -> bool:
    """Whether the path can be read only once: standard input, a pipe (`<(command)`), a device."""
    if path == STDIN:
        return True
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _files(path: Path, glob: str) -> list[Input]:
    if patterns.has_magic(str(path)) and not os.path.lexists(path):  # Windows' shells expand none
        matches = sorted(patterns.glob(str(path)))  # noqa: PTH207 (the path may be absolute)
        if not matches:
            raise DataError(f"No file matches {path}. Check the path.")
        return [file for match in matches for file in _files(Path(match), glob)]
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [Input(path, str(path))]
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        files = sorted(file for file in path.rglob(glob) if file.is_file())
    except (NotImplementedError, ValueError) as error:  # an absolute pattern; misplaced "**"
        raise UsageError(
            f"`glob` must be a pattern such as *.txt, got {glob!r} ({error})."
        ) from error
    if not files:
        raise DataError(
            f"No file in the folder {path} matches {glob!r}. Pass another pattern with `glob`."
        )
    return [Input(file, str(file)) for file in files]
