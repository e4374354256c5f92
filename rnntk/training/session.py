"""One training session in a locked run folder, new or resumed, saved at its end."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from rnntk import signals
from rnntk.config import TrainConfig
from rnntk.errors import Interrupted, RunError, TrainingError, shown
from rnntk.files import DiskRefused, disk_errors
from rnntk.models.weights import named_optimizer_variables, named_weights
from rnntk.storage import checkpoint, folder
from rnntk.storage.checkpoint import Arrays, Progress
from rnntk.storage.folder import RunFolder
from rnntk.training import callbacks, device, loop
from rnntk.training.divergence import Diverged
from rnntk.training.loop import Task
from rnntk.training.optimizers import exchange_averages
from rnntk.training.report import Report

log = logging.getLogger(__name__)

Callbacks = Sequence[keras.callbacks.Callback]


@dataclass(frozen=True)
class Result:
    """Result of a session."""

    run: RunFolder
    progress: Progress
    reason: str  # why it ended: `epochs`, `max-steps`, `max-time`, `patience` or `callback`
    chief: bool = True  # whether this process wrote the run


def start(task: Task, path: Path, *, quiet: bool = False, extra: Callbacks = ()) -> Result:
    """Train a new run in the folder `path`, with the user's Keras callbacks in `extra`.

    Raises `RunError` if the folder exists; other errors as in `train`.
    """
    record: dict[str, Any] = {
        "kind": task.kind,
        "settings": task.config.to_json(),
        "model": task.model_record(),
        "corpus": task.corpus,
        "versions": device.versions(),
    }
    if not task.job.chief:
        return train(RunFolder(path, record), task, Progress(), quiet=quiet, extra=extra)
    with folder.created(path, **record, vocabulary=task.vocabulary) as run:
        return train(run, task, Progress(), quiet=quiet, extra=extra)


def resume(
    run: RunFolder, task: Task, which: str = "last", *, quiet: bool = False, extra: Callbacks = ()
) -> Result:
    """Resume a locked run exactly from the checkpoint `which`, and keep the task's settings in it for later resumes.

    Errors as in `restore` and `train`.
    """
    _warn_of_versions(run)
    progress = restore(run, task, which)
    if task.job.chief:
        run = run.with_settings(task.config.to_json(resumed=True))
    log.info(f"Continuing {shown(run.path)} at step {progress.step}.")
    return train(run, task, progress, quiet=quiet, extra=extra)


def restore(run: RunFolder, task: Task, which: str = "last") -> Progress:
    """Restore a task from a checkpoint, by default the run's last whole one; `RunError` if none is whole or fits."""
    saved = run.checkpoint(which)
    try:
        _assign(named_weights(task.model), saved.weights())
        slots = named_optimizer_variables(task.optimizer, task.model)
        _assign(slots, _by_name(saved.optimizer(), slots))
        exchange_averages(task.optimizer)  # a checkpoint has the averages as weights
        task.restore(saved.states())
    except (KeyError, ValueError) as error:
        raise RunError(f"{saved.folder} does not fit the model of {run.path}: {error}.") from error
    return saved.progress


def _by_name(arrays: Arrays, variables: Mapping[str, keras.Variable]) -> Arrays:
    """An optimizer's arrays by name; rnntk 0.1 saved them by position."""
    if not all(name.isdigit() for name in arrays):
        return arrays
    if len(arrays) != len(variables):
        raise ValueError(f"{len(arrays)} optimizer variables saved, {len(variables)} expected")
    return {name: arrays[place] for name, place in zip(variables, sorted(arrays), strict=True)}


def _assign(variables: Mapping[str, keras.Variable], arrays: Arrays) -> None:
    if differing := sorted(set(variables) ^ set(arrays)):
        raise ValueError(f"{', '.join(differing)} on one side only")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _warn_of_versions(run: RunFolder) -> None:
    before, now = run.record.get("versions", {}), device.versions()
    changed = [
        f"{name} {before[name]} (now {now[name]})"
        for name in ("tensorflow", "keras", "numpy")
        if before.get(name) not in (None, now[name])
    ]
    if changed:
        log.warning(
            f"Warning: {shown(run.path)} was trained with {', '.join(changed)}; results may differ in the last digits."
        )


@device.training_options()
def train(
    run: RunFolder, task: Task, progress: Progress, *, quiet: bool = False, extra: Callbacks = ()
) -> Result:
    """Train in a locked run folder from `progress`, updated in place, until a limit. Only a job's chief writes.

    Raises:
        Interrupted: a signal stopped training; a checkpoint was saved.
        WorkerLost: another process of the job is lost.
        TrainingError: training diverged, or a write failed.
    """
    _check_weights_agree(task)
    if extra:
        task.watch_learning_rate()
    began, limit = progress.step, task.config.max_time
    if limit is not None:
        limit = max(0.0, limit - task.reserved_seconds())
    report = Report(task, progress, limit, quiet=quiet)
    with ExitStack() as stack:
        listeners: list[keras.callbacks.Callback] = []
        metrics = None
        if task.job.chief:
            stack.callback(report.close)
            stack.enter_context(_disk_errors_explained(run))
            checkpoint.remove_unfinished(run.checkpoints)
            _cut_samples(run, progress)
            metrics = callbacks.MetricsWriter(run, progress)
            stack.callback(metrics.close)
            if metrics.lost:
                report.say(f"{run.metrics} is shorter than at the checkpoint; plots lack steps.")
            board = callbacks.TensorBoardScalars(run, task, progress)
            stack.callback(board.close)
            listeners = [metrics, board, report]
            if isinstance(task.config, TrainConfig) and task.config.sample_every:
                listeners.append(callbacks.Samples(run, task, progress, report, board))
        saving = callbacks.Checkpoints(run, task, progress, metrics)
        stopped = signals.Stopped()
        stack.enter_context(signals.handled(stopped))
        stack.enter_context(task.job.watched(run.path))
        try:
            reason = loop.fit(task, progress, [*listeners, *extra, saving], stopped, limit)
        except Diverged as error:
            if metrics is not None and not error.finite:
                metrics.check_files()  # another run may be in its place
                # The checkpoint that the session started from belongs to an earlier one, so it stays.
                checkpoint.remove_after(run.checkpoints, max(began, error.good_until))
            raise TrainingError(f"{error} {_after_divergence(run, error)}") from error
    if reason == "signal":
        raise Interrupted(
            f"Stopped at step {progress.step} and saved. Continue with: {run.resume_command}",
            # The signal may have reached another process of the job.
            stopped.signal_number or signal.SIGTERM,
        )
    return Result(run, progress, reason, task.job.chief)


def _check_weights_agree(task: Task) -> None:
    """Check that all processes of a job read the same weights, each from its own disk."""
    if task.job.workers > 1:
        digest = hashlib.sha256()
        for variable in named_weights(task.model).values():
            digest.update(variable.numpy().tobytes())
        task.job.barrier({"the weights' sha256": digest.hexdigest()}, "")


def _after_divergence(run: RunFolder, error: Diverged) -> str:
    """Advice after divergence: the last good checkpoint, and a command."""
    good = [step for step in checkpoint.steps(run.checkpoints) if step <= error.good_until]
    lower = "a lower `learning_rate` or `clip_norm`"
    if not good:
        return f"No checkpoint was saved before. Train again with {lower}."
    kept = f"Checkpoint {good[-1]} of {run.path} was saved before that."
    if run.kind != folder.CHAR_RNN:
        return f"{kept} Train again with {lower}."
    again = f"rnntk train --init-from {shown(run.path)} --learning-rate {run.settings['learning_rate'] / 4:g}"
    advice = f"{kept} Start from its weights with {lower}, such as: {again}"
    if error.finite:
        advice += f" Or continue without this check: rnntk train --resume {shown(run.path)} --explosion-steps 0"
    return advice


@contextmanager
def _disk_errors_explained(run: RunFolder) -> Iterator[None]:
    """Context that adds to a disk error which checkpoints the run has, and a command."""
    try:
        yield
    except DiskRefused as error:
        advice = f"Nothing was saved yet. {error.cure} or choose another folder with `run`, and train again."
        if checkpoint.steps(run.checkpoints):
            advice = f"Earlier checkpoints are intact. {error.cure} and continue with: {run.resume_command}"
        raise TrainingError(f"{error.problem} {advice}") from error


def _cut_samples(run: RunFolder, progress: Progress) -> None:
    """Remove the samples after the checkpoint, as training generates them again."""
    if progress.step == 0:
        progress.samples_bytes = 0
    elif progress.samples_bytes is not None and run.samples.exists():
        with disk_errors(run.samples):
            os.truncate(run.samples, min(progress.samples_bytes, run.samples.stat().st_size))
