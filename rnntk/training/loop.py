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

from rnntk.runs.checkpoint import Progress
from rnntk.training import explosion
from rnntk.training.job import Job
from rnntk.training.schedule import Limits


class Task(Protocol):
    """What is trained: a model with its data and its step."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    steps_per_epoch: int
    items_per_step: int  # symbols or images, for the rate
    unit: str  # what an item is called: "chars", "images"
    job: Job  # who trains it together
    uniform_loss: float  # nats that a model pays that gives every outcome the same chance

    def begin_epoch(self, epoch: int) -> None:
        """Reset what starts anew with an epoch."""

    def step(self, progress: Progress) -> dict[str, float]:
        """Train one batch; returns at least `loss`, `grad_norm` and `learning_rate`."""

    def validate(self) -> dict[str, float]:
        """Measure on the held-out data; empty when there is none."""

    def states(self) -> Mapping[str, np.ndarray]:
        """What a resume needs beside weights, optimizer and progress; all processes of a job ask together."""

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
    limits: Limits,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    stopped: Stopped | None = None,
) -> str:
    """Train until a limit is reached.

    A validation belongs to its step: it is measured before the step's `on_train_batch_end`, whose logs then
    hold its numbers too, so a checkpoint written there knows of it and a resume needs not repeat it.

    Args:
        task: what is trained.
        progress: where to start; kept up to date in place, so callbacks that hold it see the present.
        limits: when it ends.
        callbacks: Keras callbacks.
        stopped: read after every step.

    Returns:
        Why it ended: `epochs`, `max-steps`, `max-time`, `patience`, `signal` or `callback`.

    Raises:
        Exploded: loss, gradient or weights are not finite, or the loss has stayed above all reason.
    """
    calls = keras.callbacks.CallbackList(
        list(callbacks),
        model=task.model,
        epochs=limits.epochs,
        steps=task.steps_per_epoch,
        verbose=0,
    )
    task.model.stop_training = False
    begin = time.perf_counter()
    before = progress.seconds
    calls.on_train_begin()
    logs: dict[str, Any] = {}
    reason = limits.reached(progress)
    while not reason:
        if progress.batch == 0:
            task.begin_epoch(progress.epoch)
        calls.on_epoch_begin(progress.epoch)
        epoch = progress.epoch
        while not reason and progress.epoch == epoch:
            batch = progress.batch
            calls.on_train_batch_begin(batch)
            started = time.perf_counter()
            logs = task.step(progress)
            logs["rate"] = task.items_per_step / (time.perf_counter() - started)
            explosion.check_finite(logs, progress.step + 1)
            progress.stepped(logs["loss"], task.steps_per_epoch)
            explosion.count_high(progress, logs["loss"], task.uniform_loss, limits.explosion_steps)
            due = progress.step % limits.val_every == 0 if limits.val_every else progress.batch == 0
            if due:
                logs |= _validate(task, progress, limits, calls)
            progress.seconds = before + time.perf_counter() - begin
            calls.on_train_batch_end(batch, logs)
            wish = "callback" if task.model.stop_training else ""
            if limits.max_seconds is not None and progress.seconds - before >= limits.max_seconds:
                wish = "max-time"
            elif stopped is not None and stopped.signal_number is not None:
                wish = "signal"
            reason = limits.reached(progress) or task.job.agree(wish)
        if progress.epoch > epoch:
            calls.on_epoch_end(epoch, logs)
            if not reason and task.model.stop_training:
                reason = task.job.agree("callback")
    calls.on_train_end(logs)
    return reason


def _validate(
    task: Task, progress: Progress, limits: Limits, calls: keras.callbacks.CallbackList
) -> dict[str, float]:
    calls.on_test_begin()
    found = task.validate()
    if found:
        explosion.check_finite(found, progress.step)
        progress.validated(found["val_loss"], limits.plateau_patience)
    calls.on_test_end(found)
    return found
