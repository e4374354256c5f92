"""The training loop: epochs and steps, driven through Keras callbacks.

`Model.fit` is not used: it hides the recurrent state that exact resume needs, and fails under
multi-worker distribution with Keras 3. Everything that is not the step itself (saving, logging,
printing, a user's own ideas) is a `keras.callbacks.Callback`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import keras
import numpy as np

from rnntk.errors import TrainingError
from rnntk.runs.checkpoint import Progress


class Task(Protocol):
    """What is trained: a model with its data and its step."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    steps_per_epoch: int
    items_per_step: int  # symbols or images, for the rate
    unit: str  # what an item is called: "chars", "images"

    def begin_epoch(self, epoch: int) -> None:
        """Reset what starts anew with an epoch."""

    def step(self, progress: Progress) -> dict[str, float]:
        """Train one batch; returns at least `loss`, `grad_norm` and `learning_rate`."""

    def validate(self) -> dict[str, float]:
        """Measure on the held-out data; empty when there is none."""

    def states(self) -> Mapping[str, np.ndarray]:
        """What a resume needs beside weights, optimizer and progress."""

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Take back what `states` gave."""


class Stopped:
    """Set by a signal or a limit; read between steps.

    Attributes:
        signal_number: the signal that asked to stop, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    @contextmanager
    def on_signals(self) -> Iterator[Stopped]:
        """Turn Ctrl-C and SIGTERM into a wish to stop after the step; a second Ctrl-C stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def wish(number: int, _frame: FrameType | None) -> None:
            if self.signal_number is not None:
                raise KeyboardInterrupt
            self.signal_number = number

        before = {n: signal.signal(n, wish) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def fit(
    task: Task,
    progress: Progress,
    *,
    epochs: int,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stopped: Stopped | None = None,
) -> str:
    """Train until a limit is reached.

    Args:
        task: what is trained.
        progress: where to start; kept up to date in place, so callbacks that hold it see the present.
        epochs: passes over the data in all.
        max_steps: steps in all.
        max_seconds: wall time of this call.
        callbacks: Keras callbacks. Their logs hold the step's numbers and `progress`'s.
        stopped: read after every step.

    Returns:
        Why it ended: `epochs`, `max-steps`, `max-time`, `signal` or `callback`.

    Raises:
        TrainingError: the loss is not finite.
    """
    calls = keras.callbacks.CallbackList(
        list(callbacks), model=task.model, epochs=epochs, steps=task.steps_per_epoch, verbose=0
    )
    task.model.stop_training = False
    begin = time.perf_counter()
    before = progress.seconds
    calls.on_train_begin()
    logs: dict[str, Any] = {}
    reason = _limit(progress, epochs, max_steps)
    while not reason:
        if progress.batch == 0:
            task.begin_epoch(progress.epoch)
        calls.on_epoch_begin(progress.epoch)
        while not reason and progress.batch < task.steps_per_epoch:
            calls.on_train_batch_begin(progress.batch)
            started = time.perf_counter()
            logs = task.step(progress)
            now = time.perf_counter()
            batch = progress.batch
            progress.step += 1
            progress.batch += 1
            progress.seconds = before + now - begin
            progress.losses["loss"] = logs["loss"]
            logs["rate"] = task.items_per_step / (now - started)
            if not np.isfinite(logs["loss"]):
                raise TrainingError(
                    f"The loss became {logs['loss']} at step {progress.step}: training has exploded. The last "
                    "checkpoint is good; go on from it with a lower --learning-rate or --clip-norm, in a new run "
                    "with --init-from."
                )
            calls.on_train_batch_end(batch, logs)
            if max_steps is not None and progress.step >= max_steps:
                reason = "max-steps"
            elif max_seconds is not None and progress.seconds - before >= max_seconds:
                reason = "max-time"
            elif stopped is not None and stopped.signal_number is not None:
                reason = "signal"
            elif task.model.stop_training:
                reason = "callback"
        if progress.batch >= task.steps_per_epoch:
            progress.epoch += 1
            progress.batch = 0
            logs = {**logs, **task.validate()}
            calls.on_epoch_end(progress.epoch - 1, logs)
            reason = reason or _limit(progress, epochs, max_steps)
            if not reason and task.model.stop_training:
                reason = "callback"
    calls.on_train_end(logs)
    return reason


def _limit(progress: Progress, epochs: int, max_steps: int | None) -> str:
    if progress.epoch >= epochs:
        return "epochs"
    if max_steps is not None and progress.step >= max_steps:
        return "max-steps"
    return ""
