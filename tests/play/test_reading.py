"""The page's figures for a text agree with the model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError, UsageError
from rnntk.play import limits, reading
from rnntk.play.models import Models


@pytest.mark.parametrize("kind", ["plain", "korean"])
def test_the_bits_are_those_of_eval(request, kind: str) -> None:
    models = request.getfixturevalue(kind)
    text = request.getfixturevalue(f"{kind}_text")
    found = reading.read(models.get(), text)
    evaluated = models.get().evaluate(text)
    assert found["bits_per_character"] == pytest.approx(evaluated.bits_per_character, abs=1e-5)
    assert found["total_bits"] == pytest.approx(evaluated.nats.sum() / math.log(2), rel=1e-6)
    assert found["bits"][0] is None
    np.testing.assert_allclose(found["bits"][1:], evaluated.nats / math.log(2), atol=1e-3)


def test_what_was_expected_is_the_softmax_before_each_symbol(
    plain: Models, plain_text: str
) -> None:
    loaded = plain.get()
    found = reading.read(loaded, plain_text)
    decoder = loaded.decoder
    states = decoder.initial_states()
    assert found["expected"][0] == []
    for t, symbol in enumerate(loaded.vocabulary.encode(plain_text)):
        logits = states.step(np.array([symbol]))[0].astype(float)
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        order = np.argsort(-chances, kind="stable")[:5]
        assert found["expected"][t + 1] == order.tolist()
        np.testing.assert_allclose(found["chances"][t + 1], chances[order], atol=1e-4)
    assert len(found["expected"]) == len(plain_text) + 1


@pytest.mark.parametrize(
    ("cell", "before"), [("lstm", False), ("gru", False), ("gru", True), ("rnn", False)]
)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_gates_make_the_states(
    tmp_path, make_run, plain_text, cell: str, before: bool, layer_norm: bool
) -> None:
    """The cell's equation, applied to the shown gates, gives the decoder's state."""
    loaded = Models(
        LanguageModel.load(
            make_run(tmp_path / "r", cell=cell, before=before, layer_norm=layer_norm)
        )
    ).get()
    found = reading.trace(loaded, plain_text)
    for layer in range(2):
        got = {q: found.values(layer, q) for q in reading.QUANTITIES[cell]}
        for name, values in got.items():
            assert values.shape == (len(plain_text), 12)
            assert values.min() >= (0 if name in reading.GATES else -1)
            assert values.max() <= 1
        h = got["h"]
        earlier = np.vstack([np.zeros((1, 12)), h[:-1]])
        if cell == "lstm":
            cells = found.states["c"][layer]
            before_cells = np.vstack([np.zeros((1, 12)), cells[:-1]])
            np.testing.assert_allclose(
                got["f"] * before_cells + got["i"] * got["g"], cells, atol=2e-5
            )
            np.testing.assert_allclose(got["o"] * got["c"], h, atol=2e-5)
        elif cell == "gru":
            np.testing.assert_allclose(got["z"] * earlier + (1 - got["z"]) * got["g"], h, atol=2e-5)


def test_the_trace_is_the_decoders_own_state(plain: Models) -> None:
    loaded = plain.get()
    found = reading.trace(loaded, "int f(void)")
    states = loaded.decoder.initial_states()
    loaded.decoder.prime(loaded.vocabulary.encode("int f("), states)
    h0, c0, h1, c1 = states.arrays()
    for array, expected in (
        (found.states["h"][0], h0),
        (found.states["c"][0], c0),
        (found.states["h"][1], h1),
        (found.states["c"][1], c1),
    ):
        np.testing.assert_allclose(array[5], expected[0], atol=1e-5)


@given(text=st.text(st.sampled_from("각시가 말 ㅋ.뷁漢A\n"), max_size=40))
def test_each_character_has_its_symbols(korean: Models, text: str) -> None:
    model = korean.get()
    try:
        found = reading.encode(model, text)
    except DataError:
        assert (
            len(model.preprocessor.encode("".join(c for c in text if c in "각시가 말 ㅋ.\n"))) < 2
        )
        return
    assert set(found.skipped) == set(text) - set(found.text)
    ends = np.cumsum(found.counts)
    for c, count, end in zip(found.text, found.counts, ends, strict=True):
        assert found.symbols[end - count : end] == model.preprocessor.encode(c)
    assert ends[-1] == len(found.symbols) == len(found.ids)


def test_characters_that_a_preprocessor_drops_are_left_out(tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r", text="각시가 말했다.\n", preprocessor="hangul-slides")
    found = reading.encode(Models(LanguageModel.load(run)).get(), "각“시”")
    assert (found.text, list(found.skipped)) == ("각시", ["“", "”"])


def test_too_much_is_refused_with_its_limit(plain: Models, monkeypatch) -> None:
    with pytest.raises(UsageError, match="shorten it to 10,000"):
        reading.read(plain.get(), "a" * (limits.TEXT + 1))
    monkeypatch.setattr(limits, "TRACE_BYTES", 10 * 4 * 2 * 2 * 12)
    reading.trace(plain.get(), "int f(void")
    with pytest.raises(UsageError, match="shorten it to 10 for this model"):
        reading.trace(plain.get(), "int f(void)")


@pytest.mark.parametrize("text", ["", "i", "漢字"])
def test_too_little_is_refused(plain: Models, text: str) -> None:
    with pytest.raises(DataError, match="fewer than two symbols that the model knows"):
        reading.read(plain.get(), text)


@pytest.mark.parametrize(("layer", "quantity"), [(2, "h"), (-1, "h"), (0, "z"), (0, "")])
def test_there_is_no_such_layer_or_gate(plain: Models, layer: int, quantity: str) -> None:
    found = reading.trace(plain.get(), "int")
    with pytest.raises(UsageError, match=r"Layer -?\d does not exist|has no"):
        found.values(layer, quantity)
