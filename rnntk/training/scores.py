"""Scores of a classifier, in NumPy."""

from __future__ import annotations

import math

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-softmax of each row `(N, classes)`, in float64."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def nats(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Softmax cross-entropy of each row with its label, `(N,)`."""
    return -log_softmax(logits)[np.arange(len(labels)), labels]


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a fraction (Wilson 1927), 95 % by default.

    >>> tuple(round(x, 4) for x in wilson(0.985, 10_000))
    (0.9824, 0.9872)
    """
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
