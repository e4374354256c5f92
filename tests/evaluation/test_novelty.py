"""The share of n-grams found in a text, against Python's `in`."""

import numpy as np
import pytest

from rnntk.evaluation import novelty


def slow(text: list[int], n: int, trained: list[int]) -> float:
    known = {tuple(trained[k : k + n]) for k in range(len(trained) - n + 1)}
    own = [tuple(text[k : k + n]) for k in range(len(text) - n + 1)]
    return float(np.mean([gram in known for gram in own]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [1, 50, 1 << 16])
def test_shares_match_a_plain_search(dtype: type, size: int, monkeypatch) -> None:
    monkeypatch.setattr(novelty, "_AT_A_TIME", size)
    rng = np.random.default_rng(size)
    trained = rng.integers(0, 2, 600).astype(dtype)
    copied, other = trained[100:180].copy(), rng.integers(0, 2, 200).astype(dtype)
    copied[40] ^= 1
    found = novelty.shares({"a": [copied, other], "b": [other]}, trained)
    for n in novelty.LENGTHS:
        of_b = slow(other.tolist(), n, trained.tolist())
        of_copy = slow(copied.tolist(), n, trained.tolist())
        counts = 80 - n + 1, 200 - n + 1
        of_a = (of_copy * counts[0] + of_b * counts[1]) / sum(counts)
        assert found["b"][str(n)] == pytest.approx(of_b)
        assert found["a"][str(n)] == pytest.approx(of_a)
    assert 0 < found["a"]["32"] < found["a"]["16"] < found["a"]["8"] <= 1


def test_short_texts_have_no_share() -> None:
    short = np.arange(20)
    found = novelty.shares({"a": [short]}, np.arange(12))
    assert found == {"a": {"8": 5 / 13, "16": 0.0, "32": None}}
    assert novelty.shares({"a": [short[:3]]}, short)["a"]["8"] is None
    assert novelty.shares({"a": [short]}, short[:0])["a"]["8"] == 0
