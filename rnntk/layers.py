"""Recurrent layers for your own models: replace Keras' layers, use the same weights, and are fast on a CPU.

Example:
    >>> import keras
    >>> model = keras.Sequential([keras.Input((28, 28)), layers.LSTM(8), keras.layers.Dense(10)])
    >>> model.output_shape
    (None, 10)
"""

from __future__ import annotations

from rnntk.training import device

device.import_tensorflow()

from rnntk.models.char_rnn import CharRNN  # noqa: E402
from rnntk.models.layers import GRU, LSTM, SimpleRNN  # noqa: E402

__all__ = ["GRU", "LSTM", "CharRNN", "SimpleRNN"]
