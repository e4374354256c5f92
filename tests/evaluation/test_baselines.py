"""N-gram models against hand calculation and a slow implementation; xz."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError
from rnntk.evaluation.baselines import measure, ngram_nats, xz_bits
from rnntk.text.preprocessors import Plain
from rnntk.text.vocabulary import Vocabulary


def slow_probability(training, context, symbol, V, k):
    """Witten and Bell's formula for an n-gram model of order k, directly."""
    if k == 0:
        return 1 / V
    lower = slow_probability(training, context, symbol, V, k - 1)
    if k - 1 > len(context):
        return lower
    h = tuple(context[len(context) - (k - 1) :])
    after = Counter(
        training[t + k - 1]
        for t in range(len(training) - k + 1)
        if tuple(training[t : t + k - 1]) == h
    )
    total, kinds = sum(after.values()), len(after)
    if not total:
        return lower
    return (after[symbol] + kinds * lower) / (total + kinds)


ids = st.lists(st.integers(0, 3), min_size=1, max_size=25)


@given(ids, ids)
@settings(deadline=None, max_examples=60)
def test_ngram_probabilities_follow_the_formula(training, held_out):
    nats = ngram_nats(training, held_out, 4, order=4)
    for k in range(1, 5):
        expected = [
            -math.log(slow_probability(training, held_out[:t], symbol, 4, k))
            for t, symbol in enumerate(held_out)
        ]
        np.testing.assert_allclose(nats[k - 1], expected, rtol=1e-12)


@given(ids, st.lists(st.integers(0, 3), max_size=6))
@settings(deadline=None, max_examples=60)
def test_probabilities_sum_to_one(training, context):
    last = [ngram_nats(training, [*context, s], 5)[:, -1] for s in range(5)]
    np.testing.assert_allclose(np.exp(-np.array(last)).sum(axis=0), 1, rtol=1e-12)


def test_ngram_probabilities_by_hand():
    # "aab": p(a) = (2 + 2/2) / (3 + 2) = 3/5; a is followed by a and b, so p(b|a) = (1 + 2 * 2/5) / 4.
    nats = ngram_nats([0, 0, 1], [0, 1], 2, order=2)
    np.testing.assert_allclose(np.exp(-nats), [[3 / 5, 2 / 5], [3 / 5, 9 / 20]])


def test_longer_contexts_help_on_a_text_with_a_pattern(random_weights):
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 10, 5) for _ in range(8)]
    text = np.concatenate([words[k] for k in rng.integers(0, 8, 600)])
    decoder = Decoder(random_weights("rnn", V=10), "rnn")
    model = LanguageModel(decoder, Vocabulary("0123456789"), Plain())
    evaluation = model.evaluate(text[2500:])
    found = measure(model, evaluation, text[:2500])
    bits = list(found.ngrams.values())
    assert bits[0] > bits[1] > bits[2] > bits[3]
    assert bits[3] > 3 / 5  # no model can predict which of eight words comes next
    assert found.ngrams_per_character == found.ngrams
    assert found.xz_given_training < found.xz
    assert found.rows()[0] == ("single characters", bits[0])
    assert set(measure(model, evaluation, text[:2500], held_out=False).ngrams) == {1}
    alone = {"xz_bits_per_character": found.xz}
    assert measure(model, evaluation, None).summary() == alone


def test_xz_finds_repetition():
    rng = np.random.default_rng(1)
    text = "".join(map(chr, rng.integers(97, 123, 5000)))
    alone, given_training = (bits / 5000 for bits in xz_bits(text, text))
    assert math.log2(26) < alone < 1.15 * math.log2(26) + 0.2
    assert given_training < 0.2
    assert xz_bits("", "가나다" * 1000)[0] / 3000 < 1


def test_bad_arguments_are_refused():
    for training, held_out in (([], [1]), ([1], []), ([1], [7])):
        with pytest.raises(DataError):
            ngram_nats(training, held_out, 3)
    with pytest.raises(DataError, match="empty"):
        xz_bits("abc", "")
