"""The CPU path: each cell's two loops, tied together as one differentiable function.

In float32 they are the kernels of `kernels/`, compiled for this very processor, which need no time to trace
and no framework inside the loop. Everything they do not do (sequences of different lengths, bfloat16,
float64) the loops of `loops.py` do, compiled by XLA, which fuses a step's element-wise operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from rnntk.kernels import native, run
from rnntk.layer_norm import EPSILON
from rnntk.models.loops import GRU, LSTM, SIMPLE, Cell, Tensors, product

__all__ = ["GRU", "LSTM", "SIMPLE", "Cell", "Factor", "affine", "recurrent", "standardize"]


class Factor:
    """A weight as the right factor of products, packed once for all shards and steps that use it.

    Args:
        matrix: `(K, N)`.

    Attributes:
        matrix: as given.
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = tf.convert_to_tensor(matrix)
        self._transposed: tf.Tensor | None = None

    @functools.cached_property
    def packed(self) -> tf.Tensor:
        """For `x @ matrix`."""
        return self._pack(transposed=False)

    def transposed(self, upstream: tf.Tensor) -> tf.Tensor:
        """For `x @ matrix.T`; made when `upstream` is there, in memory that the forward pass is done with."""
        if self._transposed is None:
            with tf.control_dependencies([upstream]):
                self._transposed = self._pack(transposed=True)
        return self._transposed

    def _pack(self, *, transposed: bool) -> tf.Tensor:
        pack = functools.partial(native.kernels().packed, transposed=transposed)
        return _numpy(lambda matrix: [pack(matrix)], [self.matrix], [[None]])[0]


def _numpy(
    function: Callable[..., list[Any]], operands: Sequence[Any], shapes: Sequence[Any]
) -> list[tf.Tensor]:
    """A function of NumPy arrays as an operation; it may run beside others of its kind."""
    found = tf.numpy_function(function, operands, [tf.float32] * len(shapes), stateful=False)
    # Outside a graph TensorFlow hands back a single result by itself.
    tensors = list(found) if isinstance(found, (list, tuple)) else [found]
    for tensor, shape in zip(tensors, shapes, strict=True):
        tensor.set_shape(shape)
    return tensors


class Table(NamedTuple):
    """A layer's inputs as symbols.

    Attributes:
        rows: what the layer's kernel and bias make of each, `(V, gates * H)`.
        ids: `(T, B)` integers.
    """

    rows: tf.Tensor
    ids: tf.Tensor


class Projection(NamedTuple):
    """A layer's inputs, and what they are multiplied with.

    Attributes:
        x: `(T, B, F)`.
        kernel: `(F, gates * H)`.
        bias: `(gates * H,)`.
        input_gradient: whether anything before `x` learns.
    """

    x: tf.Tensor
    kernel: Factor
    bias: tf.Tensor
    input_gradient: bool


def recurrent(
    cell: Cell,
    inputs: Table | Projection,
    kernel: Factor,
    inner_bias: tf.Tensor | None,
    states: Sequence[tf.Tensor],
    *,
    mask: tf.Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Run a cell over time, with a hand-written gradient.

    Args:
        cell: LSTM, GRU or SIMPLE.
        inputs: of each step.
        kernel: the recurrent kernel, `(H, gates * H)`.
        inner_bias: `(3H,)`, for a GRU only.
        states: each `(B, H)`, or `(1, H)` for all lanes.
        mask: `(T, B, 1)` bool; where false, a lane keeps its state.
        bfloat16: whether products are of factors rounded to bfloat16.

    Returns:
        the state h after each step `(T, B, H)`, and the final states.

    Raises:
        ValueError: a state has another shape, or there are no lanes.
    """
    lanes = (inputs.ids if isinstance(inputs, Table) else inputs.x).shape[1]
    states = [_for_lanes(state, lanes, kernel.matrix.shape[0]) for state in states]
    if isinstance(inputs, Table):
        # The kernels read 32 bits an id, whatever they are given.
        inputs = Table(inputs.rows, tf.cast(inputs.ids, tf.int32))
    biases = [] if inner_bias is None else [inner_bias]
    operands = (kernel.matrix, *biases, *states)
    if mask is None and not bfloat16 and inputs[0].dtype == tf.float32:
        if isinstance(inputs, Table):
            operands = (inputs.rows, *operands)
        else:
            operands = (inputs.x, inputs.kernel.matrix, inputs.bias, *operands)
        outputs, *final = _by_kernels(cell, inputs, kernel)(*operands)
        return outputs, final
    if isinstance(inputs, Table):
        rows = tf.gather(inputs.rows, inputs.ids)
    else:
        steps, lanes, features = inputs.x.shape
        flat = tf.reshape(inputs.x, [-1, features])
        rows = tf.reshape(
            affine(flat, inputs.kernel, inputs.bias, bfloat16=bfloat16), [steps, lanes, -1]
        )
    outputs, *final = _by_loops(cell, mask, bfloat16, len(biases))(rows, *operands)
    return outputs, final


def _for_lanes(state: tf.Tensor, lanes: int, units: int) -> tf.Tensor:
    """A state of that very shape: the kernels themselves read whatever lies behind a smaller one."""
    if not lanes:
        raise ValueError("There are no sequences in this batch.")
    state = tf.convert_to_tensor(state)
    if state.shape == (lanes, units):
        return state
    if state.shape == (1, units):
        return tf.broadcast_to(state, [lanes, units])
    if state.shape.is_compatible_with((lanes, units)):
        return tf.ensure_shape(state, [lanes, units])
    raise ValueError(
        f"A state has the shape {tuple(state.shape)} where {lanes} sequences and {units} units"
        f" need {(lanes, units)}."
    )


def _once(backward: Callable[[], list[tf.Tensor]], *of: tf.Tensor) -> list[tf.Tensor]:
    """What a gradient function of kernels makes `of` these; to differentiate that again is an error.

    TensorFlow itself would take it for a constant, silently.
    """

    @tf.custom_gradient
    def made(*_: Any) -> Any:
        def refused(*_: Any) -> Any:
            raise NotImplementedError(
                "rnntk's recurrent layers have no second derivatives. For these use the layers of"
                " keras.layers, which take the same weights."
            )

        return backward(), refused

    found = made(*of)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _by_kernels(cell: Cell, inputs: Table | Projection, kernel: Factor) -> Callable[..., Any]:
    """The function of what is differentiated: the table, or input, kernel and bias; then the recurrent kernel, a
    GRU's inner bias, the states.
    """  # fmt: skip
    nothing = tf.zeros([0])
    if isinstance(inputs, Table):
        steps, lanes = inputs.ids.shape
        projected, symbols, wanted = 1, inputs.rows.shape[0], True
    else:
        steps, lanes = inputs.x.shape[:2]
        projected, symbols, wanted = 3, 0, inputs.input_gradient
    units, width = kernel.matrix.shape
    count = run.STATES[cell.name]
    inner = [[width]] if cell.has_inner_bias else []

    @tf.custom_gradient
    def over_time(*operands: Any) -> Any:
        others = operands[projected + 1 :]
        kept = [[steps + 1, lanes, units]] * count
        if cell is not SIMPLE:  # whose states are all it has
            kept += [[steps, lanes, width]] + [[steps, lanes, units]] * len(inner)
        if isinstance(inputs, Table):
            own = [operands[0], inputs.ids, nothing, nothing]
        else:
            own = [operands[0], tf.zeros([0], tf.int32), inputs.kernel.packed, operands[2]]
        forward = functools.partial(run.forward, cell=cell.name)
        saved = _numpy(forward, [*own, kernel.packed, *others], kept)

        def gradient(d_outputs: tf.Tensor, *d_final: tf.Tensor) -> Any:
            shapes = [operand.shape for operand in operands[:projected]][not wanted :]
            shapes += [[units, width], *inner, *[[lanes, units]] * count]
            transposed = nothing
            if isinstance(inputs, Projection) and wanted:
                transposed = inputs.kernel.transposed(d_outputs)
            backward = functools.partial(
                run.backward,
                cell=cell.name,
                symbols=symbols,
                input_gradient=wanted and not symbols,
            )
            given = [
                own[1],
                nothing if symbols else own[0],
                transposed,
                kernel.transposed(d_outputs),
                d_outputs,
                *d_final,
                *saved,
            ]
            found = _once(lambda: _numpy(backward, given, shapes), d_outputs, *d_final, *operands)
            return found if wanted else [None, *found]

        after = saved[:count]
        return (after[0][1:], *(states[-1] for states in after)), gradient

    return over_time


def affine(x: tf.Tensor, kernel: Factor, bias: tf.Tensor, *, bfloat16: bool = False) -> tf.Tensor:
    """`x @ kernel + bias` for rows `(N, F)`, on the calling thread alone."""
    if bfloat16 or x.dtype != tf.float32:
        return _affine_compiled(x, kernel.matrix, bias, bfloat16)
    rows, features = x.shape
    columns = kernel.matrix.shape[1]

    @tf.custom_gradient
    def of_rows(x: Any, matrix: Any, bias: Any) -> Any:
        def gradient(upstream: tf.Tensor) -> Any:
            shapes = [[rows, features], [features, columns], [columns]]
            given = [upstream, x, kernel.transposed(upstream)]
            return _once(lambda: _numpy(run.affine_backward, given, shapes), upstream, x, matrix)

        return _numpy(run.affine, [x, kernel.packed, bias], [[rows, columns]])[0], gradient

    return of_rows(x, kernel.matrix, bias)


def standardize(x: tf.Tensor, *, by_kernel: bool) -> tf.Tensor:
    """Layer normalisation of `(T, B, H)`; see `rnntk.layer_norm`.

    Args:
        x: what is normalised along its last axis.
        by_kernel: whether a kernel may do it, on the calling thread alone.
    """
    if not by_kernel or x.dtype != tf.float32:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + EPSILON)

    @tf.custom_gradient
    def of_rows(x: Any) -> Any:
        y, scales = _numpy(run.standardize, [x], [x.shape, x.shape[:-1]])

        def gradient(upstream: tf.Tensor) -> Any:
            given = [upstream, y, scales]
            return _once(lambda: _numpy(run.standardize_backward, given, [x.shape]), upstream, x)[0]

        return y, gradient

    return of_rows(x)


# ---- by XLA --------------------------------------------------------------------------------------


@functools.cache
def _has_xla() -> bool:
    try:
        tf.function(lambda: tf.constant(1) + 1, jit_compile=True)()
    except (tf.errors.OpError, ValueError):
        return False
    return True


WORTH_COMPILING = 5e7
"""Floating-point operations of a layer's recurrent products from which on compiling it, which takes
about a second, pays within a short run."""


@functools.cache
def _compiled(function: Callable[..., Any], *fixed: Any, xla: bool) -> Any:
    """`function` with its first arguments fixed, made into a graph once for all layers and shards."""
    return tf.function(
        functools.partial(function, *fixed), jit_compile=xla or None, autograph=False
    )


def _by_loops(
    cell: Cell, mask: tf.Tensor | None, bfloat16: bool, biases: int
) -> Callable[..., Any]:
    @tf.custom_gradient
    def over_time(zx: Any, kernel: Any, *others: Any) -> Any:
        steps, lanes, width = zx.shape
        # Under an eager tape TensorFlow keeps what is inside the loop itself, which XLA cannot hand out.
        xla = (
            2.0 * steps * lanes * kernel.shape[0] * width >= WORTH_COMPILING
            and not tf.executing_eagerly()
            and _has_xla()
        )
        bias, own = (others[0], others[1:]) if biases else (None, others)
        outputs, final, saved = _compiled(_forward, cell, bfloat16, xla=xla)(
            zx, kernel, bias, own, mask
        )

        def gradient(d_outputs: tf.Tensor, *d_final: tf.Tensor) -> Any:
            d_zx, d_kernel, d_bias, d_states = _compiled(_backward, cell, bfloat16, xla=xla)(
                d_outputs, d_final, kernel, own, saved, mask
            )
            return d_zx, d_kernel, *([d_bias] if biases else []), *d_states

        return (outputs, *final), gradient

    return over_time


def _forward(
    cell: Cell,
    bfloat16: bool,
    zx: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor | None,
    states: Tensors,
    mask: tf.Tensor | None,
) -> tuple[tf.Tensor, Tensors, Tensors]:
    return cell.forward(zx, kernel, bias, states, mask, bfloat16)


def _backward(
    cell: Cell,
    bfloat16: bool,
    d_outputs: tf.Tensor,
    d_final: Tensors,
    kernel: tf.Tensor,
    states: Tensors,
    saved: Tensors,
    mask: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, Tensors]:
    return cell.backward(d_outputs, d_final, kernel, states, saved, mask, bfloat16)


def _affine_compiled(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, bfloat16: bool) -> tf.Tensor:
    rows, features = x.shape
    xla = 2.0 * rows * features * kernel.shape[1] >= WORTH_COMPILING and _has_xla()

    @tf.custom_gradient
    def of_rows(x: Any, kernel: Any, bias: Any) -> Any:
        def gradient(upstream: tf.Tensor) -> Any:
            return _compiled(_affine_backward, bfloat16, xla=xla)(upstream, x, kernel)

        return _compiled(_affine_forward, bfloat16, xla=xla)(x, kernel, bias), gradient

    return of_rows(x, kernel, bias)


def _affine_forward(bfloat16: bool, x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return product(x, kernel, bfloat16=bfloat16) + bias


def _affine_backward(
    bfloat16: bool, upstream: tf.Tensor, x: tf.Tensor, kernel: tf.Tensor
) -> Tensors:
    return (
        product(upstream, kernel, bfloat16=bfloat16, transpose_b=True),
        product(x, upstream, bfloat16=bfloat16, transpose_a=True),
        tf.reduce_sum(upstream, 0),
    )
