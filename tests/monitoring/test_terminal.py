"""Curves drawn with characters."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from rnntk.monitoring import terminal
from rnntk.monitoring.curves import Curve, Line


def curve(
    name: str = "r", y: object = (3.0, 2.0, 1.0), validation: object = (), x: str = "steps"
) -> Curve:
    values, held_out = np.array(y, float), np.array(validation, float)
    line = Line(np.arange(1.0, len(values) + 1), values)
    return Curve(name, line, line, Line(np.arange(1.0, len(held_out) + 1), held_out), 0, x=x)


def body(lines: list[str], height: int) -> list[str]:
    """The rows between the frame's sides."""
    return [row.split("|")[1] for row in lines[2 : 2 + height]]


def test_a_falling_line_falls() -> None:
    lines = terminal.draw([curve(y=np.linspace(3, 1, 60))], width=32, height=10, ascii_only=True)
    rows = body(lines, 10)
    firsts = [row.index("A") for row in rows]
    assert firsts == sorted(firsts)
    assert rows[0].startswith("A")
    assert rows[-1].endswith("A")
    labels = [row.split("|")[2].strip() for row in lines[2:12]]
    assert [label for label in labels if label] == ["3", "2", "1"]


@pytest.mark.parametrize("width", [12, 20, 40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_it_is_as_wide_as_the_terminal(width: int, ascii_only: bool, count: int) -> None:
    drawn = [
        curve(f"a-run-{i}", np.exp(-np.arange(500) / 90) + i, (2, 1.5, 1.1), "time")
        for i in range(count)
    ]
    lines = terminal.draw(drawn, width=width, height=12, ascii_only=ascii_only)
    assert lines[0] == "loss (nats) against minutes"
    assert max(map(len, lines[1:])) <= max(width, 20)
    assert len(lines) == 1 + 14 + 1 + 2 * count
    text = "\n".join(lines)
    assert text.isascii() == ascii_only
    if width >= 80:
        assert any(len(line) == width for line in lines)


def test_every_column_of_a_curve_is_covered_and_joined() -> None:
    """Between neighbours no row is left out, however steep the curve."""
    lines = terminal.draw([curve(y=[0, 100] * 20)], width=40, height=16, ascii_only=True)
    rows = body(lines, 16)
    columns = [{r for r in range(16) if rows[r][c] == "A"} for c in range(len(rows[0]))]
    assert all(columns)
    for one, two in itertools.pairwise(columns):
        assert max(one) + 1 >= min(two)
        assert max(two) + 1 >= min(one)


def test_validation_and_every_run_have_their_letters() -> None:
    one = terminal.draw([curve(validation=(2.5, 2.0))], width=40, height=8)
    assert sum(row.count("a") for row in one[2:10]) >= 2
    assert one[-1].strip() == "aa r: validation 2"
    two = "\n".join(terminal.draw([curve("p"), curve("q", (9, 8, 7), (9, 9))], width=40, height=8))
    assert "AA p: train 1 (mean of all 3 steps)" in two
    assert "BB q: train 7 (mean of all 3 steps)" in two
    assert "bb q: validation 9" in two


def test_in_colours_each_curve_has_its_own() -> None:
    lines = terminal.draw([curve("p", validation=(2, 2)), curve("q")], colour=True)
    legend = [re.search("\x1b.*m⣿⣿\x1b.*m ([pq]: [a-z]*)", line) for line in lines[-3:]]
    assert [found and found[1] for found in legend] == ["p: train", "p: validation", "q: train"]
    assert len({found[0].partition("⣿")[0] for found in legend if found}) == 3


def test_the_largest_values_are_drawn_beside_the_mean() -> None:
    y = np.ones(400)
    y[200] = 50
    made = replace(curve(y=np.ones(400)), peaks=Line(np.arange(1.0, 401), y).peaks())
    lines = terminal.draw([made], width=60, height=10)
    assert "a" in lines[2], "the spike reaches the top"
    assert lines[-2].strip() == "aa r: largest 50 at step 201"
    assert lines[-1].strip() == "AA r: train 1 (mean of the last 100 steps)"


def test_a_long_name_leaves_the_numbers() -> None:
    lines = terminal.draw([curve("a-very-long-name-of-a-run-" * 3)], width=50, height=8)
    assert lines[-1].strip() == "AA a-very-long-n...: train 1 (mean of all 3 steps)"
    assert max(map(len, lines)) <= 50


@pytest.mark.parametrize("y", [(1.0,), (2.0, 2.0), (0.0, 0.0), (1e-9, 1e9), (1.0, 1e304)])
def test_flat_lonely_and_endless_curves(y: tuple[float, ...]) -> None:
    for log in (False, True):
        for ascii_only in (False, True):
            lines = terminal.draw([curve(y=y)], width=40, height=6, log=log, ascii_only=ascii_only)
            assert len(lines) == (2 if log and max(y) <= 0 else 11)
            assert max(map(len, lines)) <= 40
    assert terminal.draw([curve(y=())])[1] == "nothing to draw"


def test_a_log_scale_makes_an_exponential_straight() -> None:
    lines = terminal.draw(
        [curve(y=np.exp(-np.arange(120.0) / 3))], width=130, height=20, log=True, ascii_only=True
    )
    assert lines[0] == "loss (nats) against steps, log scale"
    columns = [row.index("A") for row in body(lines, 20)]
    steps = np.diff(columns)[1:-1]  # the first and last row are half as high
    assert steps.max() - steps.min() <= 1


def test_a_log_scale_has_the_values_as_labels() -> None:
    lines = terminal.draw([curve(y=(4.0, 1.3))], width=40, height=8, log=True)
    labels = [float(found[1]) for row in lines if (found := re.search("│ ([0-9.]+)$", row))]
    assert len(labels) >= 2
    assert all(1.3 <= label <= 4 for label in labels)


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.25218, "2.252"), (13471.88, "13472"), (0.002, "0.002"), (1e6, "1e+06"), (0, "0")],
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert terminal.number(value) == text


def test_a_stream_that_has_no_braille_is_found_out() -> None:
    for encoding, able in (("utf-8", True), ("latin-1", False), ("cp949", False), ("ascii", False)):
        assert terminal.can_show(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is able
    assert not terminal.can_show(io.StringIO())
