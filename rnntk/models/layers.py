"""The recurrent layers: Keras' own, with the same weights, names, shapes and arguments, made fast.

The path is chosen by `_Fast.is_fast` and `cudnn.can_run`: the hand-written loops of `fast.py` on a CPU, cuDNN
(`cudnn.py`) on a GPU, and Keras' own code for whatever these cannot do. The weights are the same on every
path, so a model trained on one continues on the others and in stock Keras.

The fast path wants to know the number of sequences and of steps when a graph is made of it. `fit` knows them
if all batches are alike: give it a number of sequences that the batch size divides, or a `tf.data` set
batched with `drop_remainder=True`. Where a smaller batch comes last, TensorFlow's shapes hold no batch size, and all
batches silently go through Keras' own code, to the same result, more slowly. `Input(batch_size=...)` does not
change that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnntk.models import cudnn, fast


class Factors(NamedTuple):
    """A layer's kernels as right factors of products."""

    kernel: fast.Factor
    recurrent_kernel: fast.Factor


class _Fast:
    """What the three layers add to Keras': the fast path, and sequences of different lengths."""

    kind: fast.Cell
    product_type = "float32"
    """What products are made in: "float32" (as the weights are), or "bfloat16"."""
    input_gradient = True
    """Whether anything before this layer learns; where nothing does, no gradient is passed on."""

    def is_fast(self, sequences: tf.Tensor) -> bool:
        """Whether the hand-written loops can do what this layer is asked to."""
        layer: Any = self
        return (
            not cudnn.has_gpu()
            and layer.use_bias
            and layer.activation is keras.activations.tanh
            and getattr(layer, "recurrent_activation", None) in (None, keras.activations.sigmoid)
            and getattr(layer, "reset_after", True)
            and not layer.dropout
            and not layer.recurrent_dropout
            and not layer.unroll
            and layer.compute_dtype == layer.variable_dtype
            and None not in sequences.shape[:2]
            and 0 not in sequences.shape
        )

    def factors(self) -> Factors:
        """The layer's two kernels, made ready for products; shards of a step share them."""
        cell = self.cell  # type: ignore[attr-defined]
        return Factors(fast.Factor(cell.kernel), fast.Factor(cell.recurrent_kernel))

    def over_time(
        self,
        x: tf.Tensor,
        states: Sequence[tf.Tensor],
        *,
        factors: Factors | None = None,
        ids: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The fast path itself, time-major.

        Args:
            x: `(T, B, F)`; with `ids`, what `project` made of each symbol, `(V, gates * H)`.
            states: each `(B, H)`, or `(1, H)` for all lanes.
            factors: what `factors` gave.
            ids: `(T, B)` integers.
            mask: `(T, B, 1)` bool; a lane keeps its state where false.

        Returns:
            the state h after each step `(T, B, H)`, and the final states.
        """
        factors = factors or self.factors()
        inputs: fast.Table | fast.Projection
        if ids is None:
            inputs = fast.Projection(x, factors.kernel, self._bias(0), self.input_gradient)
        else:
            inputs = fast.Table(x, ids)
        return fast.recurrent(
            self.kind,
            inputs,
            factors.recurrent_kernel,
            self._bias(1) if self.kind.has_inner_bias else None,
            states,
            mask=mask,
            bfloat16=self.product_type == "bfloat16",
        )

    def _bias(self, which: int) -> tf.Tensor:
        """0 is added to the inputs' product, 1 to the recurrent one, where the cell has two."""
        bias = tf.convert_to_tensor(self.cell.bias)  # type: ignore[attr-defined]
        return bias[which] if self.kind.has_inner_bias else bias

    def project(self, rows: tf.Tensor, factors: Factors | None = None) -> tf.Tensor:
        """Input rows `(N, F)` times the kernel plus the input bias: `(N, gates * H)`."""
        return fast.affine(
            rows,
            (factors or self.factors()).kernel,
            self._bias(0),
            bfloat16=self.product_type == "bfloat16",
        )

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
            mask: `(B, T)` bool, as in Keras.
            training: as in Keras.
            lengths: `(B,)` int32, the true length of each sequence, instead of a mask. Outputs past
                a sequence's end are zero and the returned states are those at its true last step.
                With `go_backwards` a sequence is read from its true last step, and its outputs stand in
                the order they were made, from step 0 on.
        """
        parent: Any = super()
        if lengths is None:
            return parent.call(sequences, initial_state=initial_state, mask=mask, training=training)
        if mask is not None:
            raise ValueError("Pass `lengths` or `mask`, not both.")
        layer: Any = self
        mask = tf.sequence_mask(lengths, tf.shape(sequences)[1])
        made = parent.call(sequences, initial_state=initial_state, mask=mask, training=training)
        if not layer.return_sequences:
            return made
        outputs, *states = made if layer.return_state else (made,)
        if layer.go_backwards:
            # Keras turned the whole time axis, so that the padding came first.
            outputs = tf.reverse_sequence(tf.reverse(outputs, [1]), lengths, 1)
        outputs = tf.where(mask[:, :, tf.newaxis], outputs, 0)
        return (outputs, *states) if layer.return_state else outputs

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """What Keras calls for the recurrence: the fast path, or Keras' own."""
        layer: Any = self
        states = (
            list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
        )
        masks = mask if isinstance(mask, (list, tuple)) else [mask]
        if masks[0] is None and cudnn.can_run([self]) and 0 not in sequences.shape:
            return self._by_cudnn(sequences, states)
        zeros_wanted = masks[0] is not None and layer.zero_output_for_mask
        if zeros_wanted or not self.is_fast(sequences):
            parent: Any = super()
            return parent.inner_loop(sequences, initial_state, mask, training=training)
        x = tf.transpose(sequences, [1, 0, 2])
        steps_mask = None
        if masks[0] is not None:
            steps_mask = tf.transpose(tf.cast(masks[0], tf.bool))[:, :, tf.newaxis]
        if layer.go_backwards:
            x = tf.reverse(x, [0])
            steps_mask = None if steps_mask is None else tf.reverse(steps_mask, [0])
        outputs, final = self.over_time(x, states, mask=steps_mask)
        if steps_mask is not None:
            # As in Keras: a hidden step's output is the one before it, and zero before the first.
            seen = tf.cumsum(tf.cast(steps_mask, tf.int32)) > 0
            outputs = tf.where(seen, outputs, 0)
        if not layer.return_sequences:
            return outputs[-1], outputs[-1][:, tf.newaxis], final
        return outputs[-1], tf.transpose(outputs, [1, 0, 2]), final

    def _by_cudnn(
        self, sequences: tf.Tensor, states: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """What `inner_loop` gives."""
        layer: Any = self
        x = tf.transpose(sequences, [1, 0, 2])
        if layer.go_backwards:
            x = tf.reverse(x, [0])
        outputs, final = cudnn.stack([self], x, states, bfloat16=self.product_type == "bfloat16")
        if not layer.return_sequences:
            return final[0], final[0][:, tf.newaxis], final
        return final[0], tf.transpose(outputs, [1, 0, 2]), final


@keras.saving.register_keras_serializable("rnntk")
class LSTM(_Fast, keras.layers.LSTM):
    """Long short-term memory (Hochreiter, 1997). Arguments as in `keras.layers.LSTM`.

    Fast where all batches have the same size, which `fit` has to see; see the top of this module.
    """

    kind = fast.LSTM


@keras.saving.register_keras_serializable("rnntk")
class GRU(_Fast, keras.layers.GRU):
    """Gated recurrent unit (Cho et al., 2014). Arguments as in `keras.layers.GRU`.

    Fast where all batches have the same size, which `fit` has to see; see the top of this module.
    """

    kind = fast.GRU


@keras.saving.register_keras_serializable("rnntk")
class SimpleRNN(_Fast, keras.layers.SimpleRNN):
    """Vanilla recurrent layer (Elman, 1990). Arguments as in `keras.layers.SimpleRNN`.

    Fast where all batches have the same size, which `fit` has to see; see the top of this module.
    """

    kind = fast.SIMPLE


CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
"""The layer of each `--cell`."""


def states_per_layer(cell: str) -> int:
    """How many state tensors a layer carries: 2 for an LSTM (h, c), else 1."""
    return 2 if cell == "lstm" else 1
