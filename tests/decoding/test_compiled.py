"""The decoder on compiled kernels against the plain one, and reproducibility from a seed."""

import functools

import numpy as np
import pytest

from rnntk.config import SampleConfig
from rnntk.decoding import compiled
from rnntk.decoding import decoder as decoder_module
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.decoding.strategies import Sampler, Temperature, TopK, surprisal
from rnntk.kernels import native
from rnntk.kernels.code import Shape
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

CELLS = ("lstm", "gru", "gru, reset before", "rnn")
SYMBOLS = "abcdefghijk"


@pytest.fixture
def decoders(random_weights):
    """Makes a decoder on kernels and a plain one with the same weights."""

    def make(cell, layers=2, *, layer_norm=False, **options):
        kind = cell.partition(",")[0]
        weights = random_weights(kind, layers, **options)
        if cell == "gru, reset before":
            for k in range(layers):
                weights[f"rnn_{k}/bias"] = weights[f"rnn_{k}/bias"][0]
        return [
            Decoder(weights, kind, layer_norm=layer_norm, compiled=by_kernels)
            for by_kernels in (True, False)
        ]

    return make


@functools.cache
def of_shape(shape):
    return native.Kernels(shape)


def share(monkeypatch, cores):
    """Split even the smallest stream over this many cores."""
    monkeypatch.setattr(compiled, "CACHED", 0)
    for module in (compiled, decoder_module):
        monkeypatch.setattr(module, "available_cores", lambda: cores)


def sampled(logits, uniforms, scale=1.0):
    """The symbol that the kernel samples from each row of logits, and its loss."""
    ids = np.empty(len(logits), np.int64)
    margins, totals = np.empty((2, len(logits)))
    room = np.empty(logits.shape[1], np.float32)
    native.kernels()(
        "sample", *logits.shape, logits, np.full(1, scale, np.float32), room, uniforms, ids, margins, totals
    )  # fmt: skip
    return ids, margins + np.log(totals)


def blocks(decoder, strategies, *, length, num=1, seed=0):
    """Ids and losses of `length` symbols that a decoder samples after a prompt, and the logits after them."""
    states = decoder.initial_states(num)
    decoder.prime([3, 9, 4], states)
    found = list(decoder.sample(states, strategies, np.random.default_rng(seed), length, True))
    return (*(np.concatenate(part) for part in zip(*found, strict=True)), states.logits)


def pieces_of(decoder, prompt, seed, *, surprisal=False, **settings):
    model = LanguageModel(decoder, Vocabulary(SYMBOLS), Plain())
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
@pytest.mark.parametrize(
    "shape", [None, Shape(4, 6), Shape(4, 12), Shape(8, 6), Shape(16, 12)], ids=str
)
def test_logits_match_the_plain_decoder(cell, layers, layer_norm, shape, decoders, monkeypatch):
    if shape:
        monkeypatch.setattr(native, "kernels", lambda: of_shape(shape))
    fast, plain = decoders(cell, layers, layer_norm=layer_norm, V=30, E=16, H=33, scale=0.18)
    rng = np.random.default_rng(1)
    for n in (1, 5):
        states, expected = fast.initial_states(n), plain.initial_states(n)
        text = rng.integers(0, 30, 20)
        np.testing.assert_allclose(
            fast.prime(text, states), plain.prime(text, expected), rtol=0, atol=1e-5
        )
        for _ in range(30):
            ids = rng.integers(0, 30, n)
            np.testing.assert_allclose(states.step(ids), expected.step(ids), rtol=0, atol=1e-5)
        for mine, theirs in zip(states.arrays(), expected.arrays(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num", [1, 5])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(
    "strategies",
    [[], [Temperature(0.7)], [Temperature(1.4), TopK(6)]],
    ids=["softmax", "cool", "top"],
)
def test_a_seed_gives_the_same_text_as_the_plain_decoder(
    cell, num, layer_norm, strategies, decoders
):
    fast, plain = decoders(cell, layer_norm=layer_norm, scale=0.3)
    ids, losses, _ = blocks(fast, strategies, length=70, num=num)
    expected, expected_losses, _ = blocks(plain, strategies, length=70, num=num)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_allclose(losses, expected_losses, rtol=0, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("units", [33, 416])
def test_a_stream_is_bit_identical_whatever_other_streams_run(cell, layer_norm, units, decoders):
    decoder, _ = decoders(cell, layer_norm=layer_norm, H=units, scale=0.1)
    ids = np.random.default_rng(2).integers(0, 11, (12, 20))
    together = decoder.initial_states(12)
    for t in range(20):
        together.step(ids[:, t])
    for row in (0, 7, 11):
        alone = decoder.initial_states()
        for t in range(20):
            alone.step(ids[row : row + 1, t])
        np.testing.assert_array_equal(alone.logits[0], together.logits[row])


@pytest.mark.parametrize("widest", [1, 2, 64])
@pytest.mark.parametrize("cores", [1, 3])
def test_block_sizes_do_not_change_the_text(decoders, monkeypatch, widest, cores):
    decoder, _ = decoders("lstm", scale=0.3)
    options = {"length": 40, "no_repeat": 3, "temperature": 0.7, "top_k": 4}
    whole = texts(decoder, 7, **options)
    monkeypatch.setattr(decoder_module, "WIDEST", widest)
    monkeypatch.setattr(decoder_module, "available_cores", lambda: cores)
    assert texts(decoder, 7, **options) == whole
    for text in whole:
        runs = [text[k : k + 3] for k in range(len(text) - 2)]
        assert len(set(runs)) == len(runs)


def test_losses_and_stop(decoders):
    decoder, _ = decoders("gru", scale=0.3)
    pieces = list(pieces_of(decoder, "a", 0, num=3, length=50, surprisal=True))
    for stream in range(3):
        symbols = "".join(p.symbols for p in pieces if p.stream == stream)
        costs = [c for p in pieces if p.stream == stream for c in p.nats]
        ids = Vocabulary(SYMBOLS).encode("a" + symbols)
        np.testing.assert_allclose(costs, decoder.costs(ids), atol=1e-4)
    stopped = texts(decoder, 3, length=200, stop="k")
    assert all(text.endswith("k") and text.count("k") == 1 for text in stopped)


def test_losses_are_at_temperature_1(decoders):
    for decoder in decoders("lstm", scale=1.0):
        ids, losses, _ = blocks(decoder, [Temperature(3.0)], length=50)
        expected = decoder.costs([3, 9, 4, *ids[:, 0]])[2:]
        np.testing.assert_allclose(losses[:, 0], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(
    ("shape", "cores"),
    [(None, 2), (None, 3), (Shape(4, 6), 2), (Shape(4, 12), 5), (Shape(16, 12), 2)],
    ids=str,
)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_stream_split_over_cores_is_bit_identical(
    cell, layers, shape, cores, layer_norm, decoders, monkeypatch
):
    if shape:
        monkeypatch.setattr(native, "kernels", lambda: of_shape(shape))
    decoder, _ = decoders(cell, layers, layer_norm=layer_norm, V=50, E=16, H=96, scale=0.2)
    ways = ([], [Temperature(0.7)], [TopK(9)])
    alone = [blocks(decoder, strategies, length=37) for strategies in ways]
    share(monkeypatch, cores)
    for strategies, expected in zip(ways, alone, strict=True):
        for mine, theirs in zip(blocks(decoder, strategies, length=37), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_an_error_between_steps_leaves_no_thread(decoders, monkeypatch):
    class Failing(TopK):
        def observe(self, ids):
            raise KeyboardInterrupt

    decoder, _ = decoders("lstm", H=64)
    share(monkeypatch, 2)
    states = decoder.initial_states()
    with states.helped(8):
        states.step(np.zeros(1, np.intp))
    before = states.logits.copy()
    with pytest.raises(KeyboardInterrupt):
        list(decoder.sample(states, [Failing(3)], np.random.default_rng(0), 20, False))
    states = decoder.initial_states()
    for _ in range(8):
        states.step(np.zeros(1, np.intp))
    np.testing.assert_array_equal(states.logits, before)


@pytest.mark.parametrize("limit", [1, 7, 32])
def test_blocks_begin_with_one_symbol_and_do_not_change_the_text(decoders, monkeypatch, limit):
    decoder, _ = decoders("lstm")
    whole = blocks(decoder, [], length=100)
    monkeypatch.setattr(decoder_module, "LONGEST", limit)
    states = decoder.initial_states()
    sizes = [
        len(ids) for ids, _ in decoder.sample(states, [], np.random.default_rng(0), 100, False)
    ]
    assert sizes[0] == 1
    assert max(sizes) <= limit
    assert sum(sizes) == 100
    for mine, theirs in zip(blocks(decoder, [], length=100), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("scale", [0.5, 3.0, 60.0])
def test_the_kernel_samples_what_numpy_samples(scale):
    rng = np.random.default_rng(8)
    logits = rng.normal(0, scale, (4000, 37)).astype(np.float32)
    chances = rng.random(4000)
    by_numpy = Sampler([], 4000, 37).draw(logits, chances).copy()
    found, losses = sampled(logits, chances)
    assert np.mean(found != by_numpy) < 1e-3  # float32 exponentials shift a boundary by 1e-7
    np.testing.assert_allclose(losses, surprisal(logits, found), rtol=1e-6, atol=1e-6)
    found, losses = sampled(logits, chances, 0.01)
    np.testing.assert_allclose(losses, surprisal(logits, found), rtol=1e-6, atol=1e-6)


def test_a_million_samples_follow_the_softmax():
    rng = np.random.default_rng(4)
    logits = np.tile(rng.normal(0, 1.5, 23).astype(np.float32), (1000, 1))
    counts = np.zeros(23)
    for _ in range(1000):
        counts += np.bincount(sampled(logits, rng.random(1000))[0], minlength=23)
    chance = np.exp(logits[0].astype(np.float64))
    expected = 1e6 * chance / chance.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 48.3  # chi-square, 22 degrees: p = 0.001


def test_extreme_uniform_numbers_sample_existing_symbols():
    logits = np.array([[0, -200, 0], [-200, 0, -200]], np.float32)
    assert sampled(logits, np.full(2, 1e-9))[0].tolist() == [0, 1]
    assert sampled(logits, np.full(2, np.nextafter(1, 0)))[0].tolist() == [2, 1]
