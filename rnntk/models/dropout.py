"""Dropout whose mask depends only on seed, layer and batch row.

So a resumed run gets the same masks, and so does a batch split into shards: the batch's mask is one stream of a
counter-based generator in row order, which a shard reads from its first row on.
"""

from __future__ import annotations

import tensorflow as tf

_PHILOX = 1
"""TensorFlow's id of the Philox generator, which gives the same numbers on every device."""

_BLOCK = 4
"""Numbers per value of Philox' counter."""


def dropout(
    x: tf.Tensor,
    rate: float,
    kind: str,
    seed: tf.Tensor | None,
    *,
    layer: int,
    first_row: tf.Tensor | int = 0,
    time_major: bool = False,
) -> tf.Tensor:
    """Zero elements of `x` with probability `rate` and divide the others by `1 - rate`.

    Args:
        x: `(B, T, H)`, or `(T, B, H)` with `time_major`.
        rate: in [0, 1).
        kind: "element", or "sequence" for one mask per row and unit, the same at all T steps (Gal, Ghahramani, 2016).
        seed: `(2,)` int32, different at each step; None samples one from TensorFlow's global generator.
        layer: index of the layer; each has its own random stream.
        first_row: index of `x`'s first row in the whole batch.
    """
    if seed is None:
        seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    shape = tf.shape(x)
    rows, steps = (shape[1], shape[0]) if time_major else (shape[0], shape[1])
    units = x.shape[-1]
    if kind == "sequence":
        steps = tf.constant(1)
    # Each row starts at a new counter value, so that a shard can start at any row.
    blocks = (steps * units + _BLOCK - 1) // _BLOCK
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(
        seed=tf.random.experimental.stateless_fold_in(seed, layer)
    )
    skipped = tf.cast(first_row, tf.uint64) * tf.cast(blocks, tf.uint64)
    counter = tf.stack([counter[0] + skipped, counter[1]])
    drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows, blocks * _BLOCK], key=key, counter=counter, alg=_PHILOX, dtype=tf.uint32
    )
    kept = drawn >= tf.constant(min(round(rate * 2**32), 2**32 - 1), tf.uint32)
    kept = tf.reshape(kept[:, : steps * units], [rows, steps, units])
    if time_major:
        kept = tf.transpose(kept, [1, 0, 2])
    return x * (tf.cast(kept, x.dtype) * (1.0 / (1.0 - rate)))
