"""TensorFlow's thread pools, set before its first operation."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from rnntk.cores import available_cores
from rnntk.errors import UsageError

_cores: int | None = None


def configure(threads: int | None = None) -> int:
    """Give TensorFlow one thread per core (all that this process may use when None), each running whole operations.

    The training step is cut into one shard of batch rows per core (`inter_op`); no operation is cut (`intra_op`).

    Returns:
        Number of cores.

    Raises:
        UsageError: `threads` is below 1.
    """
    global _cores
    cores = available_cores() if threads is None else threads
    if cores < 1:
        raise UsageError(f"`threads` must be at least 1, got {cores}.")
    wanted = (1, cores)
    current = (
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    )
    if current != wanted:
        # Once TensorFlow has computed anything, its own pools stay as they are; the shards follow all the same.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(cores)
    _cores = cores
    return cores


def shards() -> int:
    """Number of shards of batch rows in a step: one per core, one on a GPU."""
    if tf.config.list_logical_devices("GPU"):
        return 1
    return _cores or available_cores()
