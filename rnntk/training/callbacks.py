"""What happens beside the step: saving, metrics, TensorBoard. All are Keras callbacks."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from rnntk.files import disk_errors
from rnntk.runs import checkpoint
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.training import explosion
from rnntk.training.loop import Task

WeightsOf = Callable[[keras.Model], Mapping[str, Any]]


class Metrics(keras.callbacks.Callback):
    """One JSON line a step in the run's metrics file.

    On resume the file is cut back to the size it had at the checkpoint, so steps are never listed twice.

    Args:
        run: the run folder.
        progress: where training stands; `metrics_bytes` is kept true.

    Attributes:
        lost: whether the file had lost lines that belong to the checkpoint; it goes on after the last whole one.
    """

    def __init__(self, run: RunFolder, progress: Progress) -> None:
        super().__init__()
        self._path, self._progress = run.metrics, progress
        with disk_errors(self._path):
            self._file = self._path.open("a+b")
            self.lost = self._file.seek(0, os.SEEK_END) < progress.metrics_bytes
            if self.lost:
                self._file.seek(0)
                progress.metrics_bytes = self._file.read().rfind(b"\n") + 1
            self._file.truncate(progress.metrics_bytes)
            self._file.seek(progress.metrics_bytes)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one object."""
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        with disk_errors(self._path):
            self._file.write(data)
            self._file.flush()  # so that a run can be watched while it trains
        self._progress.metrics_bytes += len(data)

    def flush(self) -> None:
        """Bring the lines to disk; called before a checkpoint counts on them."""
        with disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """A line with the step's numbers."""
        p = self._progress
        epoch = p.epoch if p.batch else p.epoch - 1  # the last step of an epoch still belongs to it
        numbers = {key: round(float(value), 7) for key, value in (logs or {}).items()}
        self.write({"step": p.step, "epoch": epoch, **numbers, "seconds": round(p.seconds, 3)})

    def close(self) -> None:
        """Flush and close the file; a full disk was reported before."""
        # Nothing is lost: the lines that belong to the last checkpoint are on disk already.
        with contextlib.suppress(OSError):
            self._file.close()


class Checkpoints(keras.callbacks.Callback):
    """Saves every so many steps, at the best validation, and at the end.

    While the loss is as high as after an explosion, none is saved only because it is due: it would push out the good
    ones.

    Args:
        run: the run folder.
        task: gives optimizer and states.
        progress: where training stands.
        metrics: flushed before each checkpoint. None in a process that helps to make checkpoints (the states of its
            lanes are needed) and writes none.
        weights_of: the model's weights by name.
        every: steps between checkpoints.
        keep: how many are kept beside the best.
    """

    def __init__(
        self,
        run: RunFolder,
        task: Task,
        progress: Progress,
        metrics: Metrics | None,
        weights_of: WeightsOf,
        *,
        every: int,
        keep: int,
    ) -> None:
        super().__init__()
        self._run, self._task, self._progress, self._metrics = run, task, progress, metrics
        self._weights_of, self._every, self._keep = weights_of, every, keep
        # Whether to save at the end must not depend on what a process sees on the disk.
        self._saved_step = progress.step or -1

    def save(self) -> None:
        """Write a checkpoint now.

        Raises:
            Exploded: a weight or a variable of the optimizer is not finite.
            TrainingError: the disk refuses it.
        """
        weights = {name: v.numpy() for name, v in self._weights_of(self._task.model).items()}
        optimizer = optimizer_arrays(self._task.optimizer)
        explosion.check_weights(weights, self._progress.step)
        explosion.check_weights(
            {f"The optimizer's variable {name}": v for name, v in optimizer.items()},
            self._progress.step,
        )
        states = self._task.states()
        self._saved_step = self._progress.step
        if self._metrics is None:
            return
        self._metrics.flush()
        checkpoint.write(
            self._run.checkpoints,
            weights=weights,
            optimizer=optimizer,
            states=states,
            progress=self._progress,
        )
        best = self._progress.best
        checkpoint.prune(
            self._run.checkpoints, self._keep, self._saved_step, int(best["step"]) if best else None
        )

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save when it is time, and when the validation is the best so far."""
        best, step = self._progress.best, self._progress.step
        due = step % self._every == 0 and not self._progress.high_steps
        if due or (best and best["step"] == step):
            self.save()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Save the end, unless it was saved already."""
        if self._saved_step != self._progress.step:
            self.save()


def optimizer_arrays(optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """The optimizer's variables, named by their position, as arrays."""
    return {f"{i:04d}": v.numpy() for i, v in enumerate(optimizer.variables)}


def restore_optimizer(
    optimizer: keras.optimizers.Optimizer, arrays: Mapping[str, np.ndarray]
) -> None:
    """Put back what `optimizer_arrays` gave, in order of position.

    Raises:
        ValueError: the number or a shape differs.
    """
    values = [arrays[name] for name in sorted(arrays)]
    if len(values) != len(optimizer.variables):
        raise ValueError(
            f"{len(values)} optimizer variables saved, {len(optimizer.variables)} expected"
        )
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)


class TensorBoardScalars(keras.callbacks.Callback):
    """TensorBoard scalars at every step, hyperparameters, the model graph once, text samples when there are any.

    Histograms of the weights are written on request only: they cost other tools ten times the step.

    Args:
        run: the run folder; events go to its `logs`.
        progress: where training stands.
        graph: the step's graph, written once, or None.
        weights_of: the model's weights by name, for histograms.
        histograms_every: steps between histograms; 0 for none.
    """

    def __init__(
        self,
        run: RunFolder,
        progress: Progress,
        graph: Callable[[], Any] | None = None,
        *,
        weights_of: WeightsOf | None = None,
        histograms_every: int = 0,
    ) -> None:
        super().__init__()
        # TensorBoard warns of a second graph in one run, so a resumed session writes none.
        resumed = progress.step > 0 and any(run.logs.glob("events.*"))
        self._progress, self._graph = progress, None if resumed else graph
        self._weights_of, self._histograms_every = weights_of, histograms_every
        with disk_errors(run.logs):
            self._writer = tf.summary.create_file_writer(str(run.logs), flush_millis=5000)
            self._mark_session_start()
        with self._writer.as_default(step=0):
            hparams.hparams(_hyperparameters(run), trial_id=run.name)

    def _mark_session_start(self) -> None:
        """Mark where this session begins: at a second mark TensorBoard drops what an earlier session wrote later."""
        from tensorflow.python.ops import summary_ops_v2  # no public name writes a SessionLog

        event = tf.compat.v1.Event(
            wall_time=time.time(),
            step=self._progress.step + 1,
            session_log=tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START),
        )
        with self._writer.as_default():
            summary_ops_v2.import_event(event.SerializeToString())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the step's numbers under `train/`, a validation's under `validation/`."""
        with self._writer.as_default(step=self._progress.step):
            if self._graph is not None:
                graph, self._graph = self._graph, None
                tf.summary.graph(graph())
            for name, value in (logs or {}).items():
                group = "validation" if name.startswith("val_") else "train"
                tf.summary.scalar(f"{group}/{name.removeprefix('val_')}", value)
            if self._histograms_every and self._progress.step % self._histograms_every == 0:
                assert self._weights_of is not None
                for name, variable in self._weights_of(self.model).items():
                    tf.summary.histogram(f"weights/{name}", variable)

    def text(self, name: str, value: str) -> None:
        """Write a text sample."""
        with self._writer.as_default(step=self._progress.step):
            tf.summary.text(name, "```\n" + value + "\n```")

    def close(self) -> None:
        """Flush the events."""
        self._writer.close()


_NOT_LEARNT = {
    "input", "glob", "data_dir", "offline", "accept_licence", "checkpoint_every", "keep", "log_every",
    "histograms_every", "threads", "sample_every",
}  # fmt: skip


def _hyperparameters(run: RunFolder) -> dict[str, Any]:
    """The settings that shape what is learnt, for TensorBoard's HPARAMS page."""
    values = {**run.settings, **run.record["model"], "corpus": run.record["corpus"].get("name")}
    return {
        key: value
        for key, value in values.items()
        if key not in _NOT_LEARNT and isinstance(value, (bool, int, float, str))
    }


class Clock(keras.callbacks.Callback):
    """Seconds of each step and each validation.

    Args:
        items_per_step: by which the rate becomes a time.
    """

    def __init__(self, items_per_step: int) -> None:
        super().__init__()
        self._items = items_per_step
        self._began = 0.0
        self.steps: list[float] = []
        self.validations: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Note the step's time."""
        self.steps.append(self._items / (logs or {})["rate"])

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin to measure a validation."""
        self._began = time.perf_counter()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Note the validation's time."""
        self.validations.append(time.perf_counter() - self._began)
