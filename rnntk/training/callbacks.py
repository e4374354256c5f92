"""Keras callbacks of a session: metrics, checkpoints, samples, TensorBoard."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from rnntk import stored
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import TrainingError, os_error
from rnntk.files import disk_errors, json_text, printable
from rnntk.models.weights import named_optimizer_variables, named_weights
from rnntk.storage import checkpoint
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.storage.metrics import MeanLoss
from rnntk.training import divergence
from rnntk.training.loop import Task
from rnntk.training.optimizers import averaged
from rnntk.training.report import Report

log = logging.getLogger(__name__)

SAMPLE_LENGTH = 200


class MetricsWriter(keras.callbacks.Callback):
    """One JSON line per step in the run's metrics file; keeps `progress.losses["mean_loss"]`.

    On resume the file is truncated to `progress.metrics_bytes`, its size at the checkpoint, so no step appears twice.
    `lost` is True if the file was shorter than that; writing then continues after the last whole line.
    """

    def __init__(self, run: RunFolder, progress: Progress) -> None:
        super().__init__()
        self._progress, self._run = progress, run
        with disk_errors(self._path):
            self._file = self._path.open("a+b")
            self._identity = os.fstat(self._file.fileno())
            self.lost = self._file.seek(0, os.SEEK_END) < progress.metrics_bytes
            if self.lost:
                self._file.seek(0)
                progress.metrics_bytes = self._file.read().rfind(b"\n") + 1
            self._file.truncate(progress.metrics_bytes)
            self._file.seek(progress.metrics_bytes)
        self._mean = MeanLoss.of(self._path)

    @property
    def _path(self) -> Path:
        return self._run.metrics  # valid also after a change of the working folder

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one object. Raises as `check_files`."""
        self.check_files()
        data = (json_text(line) + "\n").encode()
        with disk_errors(self._path):
            self._file.write(data)
            self._file.flush()  # for readers of the running training
        self._progress.metrics_bytes += len(data)

    def check_files(self) -> None:
        """Raise `TrainingError` if the run was moved or removed, or its text became shorter."""
        # An open file follows a folder that is renamed or removed, so writing would not fail.
        try:
            in_place = os.path.samestat(self._identity, os.stat(self._path))  # noqa: PTH116  # quick
        except OSError:
            in_place = False
        if not in_place:
            raise TrainingError(
                f"{self._run.path} was renamed or removed: training ends at step {self._progress.step}. "
                f"Continue in its new place: rnntk {self._run.command} --resume FOLDER"
            )
        if short := stored.cut_short():
            raise TrainingError(
                f"{', '.join(short)} became shorter while training read it: training ends at step "
                f"{self._progress.step}. Continue with: {self._run.resume_command}"
            )

    def flush(self) -> None:
        """Sync the file to disk; called before each checkpoint, which records its size. Raises as `check_files`."""
        self.check_files()
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        p = self._progress
        epoch = p.epoch if p.batch else p.epoch - 1  # the last step of an epoch belongs to it
        numbers = {key: round(float(value), 7) for key, value in (logs or {}).items()}
        self.write({"step": p.step, "epoch": epoch, **numbers, "seconds": round(p.seconds, 3)})
        # Of the rounded losses, as every reader of the file computes it.
        p.losses["mean_loss"] = self._mean.add(numbers["loss"])

    def close(self) -> None:
        # A full disk was reported before; the lines up to the last checkpoint are on disk.
        with contextlib.suppress(OSError):
            self._file.close()


class Checkpoints(keras.callbacks.Callback):
    """Saves every `checkpoint_every` steps, at the best validation, and at the end.

    While the loss is as high as after divergence, a due checkpoint is skipped: it would displace good ones. `metrics`
    is None in a process that writes nothing and only contributes the states of its batch rows.
    """

    def __init__(
        self, run: RunFolder, task: Task, progress: Progress, metrics: MetricsWriter | None
    ) -> None:
        super().__init__()
        self._run, self._task, self._progress, self._metrics = run, task, progress, metrics
        # Not read from the disk, as all processes must agree on whether to save at the end.
        self._saved_step = progress.step or -1

    def save(self) -> None:
        """Write a checkpoint. Raises `Diverged` if a value is not finite, `TrainingError` if the disk fails."""
        model, step = self._task.model, self._progress.step
        with averaged(self._task.optimizer):  # checkpoints hold the averages as weights
            weights = _arrays(named_weights(model))
            optimizer = _arrays(named_optimizer_variables(self._task.optimizer, model))
        named = {f"The optimizer's {name}": array for name, array in optimizer.items()}
        divergence.check_weights({**weights, **named}, step)
        states = self._task.states()
        self._saved_step = step
        if self._metrics is None:
            return
        self._metrics.flush()
        p, path = self._progress, self._run.checkpoints
        checkpoint.write(path, weights=weights, optimizer=optimizer, states=states, progress=p)
        best = int(p.best["step"]) if p.best else None
        checkpoint.prune(path, self._task.config.keep, step, best)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        best, step = self._progress.best, self._progress.step
        due = step % self._task.config.checkpoint_every == 0 and not self._progress.high_steps
        if due or (best and best["step"] == step):
            self.save()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._saved_step != self._progress.step:
            self.save()


def _arrays(variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in variables.items()}


class TensorBoardScalars(keras.callbacks.Callback):
    """TensorBoard: scalars at every step, hyperparameters, the model graph once, samples, histograms on request.

    If the disk fails, a warning is logged and training continues without TensorBoard.
    """

    def __init__(self, run: RunFolder, task: Task, progress: Progress) -> None:
        super().__init__()
        # TensorBoard warns about a second graph in one run, so a resumed session writes none.
        resumed = progress.step > 0 and any(run.logs.glob("events.*"))
        self._progress, self._graph = progress, None if resumed else task.graph
        self._histograms_every = task.config.histograms_every
        self._logs = run.logs
        self._writer: Any = None  # None after an error
        with self._ignoring_errors():
            logs = os.fsencode(run.logs.absolute())  # a callback may change the working folder
            self._writer = tf.summary.create_file_writer(logs, flush_millis=5000)
            self._mark_session_start()
            with self._writer.as_default(step=0):
                hparams.hparams(_hyperparameters(run), trial_id=printable(run.name))

    @contextlib.contextmanager
    def _ignoring_errors(self) -> Iterator[None]:
        """Context in which an error turns TensorBoard off and does not stop training."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            disk = os_error(error)
            reason = (disk and disk.strerror) or error
            log.warning(
                f"Warning: {self._logs} cannot be written ({reason}). Training continues without TensorBoard."
            )
            self._writer = None

    def _mark_session_start(self) -> None:
        """Mark the session's first step, from which TensorBoard drops the steps of an earlier session."""
        from tensorflow.python.ops import summary_ops_v2  # no public name writes a SessionLog

        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        step = self._progress.step + 1
        event = tf.compat.v1.Event(wall_time=time.time(), step=step, session_log=start)
        with self._writer.as_default():
            summary_ops_v2.import_event(event.SerializeToString())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the step's numbers under `train/`, and those of a validation under `validation/`."""
        if self._writer is None:
            return
        with self._ignoring_errors(), self._writer.as_default(step=self._progress.step):
            if self._graph is not None:
                graph, self._graph = self._graph, None
                tf.summary.graph(graph())
            for name, value in (logs or {}).items():
                group = "validation" if name.startswith("val_") else "train"
                tf.summary.scalar(f"{group}/{name.removeprefix('val_')}", value)
            if self._histograms_every and self._progress.step % self._histograms_every == 0:
                for name, variable in named_weights(self.model).items():
                    tf.summary.histogram(f"weights/{name}", variable)

    def text(self, name: str, value: str) -> None:
        if self._writer is None:
            return
        with self._ignoring_errors(), self._writer.as_default(step=self._progress.step):
            tf.summary.text(name, "```\n" + value + "\n```")

    def close(self) -> None:
        if self._writer is not None:
            with self._ignoring_errors():
                self._writer.close()


_NOT_HYPERPARAMETERS = {
    "input", "glob", "data_dir", "offline", "accept_licence", "checkpoint_every", "keep", "log_every",
    "histograms_every", "threads", "sample_every",
}  # fmt: skip


def _hyperparameters(run: RunFolder) -> dict[str, Any]:
    """Settings that affect the result, for TensorBoard's HPARAMS page."""
    values = {**run.settings, **run.record["model"], "corpus": run.record["corpus"].get("name")}
    return {
        key: printable(value) if isinstance(value, str) else value
        for key, value in values.items()
        if key not in _NOT_HYPERPARAMETERS and isinstance(value, (bool, int, float, str))
    }


class Samples(keras.callbacks.Callback):
    """Generates a short text every `sample_every` steps: printed, in TensorBoard, and in the run's `samples.txt`."""

    def __init__(
        self,
        run: RunFolder,
        task: Task,
        progress: Progress,
        report: Report,
        board: TensorBoardScalars,
    ) -> None:
        super().__init__()
        self._optimizer = task.optimizer
        self._run, self._progress, self._report, self._board = run, progress, report, board
        self._every = run.settings["sample_every"]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = self._progress.step
        if step % self._every:
            return
        # With the same seed, samples differ only by the model.
        with averaged(self._optimizer):
            weights = _arrays(named_weights(self.model))
        model = LanguageModel.of_run(self._run, weights)
        text = model.default_prompt + "".join(model.stream(length=SAMPLE_LENGTH, seed=0))
        self._report.say(f"--- sample at step {step} ---\n{text}\n---")
        self._board.text("sample", text)
        path = self._run.samples
        with disk_errors(path), path.open("a", encoding="utf-8", newline="") as file:
            file.write(f"--- step {step} ---\n{text}\n")
            self._progress.samples_bytes = file.tell()


class Clock(keras.callbacks.Callback):
    """Measures the seconds of each step and each validation."""

    def __init__(self, items_per_step: int) -> None:
        super().__init__()
        self._items = items_per_step
        self._began = 0.0
        self.steps: list[float] = []
        self.validations: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.steps.append(self._items / (logs or {})["rate"])

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.validations.append(time.perf_counter() - self._began)
