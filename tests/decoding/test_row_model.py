"""The row classifier in NumPy against the one in Keras."""

from __future__ import annotations

import numpy as np
import pytest

from rnntk.decoding.row_model import RowModel
from rnntk.errors import RunError
from rnntk.models.row_classifier import RowClassifier
from rnntk.models.weights import named_weights
from rnntk.storage import folder

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)


def row_model(path, cell: str, order: str, both: bool, layers: int):
    """A classifier with random weights, in Keras and in NumPy."""
    features = 28 if order == "rows" else 1
    model = RowClassifier(features, 10, cell, layers, 6, both)
    record = {"cell": cell, "layers": layers, "units": 6, "bidirectional": both, "order": order}
    run = folder.create(
        path, kind=folder.ROW_CLASSIFIER, settings={"seed": 4}, model=record, corpus={}, versions={}
    )
    weights = {name: variable.numpy() for name, variable in named_weights(model).items()}
    if order == "permuted":
        with pytest.raises(RunError, match="permutes the pixels differently"):
            RowModel(run, weights)
        from rnntk.corpora.images import PixelOrder

        record |= PixelOrder(order, (28, 28), 4).to_json()
    return model, RowModel(run, weights)


@pytest.mark.parametrize(
    ("cell", "order", "both", "layers"),
    [("lstm", "rows", True, 2), ("gru", "rows", False, 2), ("rnn", "permuted", False, 1)],
)
def test_outputs_match_the_trained_classifier(
    tmp_path, cell: str, order: str, both: bool, layers: int
) -> None:
    model, numpy = row_model(tmp_path / "r", cell, order, both, layers)

    def expected(rows: np.ndarray) -> np.ndarray:
        logits = np.exp(model(rows).numpy().astype(np.float64))
        return logits / logits.sum(axis=1, keepdims=True)

    rows = numpy.order(IMAGES)
    assert np.allclose(numpy.probabilities(IMAGES), expected(rows), atol=1e-5)
    # The output after part of an image is that for this part alone.
    beliefs = numpy.beliefs(IMAGES[1])
    part = rows.shape[1] // 28
    for k in (0, 10, 27):
        assert np.allclose(beliefs["first"][k], expected(rows[1:2, : part * (k + 1)]), atol=1e-5)
        if both:
            assert np.allclose(
                beliefs["last"][k], expected(rows[1:2, -part * (k + 1) :]), atol=1e-5
            )
    assert ("last" in beliefs) == both


def test_a_character_model_is_refused(tmp_path) -> None:
    run = folder.create(
        tmp_path / "r",
        kind=folder.CHAR_RNN,
        settings={},
        model={"cell": "lstm"},
        corpus={},
        versions={},
    )
    with pytest.raises(RunError, match="not a classifier. Train one"):
        RowModel(run, {})
