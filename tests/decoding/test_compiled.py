"""Many streams on compiled kernels against the NumPy decoder, and against what a seed promises."""

import numpy as np
import pytest

from rnntk.decoding import compiled
from rnntk.decoding import decoder as decoder_module
from rnntk.decoding.compiled import Network, Streams
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.generate import generate
from rnntk.decoding.strategies import RepetitionGuard, Sampler, Temperature, TopK, surprise
from rnntk.kernels import native
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

CELLS = ("lstm", "gru", "rnn")
SYMBOLS = "abcdefghijk"


@pytest.fixture
def always(monkeypatch):
    """The kernels take the smallest job too."""
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 0)


def drawn(logits, chances):
    """What the kernel draws from each row of logits, and its probability."""
    ids, shares = np.empty(len(logits), np.int64), np.empty(len(logits))
    room = np.empty(logits.shape[1], np.float32)
    native.kernels()("draw", *logits.shape, logits, room, chances, ids, shares)
    return ids, shares


def texts(decoder, num, **options):
    pieces = generate(
        decoder,
        Vocabulary(SYMBOLS),
        Plain(),
        rng=np.random.default_rng(5),
        prime="abc",
        num=num,
        **options,
    )
    found = [""] * num
    for piece in pieces:
        found[piece.stream] += piece.text
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_logits_are_those_of_the_numpy_decoder(cell, layers, random_weights):
    decoder = Decoder(random_weights(cell, layers, V=30, E=16, H=33, scale=0.18), cell)
    states = decoder.initial_states(5)
    rng = np.random.default_rng(1)
    for _ in range(4):
        decoder.step(rng.integers(0, 30, 5), states)
    rows = np.array([4, 0, 2])
    streams = Streams(Network(decoder.weights, cell), states, rows)
    np.testing.assert_array_equal(streams.logits, states.logits[rows])
    for _ in range(30):
        ids = rng.integers(0, 30, 5)
        expected = decoder.step(ids, states)[rows]
        np.testing.assert_allclose(streams.step(ids[rows]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num", [1, 5])
def test_the_same_seed_gives_the_same_text_either_way(cell, num, random_weights, monkeypatch):
    decoder = Decoder(random_weights(cell, scale=0.3), cell)
    by_numpy = texts(decoder, num, length=70)
    monkeypatch.setattr(decoder_module, "WORTH_LOADING", 0)
    assert texts(decoder, num, length=70) == by_numpy


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("widest", [1, 2, 64])
def test_the_parts_do_not_matter(random_weights, monkeypatch, widest):
    decoder = Decoder(random_weights("lstm", scale=0.3), "lstm")
    options = {"length": 40, "strategies": [RepetitionGuard(3), Temperature(0.7), TopK(4)]}
    whole = texts(decoder, 7, **options)
    monkeypatch.setattr(compiled, "WIDEST", widest)
    assert texts(decoder, 7, **options) == whole
    for text in whole:
        runs = [text[k : k + 3] for k in range(len(text) - 2)]
        assert len(set(runs)) == len(runs)


@pytest.mark.usefixtures("always")
def test_costs_and_stop(random_weights):
    decoder = Decoder(random_weights("gru", scale=0.3), "gru")
    pieces = list(
        generate(
            decoder,
            Vocabulary(SYMBOLS),
            Plain(),
            rng=np.random.default_rng(0),
            prime="a",
            num=3,
            length=50,
            costs=True,
        )
    )
    for stream in range(3):
        symbols = "".join(p.symbols for p in pieces if p.stream == stream)
        costs = [c for p in pieces if p.stream == stream for c in p.costs]
        ids = Vocabulary(SYMBOLS).encode("a" + symbols)
        np.testing.assert_allclose(costs, decoder.costs(ids), atol=1e-4)
    stopped = texts(decoder, 3, length=200, stop="k")
    assert all(text.endswith("k") and text.count("k") == 1 for text in stopped)


def test_small_jobs_and_the_other_gru_stay_with_numpy(random_weights):
    decoder = Decoder(random_weights("lstm"), "lstm")
    assert not decoder.is_worth_compiling(64, 100)
    assert decoder.is_worth_compiling(1, 10**9)
    assert decoder.is_worth_compiling(64, 10**9)
    large = Decoder(random_weights("lstm", H=400), "lstm")
    assert not large.is_worth_compiling(1, 10**9)
    assert large.is_worth_compiling(2, 10**9)
    weights = random_weights("gru")
    for name in ("rnn_0/bias", "rnn_1/bias"):
        weights[name] = weights[name][0]
    assert not Decoder(weights, "gru").is_worth_compiling(64, 10**9)


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
