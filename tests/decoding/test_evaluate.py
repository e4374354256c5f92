"""Surprisal of a text, by symbol, character and syllable."""

import json
import math

import numpy as np
import pytest

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError, RunError
from rnntk.text.hangul import Hangul
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary

KOREAN = Vocabulary("ᴥㅏㄱㄴㅣ .")


@pytest.fixture(scope="module")
def korean(random_weights):
    decoder = Decoder(random_weights("gru", V=7, scale=0.4), "gru")
    return LanguageModel(decoder, KOREAN, Hangul())


def constant_model(random_weights, symbols, bias):
    """A model with fixed probabilities, whatever came before."""
    weights = {name: np.zeros_like(a) for name, a in random_weights("rnn", V=len(bias)).items()}
    weights["output/bias"] = np.array(bias, np.float32)
    return LanguageModel(Decoder(weights, "rnn"), Vocabulary(symbols), Plain())


def test_the_loss_of_a_uniform_model_is_the_log_of_the_vocabulary(random_weights):
    found = constant_model(random_weights, "abcd", [0, 0, 0, 0]).evaluate("abacadbcd")
    assert found.loss == pytest.approx(math.log(4))
    assert found.bits_per_symbol == pytest.approx(2)
    assert found.bits_per_character == pytest.approx(2)
    assert found.perplexity == pytest.approx(4)
    assert found.bits_per_syllable is None


def test_losses_of_known_probabilities_by_hand(random_weights):
    found = constant_model(random_weights, "abc", np.log([0.5, 0.25, 0.25])).evaluate("caab")
    np.testing.assert_allclose(found.nats / math.log(2), [1, 1, 2], rtol=1e-6)
    assert found.bits_per_symbol == pytest.approx(4 / 3)
    np.testing.assert_allclose(found.character_nats, [0, *found.nats])


def test_hangul_by_character_and_syllable(korean):
    decoder = korean.decoder
    text = "각나 기. 가"
    symbols = Hangul().encode(text)
    found = korean.evaluate(text)
    costs = decoder.costs(KOREAN.encode(symbols))
    np.testing.assert_allclose(found.nats, costs)
    # 각 is four symbols, the first of them given; 나 three, the space one, ...
    ends = np.cumsum([4, 3, 1, 3, 1, 1, 3])
    by_hand = [costs[max(0, a - 1) : b - 1].sum() for a, b in zip([0, *ends], ends, strict=False)]
    np.testing.assert_allclose(found.character_nats, by_hand)
    assert found.syllables == 4
    assert found.bits_per_syllable == pytest.approx(
        np.array(by_hand)[[0, 1, 3, 6]].mean() / math.log(2)
    )
    assert found.bits_per_character == pytest.approx(
        costs.mean() / math.log(2) * len(symbols) / len(text)
    )
    assert found.summary()["characters"] == 7


def test_ids_and_text_give_the_same_losses(korean):
    ids = KOREAN.encode(Hangul().encode("각나 기."))
    by_ids = korean.evaluate(ids)
    by_text = korean.evaluate("각나 기.")
    assert by_ids.text == "각나 기."
    np.testing.assert_array_equal(by_ids.character_nats, by_text.character_nats)


def test_only_cut_characters_have_no_loss_of_their_own(korean):
    symbols = Hangul().encode("각나나 기나")
    for start in range(7):
        for end in range(len(symbols) - 2, len(symbols) + 1):
            found = korean.evaluate(KOREAN.encode(symbols[start:end]))
            costs = dict(enumerate([math.nan, *found.nats], start))
            assert len(found.character_nats) == len(found.text)
            # Syllables in the middle are always whole: here the second 나 and 기.
            for syllable, first in (("나", 7), ("기", 11)):
                place = found.text.index("나 기") + "나 기".index(syllable)
                assert found.character_nats[place] == pytest.approx(
                    sum(costs[first + k] for k in range(3))
                )
            assert np.isnan(found.character_nats).sum() <= 3
            assert found.bits_per_syllable > 0


def test_a_text_in_chunks_has_no_losses_by_character(korean):
    found = korean.evaluate(KOREAN.encode("ㄱㅏㄱㅏㄱㅏㄱㅏㄱㅏㄱㅏㄱㅏ"))
    assert found.character_nats is None
    assert found.bits_per_syllable is None


def test_texts_that_cannot_be_evaluated_are_refused(korean):
    with pytest.raises(DataError, match="'뷁'.*on_unknown=.skip"):
        korean.evaluate("가뷁나")
    skipped = korean.evaluate("가뷁나", on_unknown="skip")
    assert skipped.text == "가나"
    for text in ("", "."):
        with pytest.raises(DataError, match="at least 2"):
            korean.evaluate(text)
    with pytest.raises(RunError, match="3 symbols.*7"):
        LanguageModel(korean.decoder, Vocabulary("abc"), Plain())


def test_a_perplexity_too_large_for_a_float_is_null_in_json(random_weights):
    found = constant_model(random_weights, "ab", [2000, 0]).evaluate("bbb")
    assert found.loss == 2000
    assert found.perplexity == math.inf
    assert json.loads(json.dumps(found.summary(), allow_nan=False))["perplexity"] is None


def test_the_corpus_may_count_the_characters(korean):
    ids = KOREAN.encode(Hangul().encode("각나 기.")[2:])
    found = korean.evaluate(ids, characters=5)
    assert found.summary()["characters"] == 5
    assert found.bits_per_character == pytest.approx(found.bits_per_symbol * len(ids) / 5)
