"""Dropout as a pure function of a seed, a layer and a batch row: no hidden generator.

Training resumes bit for bit only if step n draws the same mask whenever it runs, and a step cut into shards of rows
equals the uncut step only if a row's mask does not depend on its shard. So the whole batch's mask is one stream of a
counter-based generator, in the order of rows, and a shard starts reading it at its first row.
"""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

DropoutKind = Literal["element", "sequence"]

_PHILOX = 1
"""TensorFlow's number of the Philox generator, the same stream on every device."""

_BLOCK = 4
"""Numbers that Philox makes for each value of its counter."""


def dropout(
    x: tf.Tensor,
    rate: float,
    kind: DropoutKind,
    seed: tf.Tensor | None,
    *,
    layer: int,
    first_lane: tf.Tensor | int = 0,
    time_major: bool = False,
) -> tf.Tensor:
    """Zero elements of `x` with probability `rate` and divide the others by `1 - rate`.

    Args:
        x: `(B, T, H)`, or `(T, B, H)` with `time_major`.
        rate: in [0, 1).
        kind: "element" draws each element by itself; "sequence" one mask per row and unit for all T steps (Gal and
            Ghahramani, 2016).
        seed: `(2,)` int32, different for each step of a run; None takes one from TensorFlow's global generator, which
            `keras.utils.set_random_seed` sets.
        layer: which layer's output this is; layers draw from different streams.
        first_lane: the place of `x`'s first row in the whole batch.
    """
    if seed is None:
        seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    shape = tf.shape(x)
    rows, steps = (shape[1], shape[0]) if time_major else (shape[0], shape[1])
    units = x.shape[-1]
    if kind == "sequence":
        steps = tf.constant(1)
    # A row begins at a whole counter, so that any row can be the first of a shard.
    blocks = (steps * units + _BLOCK - 1) // _BLOCK
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(
        seed=tf.random.experimental.stateless_fold_in(seed, layer)
    )
    skipped = tf.cast(first_lane, tf.uint64) * tf.cast(blocks, tf.uint64)
    counter = tf.stack([counter[0] + skipped, counter[1]])
    drawn = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows, blocks * _BLOCK], key=key, counter=counter, alg=_PHILOX, dtype=tf.uint32
    )
    kept = drawn >= tf.constant(min(round(rate * 2**32), 2**32 - 1), tf.uint32)
    kept = tf.reshape(kept[:, : steps * units], [rows, steps, units])
    if time_major:
        kept = tf.transpose(kept, [1, 0, 2])
    return x * (tf.cast(kept, x.dtype) * (1.0 / (1.0 - rate)))
