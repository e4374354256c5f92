"""One seed for a model, split into one for each initialiser."""

from __future__ import annotations

import numpy as np


def split(seed: int, count: int) -> list[int]:
    """`count` independent seeds of 31 bits, the same ones for the same `seed`."""
    words = np.random.SeedSequence(seed).generate_state(count, np.uint32)
    return [int(word >> 1) for word in words]
