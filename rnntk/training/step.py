"""The training step: loss, gradients, clipping and update in one graph.

The batch is split into shards of rows, one per core, which run in parallel as independent parts of one graph. So cores
synchronize once per step, not once per time step, and the result equals that of the whole batch to rounding.
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
from rnntk.training import device

Clip = Literal["global-norm", "norm", "value", "none"]
CLIPS = ("global-norm", "norm", "value", "none")


def shard_sizes(batch_size: int, shards: int) -> list[int]:
    """Number of batch rows of each shard, as even as possible; no shard is empty.

    >>> shard_sizes(10, 4)
    [3, 3, 2, 2]
    """
    shards = max(1, min(shards, batch_size))
    small, larger = divmod(batch_size, shards)
    return [small + 1] * larger + [small] * (shards - larger)


def step_seed(seed: int, step: int) -> tf.Tensor:
    """Dropout seed of one step, `(2,)` int32, a function of the run's seed and the step."""
    return tf.constant(np.array([seed, step], dtype=np.uint32).astype(np.int32))


def clip_gradients(
    gradients: Sequence[tf.Tensor], clip: Clip, threshold: float
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The clipped dense gradients, and their global norm before clipping.

    `global-norm` rescales all together if their global norm exceeds `threshold` (Pascanu et al., 2013), `norm` rescales
    each by its own norm, `value` limits each element.
    """
    halves = [tf.nn.l2_loss(g) for g in gradients]  # half the sums of squares
    norm = tf.sqrt(2.0 * _in_order(halves))
    clipped = list(gradients)
    if clip == "global-norm" and cudnn.has_gpu():
        # The host would have to read a condition. The factor is exactly 1 below the threshold.
        factor = threshold / tf.maximum(norm, threshold)
        clipped = [g * factor for g in gradients]
    elif clip == "global-norm":
        # Clipping is rare, and multiplying by 1 would read and write every gradient.
        clipped = tf.cond(
            norm > threshold, lambda: [g * (threshold / norm) for g in gradients], lambda: clipped
        )
    elif clip == "norm":
        norms = (tf.maximum(tf.sqrt(2.0 * half), threshold) for half in halves)
        clipped = [g * (threshold / own) for g, own in zip(gradients, norms, strict=True)]
    elif clip == "value":
        clipped = [tf.clip_by_value(g, -threshold, threshold) for g in gradients]
    return list(clipped), norm


def _in_order(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sum of scalars in a fixed order, which `tf.add_n` does not have."""
    return functools.reduce(operator.add, terms)


class _Step:
    """Base of the training steps: options, shards, gradients, clipping and update."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        clip: Clip = "global-norm",
        clip_norm: float = 5.0,
        shards: int | None = None,
    ) -> None:
        if clip not in CLIPS:
            raise UsageError(f"`clip` must be one of {', '.join(CLIPS)}, got {clip!r}.")
        if clip != "none" and not clip_norm > 0:
            raise UsageError(f"`clip_norm` must be above 0, got {clip_norm}.")
        self.model, self.optimizer = model, optimizer
        self.clip, self.clip_norm = clip, clip_norm
        if shards is None:
            directions = 2 if getattr(model, "bidirectional", False) else 1  # they run in parallel
            shards = device.shards() // directions
        self.shards = shards
        optimizer.build(model.trainable_variables)
        self._compiled = tf.function(self._step, autograph=False)

    def _step(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    def slices(self, batch_size: int) -> list[slice]:
        """The batch rows of each shard."""
        ends = itertools.accumulate(shard_sizes(batch_size, self.shards), initial=0)
        return [slice(start, end) for start, end in itertools.pairwise(ends)]

    def gradients(self, loss: tf.Tensor) -> list[tf.Tensor]:
        """The dense gradient of each trainable variable, with the shards' parts added in a fixed order."""
        variables = [variable.value for variable in self.model.trainable_variables]
        # A tape adds all parts in one `AddN`, in no fixed order: with three shards, runs differ in the last digit.
        in_pairs = tf.AggregationMethod.EXPERIMENTAL_TREE
        found = tf.gradients(loss, variables, aggregation_method=in_pairs)
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def apply(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Clip, update the variables, and return the global norm before clipping."""
        update = cudnn.compiled(self._update) if cudnn.has_gpu() else self._update
        return update(list(gradients))

    def _update(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        clipped, norm = clip_gradients(gradients, self.clip, self.clip_norm)
        self.optimizer.apply(clipped, self.model.trainable_variables)
        return norm


class TrainStep(_Step):
    """One update of a `CharRNN`: `step(x, y, states, seed) -> (loss, gradient norm before clipping, new states)`.

    x and y are `(B, T)` int32, states as in `CharRNN`, seed `(2,)` int32 of the dropout (see `step_seed`); the loss is
    the mean cross-entropy in nats. `clip` and `clip_norm` are as in `clip_gradients`. The batch rows are split into
    `shards`, by default one per core given to `device.ready`, or one on a GPU.

    Raises `UsageError` if `clip` is unknown or `clip_norm` is not above 0.
    """

    def __call__(
        self, x: tf.Tensor, y: tf.Tensor, states: Sequence[tf.Tensor], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        x, y, seed = self.put(x), self.put(y), tf.convert_to_tensor(seed, tf.int32)
        loss, norm, new_states = self._compiled(x, y, list(states), seed)
        return loss, norm, list(new_states)

    def put(self, ids: Any) -> Any:
        """Ids `(B, T)` on the device and in the type that the step reads, to copy them before it runs."""
        if not cudnn.has_gpu():
            return tf.convert_to_tensor(ids, tf.int32)
        if isinstance(ids, tf.Tensor) and ids.dtype == tf.int64:
            return ids
        with tf.device("GPU:0"):  # where TensorFlow keeps int64, but not int32
            return tf.constant(np.asarray(ids, np.int64))

    def zero_states(self, batch_size: int) -> list[tf.Tensor]:
        """Zero states, in the step's own form."""
        return self.model.initial_states(batch_size)

    def gather(self, states: Sequence[tf.Tensor]) -> list[np.ndarray]:
        """The states of all batch rows, each `(B, units)`, from the step's own form."""
        return [state.numpy() for state in states]

    def scatter(self, arrays: Sequence[np.ndarray]) -> list[tf.Tensor]:
        """The inverse of `gather`."""
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
        first_row: tf.Tensor | int = 0,
        batch_size: int | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """Mean loss, the dense gradient of each trainable variable, and the new states.

        If these rows are part of a larger batch, `first_row` is their place in it and `batch_size` its size; loss and
        gradients are then this part's contribution to the mean.
        """
        count, seq_length = x.shape
        totals, afters = [], []
        options = {"training": True, "seed": seed, "weights": self.model.step_weights(x)}
        for rows in self.slices(count):
            before = [state[rows] for state in states]
            total, after = self.model.nats(
                x[rows], y[rows], before, first_row=first_row + rows.start, **options
            )
            totals.append(total)
            afters.append(after)
        loss = _in_order(totals) / ((batch_size or count) * seq_length)
        new_states = [tf.concat(parts, 0) for parts in zip(*afters, strict=True)]
        return loss, self.gradients(loss), new_states


class EvalStep:
    """Loss of a batch without training: `step(x, y, states) -> (sum of nats, new states)`, as in `TrainStep`."""

    def __init__(self, model: CharRNN) -> None:
        self.model = model
        self._compiled = tf.function(self._step, autograph=False)

    def __call__(
        self, x: tf.Tensor, y: tf.Tensor, states: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        x, y = tf.convert_to_tensor(x, tf.int32), tf.convert_to_tensor(y, tf.int32)
        total, new_states = self._compiled(x, y, list(states))
        return total, list(new_states)

    def _step(
        self, x: tf.Tensor, y: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        return self.model.nats(x, y, states)


class ClassifierStep(_Step):
    """One update of a `RowClassifier`: `step(rows, labels, seed) -> (loss, accuracy, gradient norm before clipping)`.

    rows are `(B, T, F)` float32, labels `(B,)` integers, seed `(2,)` int32; the loss is the mean cross-entropy in nats,
    the accuracy a fraction. Options and errors as in `TrainStep`.
    """

    def __call__(
        self, rows: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        rows, labels = tf.convert_to_tensor(rows, tf.float32), tf.cast(labels, tf.int32)
        return self._compiled(rows, labels, tf.convert_to_tensor(seed, tf.int32))

    def _step(
        self, rows: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        batch_size = rows.shape[0]
        totals, right = [], []
        weights = self.model.step_weights(rows)
        for part in self.slices(batch_size):
            logits = self.model.call(  # Keras' own call takes no packed weights
                rows[part], training=True, seed=seed, first_row=part.start, weights=weights
            )
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[part], logits)
            totals.append(tf.reduce_sum(losses))
            hits = tf.equal(tf.argmax(logits, -1, tf.int32), labels[part])
            right.append(tf.reduce_sum(tf.cast(hits, tf.float32)))
        loss = _in_order(totals) / batch_size
        norm = self.apply(self.gradients(loss))
        return loss, _in_order(right) / batch_size, norm
