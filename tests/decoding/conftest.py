"""Tiny models for the decoder's tests."""

import numpy as np
import pytest

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def make_weights(cell, layers=2, V=11, E=5, H=7, seed=0, scale=0.7):
    """Normal weights under CharRNN's names, in Keras' layout."""
    rng = np.random.default_rng(seed)
    gates = GATES[cell] * H

    def draw(*shape):
        return rng.normal(0, scale, shape).astype(np.float32)

    weights = {"embedding/embeddings": draw(V, E)}
    inputs = E
    for k in range(layers):
        weights[f"rnn_{k}/kernel"] = draw(inputs, gates)
        weights[f"rnn_{k}/recurrent_kernel"] = draw(H, gates)
        weights[f"rnn_{k}/bias"] = draw(*((2, gates) if cell == "gru" else (gates,)))
        inputs = H
    weights["output/kernel"] = draw(H, V)
    weights["output/bias"] = draw(V)
    return weights


@pytest.fixture(scope="session")
def random_weights():
    return make_weights
