"""The run folder, which holds everything about one training run; docs/formats.md has the format."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import __version__, stored
from rnntk.config import MnistConfig, TrainConfig, flag
from rnntk.errors import DataError, RunError, UsageError, did_you_mean, shown
from rnntk.files import disk_errors, remove, write_bytes, write_json
from rnntk.installation import upgrade_advice
from rnntk.storage import checkpoint
from rnntk.storage.checkpoint import Checkpoint
from rnntk.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import filelock

FORMAT_VERSION = 2  # in 1, checkpoints named the optimizer's variables by position

RUN = "run.json"
VOCABULARY = "vocabulary.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.txt"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
LOCK = ".lock"  # held while a process trains

CHAR_RNN = "char-rnn"
ROW_CLASSIFIER = "row-classifier"

CONFIGS: dict[str, type[TrainConfig | MnistConfig]] = {
    CHAR_RNN: TrainConfig,
    ROW_CLASSIFIER: MnistConfig,
}

IMPORTED = "import"  # the `source` of a corpus known only from an imported model

log = logging.getLogger(__name__)

# Types of the entries of `run.json` that are read again, see `stored.conform`.
_SPLIT = {...: (int, int)}
_FACTS = {
    "bytes?": int,
    "symbols?": int,
    "characters?": int,
    "vocabulary_size?": int,
    "encoding?": str,
}
_MODEL = {
    "cell": str, "layers?": int, "units?": int, "embedding?": int, "dropout?": float, "layer_norm?": bool,
    "bidirectional?": bool, "gru_reset?": str, "parameters?": int, "order?": str, "features?": int,
    "permutation_sha256?": str,
}  # fmt: skip
_CORPUS = {
    "name?": str, "source?": str, "path?": str, "inputs?": [str], "sha256?": str, "preprocessor?": str,
    "preprocessor_version?": int, "prime?": str, "opening?": str, "prepared?": str, "facts?": _FACTS, "split?": _SPLIT,
    "chosen?": {...: {"why": str}},
}  # fmt: skip
_RECORD = {
    "format_version": int, "kind": str, "name?": str, "created?": str, "settings": {}, "model": _MODEL,
    "corpus": _CORPUS, "versions?": {...: str},
}  # fmt: skip
# Required in `corpus` to find the text of a character model again.
_TEXT = {
    "name": str, "sha256": str, "preprocessor": str, "facts": {"symbols": int, "characters": int},
    "split": dict.fromkeys(("train", "val", "test"), (int, int)),
}  # fmt: skip

_ELSEWHERE = "Make room or make it writable, or choose another folder with `run`."


@dataclass(frozen=True)
class RunFolder:
    """A run on disk: its folder and the content of its `run.json`."""

    path: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kind(self) -> str:
        """`char-rnn` or `row-classifier`."""
        return str(self.record["kind"])

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.record["settings"])

    @property
    def config(self) -> TrainConfig | MnistConfig:
        return CONFIGS[self.kind].from_json(self.settings)

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def samples(self) -> Path:
        return self.path / SAMPLES

    @property
    def logs(self) -> Path:
        return self.path / LOGS

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def vocabulary(self) -> Vocabulary:
        """Vocabulary of a character model. Raises `RunError` if the file is missing or damaged."""
        try:
            with stored.opened(self.path / VOCABULARY) as file:
                return Vocabulary.from_json(file.read(stored.LARGEST_JSON))
        except OSError as error:
            raise RunError(
                f"{self.path} is damaged: {VOCABULARY} cannot be read ({error.strerror})."
            ) from error
        except (ValueError, DataError) as error:
            raise RunError(f"{self.path} is damaged: {VOCABULARY}: {error}") from error

    def checkpoint(self, which: str = "last", *, only: Collection[str] | None = None) -> Checkpoint:
        """The checkpoint `last`, `best` (lowest validation loss, else `last`) or a step; `RunError` if none is intact.

        `last` skips damaged ones with a warning, and replaces a damaged `best`. `only` lists the files to check; by default all.
        """

        def read(step: int) -> Checkpoint:
            return checkpoint.read(self.checkpoints / checkpoint.folder_name(step), only=only)

        steps = checkpoint.steps(self.checkpoints)
        if not steps:
            every = self.record["settings"].get("checkpoint_every", 500)
            again = "Remove it and train anew."
            if _is_unused(self.path):
                again = f"Start it again with `run` {shown(self.path)}."
            raise RunError(
                f"{self.path} has no checkpoint yet. If it trains now, the first comes after {every} steps; if not, it "
                f"ended before anything was saved. {again}"
            )
        self.check_checkpoint(which)
        if which not in ("last", "best"):
            return read(int(which))
        damaged = []
        for step in reversed(steps):
            try:
                found = read(step)
                break
            except RunError as error:
                damaged.append(str(error))
                log.warning(f"{error} The checkpoint before it is used.")
        else:
            raise RunError(f"No checkpoint of {self.path} is intact. " + " ".join(damaged))
        best = found.progress.best
        if which == "best" and best is not None and int(best["step"]) != found.progress.step:
            try:
                return read(int(best["step"]))
            except RunError as error:
                log.warning(f"{error} The last checkpoint is used.")
        return found

    def check_checkpoint(self, which: str) -> None:
        """Raise `RunError` if `which` is neither `last`, `best` nor the step of a checkpoint."""
        steps = checkpoint.steps(self.checkpoints)
        if which in ("last", "best", *map(str, steps)):
            return
        raise RunError(
            f"{self.path} has no checkpoint {which!r}; it has best, last and the steps "
            f"{', '.join(map(str, steps)) or '(none yet)'}.{did_you_mean(which, ['best', 'last'])}"
        )

    @property
    def resume_command(self) -> str:
        return f"rnntk {self.command} --resume {shown(self.path)}"

    @property
    def command(self) -> str:
        """Name of the command that trains runs of this kind."""
        return "mnist" if self.kind == ROW_CLASSIFIER else "train"

    def with_settings(self, settings: dict[str, Any]) -> RunFolder:
        """Change settings in `run.json`, upgrade its format, and return the run; the caller holds its lock."""
        changed = {**self.settings, **json.loads(json.dumps(settings))}
        if changed == self.settings and self.record["format_version"] == FORMAT_VERSION:
            return self
        record = {**self.record, "format_version": FORMAT_VERSION, "settings": changed}
        write_json(self.path / RUN, record)
        return RunFolder(self.path, record)

    def lock(self) -> filelock.FileLock:
        """Lock the run for this process, as a context manager; `RunError` if it is in use or holds a symbolic link."""
        refuse_links(self.path)
        return _locked(self.path, advice=None)


def _locked(path: Path, advice: str | None) -> filelock.FileLock:
    import filelock

    lock = filelock.FileLock(path / LOCK)
    with disk_errors(path, advice=advice):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise RunError(
                f"Another process is training in {path}. Wait until it has ended, or stop it."
            ) from error
    return lock


def refuse_links(path: Path) -> None:
    """Raise `RunError` if a run holds a symbolic link, through which a write would change a file elsewhere."""
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (found := Path(parent, name)).is_symlink():
                raise RunError(
                    f"{found} is a symbolic link. A run that is written to must hold its own files and folders:"
                    " replace the link by a copy."
                )


@contextmanager
def created(
    path: Path, *, vocabulary: Vocabulary | None = None, **record: Any
) -> Iterator[RunFolder]:
    """Create a run folder, locked within the context and removed on an error before the first step or checkpoint.

    `path` must be missing, empty, or a run killed before its first step; `record` is `kind`, `settings`, `model`,
    `corpus` and `versions` of `run.json`. Raises `RunError` if the folder exists or is in use, `TrainingError` if it
    cannot be written.
    """
    refuse_existing(path)
    record |= {
        "format_version": FORMAT_VERSION,
        "name": path.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"rnntk": __version__, **record["versions"]},
    }
    with disk_errors(path, advice=_ELSEWHERE):
        path.mkdir(parents=True, exist_ok=True)
    with _locked(path, _ELSEWHERE):
        refuse_existing(path)  # again, now that no other process can create a run here
        try:
            with disk_errors(path, advice=_ELSEWHERE):
                _clear(path)
                (path / CHECKPOINTS).mkdir()
                (path / LOGS).mkdir()
                (path / METRICS).touch()
            if vocabulary is not None:
                write_bytes(path / VOCABULARY, vocabulary.to_json().encode(), advice=_ELSEWHERE)
            # Last, so that any folder with a run.json is complete.
            write_json(path / RUN, record, advice=_ELSEWHERE)
            yield RunFolder(path, record)
        except BaseException:
            if _is_unused(path):
                with suppress(OSError):
                    _clear(path)
                    (path / LOCK).unlink()
                    path.rmdir()
            raise


def create(path: Path, **record: Any) -> RunFolder:
    """Create a run folder as `created` does, and leave it unlocked."""
    with created(path, **record) as run:
        return run


def refuse_existing(path: Path) -> None:
    """Raise `RunError` if no new run can be created at `path`."""
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not _is_unused(path):
        advice = f"Continue it with `resume` {shown(path)}, or choose another folder with `run`."
        if (path / RUN).is_file() and not checkpoint.steps(path / CHECKPOINTS):
            advice = "It ended before its first checkpoint. Remove it, or choose another folder with `run`."
        raise RunError(f"{path} exists already. {advice}")


def _is_unused(path: Path) -> bool:
    """Whether a folder holds only files that a run has before its first step is logged."""

    def ours(file: Path) -> bool:
        events = file.parent == path / LOGS and file.name.startswith("events.")
        made = {LOCK, RUN, VOCABULARY, METRICS, SAMPLES, CHECKPOINTS, LOGS}
        return not file.is_symlink() and (events or file.relative_to(path).as_posix() in made)

    try:
        files = [p for p in path.rglob("*") if ".rnntk-" not in str(p.relative_to(path))]
        logged = (path / METRICS).exists() and (path / METRICS).stat().st_size
        return path / LOCK in files and all(map(ours, files)) and not logged
    except OSError:
        return False


def _clear(path: Path) -> None:
    """Remove the files of an unused run, except its lock."""
    for folder in (CHECKPOINTS, LOGS):
        shutil.rmtree(path / folder, ignore_errors=True)
    for file in (RUN, VOCABULARY, METRICS, SAMPLES):
        (path / file).unlink(missing_ok=True)


def open_run(path: Path) -> RunFolder:
    """Open a run folder. Raises `RunError` if it is missing, damaged, from a newer version, or no run folder."""
    if not path.is_dir():
        raise RunError(f"There is no run folder {path}.")
    if not os.path.lexists(path / RUN):
        again = f" It was never finished: start it again with `run` {shown(path)}."
        raise RunError(
            f"{path} is not a run folder: it has no {RUN}." + (again if _is_unused(path) else "")
        )
    try:
        record = stored.read_json(path / RUN, {})
        version = record.get("format_version")
        if type(version) is not int or version < 1:
            raise ValueError(f"format_version is {version!r}")
        if version > FORMAT_VERSION:
            raise RunError(
                f"{path} was written by a newer rnntk (run format {version}; this rnntk {__version__} reads up to "
                f"{FORMAT_VERSION}). {upgrade_advice()}"
            )
        stored.conform(record, _RECORD)
        if record["kind"] not in CONFIGS:
            raise ValueError(f"kind is {record['kind']!r}")
        for part in (record["settings"], record["model"]):
            CONFIGS[record["kind"]].from_json(part)
    except (OSError, ValueError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path} is damaged: {RUN} cannot be read ({reason}).") from error
    return RunFolder(path, record)


def check_text(run: RunFolder) -> None:
    """Raise `RunError` if the record of a character model's text is incomplete."""
    try:
        corpus = run.record["corpus"]
        stored.conform(corpus, _TEXT, "corpus")
        counts = [corpus["facts"][name] for name in ("symbols", "characters")]
        bounds = [end for name in ("train", "val", "test") for end in corpus["split"][name]]
        if min(counts) < 1 or bounds != sorted(bounds) or bounds[0] < 0 or bounds[-1] > counts[0]:
            raise ValueError(f"split is {bounds} of {counts[0]} symbols")
    except ValueError as error:
        raise RunError(
            f"{run.path} does not say what text it was trained on ({error}). Give a text with `input`."
        ) from error


def next_path(runs_dir: Path, name: str) -> Path:
    """`<runs_dir>/<name>-<n>`, with n above every number in use."""
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    used = [int(m[1]) for p in _folders(runs_dir) if (m := pattern.fullmatch(p.name))]
    return runs_dir / f"{name}-{max(used, default=0) + 1}"


@contextmanager
def reserved(path: Path | None, runs_dir: Path, name: str) -> Iterator[Path]:
    """Context with the path of a new run: `path`, or the `next_path`, created at once and removed if it stays empty.

    Raises `TrainingError` if it cannot be created.
    """
    if path is not None:
        yield path
        return
    first = not runs_dir.exists()
    with disk_errors(runs_dir, advice=_ELSEWHERE):
        runs_dir.mkdir(parents=True, exist_ok=True)
        while True:
            made = next_path(runs_dir, name)
            with suppress(FileExistsError):  # another process was faster
                made.mkdir()
                break
    try:
        yield made
    finally:
        with suppress(OSError):
            made.rmdir()  # fails if the folder has files
            if first:
                runs_dir.rmdir()


def latest(runs_dir: Path, *, kind: str | None = None, corpus: str | None = None) -> RunFolder:
    """The most recently written run of this kind and corpus. Raises `RunError` if there is none."""
    found: list[tuple[float, RunFolder]] = []
    refused: list[str] = []
    for path in _folders(runs_dir):
        if not (path / RUN).is_file():
            continue
        try:
            run = open_run(path)
        except RunError as error:
            refused.append(str(error))
            continue
        if kind in (None, run.kind) and corpus in (None, run.record["corpus"].get("name")):
            files = (path / RUN, run.metrics, run.checkpoints)
            found.append((max(p.stat().st_mtime for p in files if p.exists()), run))
    if not found:
        command = "rnntk mnist" if kind == ROW_CLASSIFIER else "rnntk train"
        on = f" on {corpus}" if corpus else ""
        words = [command, f"{flag('corpus')} {corpus}"] if corpus else [command]
        raise RunError(
            f"There is no run{on} in {runs_dir}. Train one with: {' '.join(words)}"
            + ("".join(f"\nPassed over: {line}" for line in refused))
        )
    return max(found, key=lambda pair: (pair[0], pair[1].name))[1]


def find(runs_dir: Path, run: Path | None) -> RunFolder:
    """A run by path or by name in `runs_dir`, or the latest for None. Raises `RunError` if there is none."""
    if run is None:
        return latest(runs_dir)
    return open_run(locate(runs_dir, run))


def locate(runs_dir: Path, run: Path) -> Path:
    """The folder of this path, or of this name in `runs_dir`. Raises `RunError` if there is none."""
    for path in (run, runs_dir / run):
        with suppress(OSError):  # a name that is too long
            if path.is_dir():
                return path if path.name not in ("", "..") else path.resolve()
    guess = did_you_mean(run.name, [path.name for path in run_folders(runs_dir)])
    raise RunError(
        f"There is no run folder {run}, and no run of this name in {runs_dir}."
        + (guess or " List the runs with: rnntk runs")
    )


def check_movable(path: Path) -> None:
    """Raise `RunError` unless `path` is itself a folder of a run, whole or damaged, in which no process trains."""
    if path.is_symlink():
        raise RunError(f"{path} is a symbolic link. Name the run folder that it stands for.")
    lock = path / LOCK
    if not (lock.is_file() and (path / METRICS).is_file() and (path / CHECKPOINTS).is_dir()):
        open_run(path)
    if lock.is_symlink():
        raise RunError(f"{lock} is a symbolic link. Remove it first.")
    _locked(path, advice=None).release()  # now: Windows renames no folder with an open file


def not_ours(path: Path) -> list[str]:
    """Names of what a run folder holds and rnntk did not make, sorted."""
    made = {LOCK, RUN, VOCABULARY, METRICS, SAMPLES, CHECKPOINTS, LOGS}
    steps = {checkpoint.folder_name(step) for step in checkpoint.steps(path / CHECKPOINTS)}
    top = [p for p in path.iterdir() if p.name not in made or p.is_symlink()]
    inner = [] if (path / CHECKPOINTS).is_symlink() else (path / CHECKPOINTS).glob("*")
    found = [*top, *(p for p in inner if p.name not in steps)]
    return sorted(p.relative_to(path).as_posix() for p in found if ".rnntk-" not in p.name)


def delete(path: Path) -> int:
    """Delete a run folder; return the bytes freed. Raises `RunError` as `check_movable`, or `TrainingError`."""
    check_movable(path)
    files = [p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()]
    freed = sum(file.lstat().st_size for file in files)
    with disk_errors(path, advice="Nothing of it was deleted."):
        remove(path)
    return freed


def rename(path: Path, name: str) -> Path:
    """Rename a run folder within its parent; return the new path. Raises as `delete`, and `UsageError` for no name."""
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r} cannot name a run. Give a name without a path, such as kernel.")
    target = path.with_name(name)
    if os.path.lexists(target):
        raise RunError(f"{target} exists already. Choose another name.")
    check_movable(path)
    with disk_errors(target, advice="Choose another name."):
        path.rename(target)
    return target


def run_folders(runs_dir: Path) -> list[Path]:
    """Run folders sorted by name, with damaged ones. Raises `RunError` if `runs_dir` cannot be read."""
    return [p for p in _folders(runs_dir) if (p / RUN).exists() or (p / CHECKPOINTS).is_dir()]


def _folders(runs_dir: Path) -> list[Path]:
    try:
        return sorted(p for p in runs_dir.iterdir() if p.is_dir()) if runs_dir.is_dir() else []
    except OSError as error:
        raise RunError(f"{runs_dir} cannot be read ({error.strerror}).") from error
