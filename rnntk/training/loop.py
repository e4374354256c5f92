"""The training loop: epochs and steps, driven through Keras callbacks.

`Model.fit` hides the recurrent state, which exact resume needs, and fails with several workers in Keras 3.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from rnntk.config import MnistConfig, TrainConfig
from rnntk.signals import Stopped
from rnntk.storage.checkpoint import Progress
from rnntk.text.vocabulary import Vocabulary
from rnntk.training import divergence, schedule
from rnntk.training.job import ALONE, Job
from rnntk.training.optimizers import averaged

_HELD_RATE = "learning_rate"
"""Name in a checkpoint's states of the learning rate that a callback has set."""


class Task(Protocol):
    """A model with its data and its training step; the base of the tasks."""

    config: TrainConfig | MnistConfig
    kind: str  # of the run, as in `run.json`
    corpus: dict[str, Any]  # record of the data in `run.json`
    job: Job = ALONE
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    steps_per_epoch: int
    items_per_step: int  # symbols or images, for the rate
    unit: str  # "chars" or "images"
    target: str  # what a loss is per: "symbol" or "image"
    uniform_loss: float  # in nats, with equal probabilities
    vocabulary: Vocabulary | None = None  # of a character model
    _rate: float | None = None  # learning rate of the last step
    _seen: float | None = None  # the optimizer's own value of it, if callbacks may change it
    _held: float | None = None  # the rate that a callback has set

    def model_record(self) -> dict[str, Any]:
        """Record of the network in `run.json`."""

    def begin_epoch(self, epoch: int) -> None:
        """Reset the data and the states to the start of an epoch."""

    def set_learning_rate(self, progress: Progress) -> float:
        """Set the learning rate of the next step, and return it: the one that a callback has set, or the schedule's."""
        rate = self.held_rate()
        if rate is None:
            total = schedule.total_steps(self.config, self.steps_per_epoch)
            rate = schedule.learning_rate(self.config, progress, total)
        if rate != self._rate:  # an assignment takes a third of a millisecond
            self.optimizer.learning_rate.assign(rate)
            self._rate = rate
            if self._seen is not None:
                self._seen = self._optimizers_rate()
        return rate

    def watch_learning_rate(self) -> None:
        """Let callbacks set the optimizer's learning rate from now on."""
        self._seen = self._optimizers_rate()

    def held_rate(self) -> float | None:
        """The learning rate that a callback has set, which replaces the schedule's; None if none has."""
        if self._seen is not None and (found := self._optimizers_rate()) != self._seen:
            self._held = self._rate = self._seen = found
        return self._held

    def _optimizers_rate(self) -> float:
        return float(self.optimizer.learning_rate.numpy())

    def step(self, progress: Progress) -> dict[str, float]:
        """Train on one batch; returns at least `loss`, `grad_norm` and `learning_rate`."""

    def validate(self) -> dict[str, float]:
        """Validation results; empty without held-out data."""

    def reserved_seconds(self) -> float:
        """Seconds of `max_time` that are not training: an estimate of a last validation, and of a test."""

    def graph(self) -> tf.Graph:
        """The model's graph, for TensorBoard."""

    def states(self) -> Mapping[str, np.ndarray]:
        """Further arrays that a resume needs, such as recurrent states; all processes of a job call it together."""
        held = self.held_rate()
        return {} if held is None else {_HELD_RATE: np.array(held, np.float32)}

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Restore the arrays from `states`."""
        self._held = float(states[_HELD_RATE]) if _HELD_RATE in states else None


def fit(
    task: Task,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback],
    stopped: Stopped | None = None,
    limit: float | None = None,
) -> str:
    """Train from `progress`, updated in place, until a limit; raises `Diverged` (see `divergence`).

    Validation runs before `on_train_batch_end`, so a checkpoint written there includes its results, and once more at
    the last step of a run that reaches a limit. `limit` is the seconds that this session may train.

    Returns the reason for the end: `epochs`, `max-steps`, `max-time`, `patience`, `signal` or `callback`.
    """
    config, steps = task.config, task.steps_per_epoch
    calls = keras.callbacks.CallbackList(
        list(callbacks), model=task.model, epochs=config.epochs, steps=steps, verbose=0
    )
    task.model.stop_training = False
    # Keras' TensorBoard callback reads it; an ordinary attribute, as Keras would track it.
    object.__setattr__(task.model, "optimizer", task.optimizer)
    began, before = time.perf_counter(), progress.seconds
    calls.on_train_begin()
    logs: dict[str, Any] = {}

    def own_reason() -> str:
        if limit is not None and progress.seconds - before >= limit:
            return "max-time"
        if stopped is not None and stopped.signal_number is not None:
            return "signal"
        return "callback" if task.model.stop_training else ""

    reason = schedule.reached(config, progress)
    while not reason:
        if progress.batch == 0:
            task.begin_epoch(progress.epoch)
        epoch = progress.epoch
        calls.on_epoch_begin(epoch)
        while not reason and progress.epoch == epoch:
            batch = progress.batch
            calls.on_train_batch_begin(batch)
            started = time.perf_counter()
            logs = task.step(progress)
            logs["rate"] = task.items_per_step / (time.perf_counter() - started)
            divergence.check_finite(logs, progress.step + 1)
            progress.stepped(logs["loss"], steps)
            divergence.count_high(progress, logs["loss"], task.uniform_loss, config.explosion_steps)
            due = progress.step % config.val_every == 0 if config.val_every else progress.batch == 0
            if due:
                logs |= _validate(task, progress, calls)
            progress.seconds = before + time.perf_counter() - began
            reason = schedule.reached(config, progress) or task.job.stop_reason(own_reason())
            if not due and reason in ("epochs", "max-steps", "max-time"):
                logs |= _validate(task, progress, calls, due=False)
                progress.seconds = before + time.perf_counter() - began
            calls.on_train_batch_end(batch, logs)
            if not reason and own_reason():  # set by a callback, or by a signal during one
                reason = task.job.stop_reason(own_reason())
        if progress.epoch > epoch:
            calls.on_epoch_end(epoch, logs)
            if not reason and task.model.stop_training:
                reason = task.job.stop_reason("callback")
    calls.on_train_end(logs)
    return reason


def _validate(
    task: Task, progress: Progress, calls: keras.callbacks.CallbackList, *, due: bool = True
) -> dict[str, float]:
    calls.on_test_begin()
    with averaged(task.optimizer):
        found = task.validate()
    if found:
        divergence.check_finite(found, progress.step)
        plateau = task.config.schedule == "plateau"
        patience = task.config.plateau_patience if plateau else None
        progress.validated(found["val_loss"], patience, due=due)
    calls.on_test_end(found)
    return found
