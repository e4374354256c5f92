"""Visible features of a text, and how well units follow them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnntk.play import reading, visible
from rnntk.play.models import Models

FEW = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0])


def marked(pattern, text: str) -> str:
    return "".join("^" if inside else "." for inside in visible._within(text, pattern).tolist())


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('a "b c" d', "..^^^^..."),
        ("f('\\'', 1)", "..^^^....."),
        (r'"x\"y" z', "^^^^^..."),
        ("don't 'x'", "......^^."),
        ('"open\nnext', "^^^^^....."),
        ("“가 나” 다", "^^^^..."),
        ('""', "^."),
    ],
)
def test_inside_quotes(text: str, inside: str) -> None:
    assert marked(visible._QUOTED, text) == inside


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a /* b */ c", "..^^^^^^..."),
        ("a; // b\nc", "...^^^^.."),
        ("http://a", "........"),
        ("x = 1  # why\n", ".......^^^^^."),
        ("#define A", "........."),
        ("/* a\n b */", "^^^^^^^^^."),
        ("/**/ a", "^^^..."),
        ("/* open", "^^^^^^^"),
    ],
)
def test_inside_a_comment(text: str, inside: str) -> None:
    assert marked(visible._COMMENT, text) == inside


def test_columns_indents_depths_and_words() -> None:
    assert visible._positions("ab\ncd", lambda c: c != "\n") == [1, 2, 0, 1, 2]
    assert visible._indents("\ta\n  b c\n") == [8, 8, 0, 1, 2, 2, 2, 2, 0]
    assert visible._depth("a(b(c))d)e(", "([", ")]") == [0, 1, 1, 2, 2, 1, 0, 0, 0, 0, 1]
    assert visible._positions("ab c_1.", lambda c: c.isalnum() or c == "_") == [1, 2, 0, 1, 2, 3, 0]


def test_the_parts_of_syllables(korean: Models) -> None:
    text = reading.encode(korean.get(), "각시 ㅋ값. " * 6)
    found = {f.name: f.values for f in visible.features(text)}
    # ㄱㅏㄱᴥ ㅅㅣᴥ space ㅋᴥ ㄱㅏㅄᴥ . space
    once = {
        "initial": [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "vowel": [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        "final": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        "boundary": [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    }
    assert text.skipped == {}
    for name, values in once.items():
        assert found[name].tolist() == values * 6, name


@given(
    units=hnp.arrays(np.float64, st.tuples(st.integers(4, 25), st.integers(1, 3)), elements=FEW),
    data=st.data(),
)
def test_a_yes_or_no_feature_is_followed_as_pairs_say(units: np.ndarray, data) -> None:
    """Of all pairs of a yes and a no: the share where the yes is higher, less the share where it is lower."""
    yes = data.draw(hnp.arrays(bool, len(units)))
    got = visible.follows(units, yes.astype(float))
    for k in range(units.shape[1]):
        pairs = np.sign(units[yes, k][:, None] - units[~yes, k][None])
        assert got[k] == pytest.approx(pairs.mean() if pairs.size else 0, abs=1e-9)


@given(hnp.arrays(np.float64, st.integers(4, 30), elements=FEW))
def test_ranks_are_mean_places(column: np.ndarray) -> None:
    got = visible.ranks(column[:, None])[:, 0]
    for value, rank in zip(column, got, strict=True):
        below, equal = (column < value).sum(), (column == value).sum()
        assert rank == below + (equal + 1) / 2


def test_a_feature_of_many_values_is_followed_by_order_only() -> None:
    x = np.arange(20.0)
    units = np.stack([np.exp(x), -(x**3), np.zeros(20), np.r_[x[10:], x[:10]]], axis=1)
    got = visible.follows(units, x)
    np.testing.assert_allclose(got[:3], [1, -1, 0], atol=1e-12)
    assert (
        -0.6 < got[3] < -0.4
    )  # Spearman's rho of a list whose halves are exchanged: 1 - 6 * 2000 / (20 * 399)
    assert got[3] == pytest.approx(1 - 6 * 20 * 100 / (20 * 399))


def test_the_planted_unit_is_found_and_chance_is_far_below() -> None:
    rng = np.random.default_rng(0)
    T = 400
    inside = (np.arange(T) // 7 % 5 == 0).astype(float)
    units = rng.normal(size=(T, 40))
    units[:, 17] = 2 * inside - 1 + rng.normal(0, 0.3, T)
    [row] = visible.ranked(units, [visible.Feature("x", "x", inside)], 10)
    first, second = row["best"][:2]
    assert (first["layer"], first["unit"]) == (1, 7)
    assert first["score"] > 0.95
    assert abs(second["score"]) < 0.35
    assert row["chance"] < 0.6


def test_a_feature_that_hardly_varies_is_not_ranked(plain: Models) -> None:
    names = {f.name for f in visible.features(reading.encode(plain.get(), "int f(void)\n" * 2))}
    assert "column" in names
    assert names.isdisjoint({"quotes", "comment", "braces", "digit", "initial"})
