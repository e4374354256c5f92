"""Fast drop-in replacements for Keras' recurrent layers: same arguments, weights and results, plus `lengths`.

They run on compiled kernels (on a GPU, cuDNN) in float32 with bias and the default activations, without `dropout`,
`recurrent_dropout` or `unroll`, a GRU with `reset_after=True`; otherwise on Keras' code. Masks and `lengths` are fast
on a CPU only. There are no second derivatives.

An export (`model.export`, `tf.saved_model.save`) holds Keras' code and works anywhere; a `tf.function` that was called
before it is exported does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from rnntk import cells
from rnntk.errors import check_keywords
from rnntk.kernels import run
from rnntk.kernels.cells import KEPT
from rnntk.models import cudnn, fast


class _Fast:
    """Adds the fast path and `lengths` to a Keras layer.

    `product_type` is the type of products' factors, "float32" or "bfloat16"; `input_gradient` tells whether to compute
    the gradient of the inputs.
    """

    kind: cells.Cell
    product_type = "float32"
    input_gradient = True

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        """Show the arguments of the constructor; Python 3.10 would show those of Keras' `__new__`."""
        super().__init_subclass__(**options)
        constructor = inspect.signature(cls.__init__)
        arguments = list(constructor.parameters.values())[1:]
        cls.__signature__ = constructor.replace(parameters=arguments)

    @property
    def supports_jit(self) -> bool:
        """False: XLA cannot compile calls of the kernels."""
        return False

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        """Ignore the value that Keras' constructors set."""

    def is_fast(self, sequences: tf.Tensor) -> bool:
        """Whether this layer can run on the kernels."""
        return not cudnn.has_gpu() and self.is_standard and 0 not in sequences.shape

    @property
    def is_standard(self) -> bool:
        """Whether the kernels and cuDNN support this layer's settings, and it is not being exported."""
        layer: Any = self
        return (
            not fast.exporting()
            and layer.use_bias
            and layer.activation is keras.activations.tanh
            and getattr(layer, "recurrent_activation", None) in (None, keras.activations.sigmoid)
            and getattr(layer, "reset_after", True)
            and not layer.dropout
            and not layer.recurrent_dropout
            and not layer.unroll
            and layer.compute_dtype == layer.variable_dtype == "float32"
        )

    def weights_for_products(self) -> fast.Weights:
        """The layer's weights, ready for products."""
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
        mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Run the kernels, time-major; see `fast.recurrent`. With `go_backwards`, from the last step to the first."""
        weights, reverse = weights or self.weights_for_products(), self.go_backwards  # type: ignore[attr-defined]
        layer = run.Layer(self.kind, reverse, weights.kernel.bfloat16, self.input_gradient)
        return fast.recurrent(layer, weights, x, states, ids, mask)

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Any = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
        lengths: tf.Tensor | None = None,
    ) -> Any:
        """Run the layer as in Keras, with `lengths` as an alternative to `mask`.

        Args:
            sequences: `(B, T, F)`.
            initial_state: list of `(B, units)`; None for zeros.
            mask: `(B, T)` bool.
            training: as in Keras.
            lengths: `(B,)` integers from 0 to T, the length of each sequence. Outputs past its end are zero; returned
                states are those at its end. With `go_backwards` a sequence is read from its end, and its outputs
                come in that order, from step 0 on.

        Raises:
            ValueError: `mask` and `lengths` are both given, or `lengths` has the wrong shape, type or range.
            tf.errors.InvalidArgumentError: a length only known when the graph runs is not from 0 to T.
        """
        parent: Any = super()
        layer: Any = self
        if lengths is None:
            return parent.call(sequences, initial_state=initial_state, mask=mask, training=training)
        if mask is not None:
            raise ValueError("Give `lengths` or `mask`, not both.")
        lengths = _checked(lengths, sequences)
        mask = tf.sequence_mask(lengths, tf.shape(sequences)[1])
        zeroed = layer.return_sequences and self.is_fast(sequences)
        given = tf.cast(mask, tf.uint8) if zeroed else mask
        found = parent.call(sequences, initial_state=initial_state, mask=given, training=training)
        if not layer.return_sequences:
            return found
        outputs, *states = found if layer.return_state else (found,)
        if layer.go_backwards:
            # Keras reversed the whole time axis, so the padding came first.
            outputs = tf.reverse_sequence(tf.reverse(outputs, [1]), lengths, 1)
        if not zeroed:
            outputs = tf.where(mask[:, :, tf.newaxis], outputs, 0)
        return (outputs, *states) if layer.return_state else outputs

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Run the recurrence, called by Keras: fast if possible. With a uint8 mask, masked outputs are 0."""
        layer: Any = self
        states = keras.tree.flatten(initial_state)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        by_cudnn = mask is None and cudnn.can_run([self]) and 0 not in sequences.shape
        if not by_cudnn and not self.is_fast(sequences):
            parent: Any = super()
            return parent.inner_loop(sequences, initial_state, mask, training=training)
        steps = None
        if mask is not None:
            steps = tf.transpose(tf.cast(mask, tf.uint8))
            if mask.dtype != tf.uint8 and not layer.zero_output_for_mask:
                # As in Keras, a masked step repeats the previous output; before the first one it is 0.
                seen = tf.cumsum(tf.cast(steps, tf.int32), reverse=layer.go_backwards) > 0
                steps = tf.cast(seen, tf.uint8) * (KEPT - steps)
        x = tf.transpose(sequences, [1, 0, 2])
        if by_cudnn:
            x = tf.reverse(x, [0]) if layer.go_backwards else x
            bfloat16 = self.product_type == "bfloat16"
            outputs, final = cudnn.stack([self], x, states, bfloat16=bfloat16)
        else:
            outputs, final = self.over_time(x, states, mask=steps)
        last = final[0] if steps is None else outputs[0 if layer.go_backwards else -1]
        if not layer.return_sequences:
            return last, last[:, tf.newaxis], final
        if layer.go_backwards and not by_cudnn:
            outputs = tf.reverse(outputs, [0])
        return last, tf.transpose(outputs, [1, 0, 2]), final


def _checked(lengths: Any, sequences: tf.Tensor) -> tf.Tensor:
    """`lengths` as a tensor, checked against the shape of `sequences`."""
    lengths = tf.convert_to_tensor(lengths)
    batch, steps = sequences.shape[:2]
    if not lengths.dtype.is_integer or not lengths.shape.is_compatible_with((batch,)):
        raise ValueError(
            f"`lengths` must be integers of shape ({batch},), got {lengths.dtype.name} of shape "
            f"{lengths.shape}."
        )
    known = tf.get_static_value(lengths)
    if known is not None and steps is not None:
        if known.size and not 0 <= known.min() <= known.max() <= steps:
            raise ValueError(f"`lengths` must be from 0 to {steps} steps, got {known}.")
        return lengths
    fits = tf.reduce_all(
        (lengths >= 0) & (lengths <= tf.cast(tf.shape(sequences)[1], lengths.dtype))
    )
    message = ["`lengths` must be from 0 to the number of steps, got", lengths]
    with tf.control_dependencies([tf.debugging.Assert(fits, message)]):
        return tf.identity(lengths)


@keras.saving.register_keras_serializable("rnntk")
class LSTM(_Fast, keras.layers.LSTM):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), a faster `keras.layers.LSTM`."""

    kind = cells.LSTM


@keras.saving.register_keras_serializable("rnntk")
class GRU(_Fast, keras.layers.GRU):
    """Gated recurrent unit (Cho et al., 2014), a faster `keras.layers.GRU`."""

    kind = cells.GRU


@keras.saving.register_keras_serializable("rnntk")
class SimpleRNN(_Fast, keras.layers.SimpleRNN):
    """Vanilla recurrent layer (Elman, 1990), a faster `keras.layers.SimpleRNN`."""

    kind = cells.RNN


CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
"""Layer classes by the setting `cell`."""

FLOAT32 = {"dtype": "float32"}
"""Argument of the layers of rnntk's models, which Keras' global dtype policy must not change."""


class KeywordsChecked:
    """Base of the models: reports unknown keywords before Python reports missing ones."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        check_keywords(cls.__init__, kwargs)
        parent: Any = super()
        return parent.__new__(cls, *args, **kwargs)


def split(seed: int, count: int) -> Iterator[int]:
    """`count` independent 31-bit seeds derived from `seed`."""
    words = np.random.SeedSequence(seed).generate_state(count, np.uint32)
    return (int(word >> 1) for word in words)


def seeded(cell: str, units: int, seeds: Iterator[int], precision: str, **arguments: Any) -> Any:
    """A float32 layer with its kernels initialised from the next two seeds and products in `precision`."""
    layer = CELLS[cell](
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        **FLOAT32,
        **arguments,
    )
    layer.product_type = precision
    return layer
