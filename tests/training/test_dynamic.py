"""Dynamic evaluation: the static loss at rate 0, and a lower one on a repetitive text."""

from __future__ import annotations

import numpy as np
import pytest

from rnntk.models.char_rnn import CharRNN
from rnntk.models.weights import named_weights
from rnntk.training import dynamic
from rnntk.training.step import EvalStep

RECORD = {
    "cell": "gru",
    "layers": 2,
    "units": 12,
    "embedding": 6,
    "dropout": 0.5,
    "layer_norm": True,
}


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    model = CharRNN(7, seed=0, **RECORD)
    return {name: v.numpy() for name, v in named_weights(model).items()}


def static(weights: dict[str, np.ndarray], ids: np.ndarray) -> float:
    model = CharRNN(7, seed=0, **RECORD)
    for name, variable in named_weights(model).items():
        variable.assign(weights[name])
    row = ids[None].astype(np.int32)
    total, _ = EvalStep(model)(row[:, :-1], row[:, 1:], model.initial_states(1))
    return float(total) / (len(ids) - 1)


@pytest.mark.parametrize("length", [dynamic.WINDOW + 1, 3 * dynamic.WINDOW + 8, 5])
def test_rate_zero_gives_the_static_loss(weights: dict[str, np.ndarray], length: int) -> None:
    ids = np.random.default_rng(0).integers(0, 7, length)
    seen: list[tuple[int, int]] = []
    found = dynamic.loss(RECORD, weights, ids, 0.0, progress=lambda *at: seen.append(at))
    assert found == pytest.approx(static(weights, ids), rel=1e-6)
    assert all(done <= total == length - 1 for done, total in seen)


def test_dynamic_evaluation_learns_only_from_text_already_read(
    weights: dict[str, np.ndarray],
) -> None:
    ids = np.tile([0, 3, 1, 6], 200)
    assert dynamic.loss(RECORD, weights, ids, 0.3) < 0.8 * static(weights, ids)
    # Nothing is learned before the first window.
    first = ids[: dynamic.WINDOW + 1]
    assert dynamic.loss(RECORD, weights, first, 0.3) == pytest.approx(static(weights, first))


def test_the_best_rate_has_the_lowest_loss(weights: dict[str, np.ndarray]) -> None:
    ids = np.tile([0, 3, 1, 6], 60)
    losses = {rate: dynamic.loss(RECORD, weights, ids, rate) for rate in dynamic.RATES}
    assert dynamic.best_rate(RECORD, weights, ids) == min(losses, key=losses.__getitem__)
