"""Layer normalisation (Ba, Kiros and Hinton, 2016) without gain and bias.

The linear layer that follows could absorb both, and Xu et al. (2019) found that they do more harm than good.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-3  # added to the variance, as in Keras' `LayerNormalization`


def standardized(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise `x` `(..., H)` to mean 0 and variance 1 over its last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return np.divide(centred, np.sqrt(variance + np.float32(EPSILON)), dtype=np.float32)
