"""rnntk: train, sample and understand recurrent networks on text.

    >>> run = rnntk.train("tale.txt", units=16, max_steps=20, batch_size=4, seq_length=20, quiet=True)
    >>> text = run.sample("the ", length=100)

The command line is `rnntk` or `python -m rnntk`. TensorFlow is loaded only when something trains.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnntk import layers
    from rnntk.api import load, prepare, resume, runs, train, train_mnist
    from rnntk.config import MnistConfig, SampleConfig, TrainConfig
    from rnntk.errors import RnntkError
    from rnntk.models.char_rnn import CharRNN
    from rnntk.run import Run

__version__ = "0.2.0"

__all__ = [
    "CharRNN", "MnistConfig", "RnntkError", "Run", "SampleConfig", "TrainConfig", "layers", "load", "prepare", "resume",
    "runs", "train", "train_mnist",
]  # fmt: skip

# Modules of the names outside `rnntk.api`; imported at first use, so that `rnntk --help` loads no NumPy.
_ELSEWHERE = {
    "CharRNN": "layers", "RnntkError": "errors", "Run": "run",
    "MnistConfig": "config", "SampleConfig": "config", "TrainConfig": "config",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "layers":
        return importlib.import_module("rnntk.layers")
    if name in __all__:
        return getattr(importlib.import_module(f"rnntk.{_ELSEWHERE.get(name, 'api')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
