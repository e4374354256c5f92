"""The recurrent layers: Keras' own, with the same weights, names, shapes and arguments."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("rnntk")
class LSTM(keras.layers.LSTM):
    """Long short-term memory (Hochreiter, 1997). Arguments as in `keras.layers.LSTM`."""


@keras.saving.register_keras_serializable("rnntk")
class GRU(keras.layers.GRU):
    """Gated recurrent unit (Cho et al., 2014). Arguments as in `keras.layers.GRU`."""


@keras.saving.register_keras_serializable("rnntk")
class SimpleRNN(keras.layers.SimpleRNN):
    """Vanilla recurrent layer (Elman, 1990). Arguments as in `keras.layers.SimpleRNN`."""


CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
"""The layer of each `--cell`."""


def states_per_layer(cell: str) -> int:
    """How many state tensors a layer carries: 2 for an LSTM (h, c), else 1."""
    return 2 if cell == "lstm" else 1
