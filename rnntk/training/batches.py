"""Batches of a long text: B rows read side by side, each continuing where it stopped."""

from __future__ import annotations

import numpy as np

from rnntk.errors import DataError


class Batches:
    """A text cut into batch rows, and these into pieces for truncated BPTT.

    The ids, `(N,)` of any integer type and never copied whole, are cut to a whole number of batches and laid out as
    `(B, n*T)`; batch k is columns `k*T .. (k+1)*T`, so row b of batch k+1 continues row b of batch k. The target of a
    symbol is the next one in the text; the very last target wraps to the first symbol.

    Raises `DataError` if the text is shorter than one batch.
    """

    def __init__(self, ids: np.ndarray, batch_size: int, seq_length: int) -> None:
        piece = batch_size * seq_length
        self.batches = len(ids) // piece
        if self.batches == 0:
            raise DataError(
                f"The text has {len(ids):,} symbols, less than one batch of {batch_size} rows x {seq_length} "
                f"symbols: it must have at least {piece:,}. Lower `batch_size` or `seq_length`"
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
