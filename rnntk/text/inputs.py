"""The files of a text: paths, folders, standard input."""

from __future__ import annotations

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
    """A file to read, and its name for the user."""

    path: Path
    name: str


@contextmanager
def opened(paths: Iterable[str | Path], *, glob: str = "*.txt") -> Iterator[list[Input]]:
    """The files behind `paths`, in order; a folder gives its files at any depth that match `glob`, sorted.

    Standard input (`-`), pipes and devices are copied to temporary files, because they are read twice.

    Raises:
        DataError: a path does not exist, or no file of a folder matches.
        UsageError: `glob` is no pattern.
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
    """Whether it can be read only once: standard input, a pipe (`<(command)`), a device."""
    if path == STDIN:
        return True
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _files(path: Path, glob: str) -> list[Input]:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [Input(path, str(path))]
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        files = sorted(file for file in path.rglob(glob) if file.is_file())
    except (
        NotImplementedError,
        ValueError,
    ) as error:  # an absolute pattern; "**" beside other characters
        raise UsageError(
            f"`glob` must be a pattern such as *.txt, got {glob!r} ({error})."
        ) from error
    if not files:
        raise DataError(
            f"No file in the folder {path} matches {glob!r}. Pass another pattern with `glob`."
        )
    return [Input(file, str(file)) for file in files]
