"""TensorFlow made ready: silent, on the right device, with the right number of threads."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

from rnntk import display
from rnntk.config import RunConfig
from rnntk.cores import available_cores
from rnntk.errors import UsageError

_cores: int | None = None  # that `ready` gave TensorFlow


def import_tensorflow() -> Any:
    """TensorFlow, imported without the notes about its own build that its C++ side writes to stderr.

    Some are written before any logging option is read, so file descriptor 2 is redirected; errors are exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    display.check_backend()
    first = "keras" not in sys.modules
    with _without_stderr():
        import tensorflow as tf

        # The first look for a GPU writes too.
        tf.config.list_physical_devices("GPU")
    if first:  # else whoever imported Keras may have chosen another on purpose
        import keras

        keras.config.set_floatx("float32")  # whatever the user's keras.json says
    return tf


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or it cannot be written
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed: nothing to turn away
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def ready(device: str, threads: int | None) -> str:
    """Import TensorFlow, choose the device (`auto`, `cpu` or `gpu`) and the number of threads (None for all cores).

    Returns the device that computes, `cpu` or `gpu`. Raises `UsageError` if a GPU was asked for and there is none.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf = import_tensorflow()
    set_threads(threads)
    # It merges sums into one `AddN`, which begins with whichever buffer is free: runs would differ in a last digit.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UsageError(
            'No GPU found. Set `device="cpu"`, or install TensorFlow with GPU support: '
            "pip install 'tensorflow[and-cuda]'"
        )
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    return "gpu" if gpus and device != "cpu" else "cpu"


def set_threads(threads: int | None) -> None:
    """Give TensorFlow one thread per core (all that this process may use for None), each running whole operations.

    The training step is cut into one shard of batch rows per core (`inter_op`); no operation is cut (`intra_op`).
    """
    import tensorflow as tf

    global _cores
    _cores = available_cores() if threads is None else threads
    pools = tf.config.threading
    current = pools.get_intra_op_parallelism_threads(), pools.get_inter_op_parallelism_threads()
    if current != (1, _cores):
        # Once TensorFlow has computed anything, its own pools stay as they are; the shards follow all the same.
        with contextlib.suppress(RuntimeError):
            pools.set_intra_op_parallelism_threads(1)
            pools.set_inter_op_parallelism_threads(_cores)


def shards() -> int:
    """Number of shards of batch rows in a step: one per core, one on a GPU."""
    import tensorflow as tf

    return 1 if tf.config.list_logical_devices("GPU") else _cores or available_cores()


def modules(config: RunConfig, *names: str) -> list[Any]:
    """Modules of `rnntk.training` that need TensorFlow, imported once it knows its device and threads."""
    ready(config.device, config.threads)
    return [importlib.import_module(f"rnntk.training.{name}") for name in names]


def versions() -> dict[str, str]:
    import keras
    import numpy as np
    import tensorflow as tf

    packages = {"tensorflow": tf, "keras": keras, "numpy": np}
    found = {name: package.__version__ for name, package in packages.items()}
    return {"python": platform.python_version(), **found}
