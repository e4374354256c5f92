"""Beam search against exhaustive search on a tiny model, and against greedy sampling."""

import itertools

import numpy as np
import pytest

from rnntk.config import SampleConfig
from rnntk.decoding.beam import beam_search
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.strategies import Sampler, Temperature
from rnntk.errors import UsageError

V, START = 4, 2


@pytest.fixture(params=["lstm", "gru", "rnn"])
def decoder(request, random_weights):
    return Decoder(random_weights(request.param, layers=2, V=V, E=3, H=5, scale=1.0), request.param)


def primed(decoder):
    states = decoder.initial_states()
    decoder.prime([START], states)
    return states


def all_continuations(decoder, length, stop=(), alpha=0.0):
    """Every text of at most `length` symbols with its score, best first."""
    found = {}
    for ids in itertools.product(range(V), repeat=length):
        costs = decoder.costs([START, *ids])
        end = length
        for t in range(len(stop), length + 1) if stop else ():
            if ids[t - len(stop) : t] == tuple(stop):
                end = t
                break
        found[ids[:end]] = -costs[:end].sum() / end**alpha
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_wide_beam_is_exhaustive_search(decoder, length):
    expected = all_continuations(decoder, length)
    found = beam_search(decoder, primed(decoder), length, V**length, alpha=0)
    assert [tuple(h.ids.tolist()) for h in found] == [ids for ids, _ in expected]
    np.testing.assert_allclose([h.score for h in found], [s for _, s in expected], atol=1e-4)
    best = beam_search(decoder, primed(decoder), length, V ** (length - 1), alpha=0)[0]
    assert tuple(best.ids.tolist()) == expected[0][0]


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("stop", [(1,), (1, 3)])
def test_a_wide_beam_with_stop_and_alpha_is_exhaustive_search(decoder, stop, alpha):
    expected = all_continuations(decoder, 4, stop, alpha)
    found = beam_search(decoder, primed(decoder), 4, V**4, alpha=alpha, stop=stop)
    assert tuple(found[0].ids.tolist()) == expected[0][0]
    assert [tuple(h.ids.tolist()) for h in found] == [ids for ids, _ in expected]


def test_a_larger_alpha_prefers_longer_texts(decoder):
    def mean_length(alpha):
        found = beam_search(decoder, primed(decoder), 5, 200, alpha=alpha, stop=(1,))
        return np.mean([len(h.ids) for h in found[:20]])

    assert mean_length(0.0) < mean_length(2.0)


def test_a_beam_of_one_is_greedy(decoder):
    sampler = Sampler([Temperature(0)], 1, V)
    states = primed(decoder)
    greedy = []
    for _ in range(60):
        ids = sampler.draw(states.logits, np.zeros(1))
        greedy.append(ids.item())
        states.step(ids)
    (found,) = beam_search(decoder, primed(decoder), 60, 1)
    assert found.ids.tolist() == greedy
    np.testing.assert_allclose(found.nats, decoder.costs([START, *greedy]), atol=1e-5)


def test_a_wider_beam_is_no_worse_and_leaves_the_states_unchanged(decoder):
    states = primed(decoder)
    before = [a.copy() for a in [*states.arrays(), states.logits]]
    scores = [beam_search(decoder, states, 8, width)[0].score for width in (1, 4, 64)]
    assert scores[0] <= scores[-1] + 1e-6
    for a, b in zip(before, [*states.arrays(), states.logits], strict=True):
        np.testing.assert_array_equal(a, b)


def test_banned_symbols_are_not_generated(decoder):
    found = beam_search(decoder, primed(decoder), 4, 30, banned=[0, 3])
    assert len(found) == 16
    assert {int(k) for h in found for k in h.ids} == {1, 2}


@pytest.mark.parametrize(
    "settings", [{"beam": 0}, {"beam": 2, "length": 0}, {"beam": 2, "beam_alpha": -1}]
)
def test_values_out_of_range_name_the_field(settings):
    with pytest.raises(UsageError, match=list(settings)[-1].replace("_", ".")):
        SampleConfig(**settings)


def test_banning_the_whole_vocabulary_is_refused(decoder):
    with pytest.raises(UsageError, match="banned"):
        beam_search(decoder, primed(decoder), 3, 2, banned=range(V))
