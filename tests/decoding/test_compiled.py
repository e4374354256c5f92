"""Many streams on compiled kernels against the NumPy decoder, and against what a seed promises."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rnntk.config import SampleConfig
from rnntk.decoding import compiled
from rnntk.decoding import decoder as decoder_module
from rnntk.decoding.compiled import Alone, Network, Streams
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.decoding.strategies import Sampler, surprise
from rnntk.kernels import native
from rnntk.kernels.code import Shape
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

CELLS = ("lstm", "gru", "rnn")
SYMBOLS = "abcdefghijk"


@pytest.fixture
def always(monkeypatch):
    """The kernels take the smallest job too."""
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 0)


@functools.cache
def of_shape(shape):
    return native.Kernels(shape)


def drawn(logits, chances):
    """What the kernel draws from each row of logits, and its probability."""
    ids, shares = np.empty(len(logits), np.int64), np.empty(len(logits))
    room = np.empty(logits.shape[1], np.float32)
    scale = np.ones(1, np.float32)
    native.kernels()("draw", *logits.shape, logits, scale, room, chances, ids, shares)
    return ids, shares


def network_of(decoder):
    return Network(decoder.weights, decoder.cell, layer_norm=decoder.layer_norm)


def pieces_of(decoder, prompt, seed, *, surprisal=False, **settings):
    model = LanguageModel.from_parts(decoder, Vocabulary(SYMBOLS), Plain())
    config = SampleConfig(**settings)
    return model.pieces(model.prompt(prompt), config, seed, surprisal=surprisal)


def texts(decoder, num, **settings):
    pieces = pieces_of(decoder, "abc", 5, num=num, **settings)
    found = [""] * num
    for piece in pieces:
        found[piece.stream] += piece.text
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_logits_are_those_of_the_numpy_decoder(cell, layers, layer_norm, random_weights):
    weights = random_weights(cell, layers, V=30, E=16, H=33, scale=0.18)
    decoder = Decoder(weights, cell, layer_norm=layer_norm)
    states = decoder.initial_states(5)
    rng = np.random.default_rng(1)
    for _ in range(4):
        decoder.step(rng.integers(0, 30, 5), states)
    rows = np.array([4, 0, 2])
    streams = Streams(network_of(decoder), states, rows)
    np.testing.assert_array_equal(streams.logits, states.logits[rows])
    for _ in range(30):
        ids = rng.integers(0, 30, 5)
        expected = decoder.step(ids, states)[rows]
        np.testing.assert_allclose(streams.step(ids[rows]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num", [1, 5])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_same_seed_gives_the_same_text_either_way(
    cell, num, layer_norm, random_weights, monkeypatch
):
    decoder = Decoder(random_weights(cell, scale=0.3), cell, layer_norm=layer_norm)
    by_numpy = texts(decoder, num, length=70)
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 0)
    assert texts(decoder, num, length=70) == by_numpy


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("widest", [1, 2, 64])
def test_the_parts_do_not_matter(random_weights, monkeypatch, widest):
    decoder = Decoder(random_weights("lstm", scale=0.3), "lstm")
    options = {"length": 40, "no_repeat": 3, "temperature": 0.7, "top_k": 4}
    whole = texts(decoder, 7, **options)
    monkeypatch.setattr(compiled, "WIDEST", widest)
    assert texts(decoder, 7, **options) == whole
    for text in whole:
        runs = [text[k : k + 3] for k in range(len(text) - 2)]
        assert len(set(runs)) == len(runs)


@pytest.mark.usefixtures("always")
def test_costs_and_stop(random_weights):
    decoder = Decoder(random_weights("gru", scale=0.3), "gru")
    pieces = list(pieces_of(decoder, "a", 0, num=3, length=50, surprisal=True))
    for stream in range(3):
        symbols = "".join(p.symbols for p in pieces if p.stream == stream)
        costs = [c for p in pieces if p.stream == stream for c in p.nats]
        ids = Vocabulary(SYMBOLS).encode("a" + symbols)
        np.testing.assert_allclose(costs, decoder.costs(ids), atol=1e-4)
    stopped = texts(decoder, 3, length=200, stop="k")
    assert all(text.endswith("k") and text.count("k") == 1 for text in stopped)


def test_small_jobs_and_the_other_gru_stay_with_numpy(random_weights):
    def is_worth(decoder, num, length, by_strategies=False):
        return decoder.is_worth_compiling(num, length, by_strategies=by_strategies)

    decoder = Decoder(random_weights("lstm"), "lstm")
    assert not is_worth(decoder, 64, 100)
    assert is_worth(decoder, 1, 10**9, by_strategies=True)
    assert is_worth(decoder, 64, 10**9)
    large = Decoder(random_weights("lstm", H=400), "lstm")
    assert not is_worth(large, 1, 10**9), "its units are no whole panels"
    large = Decoder(random_weights("lstm", H=384), "lstm")
    assert is_worth(large, 1, 10**9)
    assert not is_worth(large, 1, 10**9, by_strategies=True)
    assert is_worth(large, 2, 10**9, by_strategies=True)
    weights = random_weights("gru")
    for name in ("rnn_0/bias", "rnn_1/bias"):
        weights[name] = weights[name][0]
    assert not is_worth(Decoder(weights, "gru"), 64, 10**9)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(
    ("shape", "threads"),
    [(None, 1), (None, 2), (None, 3), (Shape(4, 6), 2), (Shape(4, 12), 1), (Shape(16, 12), 2)],
    ids=str,
)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_stream_alone_is_drawn_as_numpy_draws_it(
    cell, layers, shape, threads, layer_norm, random_weights, monkeypatch
):
    if shape:
        monkeypatch.setattr(native, "kernels", lambda: of_shape(shape))
    weights = random_weights(cell, layers, V=50, E=16, H=64, scale=0.2)
    decoder = Decoder(weights, cell, layer_norm=layer_norm)
    states = decoder.initial_states()
    for symbol in (3, 9, 4):
        decoder.step(np.array([symbol]), states)
    stream = Alone(network_of(decoder), states, threads)
    rng, scale = np.random.default_rng(2), np.array([1 / 0.7], np.float32)
    start = 0
    with ThreadPoolExecutor(stream.threads) as pool:
        for steps in (5, 2, 30):
            chances = rng.random((steps, 1))
            found = list(
                pool.map(
                    lambda part, start=start, chances=chances: stream.generate(
                        part, start, chances, scale
                    ),
                    range(stream.threads),
                )
            )
            for ids, shares in found:
                np.testing.assert_array_equal(ids, found[0][0])
                np.testing.assert_array_equal(shares, found[0][1])
            for symbol, share, chance in zip(*found[0], chances[:, 0], strict=True):
                scores = states.logits[0].astype(np.float64) / 0.7
                softmax = np.exp(scores - scores.max())
                softmax /= softmax.sum()
                np.testing.assert_allclose(softmax[symbol], share, rtol=2e-5)
                reached = np.cumsum(softmax)[symbol]
                assert reached - softmax[symbol] - 1e-5 <= chance <= reached + 1e-5
                decoder.step(symbol, states)
            start += steps


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_a_large_model_draws_the_same_text_on_any_number_of_cores(
    random_weights, monkeypatch, cores
):
    decoder = Decoder(random_weights("lstm", H=64, scale=0.3), "lstm")
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 1e99)
    by_numpy = texts(decoder, 1, length=90, temperature=0.8)
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 0)
    for module in (compiled, decoder_module):
        monkeypatch.setattr(module, "CACHED", 0)
    monkeypatch.setattr(compiled, "available_cores", lambda: cores)
    assert texts(decoder, 1, length=90, temperature=0.8) == by_numpy


@pytest.mark.parametrize("scale", [0.5, 3.0, 60.0])
def test_the_kernel_draws_what_numpy_draws(scale):
    rng = np.random.default_rng(8)
    logits = rng.normal(0, scale, (4000, 37)).astype(np.float32)
    chances = rng.random(4000)
    by_numpy = Sampler([], rng, 4000, 37).draw(logits, chances).copy()
    found, shares = drawn(logits, chances)
    assert np.mean(found != by_numpy) < 1e-3  # exponentials in float32 move a border by 1e-7
    np.testing.assert_allclose(-np.log(shares), surprise(logits, found), rtol=1e-6, atol=1e-6)


def test_a_million_draws_follow_the_softmax():
    rng = np.random.default_rng(4)
    logits = np.tile(rng.normal(0, 1.5, 23).astype(np.float32), (1000, 1))
    counts = np.zeros(23)
    for _ in range(1000):
        counts += np.bincount(drawn(logits, rng.random(1000))[0], minlength=23)
    chance = np.exp(logits[0].astype(np.float64))
    expected = 1e6 * chance / chance.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 48.3  # chi-square, 22 degrees: p = 0.001


def test_chances_at_the_ends_draw_symbols_that_are_there():
    logits = np.array([[0, -200, 0], [-200, 0, -200]], np.float32)
    assert drawn(logits, np.full(2, 1e-9))[0].tolist() == [0, 1]
    assert drawn(logits, np.full(2, np.nextafter(1, 0)))[0].tolist() == [2, 1]
