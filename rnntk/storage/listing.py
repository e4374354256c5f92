"""Summaries of the runs in a folder, and details of one run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnntk.errors import RunError
from rnntk.storage import checkpoint, directory, folder, metrics
from rnntk.storage.folder import RunFolder

_LATEST = 253_402_300_799.0  # the last second of the year 9999, the largest date


@dataclass(frozen=True)
class Summary:
    """Summary of a run; the fields from `kind` to `best` are empty if the run cannot be read."""

    path: Path
    kind: str = ""  # `char-rnn` or `row-classifier`
    corpus: str = ""  # name of the training text
    model: str = ""  # such as `lstm 2x128`
    step: int | None = None  # optimizer steps logged
    loss: float | None = None  # of the last step, in nats
    mean_loss: float | None = None  # of the last steps (see `metrics.MeanLoss`), in nats
    best: float | None = None  # lowest validation loss, in nats
    modified: float = 0.0  # time of the last write, in seconds since 1970
    bytes: int = 0  # size of the folder
    usable: bool = False  # whether a checkpoint is whole
    problem: str | None = None  # what is damaged or missing

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class CheckpointSummary:
    """A checkpoint of a run."""

    step: int
    bytes: int  # size of its folder
    problem: str | None  # the damage, if any
    progress: checkpoint.Progress | None = field(default=None, repr=False)  # None if damaged


@dataclass(frozen=True)
class Details:
    """Everything about one run."""

    run: RunFolder
    summary: Summary
    changed: dict[str, Any]  # settings other than this version's defaults, by field name
    checkpoints: list[CheckpointSummary]  # by ascending step, every file checked
    progress: checkpoint.Progress | None  # of the newest intact checkpoint
    last: dict[str, float]  # newest value of every number in the metrics


def runs(runs_dir: Path, *, kind: str | None = None, corpus: str | None = None) -> list[Summary]:
    """Runs of this kind and corpus, and damaged runs, newest first. Raises `RunError` if `runs_dir` is unreadable."""
    found = [summarize(path) for path in directory.run_folders(runs_dir)]
    wanted = [
        s for s in found if not s.kind or (kind in (None, s.kind) and corpus in (None, s.corpus))
    ]
    return sorted(wanted, key=lambda s: (-s.modified, s.name))


def summarize(path: Path) -> Summary:
    """Summary of a run; an error becomes its `problem`."""
    modified, size = _stat(path)
    try:
        run = folder.open_run(path)
    except (RunError, OSError) as error:
        return Summary(path, modified=modified, bytes=size, problem=str(error))
    progress, problem = newest(run)
    last = metrics.last(run.metrics)
    ahead = progress is None or last.get("step", 0) >= progress.step
    best = progress.best["val_loss"] if progress and progress.best else last.get("val_loss")
    losses = last if progress is None or ahead else progress.losses
    step = int(last.get("step", 0)) if progress is None or ahead else progress.step
    return Summary(
        run.path,
        kind=run.kind,
        corpus=str(run.record["corpus"].get("name", "")),
        model=model_name(run.record["model"]),
        step=step,
        loss=losses.get("loss"),
        mean_loss=losses.get("mean_loss"),
        best=best,
        modified=modified,
        bytes=size,
        usable=progress is not None,
        problem=problem,
    )


def newest(run: RunFolder) -> tuple[checkpoint.Progress | None, str | None]:
    """Progress of the newest checkpoint whose files have the right sizes, and what is damaged or missing."""
    problem = None
    for step in reversed(checkpoint.steps(run.checkpoints)):
        try:
            return checkpoint.glance(run.checkpoints / checkpoint.folder_name(step)), problem
        except checkpoint.Removed:  # training continues: list them again
            return newest(run)
        except RunError as error:
            problem = problem or str(error)
    return None, problem or f"{run.path} has no checkpoint yet."


def details(run: RunFolder) -> Details:
    """Details of a run, with every checksum checked. Raises `RunError` if `run.json` is damaged."""
    summary = summarize(run.path)
    if not summary.kind:
        raise RunError(summary.problem or f"{run.path} is damaged.")
    found = [_check(run.checkpoints, step) for step in checkpoint.steps(run.checkpoints)]
    checkpoints = [c for c in found if c is not None]
    progress = next((c.progress for c in reversed(checkpoints) if c.progress is not None), None)
    kind = folder.CONFIGS[run.kind]
    # As in JSON, which has lists for tuples.
    defaults = {k: list(v) if isinstance(v, tuple) else v for k, v in kind().part(kind).items()}
    changed = {k: v for k, v in run.settings.items() if v != defaults.get(k)}
    return Details(run, summary, changed, checkpoints, progress, metrics.last(run.metrics))


def model_name(model: Mapping[str, Any]) -> str:
    """Short name of a network, such as `lstm 2x128` or `bidirectional gru 1x64`."""
    direction = "bidirectional " if model.get("bidirectional") else ""
    return f"{direction}{model['cell']} {model.get('layers', '?')}x{model.get('units', '?')}"


def _stat(path: Path) -> tuple[float, int]:
    """Time of the last write to a run, and its size in bytes."""
    size, modified = 0, 0.0
    with suppress(OSError):
        modified = path.stat().st_mtime
        for file in path.rglob("*"):
            with suppress(OSError):  # a checkpoint may be replaced meanwhile
                stat = file.stat()
                size += stat.st_size if file.is_file() else 0
                if file.name != ".lock":  # touched by commands that only read
                    modified = max(modified, stat.st_mtime)
    return min(max(modified, 0.0), _LATEST), size


def _check(parent: Path, step: int) -> CheckpointSummary | None:
    """Summary of a checkpoint; None if training removes it meanwhile."""
    path = parent / checkpoint.folder_name(step)
    size = _stat(path)[1]
    try:
        return CheckpointSummary(step, size, None, checkpoint.read(path).progress)
    except checkpoint.Removed:
        return None
    except RunError as error:
        return CheckpointSummary(step, size, str(error))
