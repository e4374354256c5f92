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
    """A weight `(K, N)` as the right factor of products; with `bfloat16`, these round both factors to it."""

    def __init__(self, matrix: Any, *, bfloat16: bool) -> None:
        self.matrix, self.bfloat16 = tf.convert_to_tensor(matrix), bfloat16
        self.made: dict[tuple[bool, tf.Graph], tf.Tensor] = {}  # see `packed`


def packed(factors: Sequence[Factor], after: tf.Tensor | None = None) -> list[tf.Tensor]:
    """Factors packed for `x @ matrix`, once for all shards and time steps.

    With `after`, for `x @ matrix.T` and only when that is computed, to reuse the forward pass' memory.
    """
    transposed = after is not None
    # TensorFlow may derive several graphs from one, such as two backward passes.
    key = transposed, tf.compat.v1.get_default_graph()
    missing = [factor for factor in factors if key not in factor.made]

    def pack(*matrices: Any) -> list[Any]:
        pairs = zip(matrices, missing, strict=True)
        return [
            native.kernels().packed(m.T if transposed else m, bfloat16=f.bfloat16) for m, f in pairs
        ]

    if missing:
        with tf.control_dependencies([after] if transposed else []):
            found = _numpy(pack, [factor.matrix for factor in missing], [[None]] * len(missing))
        for factor, tensor in zip(missing, found, strict=True):
            factor.made[key] = tensor
    return [factor.made[key] for factor in factors]


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
    # The kernels read float32; Keras casts other floats, but not integers.
    empty, cell, x = tf.zeros([0]), layer.cell, tf.cast(x, tf.float32)
    if ids is None:
        ids, sequence, with_inputs = tf.zeros([0], tf.int32), x, layer.input_gradient
        trained, bias = [x, weights.kernel.matrix, weights.bias], weights.bias
        kernel, recurrent_kernel = packed([weights.kernel, weights.recurrent_kernel])
    else:
        ids = sequence = tf.cast(ids, tf.int32)  # the kernels read 32 bits per id
        trained, with_inputs, bias = [x], True, empty
        kernel, recurrent_kernel = empty, *packed([weights.recurrent_kernel])
    matrix = weights.recurrent_kernel.matrix
    (steps, rows), (units, width) = sequence.shape[:2], matrix.shape
    count = len(cell.states)
    biases = [] if weights.recurrent_bias is None else [weights.recurrent_bias]
    masked = [] if mask is None else [[steps, rows, units]]
    mask = tf.zeros([0], tf.uint8) if mask is None else mask

    @tf.custom_gradient
    def over_time(*operands: Any) -> Any:
        others = operands[len(trained) + 1 :]
        shapes = [*masked, *[[steps and steps + 1, rows, units]] * count]
        shapes += [[steps, rows, width]] * bool(cell.saved) + [[steps, rows, units]] * len(biases)
        given = [x, ids, mask, kernel, bias, recurrent_kernel, *others]
        results = _numpy(functools.partial(run.forward, layer), given, shapes)
        saved = results[len(masked) :]

        def gradient(d_outputs: tf.Tensor, *d_final: tf.Tensor) -> Any:
            shapes = [operand.shape for operand in operands][not with_inputs :]
            by_inputs = with_inputs and len(trained) > 1
            factors = [weights.kernel, weights.recurrent_kernel][not by_inputs :]
            transposed = [empty] * (not by_inputs) + packed(factors, after=d_outputs)
            given = [ids, mask, x, *transposed, d_outputs, *d_final, *saved]
            backward = functools.partial(run.backward, layer)
            found = _once(lambda: _numpy(backward, given, shapes), d_outputs, *d_final, *operands)
            return found if with_inputs else [None, *found]

        last, outputs = (0, saved[0][:-1]) if layer.reverse else (-1, saved[0][1:])
        return (results[0] if masked else outputs, *(s[last] for s in saved[:count])), gradient

    states = [_for_rows(state, sequence, units) for state in states]
    outputs, *final = over_time(*trained, matrix, *biases, *states)
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


def standardize(x: tf.Tensor) -> tf.Tensor:
    """Apply layer normalisation to `(..., H)`; see `rnntk.layer_norm`."""
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + EPSILON)
