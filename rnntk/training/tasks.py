"""What can be trained: the character model on a text, the row classifier on images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from rnntk.config import FitSettings
from rnntk.models.char_rnn import CharRNN
from rnntk.models.row_classifier import RowClassifier
from rnntk.runs.checkpoint import Progress
from rnntk.training import schedule
from rnntk.training.lanes import Lanes
from rnntk.training.step import ClassifierStep, EvalStep, TrainStep


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
    """

    unit = "chars"

    def __init__(
        self,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        step: TrainStep,
        lanes: Lanes,
        *,
        fit: FitSettings,
        total_steps: int,
        held_out: np.ndarray | None,
        symbols_per_character: float,
        seed: int,
    ) -> None:
        self.model, self.optimizer, self._step, self._lanes = model, optimizer, step, lanes
        self._fit, self._total_steps, self._seed = fit, total_steps, seed
        self._held_out, self._symbols_per_character = held_out, symbols_per_character
        self._evaluate = EvalStep(model)
        self.steps_per_epoch = len(lanes)
        self.items_per_step = lanes.batch_size * lanes.seq_length
        self._states = model.initial_states(lanes.batch_size)

    def begin_epoch(self, epoch: int) -> None:
        """The text starts anew, so the states are zero."""
        self._states = self.model.initial_states(self._lanes.batch_size)

    def step(self, progress: Progress) -> dict[str, float]:
        """Train one batch; `loss` is in nats a symbol."""
        rate = schedule.learning_rate(self._fit, progress, self._total_steps)
        self.optimizer.learning_rate.assign(rate)
        x, y = self._lanes[progress.batch]
        seed = step_seed(self._seed, progress.step)
        loss, norm, self._states = self._step(tf.constant(x), tf.constant(y), self._states, seed)
        return {"loss": float(loss), "grad_norm": float(norm), "learning_rate": rate}

    def validate(self) -> dict[str, float]:
        """Nats a symbol on the held-out text, read from its start with the state carried through."""
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
        loss = total / last
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
        return {f"{i:04d}": state.numpy() for i, state in enumerate(self._states)}

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Take the lanes' states back."""
        self._states = [tf.constant(states[name]) for name in sorted(states)]


class RowTask:
    """A row classifier on images; their order is drawn anew for every epoch from the seed.

    Args:
        model: the network.
        optimizer: its optimizer.
        step: one training step.
        x, y: training images uint8 `(N, 28, 28)` and labels `(N,)`.
        x_val, y_val: held-out images and labels; may be empty.
        batch_size: images a step.
        learning_rate: of the first epoch.
        decay_rate: factor after every epoch.
        seed: of the order and of dropout.
    """

    unit = "images"

    def __init__(
        self,
        model: RowClassifier,
        optimizer: keras.optimizers.Optimizer,
        step: ClassifierStep,
        x: np.ndarray,
        y: np.ndarray,
        x_val: np.ndarray,
        y_val: np.ndarray,
        *,
        batch_size: int,
        learning_rate: float,
        decay_rate: float,
        seed: int,
    ) -> None:
        self.model, self.optimizer, self._step = model, optimizer, step
        self._x, self._y, self._x_val, self._y_val = x, y, x_val, y_val
        self._learning_rate, self._decay_rate, self._seed = learning_rate, decay_rate, seed
        self.items_per_step = min(batch_size, len(x))
        self.steps_per_epoch = len(x) // self.items_per_step
        self._order = np.arange(len(x))
        self._epoch = -1

    def begin_epoch(self, epoch: int) -> None:
        """Shuffle: a function of seed and epoch alone, so a resume inside an epoch sees the same order."""
        self._epoch = epoch
        self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._x))

    def step(self, progress: Progress) -> dict[str, float]:
        """Train one batch; `loss` in nats, `accuracy` of the batch."""
        if self._epoch != progress.epoch:
            self.begin_epoch(progress.epoch)
        rate = self._learning_rate * self._decay_rate**progress.epoch
        self.optimizer.learning_rate.assign(rate)
        picked = self._order[progress.batch * self.items_per_step :][: self.items_per_step]
        loss, accuracy, norm = self._step(
            tf.constant(pixels(self._x[picked])),
            tf.constant(self._y[picked].astype(np.int32)),
            step_seed(self._seed, progress.step),
        )
        return {
            "loss": float(loss),
            "accuracy": float(accuracy),
            "grad_norm": float(norm),
            "learning_rate": rate,
        }

    def validate(self) -> dict[str, float]:
        """Mean nats and accuracy on the held-out images."""
        if len(self._x_val) == 0:
            return {}
        loss, accuracy, _ = measure(self.model, self._x_val, self._y_val)
        return {"val_loss": loss, "val_accuracy": accuracy}

    def graph(self) -> tf.Graph:
        """The model's own graph, for TensorBoard."""
        rows = tf.TensorSpec([self.items_per_step, *self._x.shape[1:]], tf.float32)
        return tf.function(self.model).get_concrete_function(rows).graph

    def states(self) -> Mapping[str, np.ndarray]:
        """Nothing: order and dropout are functions of seed, epoch and step."""
        return {}

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        """Nothing to take back."""


def pixels(images: np.ndarray) -> np.ndarray:
    """Bytes 0..255 as float32 0..1."""
    return images.astype(np.float32) / np.float32(255)


def measure(
    model: RowClassifier, x: np.ndarray, y: np.ndarray, batch: int = 1000
) -> tuple[float, float, np.ndarray]:
    """Mean nats, accuracy and the logits `(N, classes)` of a classifier on images."""
    logits = np.concatenate(
        [
            model(tf.constant(pixels(x[i : i + batch])), training=False).numpy()
            for i in range(0, len(x), batch)
        ]
    )
    peak = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - peak).sum(axis=1)) + peak[:, 0]
    nats = log_sum - logits[np.arange(len(y)), y]
    return float(nats.mean()), float((logits.argmax(axis=1) == y).mean()), logits
