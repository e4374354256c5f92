"""The time loops of each cell, forward and backward, written out by hand.

All tensors are time-major: `(T, B, ...)`. A forward loop takes the inputs' projection `zx`, already made for
all steps in one product, and saves what the backward loop needs. A backward loop finds the gradient
of each step's pre-activations; the weights' gradients are then one product over all steps, where
differentiating the loop itself would add them up step by step.

With a mask `(T, B, 1)` a lane keeps its state through the steps where the mask is false.

These are plain TensorFlow functions. `fast.py` compiles them and ties each pair together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensors = tuple[tf.Tensor, ...]


def product(a: tf.Tensor, b: tf.Tensor, *, bfloat16: bool, **flags: bool) -> tf.Tensor:
    """Matrix product; with `bfloat16`, of rounded factors, handed back in `a`'s type."""
    if not bfloat16:
        return tf.matmul(a, b, **flags)
    rounded = tf.matmul(tf.cast(a, tf.bfloat16), tf.cast(b, tf.bfloat16), **flags)
    return tf.cast(rounded, a.dtype)


def flat(x: tf.Tensor) -> tf.Tensor:
    """`(T, B, H)` as `(T * B, H)`."""
    return tf.reshape(x, [-1, x.shape[-1]])


def before(first: tf.Tensor, states: tf.Tensor) -> tf.Tensor:
    """The state before each step, from the one before all and those after each."""
    return tf.concat([first[tf.newaxis], states[:-1]], 0)


def _over_time(
    steps: int, body: Callable[..., Tensors], *start: Any, backwards: bool = False
) -> Any:
    def turn(count: tf.Tensor, *carried: Any) -> tuple[Any, ...]:
        return count + 1, *body(steps - 1 - count if backwards else count, *carried)

    ended = tf.while_loop(
        lambda count, *_: count < steps, turn, (0, *start), maximum_iterations=steps
    )
    return ended[1:]


def _array(like: tf.Tensor, width: int) -> tf.TensorArray:
    steps, lanes = like.shape[:2]
    return tf.TensorArray(like.dtype, steps, element_shape=(lanes, width))


def _keep(mask: tf.Tensor | None, step: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    return new if mask is None else tf.where(mask[step], new, old)


@dataclass(frozen=True)
class Cell:
    """The two loops of a kind of cell.

    Attributes:
        forward: `(zx, recurrent_kernel, inner_bias, states, mask, bfloat16) -> (outputs, final
            states, saved)`; `zx` is the inputs times the kernel plus the input bias.
        backward: `(d_outputs, d_final_states, recurrent_kernel, states, saved, mask, bfloat16) ->
            (d_zx, d_recurrent_kernel, d_inner_bias, d_states)`.
        has_inner_bias: whether a second bias is added to the recurrent product (GRU).
        name: of its kernels.
    """

    forward: Callable[..., tuple[tf.Tensor, Tensors, Tensors]]
    backward: Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, Tensors]]
    has_inner_bias: bool
    name: str


# LSTM: i, f, g, o = gates(zx + h U);  c = f c + i g;  h = o tanh(c)


def _lstm_forward(
    zx: tf.Tensor,
    kernel: tf.Tensor,
    _: None,
    states: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, Tensors, Tensors]:
    units = kernel.shape[0]

    def body(t: tf.Tensor, h: Any, c: Any, gates: Any, cs: Any, hs: Any) -> Any:
        z = product(h, kernel, bfloat16=bfloat16) + gates.read(t)
        i, f, g, o = tf.split(z, 4, 1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c_new = f * c + i * g
        h_new = o * tf.tanh(c_new)
        c, h = _keep(mask, t, c_new, c), _keep(mask, t, h_new, h)
        gates = gates.write(t, tf.concat([i, f, g, o], 1))
        return h, c, gates, cs.write(t, c), hs.write(t, h)

    # The gates take the place of the projections, which are not needed again.
    gates = _array(zx, 4 * units).unstack(zx)
    h, c, gates, cs, hs = _over_time(
        zx.shape[0], body, *states, gates, _array(zx, units), _array(zx, units)
    )
    outputs = hs.stack()
    return outputs, (h, c), (gates.stack(), cs.stack(), outputs)


def _lstm_backward(
    d_outputs: tf.Tensor,
    d_final: Tensors,
    kernel: tf.Tensor,
    states: Tensors,
    saved: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, tf.Tensor, None, Tensors]:
    gates, cs, hs = saved
    cs_before = before(states[1], cs)
    # Transposed once: a product that transposes its factor does so at each step.
    transposed = tf.transpose(kernel)

    def body(t: tf.Tensor, dh: Any, dc: Any, dzs: Any) -> Any:
        i, f, g, o = tf.split(gates[t], 4, 1)
        tanh_c = tf.tanh(cs[t])
        dh += d_outputs[t]
        through = dc + dh * o * (1 - tanh_c * tanh_c)
        dz = tf.concat(
            [
                through * g * i * (1 - i),
                through * cs_before[t] * f * (1 - f),
                through * i * (1 - g * g),
                dh * tanh_c * o * (1 - o),
            ],
            1,
        )
        if mask is not None:
            dz = tf.where(mask[t], dz, 0)
        dh_before = _keep(mask, t, product(dz, transposed, bfloat16=bfloat16), dh)
        return dh_before, _keep(mask, t, through * f, dc), dzs.write(t, dz)

    dh, dc, dzs = _over_time(
        gates.shape[0], body, *d_final, _array(gates, gates.shape[-1]), backwards=True
    )
    dz = dzs.stack()
    d_kernel = product(flat(before(states[0], hs)), flat(dz), bfloat16=bfloat16, transpose_a=True)
    return dz, d_kernel, None, (dh, dc)


# GRU, reset after the product: z, r = gates(zx + h U + b);  g = tanh(zx_g + r (h U_g + b_g));
# h = z h + (1 - z) g


def _gru_forward(
    zx: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    states: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, Tensors, Tensors]:
    units = kernel.shape[0]

    def body(t: tf.Tensor, h: Any, gates: Any, inner: Any, hs: Any) -> Any:
        z_h, r_h, g_h = tf.split(product(h, kernel, bfloat16=bfloat16) + bias, 3, 1)
        z_x, r_x, g_x = tf.split(gates.read(t), 3, 1)
        z, r = tf.sigmoid(z_x + z_h), tf.sigmoid(r_x + r_h)
        g = tf.tanh(g_x + r * g_h)
        h = _keep(mask, t, z * h + (1 - z) * g, h)
        gates = gates.write(t, tf.concat([z, r, g], 1))
        return h, gates, inner.write(t, g_h), hs.write(t, h)

    gates = _array(zx, 3 * units).unstack(zx)
    h, gates, inner, hs = _over_time(
        zx.shape[0], body, *states, gates, _array(zx, units), _array(zx, units)
    )
    outputs = hs.stack()
    return outputs, (h,), (gates.stack(), inner.stack(), outputs)


def _gru_backward(
    d_outputs: tf.Tensor,
    d_final: Tensors,
    kernel: tf.Tensor,
    states: Tensors,
    saved: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Tensors]:
    gates, inner, hs = saved
    hs_before = before(states[0], hs)
    transposed = tf.transpose(kernel)

    def body(t: tf.Tensor, dh: Any, dxs: Any, dhs: Any) -> Any:
        z, r, g = tf.split(gates[t], 3, 1)
        dh += d_outputs[t]
        dz = dh * (hs_before[t] - g) * z * (1 - z)
        dg = dh * (1 - z) * (1 - g * g)
        dr = dg * inner[t] * r * (1 - r)
        from_x = tf.concat([dz, dr, dg], 1)
        from_h = tf.concat([dz, dr, dg * r], 1)
        if mask is not None:
            from_x, from_h = tf.where(mask[t], from_x, 0), tf.where(mask[t], from_h, 0)
        dh_before = dh * z + product(from_h, transposed, bfloat16=bfloat16)
        return _keep(mask, t, dh_before, dh), dxs.write(t, from_x), dhs.write(t, from_h)

    width = gates.shape[-1]
    dh, dxs, dhs = _over_time(
        gates.shape[0], body, *d_final, _array(gates, width), _array(gates, width), backwards=True
    )
    from_h = dhs.stack()
    d_kernel = product(flat(hs_before), flat(from_h), bfloat16=bfloat16, transpose_a=True)
    return dxs.stack(), d_kernel, tf.reduce_sum(from_h, [0, 1]), (dh,)


# Vanilla: h = tanh(zx + h U)


def _simple_forward(
    zx: tf.Tensor,
    kernel: tf.Tensor,
    _: None,
    states: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, Tensors, Tensors]:
    def body(t: tf.Tensor, h: Any, hs: Any) -> Any:
        h_new = tf.tanh(product(h, kernel, bfloat16=bfloat16) + hs.read(t))
        h = _keep(mask, t, h_new, h)
        return h, hs.write(t, h)

    h, hs = _over_time(zx.shape[0], body, *states, _array(zx, kernel.shape[0]).unstack(zx))
    outputs = hs.stack()
    return outputs, (h,), (outputs,)


def _simple_backward(
    d_outputs: tf.Tensor,
    d_final: Tensors,
    kernel: tf.Tensor,
    states: Tensors,
    saved: Tensors,
    mask: tf.Tensor | None,
    bfloat16: bool,
) -> tuple[tf.Tensor, tf.Tensor, None, Tensors]:
    (hs,) = saved
    transposed = tf.transpose(kernel)

    def body(t: tf.Tensor, dh: Any, dzs: Any) -> Any:
        dh += d_outputs[t]
        dz = dh * (1 - hs[t] * hs[t])
        if mask is not None:
            dz = tf.where(mask[t], dz, 0)
        dh_before = product(dz, transposed, bfloat16=bfloat16)
        return _keep(mask, t, dh_before, dh), dzs.write(t, dz)

    dh, dzs = _over_time(hs.shape[0], body, *d_final, _array(hs, hs.shape[-1]), backwards=True)
    dz = dzs.stack()
    d_kernel = product(flat(before(states[0], hs)), flat(dz), bfloat16=bfloat16, transpose_a=True)
    return dz, d_kernel, None, (dh,)


LSTM = Cell(_lstm_forward, _lstm_backward, has_inner_bias=False, name="lstm")
GRU = Cell(_gru_forward, _gru_backward, has_inner_bias=True, name="gru")
SIMPLE = Cell(_simple_forward, _simple_backward, has_inner_bias=False, name="rnn")
