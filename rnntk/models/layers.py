"""The recurrent layers: drop-in replacements of Keras' own, made fast.

`LSTM`, `GRU` and `SimpleRNN` take the arguments of the layers of `keras.layers` of the same name, have the same weights
(names, shapes, order of gates) and give the same results, so that weights saved from one load into the other. They add
`lengths=` to the call.

A layer runs on the compiled kernels of `rnntk.kernels` (on a GPU on cuDNN, `cudnn.py`) in float32 (`dtype` and
`variable_dtype`), with the default activations, `use_bias=True`, and for a GRU `reset_after=True`, without `dropout`,
`recurrent_dropout` and `unroll`; otherwise on Keras' own code. Masks and `lengths` (on a CPU), `go_backwards`,
`initial_state`, `stateful` and batches of any size are all fast. The kernels run on the calling thread;
`rnntk.training.step` cuts a batch into one shard per core. They have no second derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnntk import cells
from rnntk.kernels import run
from rnntk.kernels.cells import KEPT
from rnntk.models import cudnn, fast


class _Fast:
    """What the three layers add to Keras': the fast path, and sequences of different lengths.

    Attributes:
        kind: the cell.
        product_type: of the factors of products, "float32" (as the weights are) or "bfloat16".
        input_gradient: whether anything before this layer learns; where nothing does, no gradient is passed on.
    """

    kind: cells.Cell
    product_type = "float32"
    input_gradient = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_jit = False  # XLA cannot compile calls of the kernels

    def is_fast(self, sequences: tf.Tensor) -> bool:
        """Whether the kernels can do what this layer is asked to."""
        return not cudnn.has_gpu() and self.is_standard and 0 not in sequences.shape

    @property
    def is_standard(self) -> bool:
        """Whether the layer is one that the kernels and cuDNN compute."""
        layer: Any = self
        return (
            layer.use_bias
            and layer.activation is keras.activations.tanh
            and getattr(layer, "recurrent_activation", None) in (None, keras.activations.sigmoid)
            and getattr(layer, "reset_after", True)
            and not layer.dropout
            and not layer.recurrent_dropout
            and not layer.unroll
            and layer.compute_dtype == layer.variable_dtype == "float32"
        )

    def weights_for_products(self) -> fast.Weights:
        """The layer's weights, made ready for products."""
        cell, bfloat16 = self.cell, self.product_type == "bfloat16"  # type: ignore[attr-defined]
        fast.check_precision(self.product_type)
        factors = (fast.Factor(k, bfloat16=bfloat16) for k in (cell.kernel, cell.recurrent_kernel))
        bias = tf.convert_to_tensor(cell.bias)
        return fast.Weights(*factors, *(tf.unstack(bias) if len(bias.shape) == 2 else (bias, None)))

    def over_time(
        self,
        x: tf.Tensor,
        states: Sequence[tf.Tensor],
        *,
        weights: fast.Weights | None = None,
        ids: tf.Tensor | None = None,
        live: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The fast path itself, time-major; with `go_backwards` it reads from the last step to the first.

        Arguments and results as of `fast.recurrent`; `weights` are those of `weights_for_products`.
        """
        weights = weights or self.weights_for_products()
        layer = run.Layer(
            self.kind,
            self.go_backwards,  # type: ignore[attr-defined]
            weights.kernel.bfloat16,
            self.input_gradient,
        )
        return fast.recurrent(layer, weights, x, states, ids, live)

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Any = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
        lengths: tf.Tensor | None = None,
    ) -> Any:
        """As in Keras, with one argument more.

        Args:
            sequences: `(B, T, F)`.
            initial_state: list of `(B, units)`; zeros when None.
            mask: `(B, T)` bool.
            training: as in Keras.
            lengths: `(B,)` integers from 0 to T, the true length of each sequence, instead of a mask. Outputs past
                a sequence's end are zero and the returned states are those at its true last step. With `go_backwards`
                a sequence is read from there, and its outputs stand in the order they were made, from step 0 on.

        Raises:
            ValueError: both `mask` and `lengths` are given, or `lengths` has another shape or type.
            ValueError, tf.errors.InvalidArgumentError: a length is not from 0 to T; the latter where the lengths are
                known only when a graph runs.
        """
        parent: Any = super()
        layer: Any = self
        if lengths is None:
            return parent.call(sequences, initial_state=initial_state, mask=mask, training=training)
        if mask is not None:
            raise ValueError("Pass `lengths` or `mask`, not both.")
        lengths = _checked(lengths, sequences)
        mask = tf.sequence_mask(lengths, tf.shape(sequences)[1])
        zeroed = layer.return_sequences and self.is_fast(sequences)
        given = tf.cast(mask, tf.uint8) if zeroed else mask
        made = parent.call(sequences, initial_state=initial_state, mask=given, training=training)
        if not layer.return_sequences:
            return made
        outputs, *states = made if layer.return_state else (made,)
        if layer.go_backwards:
            # Keras turned the whole time axis, so that the padding came first.
            outputs = tf.reverse_sequence(tf.reverse(outputs, [1]), lengths, 1)
        if not zeroed:
            outputs = tf.where(mask[:, :, tf.newaxis], outputs, 0)
        return (outputs, *states) if layer.return_state else outputs

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """What Keras calls for the recurrence: a fast path, or Keras' own.

        A mask of uint8 is one whose hidden steps have outputs of zero.
        """
        layer: Any = self
        states = keras.tree.flatten(initial_state)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        by_cudnn = mask is None and cudnn.can_run([self]) and 0 not in sequences.shape
        if not by_cudnn and not self.is_fast(sequences):
            parent: Any = super()
            return parent.inner_loop(sequences, initial_state, mask, training=training)
        live = None
        if mask is not None:
            live = tf.transpose(tf.cast(mask, tf.uint8))
            if mask.dtype != tf.uint8 and not layer.zero_output_for_mask:
                # As in Keras: a hidden step's output is the one before it, and zero before the first.
                seen = tf.cumsum(tf.cast(live, tf.int32), reverse=layer.go_backwards) > 0
                live = tf.cast(seen, tf.uint8) * (KEPT - live)
        x = tf.transpose(sequences, [1, 0, 2])
        if by_cudnn:
            x = tf.reverse(x, [0]) if layer.go_backwards else x
            bfloat16 = self.product_type == "bfloat16"
            outputs, final = cudnn.stack([self], x, states, bfloat16=bfloat16)
        else:
            outputs, final = self.over_time(x, states, live=live)
        last = final[0] if live is None else outputs[0 if layer.go_backwards else -1]
        if not layer.return_sequences:
            return last, last[:, tf.newaxis], final
        if layer.go_backwards and not by_cudnn:
            outputs = tf.reverse(outputs, [0])
        return last, tf.transpose(outputs, [1, 0, 2]), final


def _checked(lengths: Any, sequences: tf.Tensor) -> tf.Tensor:
    """`lengths`, if they can be those of `sequences`."""
    lengths = tf.convert_to_tensor(lengths)
    batch, steps = sequences.shape[:2]
    if not lengths.dtype.is_integer or not lengths.shape.is_compatible_with((batch,)):
        raise ValueError(
            f"lengths must be integers of shape ({batch},), one for each sequence,"
            f" got {lengths.dtype.name} of shape {lengths.shape}"
        )
    known = tf.get_static_value(lengths)
    if known is not None and steps is not None:
        if known.size and not 0 <= known.min() <= known.max() <= steps:
            raise ValueError(f"lengths must be from 0 to {steps}, the steps there are, got {known}")
        return lengths
    most = tf.cast(tf.shape(sequences)[1], lengths.dtype)
    fits = tf.reduce_all((lengths >= 0) & (lengths <= most))
    message = ["lengths must be from 0 to the number of steps, got", lengths]
    with tf.control_dependencies([tf.debugging.Assert(fits, message)]):
        return tf.identity(lengths)


@keras.saving.register_keras_serializable("rnntk")
class LSTM(_Fast, keras.layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997): a fast drop-in for `keras.layers.LSTM`."""

    kind = cells.LSTM


@keras.saving.register_keras_serializable("rnntk")
class GRU(_Fast, keras.layers.GRU):
    """Gated recurrent unit (Cho et al., 2014): a fast drop-in for `keras.layers.GRU`."""

    kind = cells.GRU


@keras.saving.register_keras_serializable("rnntk")
class SimpleRNN(_Fast, keras.layers.SimpleRNN):
    """Vanilla recurrent layer (Elman, 1990): a fast drop-in for `keras.layers.SimpleRNN`."""

    kind = cells.RNN


CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
"""The layer of each `cell`."""


def split(seed: int, count: int) -> Iterator[int]:
    """`count` independent seeds of 31 bits, for as many initialisers; the same ones for the same `seed`."""
    words = np.random.SeedSequence(seed).generate_state(count, np.uint32)
    return (int(word >> 1) for word in words)


def seeded(cell: str, units: int, seeds: Iterator[int], precision: str, **arguments: Any) -> Any:
    """A layer whose kernels start from the next two seeds, and whose products are in a precision."""
    layer = CELLS[cell](
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        **arguments,
    )
    layer.product_type = precision
    return layer
