"""One training session in a run folder: started anew or resumed, guarded by a lock, saved at its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from rnntk.errors import Interrupted, RunError, TrainingError, shown
from rnntk.files import DiskRefused, disk_errors
from rnntk.runs import checkpoint, folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.training import callbacks, loop
from rnntk.training.explosion import Exploded
from rnntk.training.loop import Stopped, Task
from rnntk.training.report import Report, Samples
from rnntk.training.schedule import Limits


@dataclass(frozen=True)
class Result:
    """What a session reached.

    Attributes:
        run: its folder.
        progress: where it stands.
        reason: why it ended: `epochs`, `max-steps`, `max-time`, `patience` or `callback`.
        chief: whether this process wrote the run.
    """

    run: RunFolder
    progress: Progress
    reason: str
    chief: bool = True


def restore(
    run: RunFolder,
    task: Task,
    weights_of: callbacks.WeightsOf,
    warn: Callable[[str], None],
    which: str = "last",
) -> Progress:
    """Bring a task back to a checkpoint, by default the run's last whole one.

    Raises:
        RunError: nothing whole is there, or it does not fit the model.
    """
    saved = run.checkpoint(which, warn=warn)
    try:
        load_weights(weights_of(task.model), saved.weights())
        callbacks.restore_optimizer(task.optimizer, saved.optimizer())
        task.restore(saved.states())
    except (KeyError, ValueError) as error:
        raise RunError(f"{saved.folder} does not fit the model of {run.path}: {error}.") from error
    return saved.progress


def load_weights(variables: Any, arrays: Any) -> None:
    """Assign arrays to variables by name; names and shapes must be the same on both sides.

    Raises:
        ValueError: they are not.
    """
    if set(variables) != set(arrays):
        raise ValueError(f"weights {sorted(set(variables) ^ set(arrays))} are on one side only")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def train(
    run: RunFolder,
    task: Task,
    progress: Progress,
    limits: Limits,
    *,
    weights_of: callbacks.WeightsOf,
    checkpoint_every: int,
    keep: int,
    log_every: int,
    quiet: bool = False,
    draw: Callable[[keras.Model], str] | None = None,
    sample_every: int = 0,
    graph: Callable[[], Any] | None = None,
    histograms_every: int = 0,
    extra_callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Train in a run folder until a limit.

    Of the processes of a job only the chief writes there, and says what it does.

    Args:
        run: where everything goes; the caller holds its lock.
        task: what is trained.
        progress: where it starts.
        limits: when it ends.
        weights_of: the model's weights by name.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints kept beside the best.
        log_every: steps between lines where there is no terminal.
        quiet: print nothing.
        draw: makes a text of the model as it is.
        sample_every: steps between texts; 0 for none.
        graph: the step's graph, for TensorBoard.
        histograms_every: steps between histograms of the weights in TensorBoard; 0 for none.
        extra_callbacks: a user's own Keras callbacks, called last.

    Raises:
        Interrupted: a signal ended it, after it was saved.
        WorkerLost: another process of the job is gone.
        TrainingError: training has exploded, or the disk refuses what is written.
    """
    began = progress.step
    report = Report(
        progress,
        total=limits.steps(task.steps_per_epoch),
        max_seconds=limits.max_seconds,
        unit=task.unit,
        every=log_every,
        quiet=quiet,
    )
    metrics = None
    listeners: list[keras.callbacks.Callback] = []
    with ExitStack() as stack:
        if task.job.chief:
            stack.callback(report.close)
            stack.enter_context(_disk_told(run))
            checkpoint.remove_unfinished(run.checkpoints)
            _cut_samples(run, progress)
            metrics = callbacks.Metrics(run, progress)
            stack.callback(metrics.close)
            if metrics.lost:
                report.say(f"{run.metrics} has lost lines since it was saved; they stay missing.")
            board = callbacks.TensorBoardScalars(
                run, progress, graph, weights_of=weights_of, histograms_every=histograms_every
            )
            stack.callback(board.close)
            listeners = [metrics, board, report]
        checkpoints = callbacks.Checkpoints(
            run, task, progress, metrics, weights_of, every=checkpoint_every, keep=keep
        )
        if task.job.chief and draw is not None and sample_every:

            def show(step: int, text: str) -> None:
                report.say(f"--- sample at step {step} ---\n{text}\n---")
                board.text("sample", text)
                with (
                    disk_errors(run.samples),
                    run.samples.open("a", encoding="utf-8", newline="") as file,
                ):
                    file.write(f"--- step {step} ---\n{text}\n")
                    progress.samples_bytes = file.tell()

            listeners.append(Samples(progress, draw, sample_every, show))
        stopped = stack.enter_context(Stopped().on_signals())
        stack.enter_context(task.job.watched(run.path))
        try:
            reason = loop.fit(
                task,
                progress,
                limits,
                callbacks=[*listeners, *extra_callbacks, checkpoints],
                stopped=stopped,
            )
        except Exploded as error:
            if task.job.chief and not error.finite:
                # Nobody can use them; what this session began from is not its own to remove.
                checkpoint.remove_after(run.checkpoints, max(began, error.good_until))
            raise TrainingError(f"{error} {_after_explosion(run, error)}") from error
    if reason == "signal":
        raise Interrupted(
            f"Stopped at step {progress.step} and saved. Go on with: {run.resume_command}",
            # Where the signal came to another process, all end as if it had come here.
            stopped.signal_number or signal.SIGTERM,
        )
    return Result(run, progress, reason, task.job.chief)


def _after_explosion(run: RunFolder, error: Exploded) -> str:
    """What is left of an exploded run, and what to do."""
    good = [step for step in checkpoint.steps(run.checkpoints) if step <= error.good_until]
    lower = "a lower --learning-rate or --clip-norm"
    if not good:
        return f"Nothing was saved before. Train anew with {lower}."
    kept = f"Checkpoint {good[-1]} of {run.path} is from before, and good."
    if run.kind != folder.CHAR_RNN:
        return f"{kept} Train anew with {lower}."
    on = f" Or go on all the same with: {run.resume_command} --explosion-steps 0"
    again = f"rnntk train --init-from {shown(run.path)} --learning-rate {run.settings['learning_rate'] / 4:g}"
    return f"{kept} Start from its weights with {lower}, such as: {again}" + (
        on if error.finite else ""
    )


@contextmanager
def _disk_told(run: RunFolder) -> Iterator[None]:
    """Say what a run that the disk refuses still has, and what to type."""
    try:
        yield
    except DiskRefused as error:
        if checkpoint.steps(run.checkpoints):
            left = (
                f"What was saved before is whole. {error.cure} and go on with: {run.resume_command}"
            )
        else:
            left = f"Nothing had been saved yet. {error.cure} or choose another folder with --run, and train anew."
        raise TrainingError(f"{error.problem} {left}") from error


def _cut_samples(run: RunFolder, progress: Progress) -> None:
    """Take away the texts that were drawn after the checkpoint; they will be drawn again."""
    if progress.step == 0:
        progress.samples_bytes = 0
    elif progress.samples_bytes is not None and run.samples.exists():
        with disk_errors(run.samples):
            os.truncate(run.samples, min(progress.samples_bytes, run.samples.stat().st_size))
