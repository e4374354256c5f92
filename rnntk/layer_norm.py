"""Layer normalisation: each layer's outputs with mean 0 and variance 1 over its units (Ba, Kiros and Hinton, 2016).

Without gain and bias, for what follows is always linear: its kernel and bias could take them in (and Xu et al.,
2019, found them to do harm rather than good). So a normalised network has the weights of a plain one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-3
"""Added to the variance, as Keras' `LayerNormalization` does."""


def standardized(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`x` `(..., H)` with mean 0 and variance 1 along its last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + np.float32(EPSILON))
