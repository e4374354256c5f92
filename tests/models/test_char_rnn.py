"""The character model: accepted inputs and refusals."""

from __future__ import annotations

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.kernels import native
from rnntk.models.char_rnn import CharRNN
from rnntk.models.layers import CELLS
from rnntk.models.row_classifier import RowClassifier


def ids_of(vocabulary: int, rows: int = 4, steps: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, (rows, steps)).astype(np.int32)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.uint16])
@pytest.mark.parametrize("cell", CELLS)
def test_ids_of_any_integer_type_are_accepted(cell, kind):
    model = CharRNN(11, cell, 2, 8, 6)
    ids, targets = ids_of(11), ids_of(11)[::-1]
    logits, _ = model(ids)
    np.testing.assert_array_equal(model(ids.astype(kind))[0], logits)
    expected, _ = model.nats(ids, targets)
    found, _ = model.nats(tf.constant(ids.astype(kind)), targets.astype(kind))
    assert float(found) == float(expected)
    layer, states = model.recurrent[0], model.initial_states(4)
    weights = layer.weights_for_products()
    embeddings = tf.convert_to_tensor(model.embedding.embeddings)
    table = embeddings @ weights.kernel.matrix + weights.bias
    a, _ = layer.over_time(table, states[: len(states) // 2], ids=ids.T.astype(kind))
    b, _ = layer.over_time(table, states[: len(states) // 2], ids=ids.T)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [11, -1, 100000, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("vocabulary", [11, 200], ids=["projected", "gathered"])
def test_an_id_outside_the_vocabulary_is_refused(vocabulary, wrong):
    model = CharRNN(vocabulary, "gru", 1, 8, 6)
    ids = ids_of(11)
    ids[2, 3] = wrong if wrong != 11 else vocabulary
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match="must be from 0 to 10|not in"
    ):
        model(ids)
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match="must be from 0 to 10|not in"
    ):
        tf.function(model.nats)(tf.constant(ids), tf.constant(ids_of(11)))


needs_bfloat16 = pytest.mark.skipif(not native.kernels().shape.bfloat16, reason="needs AVX512-BF16")


@needs_bfloat16
@pytest.mark.parametrize("cell", CELLS)
def test_the_loss_is_that_of_the_logits_in_bfloat16_too(cell):
    model = CharRNN(11, cell, 1, 16, 8, precision="bfloat16")
    ids, targets = ids_of(11), ids_of(11)[::-1]
    logits, _ = model(ids)
    exact = CharRNN(11, cell, 1, 16, 8)
    exact.set_weights(model.get_weights())
    costs = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    np.testing.assert_allclose(model.nats(ids, targets)[0], tf.reduce_sum(costs), rtol=1e-6)
    assert 0 < np.abs(logits - exact(ids)[0]).max() < 0.1


def test_arguments_are_read_as_in_a_configuration():
    """In any case, also from NumPy; each wrong one is named."""
    model = CharRNN(
        np.int64(11), "Gru", np.int64(1), np.int64(8), gru_reset="Before", dropout_kind="Sequence"
    )
    given = {k: model.get_config()[k] for k in ("vocabulary_size", "cell", "gru_reset")}
    assert given == {"vocabulary_size": 11, "cell": "gru", "gru_reset": "before"}
    assert model.dropout_kind == "sequence"
    assert model.recurrent[0].get_weights()[2].shape == (24,)  # one bias: reset before
    assert CharRNN(11, units=8, precision="BFLOAT16").precision == "bfloat16"
    classifier = RowClassifier(np.int64(4), np.int64(3), "GRU", units=np.int64(8))
    assert classifier.get_config()["cell"] == "gru"
    for wrong, problem in {"12": "a whole number, got '12'", 0: "at least 1, got 0"}.items():
        with pytest.raises(UsageError, match=f"vocabulary_size must be {problem}"):
            CharRNN(wrong)
        with pytest.raises(UsageError, match=f"classes must be {problem}"):
            RowClassifier(classes=wrong)
    for make in (lambda seed: CharRNN(11, seed=seed), lambda seed: RowClassifier(seed=seed)):
        with pytest.raises(UsageError, match="seed must be at least 0"):
            make(-1)


def test_bfloat16_is_refused_if_it_would_have_no_effect():
    with pytest.raises(UsageError, match='precision="bfloat16".*gru_reset="before"'):
        CharRNN(11, "gru", 1, 8, 6, gru_reset="before", precision="bfloat16")
    CharRNN(11, "lstm", 1, 8, 6, gru_reset="before", precision="bfloat16")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        *(
            (cell, options)
            for cell in CELLS
            for options in ({}, {"dropout": 0.2, "layer_norm": True})
        ),
        ("gru", {"gru_reset": "before"}),
    ],
    ids=str,
)
def test_keras_fit_trains_it(cell, options, tmp_path):
    """With a smaller last batch, and again after saving and loading."""
    x = np.tile(np.arange(12) % 7, (50, 2)).astype(np.int32)
    y = np.roll(x, -1, 1)
    model = CharRNN(11, cell, 2, 16, 8, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss=loss, metrics=["accuracy"])
    losses = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert losses == sorted(losses, reverse=True)
    logits = model.predict(x, verbose=0)
    np.testing.assert_allclose(logits, model(x)[0], atol=1e-5)
    measured, accuracy = model.evaluate(x, y, verbose=0)
    assert measured == pytest.approx(float(model.nats(x, y)[0]) / x.size, rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(-1) == y).mean())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, verbose=0)[0] == pytest.approx(measured)
    assert again.fit(x, y, verbose=0).history["loss"][0] < losses[-1]


def test_dropout_without_a_seed_chooses_one():
    model, ids = CharRNN(11, layers=1, units=8, embedding=6, dropout=0.5), ids_of(11)

    def dropped():
        return model(ids, training=True)[0].numpy()

    keras.utils.set_random_seed(1)
    first, second = dropped(), dropped()
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(dropped(), first)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16", "float64"])
def policy(request):
    """Another global dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def test_the_global_dtype_policy_changes_no_model(policy):
    models = (CharRNN(11, units=8), RowClassifier(4, 3, units=8, bidirectional=True))
    inputs = (ids_of(11), np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32))
    found = [keras.tree.flatten(model(x)) for model, x in zip(models, inputs, strict=True)]
    keras.config.set_dtype_policy("float32")
    again = (CharRNN(11, units=8), RowClassifier(4, 3, units=8, bidirectional=True))
    for made, model, x in zip(found, again, inputs, strict=True):
        for one, other in zip(made, keras.tree.flatten(model(x)), strict=True):
            assert one.dtype == tf.float32
            np.testing.assert_array_equal(one, other)
    for model in models:
        assert {v.dtype for v in model.weights} == {"float32"}
        assert all(layer.is_standard for layer in keras.tree.flatten(model.recurrent))


def test_layers_follow_the_global_dtype_policy(policy):
    assert (
        CELLS["gru"](3)(np.ones((2, 4, 3), np.float32)).dtype
        == keras.config.dtype_policy().compute_dtype
    )


def test_the_signature_shows_the_arguments():
    for model, first in ((CharRNN, "vocabulary_size"), (RowClassifier, "features")):
        names = list(inspect.signature(model).parameters)
        assert names[0] == first
        assert {"cell", "layers", "units", "dropout", "seed", "precision"} <= set(names)
    with pytest.raises(TypeError, match=r"CharRNN.*no argument 'unit'.*units"):
        CharRNN(unit=3)

    class Own(CharRNN):
        def __init__(self, size: int) -> None:
            super().__init__(size)

    assert list(inspect.signature(Own).parameters) == ["size"]
    assert Own(11)(ids_of(11))[0].shape == (4, 7, 11)


@pytest.mark.parametrize("vocabulary", [11, 200], ids=["projected", "gathered"])
@pytest.mark.parametrize("cell", CELLS)
def test_ids_and_states_of_another_shape_are_refused(cell, vocabulary):
    model, ids = CharRNN(vocabulary, cell, 2, 8, 6), ids_of(11)
    for wrong in (ids[0], ids[None], np.int32(3)):
        got = re.escape(str(wrong.shape))
        with pytest.raises(ValueError, match=rf"`ids` must have the shape \(B, T\), got {got}"):
            model(wrong)
        with pytest.raises(ValueError, match=rf"`ids` must have the shape \(B, T\), got {got}"):
            model.nats(wrong, wrong)
    states = model.initial_states(4)
    names = "h_0, c_0, h_1, c_1" if cell == "lstm" else "h_0, h_1"
    for wrong in (states[:-1], [*states, states[0]], []):
        must = (
            rf"`states` must be a list of {len(states)}, each \(B, 8\): {names}; got {len(wrong)}"
        )
        with pytest.raises(ValueError, match=must):
            model(ids, states=wrong)
    assert model(ids, states=states)[0].shape == (4, 7, vocabulary)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_needs_no_kernels(cell, tmp_path):
    model, ids = CharRNN(11, cell, 2, 8, 6, layer_norm=True), ids_of(11)
    logits, states = model(ids)
    symbols = keras.Input((None,), dtype="int32")
    keras.Model(symbols, keras.tree.flatten(model(symbols))).export(tmp_path / "a")
    assert b"PyFunc" not in (tmp_path / "a" / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(tmp_path / "a")
    found = loaded.serve(ids)
    for one, other in zip(found, [logits, *states], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
