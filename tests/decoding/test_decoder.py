"""The decoder, on kernels and in NumPy, against Keras layers and against itself fed in other ways."""

import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from rnntk import decoding
from rnntk.decoding import compiled as compiled_module
from rnntk.decoding import reference
from rnntk.decoding.decoder import Decoder
from rnntk.errors import RunError, UsageError

CELLS = ("lstm", "gru", "rnn")

engines = pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "numpy"])


def test_the_decoder_uses_the_kernels(random_weights):
    weights = random_weights("lstm")
    assert isinstance(Decoder(weights, "lstm").initial_states(), compiled_module.CompiledStates)
    assert type(Decoder(weights, "lstm", compiled=False).initial_states()) is reference.States


def test_without_a_compiler_the_decoder_runs_in_numpy(random_weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "rnntk.decoding.compiled", None)
    monkeypatch.delattr(decoding, "compiled", raising=False)
    assert type(Decoder(random_weights("lstm"), "lstm").initial_states()) is reference.States


def keras_logits(weights, cell, layers, ids, layer_norm):
    """Logits (n, T, V) of stock Keras layers that hold these weights."""
    import keras

    V, E = weights["embedding/embeddings"].shape
    H = weights["output/kernel"].shape[0]
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[
        cell
    ]
    norm = keras.layers.LayerNormalization
    model = keras.Sequential([keras.layers.Embedding(V, E)])
    for _ in range(layers):
        model.add(layer(H, return_sequences=True))
        if layer_norm:
            model.add(norm(center=False, scale=False))
    model.add(keras.layers.Dense(V))
    model.build((None, None))
    model.set_weights(list(weights.values()))
    return np.asarray(model(ids))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
@engines
def test_logits_agree_with_stock_keras(cell, layers, layer_norm, compiled, random_weights):
    weights = random_weights(
        cell, layers, V=30, E=16, H=32, scale=0.18
    )  # about Glorot's scale: larger weights are chaotic
    ids = np.random.default_rng(1).integers(0, 30, (3, 40))
    expected = keras_logits(weights, cell, layers, ids, layer_norm)
    decoder = Decoder(weights, cell, layer_norm=layer_norm, compiled=compiled)
    states = decoder.initial_states(3)
    stepped = np.stack([states.step(ids[:, t]).copy() for t in range(40)], axis=1)
    np.testing.assert_allclose(stepped, expected, rtol=0, atol=1e-5)
    for row in range(3):
        chunks = list(decoder.forward(ids[row], decoder.initial_states()))
        np.testing.assert_allclose(np.concatenate(chunks), expected[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_one_stream_and_many_agree(cell, random_weights):
    decoder = Decoder(random_weights(cell), cell)
    ids = np.random.default_rng(2).integers(0, 11, (4, 25))
    together = decoder.initial_states(4)
    for t in range(25):
        logits = together.step(ids[:, t])
    for row in range(4):
        alone = decoder.initial_states(1)
        for t in range(25):
            one = alone.step(ids[row : row + 1, t])
        np.testing.assert_allclose(one[0], logits[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
@engines
def test_reading_a_prompt_equals_stepping_through_it(
    cell, n, layer_norm, compiled, monkeypatch, random_weights
):
    monkeypatch.setattr(compiled_module, "_CHUNK", 1024)
    monkeypatch.setattr(reference, "_CHUNK", 40)  # several chunks
    decoder = Decoder(random_weights(cell), cell, layer_norm=layer_norm, compiled=compiled)
    ids = np.random.default_rng(3).integers(0, 11, 90)
    stepped, primed = decoder.initial_states(n), decoder.initial_states(n)
    for symbol in ids:
        stepped.step(np.full(n, symbol))
    logits = decoder.prime(ids, primed)
    assert logits is primed.logits
    np.testing.assert_allclose(logits, stepped.logits, rtol=0, atol=1e-5)
    for a, b in zip(primed.arrays(), stepped.arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@engines
def test_losses_are_the_negative_log_softmax_and_carry_the_state(compiled, random_weights):
    decoder = Decoder(random_weights("lstm"), "lstm", compiled=compiled)
    ids = np.random.default_rng(4).integers(0, 11, 50)
    states = decoder.initial_states()
    expected = []
    for now, after in itertools.pairwise(ids):
        p = np.exp(states.step(np.array([now]))[0].astype(np.float64))
        expected.append(-np.log(p[after] / p.sum()))
    np.testing.assert_allclose(decoder.costs(ids), expected, atol=1e-5)
    carried = decoder.initial_states()
    parts = [decoder.costs(ids[:21], carried), decoder.costs(ids[20:], carried)]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
    assert decoder.costs(ids[:1]).size == 0


@engines
def test_assign_copies_and_reorders_streams(compiled, random_weights):
    decoder = Decoder(random_weights("lstm"), "lstm", compiled=compiled)
    one = decoder.initial_states(1)
    decoder.prime(np.arange(5), one)
    many = decoder.initial_states(3)
    many.assign(one)
    many.step(np.array([1, 2, 3]))
    before = many.logits.copy()
    many.assign(many, np.array([2, 0, 0]))
    np.testing.assert_array_equal(many.logits, before[[2, 0, 0]])
    again = many.step(np.array([7, 7, 7]))
    np.testing.assert_array_equal(again[1], again[2])
    assert not np.array_equal(again[0], again[1])


@pytest.mark.parametrize("cell", CELLS)
def test_the_loop_of_one_stream_allocates_nothing(cell, random_weights):
    decoder = Decoder(random_weights(cell, V=1024, H=1024), cell)
    states = decoder.initial_states()
    ids = np.zeros(1, np.intp)
    states.step(ids)
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(
            3
        ):  # other threads are traced too; the loop's allocations appear in every round
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20):
                states.step(ids)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert min(peaks) < 1024 * 4  # less than one hidden vector: only views and frames


@engines
def test_extreme_weights_neither_overflow_nor_warn(compiled, random_weights):
    decoder = Decoder(random_weights("lstm", scale=500.0), "lstm", compiled=compiled)
    costs = decoder.costs(np.random.default_rng(5).integers(0, 11, 200))
    assert np.isfinite(costs).all()


def test_memory_mapped_weights_are_not_written_to(tmp_path, random_weights):
    mapped = {}
    weights = random_weights("gru")
    for k, (name, array) in enumerate(weights.items()):
        np.save(tmp_path / f"{k}.npy", array)
        mapped[name] = np.load(tmp_path / f"{k}.npy", mmap_mode="r")
    a, b = Decoder(mapped, "gru"), Decoder(weights, "gru")
    ids = np.arange(11)
    np.testing.assert_array_equal(a.costs(ids), b.costs(ids))
    for name, array in mapped.items():
        np.testing.assert_array_equal(array, weights[name])


def test_errors_name_the_problem(random_weights):
    weights = random_weights("lstm")
    with pytest.raises(UsageError, match="lstm, gru, rnn"):
        Decoder(weights, "transformer")
    with pytest.raises(RunError, match="rnn_0/kernel"):
        Decoder(weights, "gru")
    lacking = {k: v for k, v in weights.items() if k != "output/bias"}
    with pytest.raises(RunError, match="output/bias"):
        Decoder(lacking, "lstm")
    decoder = Decoder(weights, "lstm")
    with pytest.raises(UsageError, match="vocabulary of 11"):
        decoder.prime([3, 11], decoder.initial_states())


def test_decoding_never_imports_tensorflow():
    code = (
        "import sys, pkgutil, importlib, rnntk.decoding as d\n"
        "for m in pkgutil.iter_modules(d.__path__):\n"
        "    importlib.import_module('rnntk.decoding.' + m.name)\n"
        "bad = {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
