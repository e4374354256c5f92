"""The CPU path: the compiled kernels of `rnntk.kernels` as differentiable functions."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.kernels import native, run
from rnntk.layer_norm import EPSILON
from rnntk.models import cudnn


def check_precision(precision: str) -> None:
    """Raise UsageError if this machine lacks instructions for `precision`."""
    if precision == "bfloat16" and not (cudnn.has_gpu() or native.kernels().shape.bfloat16):
        raise UsageError(
            '`precision="bfloat16"` needs a GPU or a CPU with AVX512-BF16. Use "float32".'
        )


_EXPORTERS = ("keras.src.export.", "tensorflow.python.saved_model.")


def exporting() -> bool:
    """Whether Keras or TensorFlow traces a graph to save it: no other process could call the kernels in it."""
    if tf.executing_eagerly():
        return False
    modules = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_stack(None))
    return any(str(module).startswith(_EXPORTERS) for module in modules)


class Factor:
    """A weight `(K, N)` as the right factor of products, packed once for all shards and time steps.

    With `bfloat16`, both factors are rounded to it. Factors in one `Group` are packed in one call.
    """

    def __init__(self, matrix: Any, *, bfloat16: bool) -> None:
        self.matrix, self.bfloat16 = tf.convert_to_tensor(matrix), bfloat16
        self.group, self._packed = [self], dict[bool, tf.Tensor]()

    @classmethod
    def together(cls, *matrices: Any, bfloat16: bool) -> list[Factor]:
        """Factors that are packed in one call."""
        factors = [cls(matrix, bfloat16=bfloat16) for matrix in matrices]
        for factor in factors:
            factor.group = factors
        return factors

    def packed(self, after: tf.Tensor | None = None) -> tf.Tensor:
        """Packed for `x @ matrix`; or for `x @ matrix.T`, only `after` a tensor, to reuse the forward pass' memory."""
        transposed = after is not None
        pack = functools.partial(native.kernels().packed, bfloat16=self.bfloat16)

        def all_packed(*matrices: Any) -> list[Any]:
            return [pack(m.T if transposed else m) for m in matrices]

        if transposed not in self._packed:
            with tf.control_dependencies([after] if transposed else []):
                matrices = [factor.matrix for factor in self.group]
                found = _numpy(all_packed, matrices, [[None]] * len(matrices))
            for factor, tensor in zip(self.group, found, strict=True):
                factor._packed[transposed] = tensor
        return self._packed[transposed]


def _numpy(
    function: Callable[..., list[Any]], operands: Sequence[Any], shapes: Sequence[Any]
) -> list[tf.Tensor]:
    """Call a function of NumPy arrays as a TensorFlow operation; several may run in parallel."""
    found = tf.numpy_function(function, operands, [tf.float32] * len(shapes), stateful=False)
    tensors = _as_list(found)
    for tensor, shape in zip(tensors, shapes, strict=True):
        tensor.set_shape(shape)
    return tensors


def _as_list(found: Any) -> list[tf.Tensor]:
    """The tensors as a list, also where TensorFlow returns a single one unwrapped (eagerly)."""
    return list(found) if isinstance(found, (list, tuple)) else [found]


class Weights(NamedTuple):
    """A layer's weights, ready for products and shared by all shards of a step."""

    kernel: Factor  # `(F, gates * H)`
    recurrent_kernel: Factor  # `(H, gates * H)`
    bias: tf.Tensor  # input bias, `(gates * H,)`
    recurrent_bias: tf.Tensor | None  # for a cell with gates apart


def recurrent(
    layer: run.Layer,
    weights: Weights,
    x: tf.Tensor,
    states: Sequence[tf.Tensor],
    ids: tf.Tensor | None = None,
    mask: tf.Tensor | None = None,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Run a layer over time, with a hand-written gradient.

    Args:
        layer, weights: its options and weights.
        x: inputs `(T, B, F)`; with `ids`, each symbol's input projection, `(V, gates * H)`.
        states: each `(B, H)`, or `(1, H)` for all rows.
        ids: symbols, `(T, B)` integers.
        mask: `(T, B)` uint8. 1: the row takes the step; 2: it keeps its state and outputs it; 0: it keeps its state and
            outputs 0.

    Returns:
        Outputs `(T, B, H)`, in time order for either direction, and the final states.

    Raises:
        ValueError: a state has the wrong shape, or there are no batch rows.
    """
    empty, kernel, cell = tf.zeros([0]), weights.recurrent_kernel, layer.cell
    if ids is None:
        ids, sequence, with_inputs = tf.zeros([0], tf.int32), x, layer.input_gradient
        trained = [x, weights.kernel.matrix, weights.bias]
        packed, bias = weights.kernel.packed(), weights.bias
    else:
        ids = sequence = tf.cast(ids, tf.int32)  # the kernels read 32 bits per id
        trained, with_inputs, packed, bias = [x], True, empty, empty
    (steps, rows), (units, width) = sequence.shape[:2], kernel.matrix.shape
    count = len(cell.states)
    biases = [] if weights.recurrent_bias is None else [weights.recurrent_bias]
    masked = [] if mask is None else [[steps, rows, units]]
    mask = tf.zeros([0], tf.uint8) if mask is None else mask

    @tf.custom_gradient
    def over_time(*operands: Any) -> Any:
        others = operands[len(trained) + 1 :]
        shapes = [*masked, *[[steps and steps + 1, rows, units]] * count]
        shapes += [[steps, rows, width]] * bool(cell.saved) + [[steps, rows, units]] * len(biases)
        given = [x, ids, mask, packed, bias, kernel.packed(), *others]
        results = _numpy(functools.partial(run.forward, layer), given, shapes)
        saved = results[len(masked) :]

        def gradient(d_outputs: tf.Tensor, *d_final: tf.Tensor) -> Any:
            shapes = [operand.shape for operand in operands][not with_inputs :]
            by_inputs = with_inputs and len(trained) > 1
            transposed = weights.kernel.packed(after=d_outputs) if by_inputs else empty
            given = [ids, mask, x, transposed, kernel.packed(after=d_outputs), d_outputs]
            given += [*d_final, *saved]
            backward = functools.partial(run.backward, layer)
            found = _once(lambda: _numpy(backward, given, shapes), d_outputs, *d_final, *operands)
            return found if with_inputs else [None, *found]

        last, outputs = (0, saved[0][:-1]) if layer.reverse else (-1, saved[0][1:])
        return (results[0] if masked else outputs, *(s[last] for s in saved[:count])), gradient

    states = [_for_rows(state, sequence, units) for state in states]
    outputs, *final = over_time(*trained, kernel.matrix, *biases, *states)
    return outputs, final


def _for_rows(state: Any, sequence: tf.Tensor, units: int) -> tf.Tensor:
    """A state with one row per batch row; the kernels check shapes that are unknown here."""
    state, rows = tf.convert_to_tensor(state), sequence.shape[1]
    if rows == 0:
        raise ValueError("There are no sequences in this batch.")
    if rows != 1 and state.shape == (1, units):
        return tf.broadcast_to(state, [tf.shape(sequence)[1], units])
    if not state.shape.is_compatible_with((rows, units)):
        raise ValueError(
            f"A state has the shape {tuple(state.shape)}; {rows} sequences and {units} units need {(rows, units)}."
        )
    return state if state.shape == (rows, units) else tf.ensure_shape(state, [rows, units])


def _once(backward: Callable[[], list[tf.Tensor]], *inputs: tf.Tensor) -> list[tf.Tensor]:
    """Gradients from `backward`, which raise if differentiated again: TensorFlow would take them for constants."""

    @tf.custom_gradient
    def gradients(*_: Any) -> Any:
        def second(*_: Any) -> Any:
            raise NotImplementedError(
                "rnntk's recurrent layers have no second derivatives. Use keras.layers with the same weights."
            )

        return backward(), second

    return _as_list(gradients(*inputs))


def affine(x: tf.Tensor, kernel: Factor, bias: tf.Tensor) -> tf.Tensor:
    """`x @ kernel + bias` for rows `(N, F)`, on the calling thread only."""
    rows, features = x.shape
    columns = kernel.matrix.shape[1]

    @tf.custom_gradient
    def of_rows(x: Any, matrix: Any, bias: Any) -> Any:
        def gradient(d_c: tf.Tensor) -> Any:
            shapes = [[rows, features], [features, columns], [columns]]
            given = [d_c, x, kernel.packed(after=d_c)]
            backward = functools.partial(run.affine_backward, kernel.bfloat16)
            return _once(lambda: _numpy(backward, given, shapes), d_c, x, matrix)

        forward = functools.partial(run.affine, kernel.bfloat16)
        return _numpy(forward, [x, kernel.packed(), bias], [[rows, columns]])[0], gradient

    return of_rows(x, kernel.matrix, bias)


def standardize(x: tf.Tensor) -> tf.Tensor:
    """Apply layer normalisation to `(..., H)`; see `rnntk.layer_norm`."""
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + EPSILON)
