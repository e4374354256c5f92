"""The folder that holds runs: names of new runs; finding, renaming and deleting runs."""

from __future__ import annotations

import itertools
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rnntk.config import flag
from rnntk.errors import RunError, TrainingError, UsageError, did_you_mean, shown
from rnntk.files import disk_errors, remove
from rnntk.storage import checkpoint, folder
from rnntk.storage.folder import RunFolder

log = logging.getLogger(__name__)


def next_path(runs_dir: Path, name: str) -> Path:
    """`<runs_dir>/<name>-<n>`, with n above every number in use."""
    return runs_dir / f"{name}-{_next_number(runs_dir, name)}"


def _next_number(runs_dir: Path, name: str) -> int:
    """A number above those of all files and folders; for some systems, A-1 and a-1 are the same name."""

    def folded(text: str) -> str:
        return unicodedata.normalize("NFC", text.casefold())

    pattern = re.compile(re.escape(folded(name)) + r"-(\d+)")
    used = [int(m[1]) for p in _entries(runs_dir) if (m := pattern.fullmatch(folded(p.name)))]
    return max(used, default=0) + 1


@contextmanager
def reserved(path: Path | None, runs_dir: Path, name: str) -> Iterator[Path]:
    """Context with the path of a new run: `path`, or the `next_path`, which is created now and removed if left empty.

    Raises `TrainingError` if it cannot be created.
    """
    if path is not None:
        yield path
        return
    with ExitStack() as stack:
        with disk_errors(runs_dir, advice=folder.ELSEWHERE):
            stack.enter_context(folder.making(runs_dir))
            for number in itertools.count(_next_number(runs_dir, name)):
                made = runs_dir / f"{name}-{number}"
                with suppress(FileExistsError):  # another process took this number
                    stack.enter_context(folder.making(made, exist_ok=False))
                    break
        yield made


def latest(runs_dir: Path, *, kind: str | None = None, corpus: str | None = None) -> RunFolder:
    """The most recently written run of this kind and corpus. Raises `RunError` if there is none.

    Warns of newer runs that cannot be read.
    """
    found: list[RunFolder] = []
    refused: dict[Path, str] = {}
    for path in _folders(runs_dir):
        if not (path / folder.RUN).is_file():
            continue
        try:
            run = folder.open_run(path)
        except RunError as error:
            refused[path] = str(error)
            continue
        if kind in (None, run.kind) and corpus in (None, run.record["corpus"].get("name")):
            found.append(run)
    if not found:
        on = f" on {corpus}" if corpus else ""
        raise RunError(
            f"There is no run{on} in {runs_dir}. Train one: {train_command(runs_dir, kind, corpus)}"
            + "".join(f"\nUnreadable: {line}" for line in refused.values())
        )

    def written(path: Path) -> float:
        files = (path / folder.RUN, path / folder.METRICS, path / folder.CHECKPOINTS)
        return max(p.stat().st_mtime for p in files if p.exists())

    newest = max(found, key=lambda run: (written(run.path), run.name))
    for path, problem in refused.items():
        if written(path) > written(newest.path):
            log.warning(f"Warning: {problem} Using {newest.path}, the run before it.")
    return newest


def train_command(runs_dir: Path, kind: str | None, corpus: str | None) -> str:
    """The command that trains a run of this kind and corpus in `runs_dir`."""
    rows = kind == folder.ROW_CLASSIFIER
    command, name = ("rnntk mnist", "data") if rows else ("rnntk train", "corpus")
    if corpus:
        command += f" {flag(name)} {corpus}"
    if runs_dir != Path("runs"):
        command += f" {flag('runs_dir')} {shown(runs_dir)}"
    return command


def find(runs_dir: Path, run: Path | None) -> RunFolder:
    """A run by path or by name in `runs_dir`, or the latest for None. Raises `RunError` if there is none."""
    if run is None:
        return latest(runs_dir)
    return folder.open_run(locate(runs_dir, run))


def locate(runs_dir: Path, run: Path) -> Path:
    """The run at this path, or of this name in `runs_dir`, else a folder there. Raises `RunError` if there is none."""
    for is_found in (lambda path: (path / folder.RUN).is_file(), Path.is_dir):
        for path in (run, runs_dir / run):
            with suppress(OSError):  # a name that is too long
                if is_found(path):
                    return path if path.name not in ("", "..") else path.resolve()
    guess = did_you_mean(run.name, [path.name for path in run_folders(runs_dir)])
    hint = guess or " List the runs: rnntk runs"
    raise RunError(f"There is no run {run}, here or in {runs_dir}.{hint}")


def check_movable(path: Path) -> None:
    """Raise `RunError` unless `path` is a run folder, damaged or not, that no process is training in."""
    if path.is_symlink():
        raise RunError(f"{path} is a symbolic link. Name the run folder itself.")
    lock = path / folder.LOCK
    if not (
        lock.is_file()
        and (path / folder.METRICS).is_file()
        and (path / folder.CHECKPOINTS).is_dir()
    ):
        folder.open_run(path)
    if lock.is_symlink():
        raise RunError(f"{lock} is a symbolic link. Remove it first.")
    # Released at once: Windows does not rename a folder with an open file.
    folder.locked(path, advice=None).release()


def not_ours(path: Path) -> list[str]:
    """Names of files and folders in a run folder that rnntk did not make, sorted."""
    made = (folder.LOCK, *folder.FILES, *folder.FOLDERS)
    steps = {checkpoint.folder_name(step) for step in checkpoint.steps(path / folder.CHECKPOINTS)}
    top = [p for p in path.iterdir() if p.name not in made or p.is_symlink()]
    inner = (
        [] if (path / folder.CHECKPOINTS).is_symlink() else (path / folder.CHECKPOINTS).glob("*")
    )
    found = [*top, *(p for p in inner if p.name not in steps)]
    return sorted(p.relative_to(path).as_posix() for p in found if ".rnntk-" not in p.name)


def delete(path: Path) -> int:
    """Delete a run folder; return the bytes freed. Raises as `check_movable`, and `TrainingError`."""
    check_movable(path)
    files = [p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()]
    freed = sum(file.lstat().st_size for file in files)
    with disk_errors(path, advice="Nothing was deleted."):
        left = remove(path)
    if left is not None:
        raise TrainingError(
            f"{path} was partly deleted: no permission for the files now in {left}. Remove them as "
            "their owner."
        )
    return freed


def check_name(name: str) -> None:
    """Raise `UsageError` if `name` cannot be the name of a run folder."""
    if (
        Path(name).name != name
        or name.startswith(".")
        or not name.isprintable()
        or not name.strip()
    ):
        raise UsageError(
            f"{name!r} cannot name a run. Give a visible name without a slash or leading dot."
        )


def rename(path: Path, name: str) -> Path:
    """Rename a run folder within its parent; return the new path. Raises as `delete`, and `UsageError` for no name."""
    check_name(name)
    target = path.with_name(name)
    if os.path.lexists(target):
        raise RunError(f"{target} exists already. Choose another name.")
    check_movable(path)
    with disk_errors(target, advice="Choose another name."):
        path.rename(target)
    return target


def run_folders(runs_dir: Path) -> list[Path]:
    """Run folders, damaged ones too, sorted by name. Raises `RunError` if `runs_dir` cannot be read."""
    return [
        p
        for p in _folders(runs_dir)
        if (p / folder.RUN).exists() or (p / folder.CHECKPOINTS).is_dir()
    ]


def _folders(runs_dir: Path) -> list[Path]:
    return _entries(runs_dir, Path.is_dir)


def _entries(runs_dir: Path, wanted: Callable[[Path], bool] = lambda _: True) -> list[Path]:
    """Files and folders in `runs_dir`, sorted by name. Raises `RunError` if it cannot be read."""
    try:
        return sorted(filter(wanted, runs_dir.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(f"{runs_dir} cannot be read: {error.strerror}.") from error
