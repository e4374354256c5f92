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

from rnntk.models.loops import GRU, LSTM, SIMPLE, Cell, Tensors, flat, product

__all__ = ["GRU", "LSTM", "SIMPLE", "cross_entropy", "recurrent"]


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


def _worthwhile(x: tf.Tensor, recurrent_kernel: tf.Tensor) -> bool:
    steps, lanes = x.shape[:2]
    units, width = recurrent_kernel.shape
    return 2.0 * steps * lanes * units * width >= WORTH_COMPILING and _has_xla()


@functools.cache
def _compiled(function: Callable[..., Any], *fixed: Any, xla: bool) -> Any:
    """`function` with its first arguments fixed, made into a graph once for all layers and shards."""
    return tf.function(
        functools.partial(function, *fixed), jit_compile=xla or None, autograph=False
    )


def recurrent(
    cell: Cell,
    x: tf.Tensor,
    kernel: tf.Tensor | None,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    states: Sequence[tf.Tensor],
    *,
    mask: tf.Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Run a cell over time, with a hand-written gradient.

    Args:
        cell: LSTM, GRU or SIMPLE.
        x: `(T, B, F)`; the projections `(T, B, gates * H)` themselves when `kernel` is None.
        kernel: `(F, gates * H)`.
        recurrent_kernel: `(H, gates * H)`.
        bias: `(gates * H,)`, for a GRU `(2, 3H)`. When `kernel` is None only a GRU's second row is
            used, and other cells' bias must already be in `x`.
        states: each `(B, H)`.
        mask: `(T, B, 1)` bool; where false, a lane keeps its state.
        bfloat16: whether products are of factors rounded to bfloat16.

    Returns:
        the state h after each step `(T, B, H)`, and the final states.
    """
    projected = kernel is None
    xla = _worthwhile(x, recurrent_kernel)

    @tf.custom_gradient
    def run(x: Any, kernel: Any, recurrent_kernel: Any, bias: Any, *states: Any) -> Any:
        outputs, final, saved = _compiled(_forward, cell, projected, bfloat16, xla=xla)(
            x, kernel, recurrent_kernel, bias, states, mask
        )

        def gradient(*upstream: tf.Tensor) -> Any:
            return _compiled(_backward, cell, projected, bfloat16, xla=xla)(
                upstream[0], upstream[1:], x, kernel, recurrent_kernel, bias, states, saved, mask
            )

        return (outputs, *final), gradient

    if kernel is None:
        kernel = tf.zeros([0], x.dtype)
    outputs, *final = run(x, kernel, recurrent_kernel, bias, *states)
    return outputs, final


def _forward(
    cell: Cell,
    projected: bool,
    bfloat16: bool,
    x: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    states: Tensors,
    mask: tf.Tensor | None,
) -> tuple[tf.Tensor, Tensors, Tensors]:
    steps, lanes = x.shape[:2]
    if cell.biases == 2:
        input_bias, inner_bias = tf.unstack(bias)
    else:
        input_bias, inner_bias = tf.zeros_like(bias), bias
    if projected:
        zx = x
        inner_bias = inner_bias if cell.biases == 2 else tf.zeros_like(bias)
    else:
        zx = tf.reshape(product(flat(x), kernel, bfloat16=bfloat16), [steps, lanes, -1])
        if cell.biases == 2:
            zx += input_bias
    return cell.forward(zx, recurrent_kernel, inner_bias, states, mask, bfloat16)


def _backward(
    cell: Cell,
    projected: bool,
    bfloat16: bool,
    d_outputs: tf.Tensor,
    d_final: Tensors,
    x: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    states: Tensors,
    saved: Tensors,
    mask: tf.Tensor | None,
) -> tuple[tf.Tensor, ...]:
    d_zx, d_recurrent, d_inner, d_states = cell.backward(
        d_outputs, d_final, recurrent_kernel, states, saved, mask, bfloat16
    )
    if projected:
        d_bias = tf.stack([tf.zeros_like(d_inner), d_inner]) if cell.biases == 2 else None
        if d_bias is None:
            d_bias = tf.zeros_like(bias)
        return d_zx, tf.zeros_like(kernel), d_recurrent, d_bias, *d_states
    rows = flat(d_zx)
    d_x = product(rows, kernel, bfloat16=bfloat16, transpose_b=True)
    d_kernel = product(flat(x), rows, bfloat16=bfloat16, transpose_a=True)
    d_bias = tf.stack([tf.reduce_sum(rows, 0), d_inner]) if cell.biases == 2 else d_inner
    return tf.reshape(d_x, x.shape), d_kernel, d_recurrent, d_bias, *d_states


def cross_entropy(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    targets: tf.Tensor,
    *,
    bfloat16: bool = False,
) -> tf.Tensor:
    """Sum of the softmax cross-entropy, in nats, of a linear layer's logits.

    Args:
        x: `(N, H)`.
        kernel: `(H, V)`.
        bias: `(V,)`.
        targets: `(N,)` int32.
        bfloat16: whether products are of factors rounded to bfloat16.
    """
    xla = 2.0 * x.shape[0] * kernel.shape[0] * kernel.shape[1] >= WORTH_COMPILING and _has_xla()

    @tf.custom_gradient
    def run(x: Any, kernel: Any, bias: Any) -> Any:
        nats, d_logits = _compiled(_output_forward, bfloat16, xla=xla)(x, kernel, bias, targets)

        def gradient(upstream: tf.Tensor) -> Any:
            return _compiled(_output_backward, bfloat16, xla=xla)(upstream, x, kernel, d_logits)

        return nats, gradient

    return run(x, kernel, bias)


def _output_forward(
    bfloat16: bool, x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, targets: tf.Tensor
) -> Tensors:
    logits = product(x, kernel, bfloat16=bfloat16) + bias
    logits -= tf.reduce_max(logits, 1, keepdims=True)
    exponentials = tf.exp(logits)
    sums = tf.reduce_sum(exponentials, 1, keepdims=True)
    right = tf.equal(tf.range(logits.shape[1])[tf.newaxis], targets[:, tf.newaxis])
    nats = tf.reduce_sum(tf.math.log(sums)) - tf.reduce_sum(tf.where(right, logits, 0))
    return nats, exponentials / sums - tf.cast(right, logits.dtype)


def _output_backward(
    bfloat16: bool, upstream: tf.Tensor, x: tf.Tensor, kernel: tf.Tensor, d_logits: tf.Tensor
) -> Tensors:
    d_logits *= upstream
    return (
        product(d_logits, kernel, bfloat16=bfloat16, transpose_b=True),
        product(x, d_logits, bfloat16=bfloat16, transpose_a=True),
        tf.reduce_sum(d_logits, 0),
    )
