"""TensorFlow made ready: silent, on the right device, with the right number of threads."""

from __future__ import annotations

import os
import platform

from rnntk.errors import UsageError


def quiet() -> None:
    """Set the environment TensorFlow reads when it is imported; must come before that."""
    # Its start-up notes are about its own build; errors still come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"


def ready(device: str, threads: int | None) -> str:
    """Import TensorFlow and choose the device.

    Args:
        device: `auto`, `cpu` or `gpu`.
        threads: cores to use; None for all.

    Returns:
        `cpu` or `gpu`: what will compute.

    Raises:
        UsageError: a GPU was asked for and there is none.
    """
    quiet()
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow as tf

    from rnntk.training import threads as pools

    pools.configure(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UsageError(
            "--device gpu was asked for, but TensorFlow finds no GPU on this machine. Use --device auto or cpu, "
            "or install TensorFlow with GPU support: pip install 'tensorflow[and-cuda]'"
        )
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    return "gpu" if gpus and device != "cpu" else "cpu"


def versions() -> dict[str, str]:
    """The versions a run depends on."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
