"""Find the files of a text: paths, folders, standard input."""

from __future__ import annotations

import glob as patterns
import logging
import os
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rnntk.config import TextConfig
from rnntk.corpora import registry
from rnntk.errors import DataError, UsageError, did_you_mean, quoted
from rnntk.files import temporary_folder
from rnntk.text import documents

log = logging.getLogger(__name__)

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """A file to read, and its name in messages."""

    path: Path
    name: str
    document: str | None = None  # kind of the document whose text was extracted to `path` (UTF-8)


@contextmanager
def opened(config: TextConfig, *, raw: bool = False) -> Iterator[list[Input]]:
    """The files of `config.input`, in order; of a folder all that match `config.glob`, at any depth, sorted.

    Standard input (`-`), pipes and devices are copied to temporary files, because texts are read twice. The text of
    documents is extracted to temporary files, unless `raw`. Raises `DataError` if a path is missing, a folder has no
    match or cannot be listed, or a document cannot be read, `UsageError` if a path is empty or `config.glob` is not a
    pattern.
    """
    with temporary_folder() as spool:
        found: list[Input] = []
        for path in config.input:
            if not path:  # of an unset variable; `Path("")` is the current folder
                raise UsageError("A name in `input` is empty. Name a file or folder.")
            if is_stream(path):
                name = "standard input" if path == STDIN else path
                if any(one.name == name for one in found):
                    raise DataError(f"{name} can be read only once. Give it once.")
                copy = spool / str(len(found))
                with copy.open("wb") as to, _stream(path) as source:
                    shutil.copyfileobj(source, to, 1 << 20)
                found.append(Input(copy, name))
            else:
                found += [file for one in matches(path) for file in _files(Path(one), config.glob)]
        if not found:
            raise DataError("No text is given. Name a file or folder with `input`.")
        if not raw:
            found = [_as_text(one, config, spool / f"{n}.txt") for n, one in enumerate(found)]
        yield found


def _stream(path: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if path == STDIN else Path(path).open("rb")


def _as_text(file: Input, config: TextConfig, to: Path) -> Input:
    """The file itself, or the file `to` with its text if it is a document."""
    try:
        kind = documents.extract(file.path, file.name, config, to)
    except OSError as error:
        raise DataError(f"{file.name} cannot be read: {error.strerror}.") from error
    return replace(file, path=to, document=kind) if kind else file


def is_stream(path: str) -> bool:
    """Whether the path can be read only once: standard input, a pipe (`<(command)`), a device."""
    if path == STDIN:
        return True
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def matches(path: str) -> list[str]:
    """The paths that a pattern matches, else the path itself. Shells on Windows do not expand patterns."""
    return ([] if os.path.lexists(path) else sorted(patterns.glob(path))) or [path]  # noqa: PTH207


def _files(path: Path, glob: str | None) -> list[Input]:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [Input(path, str(path))]
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(_missing(path)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if _is_run(path):
        raise DataError(
            f"{path} is a run, not a text. Continue it with `resume`, or train on "
            f"{path / 'samples.txt'}."
        )
    try:
        found = _readable(path) if glob is None else _matching(path, glob)
    except OSError as error:
        advice = "Change its permissions, or name other files and folders."
        raise DataError(f"{error.filename} cannot be read: {error.strerror}. {advice}") from error
    except (NotImplementedError, ValueError) as error:  # an absolute pattern; misplaced "**"
        why = f"`glob` must be a pattern such as *.txt, got {glob!r} ({error})."
        raise UsageError(why) from error
    if not found:
        raise DataError(f"No file in the folder {path} matches {glob!r}. Change `glob`.")
    return [Input(file, str(file)) for file in sorted(found)]


def _is_run(folder: Path) -> bool:
    try:
        return (folder / "run.json").is_file()
    except OSError:  # listing the folder fails too, with a better message
        return False


def _missing(path: Path) -> str:
    """The message for a path that does not exist, with what may have been meant."""
    name = str(path)
    if path.is_symlink():
        return f"{name} is a link to {path.readlink()}, which does not exist. Name another file."
    if name in (card.name for card in registry.all_cards() if card.kind == "text"):
        return f'There is no file {name}. For the corpus, use `corpus="{name}"`.'
    if any(sign in name for sign in "*?["):
        where = quoted(str(path.parent))
        pattern = f"{where} with `glob` {quoted(path.name)}"
        return f"No file matches {name}. Name the files, or give their folder and a pattern: {pattern}."
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = [one.name for one in path.parent.iterdir()]
    return f"There is no file {path}.{did_you_mean(path.name, names) or ' Check the path.'}"


def _walk(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` without hidden folders; raises `OSError` for one that cannot be listed."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(path, onerror=refuse):
        folders[:] = (one for one in folders if not one.startswith("."))
        yield parent, folders, files


def _matching(path: Path, glob: str) -> list[Path]:
    for _ in _walk(path):  # `rglob` passes over what cannot be listed
        pass
    return [file for file in path.rglob(glob) if file.is_file()]


def _readable(path: Path) -> list[Path]:
    """The files in a folder that rnntk reads, without hidden ones and runs; logs how many others there are."""
    found: list[Path] = []
    others: Counter[str] = Counter()  # by ending
    for parent, folders, files in _walk(path):
        # Links to folders can lead in a circle.
        linked = {one for one in folders if Path(parent, one).is_symlink()}
        others["linked folder"] += len(linked)
        runs = {one for one in folders if _is_run(Path(parent, one))}
        folders[:] = set(folders) - linked - runs
        for file in (Path(parent, one) for one in files if not one.startswith((".", "~$"))):
            if file.is_symlink() and not file.exists():
                others["broken link"] += 1
            elif file.name.lower().endswith(documents.ENDINGS) and file.is_file():
                found.append(file)
            else:
                others[file.suffix[1:].lower() or "without an ending"] += 1
    others = +others  # without zeros
    listed = others.most_common(8)
    links = ("linked folder", "broken link")
    kinds = ", ".join(f"{n:,} {kind}{'s' * (n > 1 and kind in links)}" for kind, n in listed)
    if not found:
        inside = f" ({kinds})" if kinds else ""
        raise DataError(
            f"{path}{inside} has no file ending in "
            f"{', '.join(documents.ENDINGS)}. For others set `glob`."
        )
    if others:
        more = f" and {len(others) - 8} more kinds" if len(others) > 8 else ""
        log.info(f"Left out of {path}{os.sep}: {kinds}{more}. Choose files with `glob`.")
    return found
