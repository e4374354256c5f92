"""The runs in a folder: one line about each, and everything about one. TensorFlow is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnntk.config import MnistConfig, TrainConfig
from rnntk.errors import RunError
from rnntk.storage import checkpoint, folder, metrics
from rnntk.storage.folder import RunFolder

CONFIGS: dict[str, type[TrainConfig | MnistConfig]] = {
    folder.CHAR_RNN: TrainConfig,
    folder.ROW_CLASSIFIER: MnistConfig,
}


@dataclass(frozen=True)
class Summary:
    """One run in one line.

    Attributes:
        path: its folder.
        kind: `char-rnn` or `row-classifier`; empty, like all that follows, when the run cannot be read.
        corpus: name of the training text.
        model: the network in short, such as `lstm 2x128`.
        step: optimizer steps logged.
        loss: of the last of them, in nats.
        best: the least validation loss, in nats.
        modified: time of the last write, in seconds since 1970.
        bytes: size of the folder.
        problem: the reason it cannot be used, or None.
    """

    path: Path
    kind: str = ""
    corpus: str = ""
    model: str = ""
    step: int | None = None
    loss: float | None = None
    best: float | None = None
    modified: float = 0.0
    bytes: int = 0
    problem: str | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name


@dataclass(frozen=True)
class CheckpointSummary:
    """One checkpoint of a run: its step, its size in bytes, and what is wrong with it, or None."""

    step: int
    bytes: int
    problem: str | None
    progress: checkpoint.Progress | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Details:
    """Everything about one run.

    Attributes:
        run: the run folder.
        summary: its line.
        changed: the settings that are not the defaults, by option name with underscores.
        checkpoints: by ascending step, every file checked.
        progress: where the newest whole checkpoint stands, or None.
        last: the newest value of every number in the metrics.
    """

    run: RunFolder
    summary: Summary
    changed: dict[str, Any]
    checkpoints: list[CheckpointSummary]
    progress: checkpoint.Progress | None
    last: dict[str, float]


def runs(runs_dir: Path, *, kind: str | None = None, corpus: str | None = None) -> list[Summary]:
    """The runs in a folder, the one written to last first.

    Runs that are damaged or from a newer version are included, with the reason, whatever `kind` and `corpus` are.

    Args:
        runs_dir: the folder of runs; it need not exist.
        kind: only runs of this kind.
        corpus: only runs on this corpus.

    Raises:
        RunError: the folder cannot be read.
    """
    found = [summarize(path) for path in folder.run_folders(runs_dir)]
    return sorted(
        (s for s in found if not s.kind or (kind in (None, s.kind) and corpus in (None, s.corpus))),
        key=lambda s: (-s.modified, s.name),
    )


def summarize(path: Path) -> Summary:
    """One run in one line; an error becomes its `problem`."""
    modified, size = _stat(path)
    try:
        run = folder.open_run(path)
        return _summarize(run, modified, size)
    except (RunError, OSError) as error:
        return Summary(path, modified=modified, bytes=size, problem=str(error))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problem = f"{path} is damaged: {folder.RUN} has a wrong entry ({error})."
        return Summary(path, modified=modified, bytes=size, problem=problem)


def _summarize(run: RunFolder, modified: float, size: int) -> Summary:
    for part in ("settings", "model", "corpus"):
        if not isinstance(run.record[part], dict):
            raise TypeError(f"{part} is not an object")
    steps = checkpoint.steps(run.checkpoints)
    progress, problem = None, None
    for step in reversed(steps):
        try:
            progress = checkpoint.glance(run.checkpoints / checkpoint.folder_name(step))
            break
        except RunError as error:
            problem = problem or str(error)
    if not steps:
        problem = f"{run.path} has no checkpoint yet."
    last = metrics.last(run.metrics)
    ahead = progress is None or last.get("step", 0) > progress.step
    best = progress.best["val_loss"] if progress and progress.best else last.get("val_loss")
    losses = last if progress is None or ahead else progress.losses
    return Summary(
        run.path,
        kind=run.kind,
        corpus=str(run.record["corpus"].get("name", "")),
        model=model_name(run.record["model"]),
        step=int(last.get("step", 0)) if ahead or progress is None else progress.step,
        loss=losses.get("loss"),
        best=best,
        modified=modified,
        bytes=size,
        problem=problem,
    )


def details(run: RunFolder) -> Details:
    """Everything about one run; every checkpoint's files are checked against their sums.

    Raises:
        RunError: `run.json` has a wrong entry.
    """
    summary = summarize(run.path)
    if not summary.kind:
        raise RunError(summary.problem or f"{run.path} is damaged.")
    checkpoints = [_check(run.checkpoints, step) for step in checkpoint.steps(run.checkpoints)]
    whole = [c.progress for c in checkpoints if c.progress is not None]
    return Details(
        run,
        summary,
        changed_settings(run),
        checkpoints,
        whole[-1] if whole else None,
        metrics.last(run.metrics),
    )


def changed_settings(run: RunFolder) -> dict[str, Any]:
    """The settings of a run that are not the defaults of this version."""
    kind = CONFIGS.get(run.kind)
    defaults = kind().part(kind) if kind else {}
    return {
        name: value
        for name, value in run.settings.items()
        if (tuple(value) if isinstance(value, list) else value) != defaults.get(name)
    }


def model_name(model: Mapping[str, Any]) -> str:
    """The network in short: `lstm 2x128`, `bidirectional gru 1x64`."""
    direction = "bidirectional " if model.get("bidirectional") else ""
    return f"{direction}{model['cell']} {model['layers']}x{model['units']}"


def _stat(path: Path) -> tuple[float, int]:
    """Time of the last write to a run, and its size in bytes."""
    size, times = 0, []
    try:
        times.append(path.stat().st_mtime)
        for file in path.rglob("*"):
            try:
                stat = file.stat()
            except OSError:  # a checkpoint that is being replaced
                continue
            size += stat.st_size if file.is_file() else 0
            # Commands that only read a run touch its lock.
            if file.name != ".lock":
                times.append(stat.st_mtime)
    except OSError:
        pass
    return max(times, default=0.0), size


def _check(parent: Path, step: int) -> CheckpointSummary:
    path = parent / checkpoint.folder_name(step)
    size = _stat(path)[1]
    try:
        return CheckpointSummary(step, size, None, checkpoint.read(path).progress)
    except RunError as error:
        return CheckpointSummary(step, size, str(error))
