"""Each strategy: the symbols it keeps, and a million samples against its probabilities."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnntk.config import SampleConfig
from rnntk.decoding.strategies import (
    Ban,
    MinP,
    RepetitionGuard,
    Sampler,
    Temperature,
    TopK,
    TopP,
    log_softmax,
    pipeline,
    surprisal,
)
from rnntk.errors import UsageError


class Drawing(Sampler):
    """A sampler with its own uniform numbers."""

    def __init__(self, strategies, rng, n, vocabulary_size):
        super().__init__(strategies, n, vocabulary_size)
        self.rng = rng

    def draw(self, logits):
        return super().draw(logits, self.rng.random(len(self.ids)))


LOGITS = np.array([2.0, -1.0, 0.5, 3.0, 1.5, -4.0, 0.0, 2.5])


def softmax(scores):
    return np.exp(log_softmax(scores))


P = softmax(LOGITS)


def kept(*places):
    """The softmax over these symbols only."""
    only = np.zeros_like(P)
    only[list(places)] = P[list(places)]
    return only / only.sum()


def chi_square_limit(freedom):
    """About the 1 - 1e-4 quantile (Wilson and Hilferty)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))) ** 3


# Probabilities of LOGITS, most likely first: 3 (.41), 7 (.25), 0 (.15), 4 (.09), 2 (.03), 6, 1, 5.
CASES = {
    "plain": ([], P),
    "temperature": ([Temperature(0.6)], softmax(LOGITS / 0.6)),
    "hot": ([Temperature(2.0)], softmax(LOGITS / 2)),
    "top-k": ([TopK(3)], kept(3, 7, 0)),
    "top-p": ([TopP(0.75)], kept(3, 7, 0)),
    "min-p": ([MinP(0.2)], kept(3, 7, 0, 4)),
    "ban": ([Ban([3, 5])], kept(0, 1, 2, 4, 6, 7)),
    "all": (
        pipeline(SampleConfig(temperature=0.8, top_k=5, top_p=0.9, min_p=0.01), banned=[7]),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1000, 1])
def test_samples_follow_the_probabilities(case, n):
    strategies, expected = CASES[case]
    if expected is None:
        rest = softmax(np.where(np.arange(8) == 7, -np.inf, LOGITS) / 0.8)
        # By descending probability: 3, 0, 4, 2, 6; the first three reach 0.9.
        rest[[1, 2, 5, 6]] = 0
        expected = rest / rest.sum()
    draws = 1_000_000 if n > 1 else 20_000
    sampler = Drawing(strategies, np.random.default_rng(7), n, 8)
    logits = np.tile(LOGITS.astype(np.float32), (n, 1))
    counts = np.zeros(8)
    for _ in range(draws // n):
        counts += np.bincount(sampler.draw(logits), minlength=8)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = ((counts - draws * expected)[possible] ** 2 / (draws * expected[possible])).sum()
    assert statistic < chi_square_limit(possible.sum() - 1)


def test_the_chi_square_test_can_fail():
    sampler = Drawing([Temperature(1.02)], np.random.default_rng(7), 1000, 8)
    logits = np.tile(LOGITS.astype(np.float32), (1000, 1))
    counts = np.zeros(8)
    for _ in range(1000):
        counts += np.bincount(sampler.draw(logits), minlength=8)
    assert ((counts - 1e6 * P) ** 2 / (1e6 * P)).sum() > chi_square_limit(7)


def rows(V=9):
    score = st.floats(-30, 30, width=32)
    return st.lists(st.lists(score, min_size=V, max_size=V), min_size=1, max_size=4).map(np.array)


@given(rows(), st.integers(0, 2**31))
@settings(deadline=None)
def test_greedy_is_the_limit_of_temperature(scores, seed):
    def draw(strategy):
        sampler = Drawing([strategy], np.random.default_rng(seed), *scores.shape)
        return sampler.draw(scores).tolist()

    assert draw(Temperature(0)) == scores.argmax(axis=1).tolist()
    # With a clear winner, a small temperature is enough.
    apart = scores.copy()
    apart[np.arange(len(apart)), apart.argmax(axis=1)] += 1
    scores = apart
    assert draw(Temperature(1e-3)) == draw(Temperature(0))
    assert draw(TopK(1)) == draw(Temperature(0))
    assert draw(TopP(1e-9)) == draw(Temperature(0))
    assert draw(MinP(1)) == draw(Temperature(0))


@given(rows(), st.integers(0, 2**31))
@settings(deadline=None)
def test_filters_that_remove_nothing_change_no_sample(scores, seed):
    def draws(*strategies):
        sampler = Drawing(strategies, np.random.default_rng(seed), *scores.shape)
        return [sampler.draw(scores).tolist() for _ in range(5)]

    plain = draws()
    for strategy in (TopK(9), TopK(50), TopP(1), MinP(0), Temperature(1)):
        assert draws(strategy) == plain


@given(rows(), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_top_p_keeps_the_fewest_symbols_that_reach_p(scores, p):
    cut = scores.copy()
    TopP(p).adjust(cut)
    for before, after in zip(scores, cut, strict=True):
        likely = softmax(before)
        left = np.isfinite(after)
        assert likely[left].sum() >= p - 1e-12
        assert likely[left].sum() - likely[left].min() < p + 1e-12
        assert likely[left].min() >= likely[~left].max(initial=0) - 1e-12


@given(rows(), st.floats(0.01, 1.0))
@settings(deadline=None)
def test_min_p_keeps_symbols_likely_enough(scores, p):
    cut = scores.copy()
    MinP(p).adjust(cut)
    likely = softmax(scores)
    ratio = likely / likely.max(axis=1, keepdims=True)
    clear = abs(ratio - p) > 1e-9
    assert (np.isfinite(cut) == (ratio >= p))[clear].all()


def test_top_k_keeps_ties_whatever_their_order():
    scores = np.array([[1.0, 2.0, 1.0, 0.0, 3.0]])
    TopK(3).adjust(scores)
    assert np.isfinite(scores).tolist() == [[True, True, True, False, True]]


def test_one_stream_samples_like_the_first_of_many():
    logits = np.tile(LOGITS.astype(np.float32), (1, 1))
    alone = Drawing([], np.random.default_rng(3), 1, 8)
    many = Drawing([], np.random.default_rng(3), 2, 8)
    singles = [alone.draw(logits).item() for _ in range(40)]
    pairs = [many.draw(np.tile(logits, (2, 1))).tolist() for _ in range(20)]
    assert singles == [k for pair in pairs for k in pair]


class LastUniform:
    """A generator stuck at the largest number below 1."""

    def random(self, size=None):
        u = np.nextafter(1.0, 0.0)
        return u if size is None else np.full(size, u)


@pytest.mark.parametrize("n", [1, 3])
def test_the_largest_uniform_number_never_samples_a_removed_symbol(n):
    logits = np.tile(np.array([0.1, 0.2, 0.3, 9.0]), (n, 1))
    sampler = Drawing([Ban([3])], LastUniform(), n, 4)
    assert sampler.draw(logits).tolist() == [2] * n


def test_no_repeat_allows_no_ngram_twice():
    rng = np.random.default_rng(5)
    logits = np.tile(rng.normal(size=6), (3, 1))
    guard = RepetitionGuard(4)
    sampler = Drawing([guard], rng, 3, 6)
    drawn = np.array([sampler.draw(logits).copy() for _ in range(150)]).T
    for stream in drawn.tolist():
        runs = [tuple(stream[k : k + 4]) for k in range(len(stream) - 3)]
        assert len(runs) == len(set(runs))
    free = Drawing([], np.random.default_rng(5), 3, 6)
    stream = [int(free.draw(logits)[0]) for _ in range(150)]
    runs = [tuple(stream[k : k + 4]) for k in range(147)]
    assert len(runs) > len(set(runs))


def test_no_repeat_yields_if_all_is_forbidden_and_a_copy_starts_empty():
    sampler = Drawing([RepetitionGuard(2)], np.random.default_rng(0), 1, 2)
    logits = np.zeros((1, 2))
    assert {sampler.draw(logits).item() for _ in range(50)} == {0, 1}
    guard = RepetitionGuard(2)
    fresh = copy.deepcopy(guard)  # each text gets its own copy
    for _ in range(2):
        guard.adjust(np.zeros((1, 2)))
        guard.observe(np.array([0]))
    scores = np.zeros((1, 2))
    guard.adjust(scores)
    assert np.isneginf(scores).tolist() == [[True, False]]
    scores = np.zeros((1, 2))
    fresh.adjust(scores)
    assert np.isfinite(scores).all()


def test_huge_logits_and_tiny_temperatures_neither_overflow_nor_warn():
    logits = np.array([[3e38, -3e38, 1.0], [0.0, 1e30, 1e30]], np.float32)
    for strategies in ([], [Temperature(1e-150)], [Temperature(1e-250)], [TopP(0.5)]):
        sampler = Drawing(strategies, np.random.default_rng(1), 2, 3)
        first, second = sampler.draw(logits).tolist()
        assert first == 0
        assert second in (1, 2)


def test_surprisal_is_minus_the_log_of_the_softmax():
    logits = np.stack([LOGITS, LOGITS[::-1]]).astype(np.float32)
    np.testing.assert_allclose(
        surprisal(logits, np.array([3, 0])), -np.log([P[3], P[7]]), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", 0),
        ("top_p", 0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("no_repeat", 1),
        ("temperature", -1),
    ],
)
def test_values_out_of_range_name_the_field(name, value):
    with pytest.raises(UsageError, match=name.replace("_", ".")):
        SampleConfig(**{name: value})


def test_banning_the_whole_vocabulary_is_refused():
    with pytest.raises(UsageError, match="banned"):
        Ban(range(3)).adjust(np.zeros((1, 3)))


def test_strategies_are_applied_in_order_and_greedy_skips_the_rest():
    def names(banned=(), **settings):
        return [type(s).__name__ for s in pipeline(SampleConfig(**settings), banned)]

    settings = {"top_k": 3, "top_p": 0.9, "min_p": 0.1, "no_repeat": 5}
    expected = ["Ban", "RepetitionGuard", "Temperature", "TopK", "TopP", "MinP"]
    assert names([1], temperature=0.5, **settings) == expected
    assert names([1], temperature=0, top_k=3) == ["Ban", "Temperature"]
    assert names() == []
