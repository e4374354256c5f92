"""Finds the files of a text: paths, folders, standard input."""

from __future__ import annotations

import glob as patterns
import logging
import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rnntk.config import TextConfig
from rnntk.corpora import registry
from rnntk.errors import DataError, UsageError, did_you_mean, quoted
from rnntk.text import documents

log = logging.getLogger(__name__)

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """A file to read, and its name in messages."""

    path: Path
    name: str
    document: str | None = None  # kind of the document whose text, in UTF-8, was put into the file


@contextmanager
def opened(config: TextConfig, *, raw: bool = False) -> Iterator[list[Input]]:
    """The files of `config.input`, in order; of a folder all that match `config.glob`, at any depth, sorted.

    Standard input (`-`), pipes and devices are copied to temporary files, because texts are read twice; the text of
    documents is put into temporary files, unless `raw`. Raises `DataError` if a path is missing, a folder has no match
    or a document cannot be read, `UsageError` if `config.glob` is not a pattern.
    """
    with tempfile.TemporaryDirectory(prefix="rnntk-") as spool:
        found: list[Input] = []
        for path in config.input:
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
                found += _files(Path(path), config.glob)
        if not found:
            raise DataError("No text is given. Name a file or a folder with `input`.")
        if not raw:
            found = [_as_text(one, config, Path(spool, f"{n}.txt")) for n, one in enumerate(found)]
        yield found


def _as_text(file: Input, config: TextConfig, to: Path) -> Input:
    """The file itself, or its text if it is a document."""
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


def _files(path: Path, glob: str | None) -> list[Input]:
    if not os.path.lexists(path) and (matches := sorted(patterns.glob(str(path)))):  # noqa: PTH207
        # A pattern, which Windows' shells leave to the program.
        return [file for match in matches for file in _files(Path(match), glob)]
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [Input(path, str(path))]
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(_missing(path)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if (path / "run.json").is_file():
        raise DataError(
            f"{path} is a run, not a text. To train it further, give it with `resume`; to train a new run on its "
            "samples, name the file samples.txt in it."
        )
    if glob is None:
        return [Input(file, str(file)) for file in _readable(path)]
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


def _missing(path: Path) -> str:
    """The message for a path that does not exist, with the likeliest meaning."""
    name = str(path)
    if name in (card.name for card in registry.all_cards() if card.kind == "text"):
        return f'There is no file {name}. The corpus of this name is given with `corpus="{name}"`.'
    if any(sign in name for sign in "*?["):
        where = quoted(str(path.parent))
        return (
            f"No file matches {name}. Name the files, or their folder and a pattern: {where} with"
            f" `glob` {quoted(path.name)}."
        )
    names: list[str] = []
    with suppress(OSError, ValueError):
        names = [one.name for one in path.parent.iterdir()]
    return f"There is no file {path}.{did_you_mean(path.name, names) or ' Check the path.'}"


def _readable(path: Path) -> list[Path]:
    """The files in a folder whose text rnntk reads, without hidden ones and runs; the others are counted in a note."""
    found: list[Path] = []
    left: Counter[str] = Counter()
    for parent, folders, files in os.walk(path):
        runs = (one for one in folders if Path(parent, one, "run.json").is_file())
        hidden = (one for one in folders if one.startswith("."))
        folders[:] = set(folders) - {*runs, *hidden}
        for file in (Path(parent, one) for one in files if not one.startswith((".", "~$"))):
            if file.name.lower().endswith(documents.ENDINGS) and file.is_file():
                found.append(file)
            else:
                left[file.suffix[1:].lower() or "without an ending"] += 1
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in left.most_common(8))
    if not found:
        inside = f" ({kinds})" if kinds else ""
        raise DataError(
            f"No file in the folder {path} is text that rnntk reads{inside}. It reads "
            f"{', '.join(documents.ENDINGS)}; for others give a pattern with `glob`."
        )
    if left:
        more = f" and {len(left) - 8} more kinds" if len(left) > 8 else ""
        log.info(f"Left out of {path}{os.sep}: {kinds}{more} (`glob` chooses files by a pattern).")
    return sorted(found)
