"""Dynamic evaluation: the loss of a model that learns from the text as it reads it.

Krause, Kahembwe, Murray and Renals, "Dynamic evaluation of neural sequence models" (2017), with clipped SGD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnntk.models.char_rnn import CharRNN
from rnntk.models.weights import rebuild
from rnntk.training import device, optimizers
from rnntk.training.step import EvalStep, TrainStep

WINDOW = 20  # symbols between updates
CLIP_NORM = 1.0
RATE = 0.1
RATES = (0.01, 0.03, 0.1, 0.3)
TUNED_ON = 20_000  # symbols at most


@device.training_options()
def loss(
    record: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    ids: NDArray[np.integer],
    rate: float,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Mean cross-entropy in nats per symbol of `ids[1:]`, each window predicted before the model learns from it.

    Args:
        record, weights: the network settings of `run.json`, and the initial float32 weights by name.
        ids: `(N,)`, read as one row from zero states.
        rate: learning rate of the SGD, after every `WINDOW` symbols.
        progress: called with symbols done and the total.
    """
    model = rebuild({**record, "dropout": 0.0}, weights)
    assert isinstance(model, CharRNN)
    step = TrainStep(model, optimizers.make("sgd", rate), clip_norm=CLIP_NORM, shards=1)
    states: list[tf.Tensor] = step.zero_states(1)
    seed, total, last = tf.zeros(2, tf.int32), 0.0, len(ids) - 1
    for start in range(0, last - last % WINDOW, WINDOW):
        window = np.asarray(ids[None, start : start + WINDOW + 1], np.int32)
        mean, _, states = step(window[:, :-1], window[:, 1:], states, seed)
        total += float(mean) * WINDOW
        if progress is not None:
            progress(start + WINDOW, last)
    if last % WINDOW:
        rest = np.asarray(ids[None, last - last % WINDOW :], np.int32)
        nats, _ = EvalStep(model)(rest[:, :-1], rest[:, 1:], states)
        total += float(nats)
    return total / last


def best_rate(
    record: Mapping[str, Any], weights: Mapping[str, np.ndarray], ids: NDArray[np.integer]
) -> float:
    """The rate of `RATES` with the lowest loss on the first of `ids`, a text that is not used to evaluate it."""
    return min(RATES, key=lambda rate: _or_inf(loss(record, weights, ids[:TUNED_ON], rate)))


def _or_inf(value: float) -> float:
    return value if math.isfinite(value) else math.inf
