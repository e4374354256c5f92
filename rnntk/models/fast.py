"""The CPU path: each cell's two loops, compiled by XLA and tied together as one differentiable function.

XLA fuses a step's many small element-wise operations into a few kernels and writes each step's results
in place, and its products run on the calling thread alone; that suits a graph whose shards of lanes
each have a core. Where TensorFlow was built without XLA the same functions run as plain graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rnntk.models.loops import GRU, LSTM, SIMPLE, Cell, Tensors, product

__all__ = ["GRU", "LSTM", "SIMPLE", "Cell", "affine", "recurrent"]


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


def recurrent(
    cell: Cell,
    zx: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    inner_bias: tf.Tensor | None,
    states: Sequence[tf.Tensor],
    *,
    mask: tf.Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Run a cell over time, with a hand-written gradient.

    Args:
        cell: LSTM, GRU or SIMPLE.
        zx: `(T, B, gates * H)`, the inputs times the kernel plus the input bias.
        recurrent_kernel: `(H, gates * H)`.
        inner_bias: `(3H,)`, for a GRU only.
        states: each `(B, H)`.
        mask: `(T, B, 1)` bool; where false, a lane keeps its state.
        bfloat16: whether products are of factors rounded to bfloat16.

    Returns:
        the state h after each step `(T, B, H)`, and the final states.
    """
    steps, lanes, width = zx.shape
    xla = 2.0 * steps * lanes * recurrent_kernel.shape[0] * width >= WORTH_COMPILING and _has_xla()
    biases = [] if inner_bias is None else [inner_bias]

    @tf.custom_gradient
    def run(zx: Any, recurrent_kernel: Any, *others: Any) -> Any:
        bias, own = (others[0], others[1:]) if biases else (None, others)
        outputs, final, saved = _compiled(_forward, cell, bfloat16, xla=xla)(
            zx, recurrent_kernel, bias, own, mask
        )

        def gradient(d_outputs: tf.Tensor, *d_final: tf.Tensor) -> Any:
            d_zx, d_kernel, d_bias, d_states = _compiled(_backward, cell, bfloat16, xla=xla)(
                d_outputs, d_final, recurrent_kernel, own, saved, mask
            )
            return d_zx, d_kernel, *([d_bias] if biases else []), *d_states

        return (outputs, *final), gradient

    outputs, *final = run(zx, recurrent_kernel, *biases, *states)
    return outputs, final


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


def affine(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, *, bfloat16: bool = False
) -> tf.Tensor:
    """`x @ kernel + bias` for rows `(N, F)`, compiled: on one thread that is the faster product."""
    rows, features = x.shape
    xla = 2.0 * rows * features * kernel.shape[1] >= WORTH_COMPILING and _has_xla()

    @tf.custom_gradient
    def run(x: Any, kernel: Any, bias: Any) -> Any:
        def gradient(upstream: tf.Tensor) -> Any:
            return _compiled(_affine_backward, bfloat16, xla=xla)(upstream, x, kernel)

        return _compiled(_affine_forward, bfloat16, xla=xla)(x, kernel, bias), gradient

    return run(x, kernel, bias)


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
