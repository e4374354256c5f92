"""Splits and batches of a long text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rnntk.config import TrainConfig
from rnntk.errors import DataError


class Batches:
    """Batches for truncated backpropagation over B parallel streams of a text.

    `DataError` if the text is shorter than one batch.

    The ids, `(N,)` integers and never copied whole, are laid out as `(B, n*T)`. Batch k is columns `k*T .. (k+1)*T`,
    so row b of batch k+1 continues row b of batch k. The targets are the next symbols; the last wraps to the first.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, seq_length: int) -> None:
        piece = batch_size * seq_length
        self.batches = len(ids) // piece
        if self.batches == 0:
            raise DataError(
                f"The text has {len(ids):,} symbols; a batch of {batch_size} rows x {seq_length} "
                f"needs {piece:,}. Lower `batch_size` or `seq_length`"
                + (f" (for example to 1 and {min(seq_length, len(ids))})." if len(ids) else ".")
            )
        self.batch_size, self.seq_length = batch_size, seq_length
        self.symbols = self.batches * piece
        self._rows = ids[: self.symbols].reshape(batch_size, -1)  # a view, (B, n*T)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of batch k, int32 `(B, T)` each."""
        if not 0 <= k < self.batches:
            raise IndexError(k)
        start, stop = k * self.seq_length, (k + 1) * self.seq_length
        x = self._rows[:, start:stop].astype(np.int32)
        y = np.empty_like(x)
        if stop < self._rows.shape[1]:
            y[:] = self._rows[:, start + 1 : stop + 1]
        else:
            y[:, :-1] = x[:, 1:]
            y[:, -1] = np.roll(self._rows[:, 0], -1)
        return x, y


@dataclass(frozen=True)
class Split:
    """Offsets in a text's ids: train [0, train), validation [train, val), test [val, total)."""

    train: int
    val: int
    total: int

    @classmethod
    def of(cls, total: int, config: TrainConfig) -> Split:
        """Split `total` symbols by `val_fraction` and `test_fraction`, rounding training down, as nanoGPT does.

        Raises `DataError` if a held-out part has fewer than two symbols: one to read and one to predict.
        """
        # As exact decimals: in binary, 0.1 is slightly more than a tenth.
        val, test = Fraction(str(config.val_fraction)), Fraction(str(config.test_fraction))
        found = cls(math.floor(total * (1 - test - val)), math.floor(total * (1 - test)), total)
        for name, size in (("val", found.val - found.train), ("test", total - found.val)):
            fraction = getattr(config, f"{name}_fraction")
            if fraction and size < 2:
                raise DataError(
                    f"`{name}_fraction={fraction:g}` of {total:,} symbols is {size}; 2 are needed. "
                    "Raise it, or set 0."
                )
        return found

    @classmethod
    def from_json(cls, parts: dict[str, list[int]]) -> Split:
        return cls(parts["train"][1], parts["val"][1], parts["test"][1])

    def to_json(self) -> dict[str, list[int]]:
        return {
            "train": [0, self.train],
            "val": [self.train, self.val],
            "test": [self.val, self.total],
        }
