"""The character model on a text, as the loop trains it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnntk.config import OptimizationConfig
from rnntk.models.char_rnn import CharRNN
from rnntk.runs.checkpoint import Progress
from rnntk.training import schedule
from rnntk.training.job import ALONE, Job
from rnntk.training.lanes import Lanes
from rnntk.training.optimizers import Rate
from rnntk.training.step import EvalStep, TrainStep


def step_seed(seed: int, step: int) -> tf.Tensor:
    """The seed of one step's dropout, `(2,)` int32: the same step of the same run draws the same masks."""
    return tf.constant(np.array([seed, step], dtype=np.uint32).astype(np.int32))


class CharTask:
    """A character model that reads a text in lanes; the state is carried inside an epoch.

    Args:
        model: the network.
        optimizer: its optimizer; the learning rate is set at every step.
        step: one training step.
        lanes: the training text.
        fit: learning rate and schedule.
        total_steps: steps of the whole run.
        held_out: the validation text's ids, or None.
        symbols_per_character: of the held-out text, by which bits a symbol become bits a character.
        seed: of dropout.
        job: who trains together; `step` is its step.
    """

    unit = "chars"

    def __init__(
        self,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        step: TrainStep,
        lanes: Lanes,
        *,
        fit: OptimizationConfig,
        total_steps: int,
        held_out: np.ndarray | None,
        symbols_per_character: float,
        seed: int,
        job: Job = ALONE,
    ) -> None:
        self.model, self.optimizer, self._step, self._lanes = model, optimizer, step, lanes
        self._fit, self._total_steps, self._seed = fit, total_steps, seed
        self._rate = Rate(optimizer)
        self._held_out, self._symbols_per_character = held_out, symbols_per_character
        self.job = job
        self._evaluate = EvalStep(model)
        self.uniform_loss = math.log(max(2, model.vocabulary_size))
        self.steps_per_epoch = len(lanes)
        self.items_per_step = lanes.batch_size * lanes.seq_length
        self._states = step.zero_states(lanes.batch_size)
        self._ahead: dict[int, tuple[Any, Any]] = {}  # the next batch, by its number

    def begin_epoch(self, epoch: int) -> None:
        """The text starts anew, so the states are zero."""
        self._states = self._step.zero_states(self._lanes.batch_size)

    def step(self, progress: Progress) -> dict[str, float]:
        """Train one batch; `loss` is in nats a symbol."""
        rate = schedule.learning_rate(self._fit, progress, self._total_steps)
        self._rate.set(rate)
        x, y = self._ahead.get(progress.batch) or self._batch(progress.batch)
        seed = step_seed(self._seed, progress.step)
        loss, norm, self._states = self._step(x, y, self._states, seed)
        # A GPU is still at work: what follows costs nothing until the loss is read.
        following = progress.batch + 1
        self._ahead = {following: self._batch(following)} if following < len(self._lanes) else {}
        return {"loss": float(loss), "grad_norm": float(norm), "learning_rate": rate}

    def _batch(self, number: int) -> tuple[Any, Any]:
        x, y = self._lanes[number]
        return self._step.put(x), self._step.put(y)

    def validate(self) -> dict[str, float]:
        """Nats a symbol on the held-out text, read from its start with the state carried through.

        It is one lane, which cannot be shared: every process of a job reads all of it, and the chief's sum counts.
        """
        if self._held_out is None or len(self._held_out) < 2:
            return {}
        total = 0.0
        states = self.model.initial_states(1)
        piece = 1000
        last = len(self._held_out) - 1
        for start in range(0, last, piece):
            window = self._held_out[start : min(start + piece, last) + 1].astype(np.int32)[None, :]
            nats, states = self._evaluate(
                tf.constant(window[:, :-1]), tf.constant(window[:, 1:]), states
            )
            total += float(nats)
        loss = float(self.job.chiefs(np.array([total]))[0]) / last
        return {
            "val_loss": loss,
            "val_bits_per_character": loss * self._symbols_per_character / math.log(2),
            "val_perplexity": math.exp(min(loss, 700.0)),
        }

    def graph(self) -> tf.Graph:
        """The model's own graph, for TensorBoard."""
        ids = tf.TensorSpec([self._lanes.batch_size, self._lanes.seq_length], tf.int32)
        return tf.function(lambda x: self.model(x)[0]).get_concrete_function(ids).graph

    def states(self) -> Mapping[str, np.ndarray]:
        """The lanes' recurrent states by position."""
        return {f"{i:04d}": array for i, array in enumerate(self._step.gather(self._states))}

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Take the lanes' states back."""
        self._states = self._step.scatter([states[name] for name in sorted(states)])
