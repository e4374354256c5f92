"""Split of a text into training, validation and test parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from rnntk.config import TrainConfig
from rnntk.errors import DataError


@dataclass(frozen=True)
class Split:
    """Offsets in a text's ids: train [0, train), validation [train, val), test [val, total)."""

    train: int
    val: int
    total: int

    @classmethod
    def of(cls, total: int, config: TrainConfig) -> Split:
        """The split of `total` symbols by `val_fraction` and `test_fraction`; fractions of a symbol go to the tails.

        nanoGPT cuts the same way: a tenth of 1,115,394 characters is 111,540, which leaves 1,003,854.

        Raises `DataError` if a held-out part has fewer than two symbols: one to read and one to predict.
        """
        # As the decimals that were written: in binary a tenth is a little more than a tenth.
        val, test = Fraction(str(config.val_fraction)), Fraction(str(config.test_fraction))
        found = cls(math.floor(total * (1 - test - val)), math.floor(total * (1 - test)), total)
        for name, size in (("val", found.val - found.train), ("test", total - found.val)):
            fraction = getattr(config, f"{name}_fraction")
            if fraction and size < 2:
                raise DataError(
                    f"`{name}_fraction` {fraction:g} of {total:,} symbols is {size}; at least two are "
                    "needed. Give a larger fraction, or 0 to hold nothing out."
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
