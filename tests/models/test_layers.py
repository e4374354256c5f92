"""Every layer against stock Keras: the loops in float64, the kernels in float32; finite differences once."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnntk.models import fast
from rnntk.models.layers import CELLS, GRU, LSTM

STOCK = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
SHAPES = [(3, 7, 5, 6), (1, 4, 3, 2), (4, 1, 2, 5), (2, 9, 1, 1)]  # B, T, F, H


def pair(cell: str, units: int, features: int, **arguments):
    """A layer of ours and Keras' own with the same weights, none of them zero."""
    arguments = {"return_sequences": True, "return_state": True, "dtype": "float64", **arguments}
    ours, stock = CELLS[cell](units, **arguments), STOCK[cell](units, **arguments)
    ours.build((None, None, features))
    stock.build((None, None, features))
    rng = np.random.default_rng(units)
    weights = [rng.normal(0, 0.5, w.shape) for w in stock.get_weights()]
    ours.set_weights(weights)
    stock.set_weights(weights)
    return ours, stock


def inputs(cell: str, batch: int, steps: int, features: int, units: int):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(batch, steps, features))
    states = [rng.normal(size=(batch, units)) for _ in range(2 if cell == "lstm" else 1)]
    return tf.constant(x), [tf.constant(s) for s in states]


def results(layer, x, states, **call):
    """All outputs, and the gradients of a sum that weighs every element differently."""

    @tf.function
    def run(x, states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            made = tf.nest.flatten(layer(x, initial_state=states, **call))
            total = tf.add_n(
                [
                    tf.reduce_sum(m * tf.reshape(weigh(m, i), tf.shape(m)))
                    for i, m in enumerate(made)
                ]
            )
        sources = [x, *states, *[v.value for v in layer.trainable_variables]]
        return made, tape.gradient(total, sources)

    return run(x, states)


def weigh(made, place):
    return tf.cos(tf.cast(tf.range(tf.size(made)), made.dtype) + place)


def assert_same(ours, stock, tolerance=1e-9):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(stock), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[False, True], ids=["graph", "xla"])
def compiled(request, monkeypatch):
    """Run a test with the loops as plain graphs, and compiled whatever their size."""
    monkeypatch.setattr(fast, "WORTH_COMPILING", 0.0 if request.param else float("inf"))
    return request.param


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_all_gradients_are_keras(cell, shape, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    batch, steps, features, units = shape
    ours, stock = pair(cell, units, features)
    x, states = inputs(cell, batch, steps, features, units)
    assert ours.is_fast(x)
    assert_same(results(ours, x, states), results(stock, x, states))


LONG = [
    (5, 90, 6, 37),
    (2, 210, 4, 100),
    (1, 500, 3, 9),
]  # more rows and gates than a kernel takes at once


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES + LONG, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"go_backwards": True, "return_sequences": False}], ids=str
)
def test_the_kernels_are_keras_in_float32(cell, shape, options, monkeypatch):
    monkeypatch.setattr(fast, "_by_loops", None)  # which would be another path
    batch, steps, features, units = shape
    _, exact = pair(cell, units, features, **options)
    rng = np.random.default_rng(3)
    # Of the size that training gives them: a chaotic network multiplies every rounding.
    exact.set_weights([rng.normal(0, 0.7 / np.sqrt(units), w.shape) for w in exact.get_weights()])
    x, states = inputs(cell, batch, steps, features, units)
    ours = CELLS[cell](units, return_state=True, **{"return_sequences": True, **options})
    ours.build((None, None, features))
    ours.set_weights(exact.get_weights())
    single = [tf.cast(s, tf.float32) for s in states]
    for a, b in zip(
        tf.nest.flatten(results(ours, tf.cast(x, tf.float32), single)),
        tf.nest.flatten(results(exact, x, states)),
        strict=True,
    ):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * scale)


@pytest.mark.parametrize("cell", CELLS)
def test_compiled_loops_agree_too(cell, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", 0.0)
    ours, stock = pair(cell, 6, 5)
    x, states = inputs(cell, 3, 7, 5, 6)
    assert_same(results(ours, x, states), results(stock, x, states))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"product_type": "bfloat16"}], ids=str)
def test_the_loops_have_gradients_outside_of_a_function_too(cell, options, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", 0.0)
    ours, _ = pair(cell, 6, 5)
    for name, value in options.items():
        setattr(ours, name, value)
    x, _ = inputs(cell, 3, 7, 5, 6)
    mask = tf.sequence_mask([7, 3, 5], 7)

    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.sin(ours(x, mask=mask)[0]))
        return tape.gradient(total, [v.value for v in ours.trainable_variables])

    tolerance = 0.02 if options else 1e-12
    for a, b in zip(gradients(), tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_backwards_and_last_output_only(cell, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    ours, stock = pair(cell, 4, 3, go_backwards=True, return_sequences=False)
    x, states = inputs(cell, 2, 5, 3, 4)
    assert_same(results(ours, x, states), results(stock, x, states))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
def test_keras_masks(cell, backwards, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    ours, stock = pair(cell, 4, 3, go_backwards=backwards)
    x, _ = inputs(cell, 3, 6, 3, 4)
    mask = tf.constant([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0]]) > 0
    zeros = [tf.zeros((3, 4), tf.float64)] * (2 if cell == "lstm" else 1)
    assert_same(results(ours, x, zeros, mask=mask), results(stock, x, zeros, mask=mask))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
def test_lengths_equal_each_sequence_by_itself(cell, backwards, compiled):
    """System 9: a padded batch gives what each sequence gives alone, then zeros."""
    ours, _ = pair(cell, 4, 8, go_backwards=backwards)
    x, states = inputs(cell, 2, 10, 8, 4)
    lengths = [10, 6]
    outputs, *final = ours(x, initial_state=states, lengths=tf.constant(lengths))
    for lane, length in enumerate(lengths):
        alone, *ended = ours(
            x[lane : lane + 1, :length], initial_state=[s[lane : lane + 1] for s in states]
        )
        np.testing.assert_allclose(outputs[lane, :length], alone[0], rtol=1e-12)
        assert not np.any(outputs[lane, length:])
        for a, b in zip(final, ended, strict=True):
            np.testing.assert_allclose(a[lane], b[0], rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_has_no_gradient(cell, compiled):
    ours, _ = pair(cell, 4, 3)
    x, states = inputs(cell, 2, 5, 3, 4)
    _, gradients = results(ours, x, states, lengths=tf.constant([5, 2]))
    assert not np.any(gradients[0][1, 2:])
    assert np.all(gradients[0][1, :2] != 0)


@pytest.mark.parametrize("cell", CELLS)
def test_lengths_on_keras_own_path_are_the_same(cell):
    ours, _ = pair(cell, 4, 3, go_backwards=True)
    slow, _ = pair(cell, 4, 3, go_backwards=True, unroll=True)
    x, states = inputs(cell, 2, 5, 3, 4)
    lengths = tf.constant([5, 2])
    assert not slow.is_fast(x)
    assert_same(
        results(ours, x, states, lengths=lengths), results(slow, x, states, lengths=lengths)
    )


def test_lengths_and_mask_together_are_refused():
    ours, _ = pair("gru", 2, 2)
    with pytest.raises(ValueError, match="not both"):
        ours(tf.zeros((1, 3, 2), tf.float64), mask=tf.ones((1, 3), tf.bool), lengths=[2])


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_against_finite_differences(cell, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    ours, _ = pair(cell, 3, 2)
    x, states = inputs(cell, 2, 4, 2, 3)

    def cost(x, *states):
        return tf.add_n([tf.reduce_sum(tf.sin(m)) for m in ours(x, initial_state=list(states))])

    exact, estimated = tf.test.compute_gradient(cost, [x, *states], delta=1e-5)
    for a, b in zip(exact, estimated, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("loss", [tf.reduce_sum, tf.nn.l2_loss], ids=["linear", "square"])
@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_of_the_kernels_are_refused_not_wrong(cell, loss, wrap):
    layer = CELLS[cell](4)
    x = tf.ones((2, 5, 3))
    layer(x)

    def second():
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                made = loss(layer(x))
            slope = tf.nn.l2_loss(inner.gradient(made, x))
        return outer.gradient(slope, x)

    with pytest.raises(NotImplementedError, match=r"second derivatives.*keras\.layers"):
        wrap(second)()


@pytest.mark.parametrize(
    "arguments",
    [{"activation": "relu"}, {"recurrent_dropout": 0.2}, {"use_bias": False}, {"unroll": True}],
    ids=str,
)
def test_what_the_loops_cannot_do_goes_to_keras(arguments):
    layer = LSTM(3, **arguments)
    x = tf.ones((2, 4, 3))
    assert not layer.is_fast(x)
    assert layer(x).shape == (2, 3)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_state_for_all_lanes_is_keras(cell, dtype, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    ours, stock = pair(cell, 4, 3, dtype=dtype)
    x, states = inputs(cell, 2, 5, 3, 4)
    x, states = tf.cast(x, dtype), [tf.cast(state[:1], dtype) for state in states]
    made, gradients = results(ours, x, states)
    for_each = [tf.repeat(state, 2, 0) for state in states]
    expected, summed = results(stock, x, for_each)
    for place in range(1, 1 + len(states)):
        summed[place] = tf.reduce_sum(summed[place], 0, keepdims=True)
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    assert_same((made, gradients), (expected, summed), tolerance)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(2, 8000), (2, 3), (3, 4), (2, 1)], ids=str)
def test_states_of_another_shape_are_refused(cell, shape):
    layer, states = CELLS[cell](4), [tf.zeros(shape)] * (2 if cell == "lstm" else 1)
    with pytest.raises(ValueError, match=r"2 sequences and 4 units|A state has the shape"):
        layer(tf.zeros((2, 5, 3)), initial_state=states)

    @tf.function(input_signature=[tf.TensorSpec((None, None))])
    def unknown(state):
        return layer(tf.zeros((2, 5, 3)), initial_state=[state] * len(states))

    assert unknown(tf.zeros((2, 4))).shape == (2, 4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        unknown(states[0])


def test_no_sequences_at_all_go_to_keras():
    layer = LSTM(3)
    assert not layer.is_fast(tf.zeros((0, 4, 3)))
    assert not layer.is_fast(tf.zeros((2, 0, 3)))
    layer.build((None, None, 3))
    with pytest.raises(ValueError, match="no sequences"):
        layer.over_time(tf.zeros((4, 0, 3)), [tf.zeros((0, 3))] * 2)


def test_gru_with_reset_before_goes_to_keras():
    assert not GRU(3, reset_after=False).is_fast(tf.ones((2, 4, 3)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_loads_in_stock_keras_and_back(cell, tmp_path):
    ours = keras.Sequential([keras.Input((5, 3)), CELLS[cell](4)])
    stock = keras.Sequential([keras.Input((5, 3)), STOCK[cell](4)])
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    ours.save_weights(tmp_path / "a.weights.h5")
    stock.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(ours(x), stock(x), atol=1e-6)
    stock.save_weights(tmp_path / "b.weights.h5")
    ours.load_weights(tmp_path / "b.weights.h5")
    assert [w.path.split("/")[-1] for w in ours.weights] == [
        w.path.split("/")[-1] for w in stock.weights
    ]


def test_bfloat16_rounds_products_and_nothing_else():
    exact, rounded = LSTM(8, return_state=True), LSTM(8, return_state=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 6, 5)), tf.float32)
    exact(x)
    rounded(x)
    rounded.set_weights(exact.get_weights())
    rounded.product_type = "bfloat16"
    a, b = exact(x), rounded(x)
    assert {s.dtype for s in b} == {tf.float32}
    assert {v.dtype for v in rounded.weights} == {"float32"}
    difference = np.abs(a[0] - b[0]).max()
    assert 0 < difference < 0.02


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_cudnn_agrees_with_the_loops(cell):
    layer = CELLS[cell](16, return_sequences=True, return_state=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 12, 8)), tf.float32)
    assert not layer.is_fast(x)
    on_gpu, *states = layer(x)
    with tf.device("CPU"):
        zeros = [tf.zeros((4, 16)) for _ in states]
        loops, _ = layer.over_time(tf.transpose(x, [1, 0, 2]), zeros)
    np.testing.assert_allclose(on_gpu, tf.transpose(loops, [1, 0, 2]), atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_fit_is_fast_where_all_batches_are_alike(monkeypatch):
    """What the docstring of `layers.py` promises, and why it has to be said."""
    fast_ones: list[bool] = []
    is_fast = LSTM.is_fast

    def watched(self, sequences):
        fast_ones.append(is_fast(self, sequences))
        return fast_ones[-1]

    monkeypatch.setattr(LSTM, "is_fast", watched)
    x, y = np.zeros((10, 5, 3), np.float32), np.zeros((10, 4), np.float32)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch
    for data, expected in [
        ({"x": x[:8], "y": y[:8], "batch_size": 4}, True),
        ({"x": batches(4, drop_remainder=True)}, True),
        ({"x": batches(4)}, False),
        ({"x": x, "y": y, "batch_size": 4}, False),
    ]:
        model = keras.Sequential([keras.Input((5, 3)), LSTM(4)])
        model.compile("sgd", "mse")
        fast_ones.clear()
        model.fit(**data, verbose=0, shuffle=False)
        assert set(fast_ones) == {expected}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_directions_at_once_are_keras(cell, sequences, dtype, monkeypatch):
    monkeypatch.setattr(fast, "WORTH_COMPILING", float("inf"))
    options = {"return_sequences": sequences, "dtype": dtype}
    both = [
        keras.layers.Bidirectional(kind[cell](4, **options), dtype=dtype) for kind in (CELLS, STOCK)
    ]
    x = tf.cast(inputs(cell, 3, 6, 5, 4)[0], dtype)
    mask = None if dtype == "float32" else tf.sequence_mask([6, 2, 4], 6)
    rng = np.random.default_rng(0)
    weights = None
    found = []
    for layer in both:
        layer.build(x.shape)
        weights = weights or [rng.normal(0, 0.5, w.shape) for w in layer.get_weights()]
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = layer(x, mask=mask)
            total = tf.reduce_sum(made * tf.reshape(weigh(made, 0), tf.shape(made)))
        sources = [x, *(v.value for v in layer.trainable_variables)]
        found.append([made, *tape.gradient(total, sources)])
    assert type(both[0].forward_layer) is type(both[0].backward_layer) is CELLS[cell]
    assert_same(*found, 1e-9 if dtype == "float64" else 1e-4)
