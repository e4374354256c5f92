"""Run folders: everything about one training run. Format: docs/formats.md."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import __version__, stored
from rnntk.config import MnistConfig, TrainConfig
from rnntk.errors import DataError, RunError, UsageError, did_you_mean, shown
from rnntk.files import disk_errors, write_bytes, write_json
from rnntk.storage import checkpoint
from rnntk.storage.checkpoint import Checkpoint
from rnntk.text.vocabulary import Vocabulary, refuse_newer

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
FILES = (RUN, VOCABULARY, METRICS, SAMPLES)  # without the lock
FOLDERS = (CHECKPOINTS, LOGS)

CHAR_RNN = "char-rnn"
ROW_CLASSIFIER = "row-classifier"

CONFIGS: dict[str, type[TrainConfig | MnistConfig]]
CONFIGS = {CHAR_RNN: TrainConfig, ROW_CLASSIFIER: MnistConfig}

IMPORTED = "import"  # `source` of the corpus of an imported model, whose text is unknown

log = logging.getLogger(__name__)

# Types of the entries of `run.json` that are read again (see `stored.conform`).
_FACTS = {
    **dict.fromkeys(("bytes?", "symbols?", "characters?", "vocabulary_size?"), int),
    "encoding?": str,
}
_MODEL = {
    "cell": str, "layers?": int, "units?": int, "embedding?": int, "dropout?": float, "layer_norm?": bool,
    "bidirectional?": bool, "gru_reset?": str, "parameters?": int, "order?": str, "features?": int,
    "permutation_sha256?": str,
}  # fmt: skip
_CORPUS = {
    "name?": str, "source?": str, "path?": str, "inputs?": [str], "sha256?": str, "preprocessor?": str,
    "preprocessor_version?": int, "prime?": str, "opening?": str, "prepared?": str, "facts?": _FACTS,
    "split?": {...: (int, int)}, "chosen?": {...: {"value": Any, "why": str}},
}  # fmt: skip
_RECORD = {
    "format_version": int, "kind": str, "name?": str, "created?": str, "settings": {}, "model": _MODEL,
    "corpus": _CORPUS, "versions?": {...: str},
}  # fmt: skip
# Entries of `corpus` that are needed to find the text of a character model again.
_TEXT = {
    "name": str, "sha256": str, "preprocessor": str, "facts": {"symbols": int, "characters": int},
    "split": dict.fromkeys(("train", "val", "test"), (int, int)),
}  # fmt: skip

ELSEWHERE = "Free some space, make it writable, or choose another folder with `run`."


@dataclass(frozen=True)
class RunFolder:
    """A run on disk, which is found also after a change of the working folder."""

    named: Path  # as given
    record: dict[str, Any]  # the content of `run.json`
    _absolute: Path = field(init=False, repr=False, compare=False)
    _named_in: tuple[int, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        absolute = self.named
        with suppress(OSError):  # the working folder was removed
            absolute = absolute.absolute()
        object.__setattr__(self, "_absolute", absolute)
        object.__setattr__(self, "_named_in", _working_folder())

    @property
    def path(self) -> Path:
        """As given, which is shorter, in the working folder of then; elsewhere absolute."""
        return self.named if _working_folder() == self._named_in else self._absolute

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
        except (OSError, ValueError, DataError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"{self.path} is damaged: {VOCABULARY} cannot be read: {why}") from error

    def checkpoint(self, which: str = "last", *, only: Collection[str] | None = None) -> Checkpoint:
        """The checkpoint `last`, `best` (lowest validation loss, else `last`) or a step; `RunError` if none is intact.

        Damaged checkpoints are passed over with a warning, except a named step. `only` these files are checked; by
        default all.
        """
        try:
            return self._find(which, only)
        except checkpoint.Removed:  # training continues: list them again
            return self.checkpoint(which, only=only)

    def _find(self, which: str, only: Collection[str] | None) -> Checkpoint:
        """As `checkpoint`, but raises `Removed` if training removes the checkpoint meanwhile."""

        def read(step: int) -> Checkpoint:
            return checkpoint.read(self.checkpoints / checkpoint.folder_name(step), only=only)

        steps = checkpoint.steps(self.checkpoints)
        if not steps and not self.path.is_dir():
            raise RunError(f"{self.path} was moved or deleted. Load the run from its new place.")
        if not steps:
            every = self.record["settings"].get("checkpoint_every", 500)
            restart = f"start it again with `run` {shown(self.path)}"
            advice = restart if _is_unused(self.path) else "remove it and train a new run"
            raise RunError(
                f"{self.path} has no checkpoint yet. The first is saved after {every} steps; if "
                f"training has ended, {advice}."
            )
        self.check_checkpoint(which)
        if which not in ("last", "best"):
            return read(int(which))
        best = self._best_step(steps) if which == "best" else None
        if best is not None:
            try:
                return read(best)
            except checkpoint.Removed:
                raise
            except RunError as error:
                log.warning(f"{error} Using the last checkpoint.")
        damaged = []
        for step in reversed(steps):
            try:
                return read(step)
            except checkpoint.Removed:
                raise
            except RunError as error:
                damaged.append(str(error))
                log.warning(f"{error} Using the checkpoint before it.")
        raise RunError(f"No checkpoint of {self.path} is intact: {' '.join(damaged)}")

    def _best_step(self, steps: Sequence[int]) -> int | None:
        """Step of the best validation, by the newest intact progress; None without one, or if it is the last step."""
        for step in reversed(steps):
            with suppress(RunError):
                folder = self.checkpoints / checkpoint.folder_name(step)
                best = checkpoint.read(folder, only=(checkpoint.PROGRESS,)).progress.best
                return int(best["step"]) if best and int(best["step"]) != steps[-1] else None
        return None

    def check_checkpoint(self, which: str) -> None:
        """Raise `RunError` if `which` is neither `last`, `best` nor the step of a checkpoint."""
        steps = checkpoint.steps(self.checkpoints)
        if which in ("last", "best", *map(str, steps)):
            return
        listed = ", ".join(map(str, steps)) or "(none yet)"
        raise RunError(
            f"{self.path} has no checkpoint {which!r}; it has best, last and the steps {listed}."
            f"{did_you_mean(which, ['best', 'last'])}"
        )

    @property
    def resume_command(self) -> str:
        return f"rnntk {self.command} --resume {shown(self.path)}"

    @property
    def command(self) -> str:
        """Name of the command that trains runs of this kind."""
        return "mnist" if self.kind == ROW_CLASSIFIER else "train"

    def with_settings(self, settings: dict[str, Any]) -> RunFolder:
        """Change settings in `run.json`, upgrade its format, and return the run; the caller holds the lock."""
        changed = {**self.settings, **json.loads(json.dumps(settings))}
        if changed == self.settings and self.record["format_version"] == FORMAT_VERSION:
            return self
        record = {**self.record, "format_version": FORMAT_VERSION, "settings": changed}
        write_json(self.path / RUN, record)
        return RunFolder(self.path, record)

    def lock(self) -> filelock.FileLock:
        """Lock the run for this process (a context manager); `RunError` if it is in use or holds a symbolic link."""
        refuse_links(self.path)
        return locked(self.path, advice=None)


def _working_folder() -> tuple[int, int] | None:
    """Device and inode, which stay when the folder is renamed; None if it was removed."""
    try:
        found = Path().stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def locked(path: Path, advice: str | None) -> filelock.FileLock:
    import filelock

    lock = filelock.FileLock(path / LOCK)
    with disk_errors(path, advice=advice):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            problem = f"Another process is training in {path}."
            raise RunError(f"{problem} Wait until it has ended, or stop it.") from error
    return lock


def refuse_links(path: Path) -> None:
    """Raise `RunError` if a run holds a symbolic link: a write could change a file elsewhere."""
    for parent, folders, files in os.walk(path):
        for name in (*folders, *files):
            if (found := Path(parent, name)).is_symlink():
                raise RunError(f"{found} is a symbolic link. Replace it by a copy.")


@contextmanager
def created(
    path: Path, *, vocabulary: Vocabulary | None = None, **record: Any
) -> Iterator[RunFolder]:
    """Create a run folder, locked within the context and removed on an error before the first step or checkpoint.

    A folder that existed before is emptied instead; one that another process has put in its place is left alone.

    Args:
        path: missing, empty, or a run killed before its first step.
        record: `kind`, `settings`, `model`, `corpus` and `versions` of `run.json`.

    Raises `RunError` if the folder exists or is in use, `TrainingError` if it cannot be written.
    """
    refuse_existing(path)
    record |= {
        "format_version": FORMAT_VERSION,
        "name": path.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"rnntk": __version__, **record["versions"]},
    }
    with ExitStack() as stack:
        with disk_errors(path, advice=ELSEWHERE):
            stack.enter_context(making(path))
        stack.enter_context(locked(path, ELSEWHERE))
        with disk_errors(path, advice=ELSEWHERE):
            identity = (path / LOCK).stat()  # not reused while the file is open
        refuse_existing(path)  # again: another process may have created a run before the lock
        run = RunFolder(path, record)
        try:
            with disk_errors(path, advice=ELSEWHERE):
                _clear(path)
                (path / CHECKPOINTS).mkdir()
                (path / LOGS).mkdir()
                (path / METRICS).touch()
            if vocabulary is not None:
                write_bytes(path / VOCABULARY, vocabulary.to_json().encode(), advice=ELSEWHERE)
            # Last, so that every folder with a run.json is complete.
            write_json(path / RUN, record, advice=ELSEWHERE)
            yield run
        except BaseException:
            with suppress(OSError):
                lock = run.path / LOCK
                if os.path.samestat(identity, lock.stat()) and _is_unused(run.path):
                    _clear(run.path)
                    lock.unlink()
            raise


@contextmanager
def making(path: Path, *, exist_ok: bool = True) -> Iterator[None]:
    """Context with a folder, created with its parents; at the end those that are new are removed if empty."""
    path = path.absolute()  # a callback may change the working folder
    new = list(itertools.takewhile(lambda p: not p.exists(), (path, *path.parents)))
    identities: list[os.stat_result] = []
    try:
        path.mkdir(parents=True, exist_ok=exist_ok)
        identities += [folder.stat() for folder in new]
        yield
    finally:
        with suppress(OSError):
            for folder, identity in zip(new, identities, strict=False):
                if os.path.samestat(identity, folder.stat()):
                    folder.rmdir()


def create(path: Path, **record: Any) -> RunFolder:
    """Create a run folder like `created`, and unlock it."""
    with created(path, **record) as run:
        return run


def refuse_existing(path: Path) -> None:
    """Raise `RunError` if no new run can be created at `path`."""
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not _is_unused(path):
        if not (path / RUN).is_file():
            raise RunError(
                f"{path} exists already and is not a run. Choose another folder with `run`."
            )
        advice = f"Continue it with `resume` {shown(path)}"
        if not checkpoint.steps(path / CHECKPOINTS):
            advice = "It has no checkpoint. Remove it"
        raise RunError(f"{path} exists already. {advice}, or choose another folder with `run`.")


def _is_unused(path: Path) -> bool:
    """Whether a folder holds only files that a run has before its first step is logged."""

    def ours(file: Path) -> bool:
        events = file.parent == path / LOGS and file.name.startswith("events.")
        made = file.relative_to(path).as_posix() in (LOCK, *FILES, *FOLDERS)
        return not file.is_symlink() and (events or made)

    try:
        files = [p for p in path.rglob("*") if ".rnntk-" not in str(p.relative_to(path))]
        logged = (path / METRICS).exists() and (path / METRICS).stat().st_size
        return path / LOCK in files and all(map(ours, files)) and not logged
    except OSError:
        return False


def _clear(path: Path) -> None:
    """Remove the files of an unused run, except its lock."""
    for folder in FOLDERS:
        shutil.rmtree(path / folder, ignore_errors=True)
    for file in FILES:
        (path / file).unlink(missing_ok=True)


def open_run(path: Path) -> RunFolder:
    """Open a run folder. Raises `RunError` if it is missing, damaged, from a newer version, or not a run folder."""
    if not path.is_dir():
        raise RunError(f"There is no run folder {path}.")
    if not os.path.lexists(path / RUN):
        restart = f" It was never finished: start it again with `run` {shown(path)}."
        advice = restart if _is_unused(path) else ""
        raise RunError(f"{path} is not a run folder: it has no {RUN}.{advice}")
    try:
        record = stored.read_json(path / RUN, {})
        version = record.get("format_version")
        if type(version) is not int or version < 1:
            raise ValueError(f"format_version is {version!r}")
        refuse_newer(path, version, FORMAT_VERSION)
        stored.conform(record, _RECORD)
        if record["kind"] not in CONFIGS:
            raise ValueError(f"kind is {record['kind']!r}")
        for part in (record["settings"], record["model"]):
            CONFIGS[record["kind"]].from_json(part)
    except (OSError, ValueError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path} is damaged: {RUN} cannot be read: {reason}.") from error
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
        problem = f"{run.path} has no record of its text ({error})."
        raise RunError(f"{problem} Give a text with `input`.") from error
