"""Text from a model: streaming, the prompt, stopping, several streams, Hangul."""

import itertools
from collections import Counter

import numpy as np
import pytest

from rnntk.config import SampleConfig
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError, RunError, UsageError
from rnntk.text.hangul import Hangul, HangulSlides
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

LATIN = Vocabulary("etaoin shr\n")
KOREAN = Vocabulary("ᴥㅏㄱㄴㅣ ㅗㅅㅓㄳㅋ\n")


@pytest.fixture(scope="module")
def latin(random_weights):
    decoder = Decoder(random_weights("lstm", V=len(LATIN)), "lstm")
    return LanguageModel(decoder, LATIN, Plain())


@pytest.fixture(scope="module")
def korean(random_weights):
    decoder = Decoder(random_weights("gru", V=len(KOREAN), scale=0.4), "gru")
    return LanguageModel(decoder, KOREAN, Hangul())


def pieces_of(model, seed=0, prompt="", echo=False, surprisal=False, **settings):
    config = SampleConfig(**settings)
    return model.pieces(model.prompt(prompt), config, seed, echo=echo, surprisal=surprisal)


def text_of(model, seed=0, **options):
    return "".join(p.text for p in pieces_of(model, seed, **options))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "top_k": 5, "no_repeat": 6}])
def test_the_same_seed_gives_the_same_text(latin, settings):
    options = {**settings, "prompt": "the rain", "length": 200}
    assert text_of(latin, 1, **options) == text_of(latin, 1, **options)
    assert text_of(latin, 1, **options) != text_of(latin, 2, **options)
    assert len(text_of(latin, 1, **options)) == 200


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("echo", [False, True])
def test_streamed_pieces_join_to_the_decoded_text(korean, seed, echo):
    preprocessor = korean.preprocessor
    pieces = list(pieces_of(korean, seed, prompt="가나 ", length=300, echo=echo))
    symbols = "".join(p.symbols for p in pieces)
    before = preprocessor.encode("가나 ") if echo else ""
    whole = preprocessor.decode(before + symbols)
    prompt = 3 if echo else 0
    assert "".join(p.text for p in pieces) == whole[: prompt + 300]
    assert len(preprocessor.decoder().feed(before + symbols[:-1])) < prompt + 300, "none left over"
    assert all(p.text for p in pieces[:-1])
    assert any("가" <= p.text[:1] <= "힣" for p in pieces)
    # the same samples without joining
    raw = text_of(korean, seed, prompt="가나 ", length=len(symbols), raw=True, echo=echo)
    assert raw == before + symbols
    # A longer text begins with the shorter one.
    longer = text_of(korean, seed, prompt="가나 ", length=400, echo=echo)
    assert longer.startswith(whole[: prompt + 300])


def test_pieces_are_streamed(korean):
    stream = pieces_of(korean, length=10**7)
    assert len(list(itertools.islice(stream, 5))) == 5


def test_the_whole_prompt_is_read_before_the_first_sample(latin):
    decoder, vocabulary = latin.decoder, latin.vocabulary
    states = decoder.initial_states()
    for symbol in vocabulary.encode("hones"):
        logits = states.step(np.array([symbol]))
    first = vocabulary.decode([int(logits.argmax())])
    assert text_of(latin, prompt="hones", length=1, temperature=0) == first


def test_surprisal_is_the_models_whatever_the_strategy(latin):
    decoder, vocabulary = latin.decoder, latin.vocabulary
    for num in (1, 3):
        pieces = list(
            pieces_of(latin, prompt="tea", length=40, num=num, temperature=0.5, surprisal=True)
        )
        for stream in range(num):
            mine = [p for p in pieces if p.stream == stream]
            ids = vocabulary.encode("tea" + "".join(p.symbols for p in mine))
            nats = [value for p in mine for value in p.nats]
            np.testing.assert_allclose(nats, decoder.costs(ids)[2:], atol=1e-4)


@pytest.mark.parametrize("surprisal", [False, True])
def test_several_texts_follow_one_another(korean, surprisal):
    options = {"num": 4, "length": 60, "prompt": "가", "surprisal": surprisal}
    pieces = list(pieces_of(korean, 3, **options))
    streams = [p.stream for p in pieces]
    assert streams == sorted(streams)
    assert set(streams) == {0, 1, 2, 3}
    texts = {k: "".join(p.symbols for p in pieces if p.stream == k) for k in range(4)}
    assert len(set(texts.values())) == 4
    for k, symbols in texts.items():
        shown = "".join(p.text for p in pieces if p.stream == k)
        assert len(shown) == 60
        assert shown == Hangul().decode(symbols)[:60]
        assert len(Hangul().decoder().feed(symbols[:-1])) < 60, "no symbol is left over"


@pytest.mark.parametrize("num", [1, 5])
def test_each_text_ends_at_the_stop_string(latin, num):
    options = {"num": num, "length": 2000, "prompt": "ten"}
    free = list(pieces_of(latin, 8, **options))
    stopped = list(pieces_of(latin, 8, stop="et", **options))
    for k in range(num):
        whole = "".join(p.text for p in free if p.stream == k)
        found = "".join(p.text for p in stopped if p.stream == k)
        assert "et" in whole
        assert found == whole[: whole.index("et") + 2]


def test_a_stop_in_hangul_spans_pieces(korean):
    whole = text_of(korean, 5, length=1500)
    stop = whole[len(whole) // 3 : len(whole) // 3 + 3]
    found = text_of(korean, 5, length=1500, stop=stop)
    assert found == whole[: whole.index(stop) + 3]


def test_an_empty_prompt_starts_from_a_newline_or_the_most_frequent_symbol(latin, random_weights):
    prompt = latin.prompt("")
    assert LATIN.decode(prompt.ids) == "\n"
    assert prompt.text == ""
    other = Decoder(random_weights("rnn", V=3), "rnn")
    without = LanguageModel(other, Vocabulary("xyz"), Plain())
    assert without.prompt("").ids.tolist() == [0]


def test_an_empty_prompt_is_not_printed(latin):
    assert len(text_of(latin, length=7, echo=True)) == 7
    assert text_of(latin, length=7, echo=True, prompt="the ").startswith("the ")
    assert text_of(latin, length=0, echo=True, prompt="the ") == "the "


def test_unknown_characters_of_the_prompt_are_refused_or_skipped(latin, korean):
    with pytest.raises(UsageError, match=r"'X' \(U\+0058\), '가' \(U\+AC00\).*on_unknown=.skip"):
        latin.prompt("Xat가X")
    prompt = latin.prompt("Xat가X", on_unknown="skip")
    assert (prompt.text, prompt.skipped) == ("at", {"X": 2, "가": 1})
    assert LATIN.decode(prompt.ids) == "at"
    # The message names the character, not its jamo.
    with pytest.raises(UsageError, match="'뷁'"):
        korean.prompt("가뷁")
    assert korean.prompt("뷁", on_unknown="skip").text == ""
    with pytest.raises(UsageError, match="error or skip, got 'drop'"):
        latin.prompt("a", on_unknown="drop")


def test_characters_the_preprocessor_drops_are_refused_or_skipped(random_weights):
    symbols = HangulSlides().encode("가나 .")
    vocabulary = Vocabulary.from_counts(Counter(symbols))
    decoder = Decoder(random_weights("gru", V=len(vocabulary)), "gru")
    model = LanguageModel(decoder, vocabulary, HangulSlides())
    text = "漢가 “字나”漢."
    with pytest.raises(UsageError, match=r"prompt has .*'漢' \(U\+6F22\), '“'.*'字'.*'”'"):
        model.prompt(text)
    with pytest.raises(DataError, match="text has .*'漢'"):
        model.evaluate(text)
    assert list(model.prompt(text, "skip").skipped) == ["漢", "“", "字", "”"]
    assert model.encode(text, "skip").skipped == {"漢": 2, "“": 1, "字": 1, "”": 1}
    found, clean = model.evaluate(text, on_unknown="skip"), model.evaluate("가 나.")
    assert (found.text, found.characters, found.left_out) == ("가 나.", 4, 5)
    assert found.bits_per_character == clean.bits_per_character


def test_the_unknown_symbol_is_read_for_unknown_characters_but_never_generated(random_weights):
    vocabulary = Vocabulary("ab?", unknown="?")
    weights = random_weights("rnn", V=3)
    weights["output/bias"] = np.array([0, 0, 50], np.float32)
    model = LanguageModel(Decoder(weights, "rnn"), vocabulary, Plain())
    assert model.prompt("aXb").ids.tolist() == [0, 2, 1]
    assert set(text_of(model, length=100, prompt="aXb")) == {"a", "b"}
    assert "?" not in text_of(model, beam=3, length=5)


def test_beam_search_gives_whole_texts_best_first(korean):
    pieces = list(pieces_of(korean, beam=4, num=4, prompt="가", length=12, echo=True))
    streams = [p.stream for p in pieces]
    assert streams == sorted(streams)
    assert set(streams) == {0, 1, 2, 3}
    nats = [sum(sum(p.nats) for p in pieces if p.stream == k) for k in range(4)]
    assert nats == sorted(nats)
    for k in range(4):
        mine = [p for p in pieces if p.stream == k]
        symbols = "".join(p.symbols for p in mine)
        whole = Hangul().decode(Hangul().encode("가") + symbols)
        assert "".join(p.text for p in mine) == whole[:13]
        assert len(whole) >= 13
    for raw in (False, True):
        greedy = text_of(korean, prompt="가", length=12, temperature=0, raw=raw)
        assert text_of(korean, beam=1, prompt="가", length=12, raw=raw) == greedy
        assert len(greedy) == 12
    with pytest.raises(UsageError, match="stop has characters .*'Q'"):
        pieces_of(korean, beam=2, stop="Q")


def test_a_stop_that_cannot_come_is_refused(latin, korean):
    for model, stop in ((latin, "rain Q"), (korean, "각Q"), (korean, "닥")):
        with pytest.raises(
            UsageError, match=f"^stop has characters .*: '{stop[-1]}' .* Change them"
        ):
            pieces_of(model, stop=stop)
    with pytest.raises(UsageError, match="^stop has characters unknown to the model: '각'"):
        pieces_of(korean, stop="각", raw=True)
    assert text_of(korean, stop="ㅏ", raw=True, length=500).endswith("ㅏ")
    decoder, symbols = latin.decoder, Vocabulary(LATIN.symbols, unknown="e")
    with pytest.raises(UsageError, match="^stop has characters unknown to the model: 'Q'"):
        pieces_of(LanguageModel(decoder, symbols, Plain()), stop="Q")


def test_errors_are_raised_at_the_call_and_name_the_field(latin):
    for settings in ({"length": -1}, {"num": 0}, {"stop": ""}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            pieces_of(latin, **settings)
    with pytest.raises(RunError, match=r"3 symbols.*11"):
        LanguageModel(latin.decoder, Vocabulary("abc"), Plain())
