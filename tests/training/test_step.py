"""The training step: shards, clipping, dropout, and comparison with stock Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.python.eager import context

from rnntk.errors import UsageError
from rnntk.kernels import native, run
from rnntk.layer_norm import EPSILON, standardized
from rnntk.models.char_rnn import CharRNN
from rnntk.models.row_classifier import RowClassifier
from rnntk.models.weights import named_weights
from rnntk.training import device, optimizers
from rnntk.training.step import (
    ClassifierStep,
    EvalStep,
    TrainStep,
    clip_gradients,
    shard_sizes,
)

CELLS = ("lstm", "gru", "rnn")
SEED = [3, 4]


def batch(model, size=5, steps=6, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, model.vocabulary_size, (2, size, steps)).astype(np.int32)
    states = [tf.constant(rng.normal(size=s.shape), tf.float32) for s in model.initial_states(size)]
    return tf.constant(x), tf.constant(y), states


def step_of(model, **arguments):
    return TrainStep(model, keras.optimizers.Adam(0.01), **{"shards": 1, **arguments})


def loss_and_gradients(model, x, y, states, **arguments):
    run = tf.function(step_of(model, **arguments).loss_and_gradients)
    return run(x, y, states, tf.constant(SEED))


@given(st.integers(1, 500), st.integers(1, 64))
def test_shards_cover_all_batch_rows_evenly(batch_size, shards):
    sizes = shard_sizes(batch_size, shards)
    assert sum(sizes) == batch_size
    assert len(sizes) == min(batch_size, shards)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("cell", "vocabulary", "kind", "counts"),
    [
        ("lstm", 11, "element", (2, 9)),
        ("lstm", 200, "sequence", (3,)),
        ("gru", 11, "element", (3,)),
        ("rnn", 200, "element", (2,)),
    ],
)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_any_number_of_shards_gives_the_same_step(cell, vocabulary, kind, counts, layer_norm):
    model = CharRNN(
        vocabulary, cell, 2, 7, 6, dropout=0.3, dropout_kind=kind, layer_norm=layer_norm
    )
    x, y, states = batch(model)
    whole = loss_and_gradients(model, x, y, states)
    for shards in counts:
        cut = loss_and_gradients(model, x, y, states, shards=shards)
        for a, b in zip(tf.nest.flatten(whole), tf.nest.flatten(cut), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("vocabulary", [11, 200], ids=["projected", "gathered"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_loss_and_gradients_match_a_stock_keras_model(cell, vocabulary, layer_norm):
    model = CharRNN(vocabulary, cell, 2, 7, 6, seed=2, layer_norm=layer_norm)
    x, y, states = batch(model)
    loss, gradients, after = loss_and_gradients(model, x, y, states)

    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[cell]
    stock = [
        keras.layers.Embedding(vocabulary, 6),
        *(kind(7, return_sequences=True, return_state=True) for _ in range(2)),
        keras.layers.Dense(vocabulary),
    ]
    own = [model.embedding, *model.recurrent, model.output_layer]
    shapes = [(None, None), (None, None, 6), (None, None, 7), (None, None, 7)]
    for layer, source, shape in zip(stock, own, shapes, strict=True):
        layer.build(shape)
        layer.set_weights(source.get_weights())
    per_layer = len(states) // 2
    between: Any = lambda h: h  # noqa: E731
    if layer_norm:
        between = keras.layers.LayerNormalization(epsilon=EPSILON, center=False, scale=False)
    with tf.GradientTape() as tape:
        h, *first = stock[1](stock[0](x), initial_state=states[:per_layer])
        h, *second = stock[2](between(h), initial_state=states[per_layer:])
        h = between(h)
        expected = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=stock[3](h))
        )
    variables = [v.value for layer in stock for v in layer.trainable_variables]
    expected_gradients = [tf.convert_to_tensor(g) for g in tape.gradient(expected, variables)]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for a, b in zip([*gradients, *after], [*expected_gradients, *first, *second], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_layer_norm_gives_the_same_on_the_keras_path(reset):
    """A GRU with the reset gate before the product uses Keras' loop, batch-major."""
    model = CharRNN(11, "gru", 2, 7, 6, layer_norm=True, gru_reset=reset)
    x, y, states = batch(model)
    h = model.embedding(x)
    for layer, state in zip(model.recurrent, states, strict=True):
        h, _ = layer(h, initial_state=[state])
        h = standardized(np.asarray(h))
    logits = model.output_layer(h)
    np.testing.assert_allclose(model(x, states)[0], logits, atol=1e-5)
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    np.testing.assert_allclose(model.nats(x, y, states)[0], tf.reduce_sum(costs), rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_nats_match_the_logits(cell):
    model = CharRNN(11, cell, 2, 5, 4)
    x, y, states = batch(model)
    logits, after = model(x, states)
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    total, ended = EvalStep(model)(x, y, states)
    np.testing.assert_allclose(total, tf.reduce_sum(costs), rtol=1e-6)
    for a, b in zip(ended, after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_same_seeds_train_bit_identically_and_others_do_not():
    def trained(last):
        model = CharRNN(9, layers=1, units=5, embedding=4, dropout=0.5)
        step = step_of(model, shards=2)
        x, y, states = batch(model)
        for pair in ([0, 1], [0, 2], last):
            _, _, states = step(x, y, states, pair)
        return [w.numpy() for w in named_weights(model).values()]

    first, again, other = trained([0, 3]), trained([0, 3]), trained([0, 4])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.skipif(not native.kernels().shape.bfloat16, reason="needs AVX512-BF16")
def test_bfloat16_trains_with_float32_weights_and_states():
    exact = CharRNN(11, units=16, embedding=8)
    rounded = CharRNN(11, units=16, embedding=8, precision="bfloat16")
    x, y, states = batch(exact)
    a = loss_and_gradients(exact, x, y, states)
    b = loss_and_gradients(rounded, x, y, states)
    assert 0 < abs(float(a[0]) - float(b[0])) < 0.02
    assert {t.dtype for t in tf.nest.flatten(b)} == {tf.float32}


GRADIENTS = [tf.constant([3.0, 4.0]), tf.constant([[0.3], [0.4]])]


def test_clip_by_global_norm():
    clipped, norm = clip_gradients(GRADIENTS, "global-norm", 1.0)
    np.testing.assert_allclose(norm, np.sqrt(25.25), rtol=1e-6)
    whole = np.concatenate([c.numpy().ravel() for c in clipped])
    np.testing.assert_allclose(np.linalg.norm(whole), 1.0, rtol=1e-6)
    np.testing.assert_allclose(whole * np.sqrt(25.25), [3, 4, 0.3, 0.4], rtol=1e-6)


def test_clip_by_each_norm():
    clipped, norm = clip_gradients(GRADIENTS, "norm", 1.0)
    np.testing.assert_allclose(norm, np.sqrt(25.25), rtol=1e-6)
    np.testing.assert_allclose(clipped[0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], GRADIENTS[1])


def test_clip_by_value():
    clipped, _ = clip_gradients([tf.constant([-3.0, 0.5, 4.0])], "value", 1.0)
    np.testing.assert_allclose(clipped[0], [-1, 0.5, 1])


@pytest.mark.parametrize("clip", ["global-norm", "norm", "value", "none"])
def test_gradients_within_the_threshold_are_unchanged(clip):
    clipped, _ = clip_gradients(GRADIENTS, clip, 100.0)
    for a, b in zip(clipped, GRADIENTS, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unknown_clipping_and_threshold_of_zero_are_refused():
    model = CharRNN(5, units=2, embedding=2)
    with pytest.raises(UsageError, match="clip must be one of .*got 'both'"):
        step_of(model, clip="both")
    with pytest.raises(UsageError, match="clip_norm must be above 0, got 0"):
        step_of(model, clip_norm=0.0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifier_step_in_shards_gives_the_same_and_learns(bidirectional):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 7, 4)).astype(np.float32)
    labels = np.array([0, 1, 2, 1, 0])
    ends = []
    for shards in (1, 2):
        model = RowClassifier(4, 3, layers=2, units=6, bidirectional=bidirectional, dropout=0.1)
        step = ClassifierStep(model, keras.optimizers.Adam(0.02), shards=shards)
        losses = [float(step(rows, labels, [0, k])[0]) for k in range(40)]
        assert losses[-1] < losses[0] / 2
        ends.append(losses[-1])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-2)


@pytest.mark.parametrize("cell", CELLS)
def test_training_is_bit_identical_whatever_memory_held_before(cell, monkeypatch):
    model = CharRNN(30, cell, 2, 20, 6, dropout=0.2, seed=1)
    optimizer = optimizers.make("adam", 0.01)
    step = TrainStep(model, optimizer, shards=2)
    begin = [v.numpy() for v in (*model.weights, *optimizer.variables)]
    x, y, states = batch(model, size=7, steps=65)  # large enough to reuse blocks of memory
    empty = native.empty

    def train(filling):
        def filled(*shape):
            found = empty(*shape)
            found.fill(filling)
            return found

        monkeypatch.setattr(native, "empty", filled)
        monkeypatch.setattr(run, "empty", filled)
        for variable, value in zip((*model.weights, *optimizer.variables), begin, strict=True):
            variable.assign(value)
        after, said = states, []
        for k in range(12):
            loss, norm, after = step(x, y, after, tf.constant([1, k]))
            said.append((float(loss), float(norm)))
        return said, [v.numpy() for v in (*model.weights, *optimizer.variables, *after)]

    said, values = train(0.0)
    assert said[-1][0] < said[0][0]
    for filling in [np.nan, 1e30, -3.7, np.inf] * 5:
        again, found = train(filling)
        assert again == said
        for one, other in zip(values, found, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rows"])
def test_no_sum_has_a_random_order(kind):
    """`AddN` starts with whichever buffer is free, so sums of three terms can differ in the last digit."""
    if kind == "rows":
        model = RowClassifier(bidirectional=True, units=8)
        step = ClassifierStep(model, keras.optimizers.Adam(0.01), shards=5)
        given = (np.zeros((20, 28, 28), np.float32), np.zeros(20, np.int32), SEED)
    else:
        model = CharRNN(11, kind, 2, 8, 6, layer_norm=True, dropout=0.2)
        step = TrainStep(model, optimizers.make("adam", 0.01), clip="norm", shards=5)
        ids = np.zeros((10, 7), np.int32)
        given = (ids, ids, model.initial_states(10), SEED)
    context.enable_run_metadata()
    with device.training_options():
        step(*given)
    made = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    nodes = [node for graph in made for g in graph.partition_graphs for node in g.node]
    assert len(nodes) > 100
    data = [
        (n.name, sum(not name.startswith("^") for name in n.input)) for n in nodes if n.op == "AddN"
    ]
    assert [found for found in data if found[1] > 2] == []
