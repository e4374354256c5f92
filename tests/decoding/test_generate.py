"""Text from a model: streaming, priming, stopping, several streams, Hangul."""

import itertools

import numpy as np
import pytest

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.generate import encode_prime, generate, search
from rnntk.decoding.strategies import Greedy, pipeline
from rnntk.errors import RunError, UsageError
from rnntk.text.hangul import Hangul
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

LATIN = Vocabulary("etaoin shr\n")
KOREAN = Vocabulary("ᴥㅏㄱㄴㅣ ㅗㅅㅓㄳㅋ\n")


@pytest.fixture(scope="module")
def latin(random_weights):
    return Decoder(random_weights("lstm", V=len(LATIN)), "lstm"), LATIN, Plain()


@pytest.fixture(scope="module")
def korean(random_weights):
    return Decoder(random_weights("gru", V=len(KOREAN), scale=0.4), "gru"), KOREAN, Hangul()


def text_of(model, seed=0, **options):
    return "".join(p.text for p in generate(*model, rng=np.random.default_rng(seed), **options))


@pytest.mark.parametrize("strategies", [[], pipeline(temperature=0.7, top_k=5, no_repeat=6)])
def test_the_same_seed_gives_the_same_text(latin, strategies):
    options = {"strategies": strategies, "prime": "the rain", "length": 200}
    assert text_of(latin, 1, **options) == text_of(latin, 1, **options)
    assert text_of(latin, 1, **options) != text_of(latin, 2, **options)
    assert len(text_of(latin, 1, **options)) == 200


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("echo", [False, True])
def test_streamed_pieces_joined_are_the_whole_decoded(korean, seed, echo):
    preprocessor = korean[2]
    pieces = list(
        generate(*korean, rng=np.random.default_rng(seed), prime="가나 ", length=300, echo=echo)
    )
    symbols = "".join(p.symbols for p in pieces)
    assert len(symbols) == 300
    before = preprocessor.encode("가나 ") if echo else ""
    assert "".join(p.text for p in pieces) == preprocessor.decode(before + symbols)
    assert all(p.text for p in pieces[:-1])
    assert any("가" <= p.text[:1] <= "힣" for p in pieces)
    # raw gives the same draws as they are
    raw = text_of(korean, seed, prime="가나 ", length=300, raw=True, echo=echo)
    assert raw == before + symbols


def test_it_streams(korean):
    stream = generate(*korean, rng=np.random.default_rng(0), length=10**7)
    assert len(list(itertools.islice(stream, 5))) == 5


def test_priming_feeds_all_and_the_last_symbol_gives_the_first_draw(latin):
    decoder, vocabulary, _ = latin
    states = decoder.initial_states()
    for symbol in vocabulary.encode("hones"):
        logits = decoder.step(np.array([symbol]), states)
    first = vocabulary.decode([int(logits.argmax())])
    assert text_of(latin, prime="hones", length=1, strategies=[Greedy()]) == first


def test_costs_are_those_of_the_model_whatever_the_strategy(latin):
    decoder, vocabulary, _ = latin
    for num in (1, 3):
        pieces = list(
            generate(
                *latin,
                rng=np.random.default_rng(0),
                prime="tea",
                length=40,
                num=num,
                strategies=pipeline(temperature=0.5),
                costs=True,
            )
        )
        for stream in range(num):
            mine = [p for p in pieces if p.stream == stream]
            ids = vocabulary.encode("tea" + "".join(p.symbols for p in mine))
            costs = [cost for p in mine for cost in p.costs]
            np.testing.assert_allclose(costs, decoder.costs(ids)[2:], atol=1e-4)


@pytest.mark.parametrize("costs", [False, True])
def test_several_texts_follow_one_another(korean, costs):
    options = {"num": 4, "length": 60, "prime": "가", "costs": costs}
    pieces = list(generate(*korean, rng=np.random.default_rng(3), **options))
    streams = [p.stream for p in pieces]
    assert streams == sorted(streams)
    assert set(streams) == {0, 1, 2, 3}
    texts = {k: "".join(p.symbols for p in pieces if p.stream == k) for k in range(4)}
    assert [len(t) for t in texts.values()] == [60] * 4
    assert len(set(texts.values())) == 4
    for k, symbols in texts.items():
        shown = "".join(p.text for p in pieces if p.stream == k)
        assert shown == Hangul().decode(symbols)


@pytest.mark.parametrize("num", [1, 5])
def test_each_text_ends_with_the_stop(latin, num):
    options = {"num": num, "length": 2000, "prime": "ten"}
    free = list(generate(*latin, rng=np.random.default_rng(8), **options))
    stopped = list(generate(*latin, rng=np.random.default_rng(8), stop="et", **options))
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


def test_an_empty_prime_starts_from_a_newline_or_the_commonest_symbol():
    prime = encode_prime("", LATIN, Plain())
    assert LATIN.decode(prime.ids) == "\n"
    assert prime.text == ""
    assert encode_prime("", Vocabulary("xyz"), Plain()).ids.tolist() == [0]


def test_an_empty_prime_is_not_printed(latin):
    assert len(text_of(latin, length=7, echo=True)) == 7
    assert text_of(latin, length=7, echo=True, prime="the ").startswith("the ")
    assert text_of(latin, length=0, echo=True, prime="the ") == "the "


def test_unknown_characters_of_the_prime_are_named_or_skipped():
    with pytest.raises(UsageError, match=r"'X' \(U\+0058\), '가' \(U\+AC00\).*--on-unknown skip"):
        encode_prime("Xat가X", LATIN, Plain())
    prime = encode_prime("Xat가X", LATIN, Plain(), on_unknown="skip")
    assert (prime.text, prime.skipped) == ("at", ["X", "가"])
    assert LATIN.decode(prime.ids) == "at"
    # The character is named, not the jamo that it becomes.
    with pytest.raises(UsageError, match="'뷁'"):
        encode_prime("가뷁", KOREAN, Hangul())
    assert encode_prime("뷁", KOREAN, Hangul(), on_unknown="skip").text == ""
    with pytest.raises(UsageError, match="error or skip"):
        encode_prime("a", LATIN, Plain(), on_unknown="drop")


def test_the_unknown_symbol_stands_for_what_is_unknown_and_is_never_drawn(random_weights):
    vocabulary = Vocabulary("ab?", unknown="?")
    weights = random_weights("rnn", V=3)
    weights["output/bias"] = np.array([0, 0, 50], np.float32)
    model = Decoder(weights, "rnn"), vocabulary, Plain()
    assert encode_prime("aXb", vocabulary, Plain()).ids.tolist() == [0, 2, 1]
    assert set(text_of(model, length=100, prime="aXb")) == {"a", "b"}
    assert "?" not in search(*model, width=3, length=5)[0].text


def test_search_gives_whole_texts_the_best_first(korean):
    found = search(*korean, width=4, prime="가", length=12, echo=True)
    assert [p.stream for p in found] == [0, 1, 2, 3]
    costs = [sum(p.costs) for p in found]
    assert costs == sorted(costs)
    for piece in found:
        assert piece.text == Hangul().decode(Hangul().encode("가") + piece.symbols)
    greedy = text_of(korean, prime="가", length=12, strategies=[Greedy()], raw=True)
    assert search(*korean, width=1, prime="가", length=12, raw=True)[0].text == greedy
    with pytest.raises(UsageError, match="--stop"):
        search(*korean, width=2, stop="Q")


def test_errors_come_at_once_and_name_the_flag(latin):
    rng = np.random.default_rng(0)
    for options, flag in (
        ({"length": -1}, "--length"),
        ({"num": 0}, "--num"),
        ({"stop": ""}, "--stop"),
    ):
        with pytest.raises(UsageError, match=flag):
            generate(*latin, rng=rng, **options)
    with pytest.raises(RunError, match=r"3 symbols.*11"):
        generate(latin[0], Vocabulary("abc"), Plain(), rng=rng)
