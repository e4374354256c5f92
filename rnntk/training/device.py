"""Set up TensorFlow: no log noise, the right device, the right number of threads."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

from rnntk import display
from rnntk.config import RunConfig
from rnntk.cores import available_cores
from rnntk.errors import UsageError
from rnntk.installation import pip_command

_cores: int | None = None  # given to TensorFlow by `set_threads`


def import_tensorflow() -> Any:
    """Import TensorFlow without the notes about its build on stderr; real errors are exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    display.check_backend()
    first = "keras" not in sys.modules
    with _without_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")  # the first call writes notes too
    tf.get_logger().addFilter(_is_news)
    if first:  # else the importer of Keras may have chosen another on purpose
        import keras

        keras.config.set_floatx("float32")  # whatever the user's keras.json says
    return tf


def _is_news(record: logging.LogRecord) -> bool:
    """False for the advice to trace less often: each model traces its own step, and a process may train several."""
    return "tf.function retracing" not in str(record.msg)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Redirect file descriptor 2: TensorFlow's C++ side writes before it reads any logging option."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # missing or not writable
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
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
    """Set TensorFlow to a device (`auto`, `cpu`, `gpu`) and a number of threads (None for all cores).

    Returns the device, `cpu` or `gpu`. Raises `UsageError` if there is no GPU and `device` is `gpu`.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf = import_tensorflow()
    set_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UsageError(
            'No GPU found. Set `device="cpu"`, or install TensorFlow with GPU support: '
            + pip_command("tensorflow[and-cuda]")
        )
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    return "gpu" if gpus and device != "cpu" else "cpu"


@contextlib.contextmanager
def training_options() -> Iterator[None]:
    """Context in which TensorFlow has the options that training needs, whatever the process has set.

    Its graph optimizer merges sums into one `AddN`, which adds in no fixed order: runs would differ in the last digit.
    Functions that run eagerly have no `tf.gradients`.
    """
    import tensorflow as tf

    option, options = "arithmetic_optimization", tf.config.optimizer
    before = options.get_experimental_options().get(option)  # None if it is not set
    eagerly = tf.config.functions_run_eagerly()
    options.set_experimental_options({option: False})
    tf.config.run_functions_eagerly(False)
    try:
        yield
    finally:
        options.set_experimental_options({option: before})
        tf.config.run_functions_eagerly(eagerly)


def set_threads(threads: int | None) -> None:
    """Give TensorFlow this many threads (None for all cores this process may use), each running whole operations.

    The training step runs one shard of batch rows per core (`inter_op`), and no operation is split (`intra_op`).
    """
    import tensorflow as tf

    global _cores
    _cores = available_cores() if threads is None else threads
    pools = tf.config.threading
    current = pools.get_intra_op_parallelism_threads(), pools.get_inter_op_parallelism_threads()
    if current != (1, _cores):
        # After TensorFlow's first computation its pools are fixed; the number of shards still changes.
        with contextlib.suppress(RuntimeError):
            pools.set_intra_op_parallelism_threads(1)
            pools.set_inter_op_parallelism_threads(_cores)


def shards() -> int:
    """Number of shards of batch rows in a step: one per core, one on a GPU."""
    import tensorflow as tf

    return 1 if tf.config.list_logical_devices("GPU") else _cores or available_cores()


def modules(config: RunConfig, *names: str) -> list[Any]:
    """Set up TensorFlow, then import these modules of `rnntk.training`, which need it."""
    ready(config.device, config.threads)
    return [importlib.import_module(f"rnntk.training.{name}") for name in names]


def versions() -> dict[str, str]:
    import keras
    import numpy as np
    import tensorflow as tf

    packages = {"tensorflow": tf, "keras": keras, "numpy": np}
    found = {name: package.__version__ for name, package in packages.items()}
    return {"python": platform.python_version(), **found}
