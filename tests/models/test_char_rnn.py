"""The character model by itself: what it is given and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rnntk.errors import UsageError
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


@pytest.mark.parametrize("cell", CELLS)
def test_the_cost_is_that_of_the_logits_in_bfloat16_too(cell):
    model = CharRNN(11, cell, 1, 16, 8, precision="bfloat16")
    ids, targets = ids_of(11), ids_of(11)[::-1]
    logits, _ = model(ids)
    exact = CharRNN(11, cell, 1, 16, 8)
    exact.set_weights(model.get_weights())
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    np.testing.assert_allclose(model.nats(ids, targets)[0], tf.reduce_sum(costs), rtol=1e-6)
    assert 0 < np.abs(logits - exact(ids)[0]).max() < 0.1


def test_bfloat16_is_refused_where_it_would_do_nothing():
    with pytest.raises(UsageError, match="--precision bfloat16.*--gru-reset before"):
        CharRNN(11, "gru", 1, 8, 6, gru_reset="before", precision="bfloat16")
    CharRNN(11, "lstm", 1, 8, 6, gru_reset="before", precision="bfloat16")
