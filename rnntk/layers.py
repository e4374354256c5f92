"""Recurrent layers for models of your own: drop-in replacements of Keras', with the same weights, fast on a CPU."""

from __future__ import annotations

from rnntk.training import device

device.import_tensorflow()

from rnntk.models.char_rnn import CharRNN  # noqa: E402
from rnntk.models.layers import GRU, LSTM, SimpleRNN  # noqa: E402

__all__ = ["GRU", "LSTM", "CharRNN", "SimpleRNN"]
