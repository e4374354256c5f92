"""The GPU path against the CPU path with the same weights; skipped without a GPU."""

from __future__ import annotations

from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.models import cudnn
from rnntk.models.char_rnn import CharRNN
from rnntk.models.layers import CELLS
from rnntk.models.row_classifier import RowClassifier
from rnntk.training import optimizers
from rnntk.training.step import ClassifierStep, TrainStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU"),
]

BATCH, STEPS, SEED = 3, 9, [5, 6]


@pytest.fixture(autouse=True)
def exact_products():
    """With TF32, the two paths would agree to only three digits."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.fixture
def on_cpu(monkeypatch):
    """A context that takes the CPU path."""

    @contextmanager
    def context():
        with monkeypatch.context() as patch, tf.device("CPU:0"):
            patch.setattr(cudnn, "has_gpu", lambda: False)
            yield

    return context


def randomized(model):
    """Give every weight a nonzero value, small enough that rounding does not grow over time."""
    rng = np.random.default_rng(7)
    model.set_weights(
        [rng.normal(0, 0.8 / max(w.shape[0], 7) ** 0.5, w.shape) for w in model.get_weights()]
    )
    return model


def built(cell, count, features, units):
    layers = [CELLS[cell](units, return_sequences=True, return_state=True) for _ in range(count)]
    for layer in layers:
        layer.build((None, None, features))
        randomized(layer)
        features = units
    return layers


def batch(model, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, model.vocabulary_size, (2, BATCH, STEPS)).astype(np.int32)
    states = [rng.normal(size=s.shape).astype("float32") for s in model.initial_states(BATCH)]
    return x, y, states


def gradients(model, x, y, states):
    """Loss, states and all gradients of one step."""
    step = TrainStep(model, keras.optimizers.SGD(0.0))
    run = tf.function(step.loss_and_gradients, autograph=False)
    ids = tf.constant(x, tf.int32), tf.constant(y, tf.int32)
    return run(*ids, [tf.constant(s) for s in states], tf.constant(SEED))


def assert_same(found, wanted, tolerance=1e-4):
    """Compare by each tensor's relative distance, since elements near zero share no digits."""
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other)


MODELS = [
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "rnn"},
    {"cell": "gru", "gru_reset": "before"},
    {"cell": "lstm", "layer_norm": True},
    {"cell": "lstm", "dropout": 0.4},
    {"cell": "gru", "dropout": 0.4, "dropout_kind": "sequence", "layer_norm": True},
    {"cell": "lstm", "layers": 1},
    {"cell": "lstm", "layers": 3, "embedding": 24},
]


@pytest.mark.parametrize("arguments", MODELS, ids=str)
def test_a_training_step_matches_the_cpu(arguments, on_cpu):
    arguments = {"layers": 2, "units": 16, "embedding": 8, **arguments}
    model = randomized(CharRNN(11, **arguments))
    data = batch(model)
    found = gradients(model, *data)
    with on_cpu():
        assert not cudnn.can_run(model.recurrent)
        wanted = gradients(model, *data)
    assert_same(found, wanted)


@pytest.mark.parametrize("arguments", MODELS, ids=str)
def test_logits_match_the_cpu(arguments, on_cpu):
    arguments = {"layers": 2, "units": 16, "embedding": 8, **arguments}
    model = randomized(CharRNN(11, **arguments))
    x, _, states = batch(model)
    found = model(tf.constant(x), [tf.constant(s) for s in states])
    with on_cpu():
        wanted = model(tf.constant(x), [tf.constant(s) for s in states])
    assert_same(found, wanted)


def over_time(layers, x, states, weigh, times=1, **arguments):
    """Outputs and gradients of `times` calls; all forward passes come before any backward pass."""

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            calls = [cudnn.stack(layers, x * (n + 1.0), states, **arguments) for n in range(times)]
            total = tf.add_n([tf.reduce_sum(outputs * weigh) for outputs, _ in calls])
        weights = [w.value for layer in layers for w in layer.weights]
        return calls, tape.gradient(total, [x, *weights])

    return run()


def problem(cell, count=2, features=8, units=16, batch=BATCH):
    layers = built(cell, count, features, units)
    rng = np.random.default_rng(0)
    x, weigh = (
        tf.constant(rng.normal(size=(STEPS, batch, n)), tf.float32) for n in (features, units)
    )
    states = [
        tf.constant(rng.normal(size=(batch, units)), tf.float32)
        for _ in range(count * (2 if cell == "lstm" else 1))
    ]
    return layers, x, states, weigh


@pytest.fixture
def by_operation(monkeypatch):
    """A context that uses TensorFlow's operation."""

    @contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(cudnn, "_runner_of", lambda *_: (None, "a test"))
            yield

    return context


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("units", [16, 200])  # with persistent kernels and without
@pytest.mark.parametrize("times", [1, 2])
def test_the_library_matches_the_operation(cell, units, times, by_operation):
    given = problem(cell, units=units)
    found = over_time(*given, times=times)
    with by_operation():
        assert_same(found, over_time(*given, times=times))
    assert_same(over_time(*given, times=times), found, tolerance=0)


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_rounds(cell, by_operation):
    given = problem(cell)
    exact, rounded = over_time(*given), over_time(*given, bfloat16=True)
    differences = []
    for one, other in zip(tf.nest.flatten(exact), tf.nest.flatten(rounded), strict=True):
        assert other.dtype == tf.float32
        differences.append(float(tf.norm(one - other) / tf.norm(one)))
    assert 0 < max(differences) < 0.03
    with by_operation(), pytest.raises(UsageError, match='precision="bfloat16" is not available'):
        over_time(*given, bfloat16=True)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_classifier_matches_the_cpu(cell, bidirectional, on_cpu):
    rows = np.random.default_rng(0).normal(size=(BATCH, STEPS, 4)).astype("float32")
    labels = np.arange(BATCH)
    results = []
    for place in ("gpu", "cpu"):
        model = randomized(RowClassifier(4, 10, cell, 2, 16, bidirectional, seed=1))
        step = ClassifierStep(model, optimizers.make("adam", 0.01))
        if place == "cpu":
            with on_cpu():
                results.append((step(rows, labels, SEED), model.get_weights()))
        else:
            results.append((step(rows, labels, SEED), model.get_weights()))
    # Adam turns a gradient that is only rounding into a whole step.
    assert_same(*results, tolerance=1e-3)


def test_steps_of_a_run_match_the_cpu(on_cpu):
    losses = {}
    for place in ("gpu", "cpu"):
        model = CharRNN(11, "lstm", 2, 16, 8)
        step = TrainStep(model, optimizers.make("adam", 0.01), clip_norm=0.1)
        x, y, states = batch(model)
        losses[place] = []
        for _ in range(8):
            if place == "cpu":
                with on_cpu():
                    loss, norm, states = step(x, y, states, SEED)
            else:
                loss, norm, states = step(x, y, states, SEED)
            losses[place].append((float(loss), float(norm)))
    np.testing.assert_allclose(losses["gpu"], losses["cpu"], rtol=1e-3)


def test_masks_and_lengths_go_through_keras():
    layer = CELLS["lstm"](6, return_sequences=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)), tf.float32)
    cut = layer(x, lengths=tf.constant([5, 3]))
    np.testing.assert_allclose(cut[0], layer(x)[0], atol=1e-5)
    np.testing.assert_array_equal(cut[1, 3:], np.zeros((2, 6)))
