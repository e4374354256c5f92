"""Every layer against stock Keras: the kernels in float32, Keras in float64."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.kernels import native
from rnntk.kernels.code import Shape
from rnntk.models.layers import CELLS, GRU, LSTM

STOCK = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
needs_bfloat16 = pytest.mark.skipif(not native.kernels().shape.bfloat16, reason="needs AVX512-BF16")
SHAPES = [(3, 7, 5, 6), (1, 4, 3, 2), (4, 1, 2, 5), (2, 9, 1, 1)]  # B, T, F, H


def pair(cell: str, units: int, features: int, **arguments):
    """Our layer in float32 and Keras' layer in float64 with the same nonzero weights."""
    arguments = {"return_sequences": True, "return_state": True, **arguments}
    ours = CELLS[cell](units, **arguments)
    stock = STOCK[cell](units, **arguments, dtype="float64")
    ours.build((None, None, features))
    stock.build((None, None, features))
    rng = np.random.default_rng(units)
    # Of the size that training gives: a chaotic network amplifies rounding.
    weights = [rng.normal(0, 0.7 / np.sqrt(units), w.shape) for w in stock.get_weights()]
    weights = [w.astype(np.float32) for w in weights]
    ours.set_weights(weights)
    stock.set_weights(weights)
    return ours, stock


def inputs(cell: str, batch: int, steps: int, features: int, units: int):
    """Sequences and states in float64, exact in float32."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(batch, steps, features)).astype(np.float32)
    states = [rng.normal(size=(batch, units)).astype(np.float32) for _ in CELLS[cell].kind.states]
    return tf.constant(x, tf.float64), [tf.constant(s, tf.float64) for s in states]


def single(x, states):
    """The same in float32."""
    return tf.cast(x, tf.float32), [tf.cast(s, tf.float32) for s in states]


def results(layer, x, states, **call):
    """All outputs, and gradients of a sum with a different weight for every element."""

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


def assert_same(ours, exact):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(exact), strict=True):
        scale = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * scale)


LONG = [
    (5, 90, 6, 37),
    (2, 210, 4, 100),
    (1, 500, 3, 9),
]  # more rows and gates than a kernel handles at once
OPTIONS = [
    {},
    {"go_backwards": True, "return_sequences": False},
    {"go_backwards": True},
    {"return_sequences": False},
]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES + LONG, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_and_all_gradients_match_keras(cell, shape, options):
    batch, steps, features, units = shape
    ours, stock = pair(cell, units, features, **options)
    x, states = inputs(cell, batch, steps, features, units)
    assert ours.is_fast(tf.cast(x, tf.float32))
    assert_same(results(ours, *single(x, states)), results(stock, x, states))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_work_outside_a_function(cell):
    ours, _ = pair(cell, 6, 5)
    x, _ = single(*inputs(cell, 3, 7, 5, 6))
    mask = tf.sequence_mask([7, 3, 5], 7)

    def gradients():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.sin(ours(x, mask=mask)[0]))
        return tape.gradient(total, [v.value for v in ours.trainable_variables])

    for a, b in zip(gradients(), tf.function(gradients)(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 0], [0] * 6]) > 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("zeroed", [False, True])
def test_masks_of_keras_work(cell, options, zeroed):
    ours, stock = pair(cell, 4, 3, zero_output_for_mask=zeroed, **options)
    x, states = inputs(cell, 4, 6, 3, 4)
    masked = results(ours, *single(x, states), mask=tf.constant(MASK))
    assert_same(masked, results(stock, x, states, mask=tf.constant(MASK)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16])
@pytest.mark.parametrize("cell", CELLS)
def test_inputs_of_any_type_are_read_as_numbers(cell, dtype):
    ours, stock = pair(cell, 4, 3, return_state=False)
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 3)).astype(dtype)
    for layer in (ours, tf.function(lambda x: ours(x))):
        np.testing.assert_allclose(layer(x), stock(x.astype(np.float64)), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_one_trace_has_several_backward_passes(cell):
    layer, x = CELLS[cell](4), tf.random.normal((2, 5, 3))
    layer.build(x.shape)
    variables = [variable.value for variable in layer.trainable_variables]
    traced = tf.function(lambda x: layer(x))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x))
    expected = tape.gradient(total, variables)
    outer = tf.function(lambda x: traced(x))
    for function in (traced, outer, traced):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(function(x))
        for a, b in zip(tape.gradient(total, variables), expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("steps", [10, 210])
def test_a_padded_batch_equals_each_sequence_alone(cell, backwards, steps):
    """System 9: after the end of a sequence come zeros."""
    ours, _ = pair(cell, 4, 8, go_backwards=backwards)
    x, states = single(*inputs(cell, 3, steps, 8, 4))
    lengths = [steps, 6, 0]
    outputs, *final = ours(x, initial_state=states, lengths=tf.constant(lengths))
    for row, length in enumerate(lengths):
        own = [s[row : row + 1] for s in states]
        alone, *ended = ours(x[row : row + 1, :length], initial_state=own) if length else (x, *own)
        np.testing.assert_array_equal(outputs[row, :length], alone[0, :length, :4])
        assert not np.any(outputs[row, length:])
        for a, b in zip(final, ended, strict=True):
            np.testing.assert_array_equal(a[row], b[0])


@pytest.mark.parametrize("cell", CELLS)
def test_padding_has_no_gradient(cell):
    ours, _ = pair(cell, 4, 3)
    x, states = single(*inputs(cell, 2, 5, 3, 4))
    _, gradients = results(ours, x, states, lengths=tf.constant([5, 2]))
    assert not np.any(gradients[0][1, 2:])
    assert np.all(gradients[0][1, :2] != 0)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lengths_give_the_same_on_the_keras_path(cell, options):
    ours, _ = pair(cell, 4, 3, **options)
    slow = CELLS[cell](
        4, **{"return_sequences": True, "return_state": True, **options}, dtype="float64"
    )
    slow.build((None, None, 3))
    slow.set_weights(ours.get_weights())
    x, states = inputs(cell, 3, 5, 3, 4)
    lengths = tf.constant([5, 2, 0])
    assert not slow.is_fast(x)
    fast = results(ours, *single(x, states), lengths=lengths)
    assert_same(fast, results(slow, x, states, lengths=lengths))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "lengths", [[5], [5, 5, 5], [[5, 5]], [5, 6], [-1, 5], [5.0, 5.0], 5], ids=str
)
def test_impossible_lengths_are_refused(lengths, dtype):
    layer = LSTM(2, dtype=dtype)
    with pytest.raises(ValueError, match="`lengths` must be"):
        layer(tf.zeros((2, 5, 3), dtype), lengths=tf.constant(lengths))

    @tf.function
    def known_late(lengths):
        return layer(tf.zeros((2, 5, 3), dtype), lengths=lengths)

    given = tf.constant(lengths)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="`lengths` must be"):
        known_late(given)
    assert known_late(tf.constant([5, 0])).shape == (2, 2)


def test_lengths_and_mask_together_are_refused():
    ours, _ = pair("gru", 2, 2)
    with pytest.raises(ValueError, match="not both"):
        ours(tf.zeros((1, 3, 2)), mask=tf.ones((1, 3), tf.bool), lengths=[2])


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("loss", [tf.reduce_sum, tf.nn.l2_loss], ids=["linear", "square"])
@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives_of_the_kernels_are_refused(cell, loss, wrap):
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
    [
        {"dtype": "float64"},
        {"activation": "relu"},
        {"recurrent_dropout": 0.2},
        {"use_bias": False},
        {"unroll": True},
    ],
    ids=str,
)
def test_unsupported_settings_use_the_keras_path(arguments):
    layer = LSTM(3, **arguments)
    x = tf.ones((2, 4, 3))
    assert not layer.is_fast(x)
    assert layer(x).shape == (2, 3)


@pytest.mark.parametrize("cell", CELLS)
def test_one_state_for_all_rows_matches_keras(cell):
    ours, stock = pair(cell, 4, 3)
    x, states = inputs(cell, 2, 5, 3, 4)
    states = [state[:1] for state in states]
    expected, summed = results(stock, x, [tf.repeat(state, 2, 0) for state in states])
    for place in range(1, 1 + len(states)):
        summed[place] = tf.reduce_sum(summed[place], 0, keepdims=True)
    assert_same(results(ours, *single(x, states)), (expected, summed))


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


def test_an_empty_batch_uses_the_keras_path():
    layer = LSTM(3)
    assert not layer.is_fast(tf.zeros((0, 4, 3)))
    assert not layer.is_fast(tf.zeros((2, 0, 3)))
    layer.build((None, None, 3))
    with pytest.raises(ValueError, match="no sequences"):
        layer.over_time(tf.zeros((4, 0, 3)), [tf.zeros((0, 3))] * 2)


def test_gru_with_reset_before_uses_the_keras_path():
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


@pytest.mark.parametrize("cell", CELLS)
def test_the_signature_shows_the_arguments_of_keras(cell):
    assert inspect.signature(CELLS[cell]) == inspect.signature(STOCK[cell])
    assert not CELLS[cell](3).supports_jit


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("way", ["keras", "tensorflow"])
def test_an_export_needs_no_kernels(cell, backwards, way, tmp_path):
    """Other processes cannot call functions of this one."""
    rnn = CELLS[cell](4, return_sequences=True, go_backwards=backwards)
    rows, lengths = keras.Input((5, 3), name="rows"), keras.Input((), dtype="int32", name="lengths")
    model = keras.Model([rows, lengths], rnn(rows, lengths=lengths))
    x = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    counts = np.array([5, 2, 0], np.int32)
    model.compile("sgd", "mse")
    model.fit([x, counts], np.zeros((3, 5, 4)), verbose=0)
    expected = model.predict([x, counts], verbose=0)
    if way == "keras":
        model.export(tmp_path / "a")
        loaded = tf.saved_model.load(tmp_path / "a")
        found = loaded.serve([x, counts])
    else:
        tf.saved_model.save(model, str(tmp_path / "a"))
        loaded = tf.saved_model.load(str(tmp_path / "a"))
        serve = loaded.signatures["serving_default"]
        (found,) = serve(inputs=tf.constant(x), inputs_1=tf.constant(counts)).values()
    assert b"PyFunc" not in (tmp_path / "a" / "saved_model.pb").read_bytes()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert rnn.is_fast(x)


def rounded(x):
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32)


@needs_bfloat16
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backwards", [False, True])
def test_bfloat16_rounds_only_the_factors(cell, backwards):
    """Factors exact in bfloat16 give an exact step; otherwise the error is that of rounding."""
    ours, stock = pair(cell, 37, 21, go_backwards=backwards)
    ours.product_type = "bfloat16"
    x, states = inputs(cell, 5, 90, 21, 37)
    found, exact = results(ours, *single(x, states)), results(stock, x, states)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(exact), strict=True):
        assert a.dtype == tf.float32
        scale = float(np.abs(b).max())
        assert 0 < np.abs(a.numpy() - b.numpy()).max() < 0.03 * scale

    for layer in (ours, stock):
        layer.set_weights([rounded(w).numpy() for w in ours.get_weights()])
    x, states = rounded(x[:, :1]), [rounded(s) for s in states]
    exact = stock(tf.cast(x, tf.float64), initial_state=[tf.cast(s, tf.float64) for s in states])
    assert_same(ours(x, initial_state=states), exact)


@pytest.mark.parametrize("shape", [Shape(8, 6), Shape(16, 12)], ids=str)
def test_bfloat16_is_refused_without_the_instructions(shape, monkeypatch):
    monkeypatch.setattr(native, "kernels", lambda: SimpleNamespace(shape=shape))
    layer = LSTM(3)
    layer.product_type = "bfloat16"
    with pytest.raises(UsageError, match='needs a GPU or a CPU with AVX512-BF16. Use "float32".'):
        layer(tf.zeros((2, 5, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU")
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_cudnn_agrees_with_the_kernels(cell):
    layer = CELLS[cell](16, return_sequences=True, return_state=True)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 12, 8)), tf.float32)
    assert not layer.is_fast(x)
    on_gpu, *states = layer(x)
    with tf.device("CPU"):
        zeros = [tf.zeros((4, 16)) for _ in states]
        loops, _ = layer.over_time(tf.transpose(x, [1, 0, 2]), zeros)
    np.testing.assert_allclose(on_gpu, tf.transpose(loops, [1, 0, 2]), atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("cell", CELLS)
def test_fit_is_fast_for_any_batch_size(cell, monkeypatch):
    """With a smaller last batch, for which TensorFlow knows no batch size; against Keras' layer."""
    kind, called = CELLS[cell], []
    is_fast = kind.is_fast

    def watched(self, sequences):
        called.append(is_fast(self, sequences))
        return called[-1]

    monkeypatch.setattr(kind, "is_fast", watched)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=size).astype(np.float32) for size in ((10, 5, 3), (10, 4)))
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch
    weights = None
    for data in (
        {"x": x[:8], "y": y[:8], "batch_size": 4},
        {"x": batches(4, drop_remainder=True)},
        {"x": batches(4)},
        {"x": x, "y": y, "batch_size": 4},
    ):
        losses = []
        for layer in (kind(4), STOCK[cell](4)):
            model = keras.Sequential([keras.Input((5, 3)), layer])
            weights = weights or model.get_weights()
            model.set_weights(weights)
            model.compile("sgd", "mse")
            called.clear()
            losses += model.fit(**data, epochs=3, verbose=0, shuffle=False).history["loss"]
            assert set(called) == ({True} if isinstance(layer, kind) else set())
        np.testing.assert_allclose(losses[:3], losses[3:], rtol=1e-5)
        assert len(set(losses[:3])) == 3


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_that_is_empty_only_at_run_time_works(cell):
    layer = CELLS[cell](4, return_sequences=True)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def gradients(x):
        with tf.GradientTape() as tape:
            made = layer(x)
            total = tf.reduce_sum(made)
        return made, tape.gradient(total, [v.value for v in layer.trainable_variables])

    for shape in ((0, 4, 3), (2, 0, 3)):
        made, found = gradients(tf.zeros(shape))
        assert made.shape == (*shape[:2], 4)
        assert not any(np.any(gradient) for gradient in found)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_both_directions_at_once_match_keras(cell, sequences, masked):
    both = [
        keras.layers.Bidirectional(
            kind[cell](4, return_sequences=sequences, dtype=dtype), dtype=dtype
        )
        for kind, dtype in ((CELLS, "float32"), (STOCK, "float64"))
    ]
    mask = tf.sequence_mask([6, 2, 4], 6) if masked else None
    rng = np.random.default_rng(0)
    weights = None
    found = []
    for layer in both:
        x = tf.cast(inputs(cell, 3, 6, 5, 4)[0], layer.compute_dtype)
        layer.build(x.shape)
        weights = weights or [rng.normal(0, 0.5, w.shape) for w in layer.get_weights()]
        layer.set_weights([w.astype(np.float32) for w in weights])
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = layer(x, mask=mask)
            total = tf.reduce_sum(made * tf.reshape(weigh(made, 0), tf.shape(made)))
        sources = [x, *(v.value for v in layer.trainable_variables)]
        found.append([made, *tape.gradient(total, sources)])
    assert type(both[0].forward_layer) is type(both[0].backward_layer) is CELLS[cell]
    assert_same(*found)
