"""The character model by itself: what it is given and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rnntk.models.char_rnn import CharRNN
from rnntk.models.layers import CELLS


def ids_of(vocabulary: int, lanes: int = 4, steps: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, (lanes, steps)).astype(np.int32)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.uint16])
@pytest.mark.parametrize("cell", CELLS)
def test_ids_of_any_integer_type_are_the_same_ids(cell, kind):
    model = CharRNN(11, cell, 2, 8, 6)
    ids, targets = ids_of(11), ids_of(11)[::-1]
    logits, _ = model(ids)
    np.testing.assert_array_equal(model(ids.astype(kind))[0], logits)
    expected, _ = model.nats(ids, targets)
    found, _ = model.nats(tf.constant(ids.astype(kind)), targets.astype(kind))
    assert float(found) == float(expected)
    layer = model.recurrent[0]
    table, states = (
        layer.project(tf.convert_to_tensor(model.embedding.embeddings)),
        model.initial_states(4),
    )
    a, _ = layer.over_time(table, states[: len(states) // 2], ids=ids.T.astype(kind))
    b, _ = layer.over_time(table, states[: len(states) // 2], ids=ids.T)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [11, -1, 100000, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("vocabulary", [11, 200], ids=["projected", "gathered"])
def test_an_id_outside_the_vocabulary_is_refused(vocabulary, wrong):
    model = CharRNN(vocabulary, "gru", 1, 8, 6)
    ids = ids_of(11)
    ids[2, 3] = wrong if wrong != 11 else vocabulary
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="symbols|not in"):
        model(ids)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="symbols|not in"):
        tf.function(model.nats)(tf.constant(ids), tf.constant(ids_of(11)))
