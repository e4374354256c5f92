"""The training step: loss, gradients, clipping and update in one graph.

The batch is cut into shards of lanes, one for each core, that run side by side as independent parts
of one graph. A core's share of the recurrent products is too small to be cut further, and this way
cores meet once a step instead of once a time step. A sum over lanes is the same sum in any
grouping, so the result equals the uncut step's to rounding.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.models import cudnn
from rnntk.models.char_rnn import CharRNN
from rnntk.models.row_classifier import RowClassifier
from rnntk.training import device

Clip = Literal["global-norm", "norm", "value", "none"]
CLIPS = ("global-norm", "norm", "value", "none")


def shard_sizes(batch_size: int, shards: int) -> list[int]:
    """Lanes of each shard, as even as can be; never an empty shard.

    >>> shard_sizes(10, 4)
    [3, 3, 2, 2]
    """
    shards = max(1, min(shards, batch_size))
    small, larger = divmod(batch_size, shards)
    return [small + 1] * larger + [small] * (shards - larger)


def step_seed(seed: int, step: int) -> tf.Tensor:
    """Seed of one step's dropout, `(2,)` int32: the same step of the same run drops the same elements."""
    return tf.constant(np.array([seed, step], dtype=np.uint32).astype(np.int32))


def clip_gradients(
    gradients: Sequence[tf.Tensor], clip: Clip, threshold: float
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The clipped gradients, and their global norm before clipping.

    Args:
        gradients: dense tensors.
        clip: "global-norm" rescales all together when the norm of all is at or over the threshold
            (Pascanu et al., 2013), "norm" rescales each by its own norm, "value" limits each
            element.
        threshold: the norm or the value; above 0.
    """
    halves = [tf.nn.l2_loss(gradient) for gradient in gradients]  # of the squares' sums
    norm = tf.sqrt(2.0 * _in_order(halves))
    if clip == "global-norm" and cudnn.has_gpu():
        # A condition would have to be read by the host. The factor is exactly 1 below the threshold.
        factor = threshold / tf.maximum(norm, threshold)
        return [gradient * factor for gradient in gradients], norm
    if clip == "global-norm":
        # Nearly always there is nothing to do, and a product with 1 would read and write every gradient.
        clipped = tf.cond(
            norm > threshold,
            lambda: [gradient * (threshold / norm) for gradient in gradients],
            lambda: list(gradients),
        )
        return list(clipped), norm
    if clip == "norm":
        return [
            gradient * (threshold / tf.maximum(tf.sqrt(2.0 * half), threshold))
            for gradient, half in zip(gradients, halves, strict=True)
        ], norm
    if clip == "value":
        return [tf.clip_by_value(gradient, -threshold, threshold) for gradient in gradients], norm
    return list(gradients), norm


def _in_order(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sum of scalars, always in the same order; `tf.add_n` begins with whichever buffer is free."""
    return functools.reduce(operator.add, terms)


class _Update:
    """What every training step does after it has gradients: clip and apply."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        clip: Clip,
        clip_norm: float,
        shards: int | None,
    ) -> None:
        if clip not in CLIPS:
            raise UsageError(f"`clip` must be one of {', '.join(CLIPS)}, got {clip!r}.")
        if clip != "none" and not clip_norm > 0:
            raise UsageError(f"`clip_norm` must be above 0, got {clip_norm}.")
        self.model = model
        self.optimizer = optimizer
        self.clip = clip
        self.clip_norm = clip_norm
        self.shards = device.shards() if shards is None else shards
        optimizer.build(model.trainable_variables)

    def slices(self, batch_size: int) -> list[slice]:
        """The lanes of each shard."""
        ends = list(itertools.accumulate(shard_sizes(batch_size, self.shards)))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def gradients(self, loss: tf.Tensor) -> list[tf.Tensor]:
        """The gradient of each trainable variable, dense, with the shards' parts added in order.

        A tape would add them all in one `AddN`, which begins with whichever buffer is free: from three shards on, two
        runs would differ in the last digit.
        """
        variables = [variable.value for variable in self.model.trainable_variables]
        in_pairs = tf.AggregationMethod.EXPERIMENTAL_TREE
        found = tf.gradients(loss, variables, aggregation_method=in_pairs)
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def apply(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Clip, update the variables, and return the norm before clipping."""
        update = cudnn.compiled(self._update) if cudnn.has_gpu() else self._update
        return update(list(gradients))

    def _update(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        clipped, norm = clip_gradients(gradients, self.clip, self.clip_norm)
        self.optimizer.apply(clipped, self.model.trainable_variables)
        return norm


class TrainStep(_Update):
    """One update of a character model.

    `step(x, y, states, seed) -> (loss, gradient norm before clipping, new states)`: x and y
    `(B, T)` int32, states as in `CharRNN`, seed `(2,)` int32 (a different pair for each step; the
    same pair drops the same elements). Loss is the mean cross-entropy in nats.

    Args:
        model: the model to train.
        optimizer: of Keras.
        clip: how gradients are clipped, see `clip_gradients`.
        clip_norm: the threshold of that.
        shards: into how many parts the lanes are cut; by default one for each core that
            `device.ready` was given, one when a GPU does the work.

    Raises:
        UsageError: `clip` is unknown or `clip_norm` is not above 0.
    """

    def __init__(
        self,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        *,
        clip: Clip = "global-norm",
        clip_norm: float = 5.0,
        shards: int | None = None,
    ) -> None:
        super().__init__(model, optimizer, clip, clip_norm, shards)
        self._compiled = tf.function(self._step, autograph=False)

    def __call__(
        self, x: tf.Tensor, y: tf.Tensor, states: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Update the model once; see the class."""
        x, y = self.put(x), self.put(y)
        loss, norm, new_states = self._compiled(
            x, y, list(states), tf.convert_to_tensor(seed, tf.int32)
        )
        return loss, norm, list(new_states)

    def put(self, ids: Any) -> Any:
        """Ids `(B, T)` where the step reads them; putting them there beforehand saves it the time."""
        if not cudnn.has_gpu():
            return tf.convert_to_tensor(ids, tf.int32)
        if isinstance(ids, tf.Tensor) and ids.dtype == tf.int64:
            return ids
        with tf.device("GPU:0"):  # where TensorFlow keeps int64, but not int32
            return tf.constant(np.asarray(ids, np.int64))

    def zero_states(self, batch_size: int) -> list[tf.Tensor]:
        """What a step takes and gives as states, all zero."""
        return self.model.initial_states(batch_size)

    def gather(self, states: Sequence[tf.Tensor]) -> list[np.ndarray]:
        """The states of all lanes, each `(B, units)`, from what a step gave."""
        return [state.numpy() for state in states]

    def scatter(self, arrays: Sequence[np.ndarray]) -> list[tf.Tensor]:
        """The reverse of `gather`."""
        return [tf.constant(array) for array in arrays]

    def _step(
        self, x: tf.Tensor, y: tf.Tensor, states: list[tf.Tensor], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        loss, gradients, new_states = self.loss_and_gradients(x, y, states, seed)
        return loss, self.apply(gradients), new_states

    def loss_and_gradients(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        states: Sequence[tf.Tensor],
        seed: tf.Tensor,
        first_lane: tf.Tensor | int = 0,
        batch_size: int | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """Mean loss, the gradient of each trainable variable (dense), and the new states.

        Args:
            x, y, states, seed: see the class.
            first_lane: the place of these lanes in the whole batch, when they are a part of it.
            batch_size: lanes of the whole batch; loss and gradients are then this part's share of the mean.
        """
        lanes_here, seq_length = x.shape
        totals, afters = [], []
        shared = self.model.shared(x)
        for lanes in self.slices(lanes_here):
            total, after = self.model.nats(
                x[lanes],
                y[lanes],
                [state[lanes] for state in states],
                training=True,
                seed=seed,
                first_lane=first_lane + lanes.start,
                shared=shared,
            )
            totals.append(total)
            afters.append(after)
        loss = _in_order(totals) / ((batch_size or lanes_here) * seq_length)
        new_states = [tf.concat(parts, 0) for parts in zip(*afters, strict=True)]
        return loss, self.gradients(loss), new_states


class EvalStep:
    """The cost of a batch, without training.

    `step(x, y, states) -> (sum of nats, new states)`: x and y `(B, T)` int32, states as in
    `CharRNN`.
    """

    def __init__(self, model: CharRNN) -> None:
        self.model = model
        self._compiled = tf.function(self._step, autograph=False)

    def __call__(
        self, x: tf.Tensor, y: tf.Tensor, states: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Sum of nats and new states; see the class."""
        x, y = tf.convert_to_tensor(x, tf.int32), tf.convert_to_tensor(y, tf.int32)
        total, new_states = self._compiled(x, y, list(states))
        return total, list(new_states)

    def _step(
        self, x: tf.Tensor, y: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        return self.model.nats(x, y, states)


class ClassifierStep(_Update):
    """One update of a row classifier.

    `step(rows, labels, seed) -> (loss, accuracy, gradient norm before clipping)`: rows `(B, T, F)`
    float32, labels `(B,)` integers, seed `(2,)` int32. Loss is the mean cross-entropy in nats,
    accuracy a share.

    Arguments and errors are those of `TrainStep`.
    """

    def __init__(
        self,
        model: RowClassifier,
        optimizer: keras.optimizers.Optimizer,
        *,
        clip: Clip = "global-norm",
        clip_norm: float = 5.0,
        shards: int | None = None,
    ) -> None:
        if shards is None and model.bidirectional:
            shards = device.shards() // 2  # the directions run side by side
        super().__init__(model, optimizer, clip, clip_norm, shards)
        self._compiled = tf.function(self._step, autograph=False)

    def __call__(
        self, rows: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Update the model once; see the class."""
        return self._compiled(
            tf.convert_to_tensor(rows, tf.float32),
            tf.cast(labels, tf.int32),
            tf.convert_to_tensor(seed, tf.int32),
        )

    def _step(
        self, rows: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch_size = rows.shape[0]
        totals, right = [], []
        shared = self.model.shared(rows)
        for lanes in self.slices(batch_size):
            logits = self.model.call(  # Keras' own call takes no packed weights
                rows[lanes], training=True, seed=seed, first_lane=lanes.start, shared=shared
            )
            costs = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels[lanes], logits=logits
            )
            totals.append(tf.reduce_sum(costs))
            hits = tf.equal(tf.argmax(logits, -1, tf.int32), labels[lanes])
            right.append(tf.reduce_sum(tf.cast(hits, tf.float32)))
        loss = _in_order(totals) / batch_size
        norm = self.apply(self.gradients(loss))
        return loss, _in_order(right) / batch_size, norm
