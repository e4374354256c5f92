"""Curves: chosen, smoothed, thinned."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.errors import RunError, UsageError
from rnntk.monitoring import curves
from rnntk.monitoring.curves import Curve, Line
from rnntk.storage import metrics
from rnntk.storage.folder import RunFolder

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


def run_with(path: Path, *lines: dict[str, float]) -> RunFolder:
    path.mkdir()
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunFolder(path, {})


def test_a_curve_has_train_and_validation_in_the_unit_asked_for(tmp_path: Path) -> None:
    run = run_with(
        tmp_path / "r",
        {"step": 1, "loss": 2.0, "seconds": 10},
        {"step": 2, "loss": 1.0, "seconds": 20, "val_loss": 3.0},
    )
    curve = curves.load(run)
    assert (curve.name, curve.raw.x.tolist(), curve.raw.y.tolist()) == ("r", [1, 2], [2, 1])
    assert (curve.validation.x.tolist(), curve.validation.y.tolist()) == ([2], [3])
    bits = curves.load(run, "bits", "time")
    assert bits.raw.x.tolist() == [10, 20]
    assert bits.raw.y.tolist() == pytest.approx([2 / math.log(2), 1 / math.log(2)])
    assert curves.load(run, "perplexity").raw.y.tolist() == pytest.approx([math.e**2, math.e])
    assert (bits.title, bits.x) == ("loss (bits)", "time")
    only = curves.load(run, "val_loss")
    assert (len(only.raw), len(only.smooth), only.title) == (0, 0, "loss (nats)")
    assert only.validation.y.tolist() == [3]
    assert curves.load(run, "val_bits").validation.y.tolist() == pytest.approx([3 / math.log(2)])


def test_what_a_run_does_not_have_is_said_with_what_it_has(tmp_path: Path) -> None:
    run = run_with(tmp_path / "r", {"step": 1, "loss": 2.0, "grad_norm": 1})
    with pytest.raises(
        UsageError, match=r"no gard_norm. It has bits, grad_norm, loss.*Did you mean 'grad_norm'"
    ):
        curves.load(run, "gard_norm")
    with pytest.raises(UsageError, match="no accuracy"):
        curves.load(run, "accuracy")
    with pytest.raises(RunError, match="no metrics yet"):
        curves.load(run_with(tmp_path / "empty"))


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    run = run_with(tmp_path / "r", {"step": 1, "loss": 2.0}, {"step": 2, "loss": math.nan})
    assert curves.load(run).raw.y.tolist() == [2]


@given(numbers, st.integers(1, 50))
def test_a_mean_is_of_the_last_steps(values: list[float], window: int) -> None:
    got = metrics.trailing_mean(np.array(values), window)
    for i in range(len(values)):
        expected = np.mean(values[max(0, i - window + 1) : i + 1])
        assert got[i] == pytest.approx(expected, abs=1e-3)


def test_the_curve_ends_at_the_loss_that_is_shown_everywhere(tmp_path: Path) -> None:
    losses = [5 / (i + 1) for i in range(250)]
    run = run_with(tmp_path / "r", *({"step": i, "loss": y} for i, y in enumerate(losses, 1)))
    shown = metrics.last(run.metrics)["mean_loss"]
    assert shown == pytest.approx(np.mean(losses[-100:]))
    assert curves.load(run).smooth.y[-1] == pytest.approx(shown)
    assert curves.load(run).mean == " (mean of the last 100 steps)"
    assert (
        replace(curves.load(run), raw=Line(np.arange(40), np.ones(40))).mean
        == " (mean of all 40 steps)"
    )
    assert curves.load(run, "perplexity").smooth.y[-1] == pytest.approx(math.exp(shown))
    assert curves.load(run, smooth=1).smooth.y.tolist() == losses
    assert curves.load(run, smooth=1).mean == ""


def test_a_spike_of_the_gradient_norm_stays(tmp_path: Path) -> None:
    norms = [1.0 + (812 if i == 700 else 0) for i in range(2000)]
    run = run_with(
        tmp_path / "r", *({"step": i, "grad_norm": y, "seconds": i} for i, y in enumerate(norms))
    )
    curve = curves.load(run, "grad_norm")
    assert curve.smooth.y.max() < 10
    assert len(curve.peaks) <= curves.PEAKS
    assert (curve.peaks.x[curve.peaks.y.argmax()], curve.peaks.y.max()) == (700, 813)
    assert len(curves.load(run, "grad_norm", "time").peaks) == len(curve.peaks)


@given(numbers, st.integers(4, 60))
def test_a_thinned_line_keeps_its_ends_and_extremes(values: list[float], points: int) -> None:
    line = Line(np.arange(len(values), dtype=float), np.array(values))
    thin = line.thinned(points)
    assert len(thin) <= points + 4
    assert (thin.x[0], thin.x[-1]) == (line.x[0], line.x[-1])
    assert (thin.y.min(), thin.y.max()) == (line.y.min(), line.y.max())
    assert (np.diff(thin.x) > 0).all()
    assert (line.y[thin.x.astype(int)] == thin.y).all()


def test_times_are_given_in_a_unit_that_can_be_read() -> None:
    def unit(seconds: float) -> str:
        line, none = Line(np.array([seconds]), np.ones(1)), Line(np.ones(0), np.ones(0))
        return curves.x_unit([Curve("r", line, line, none, 0, x="time")])[1]

    names = [unit(s) for s in (0, 119, 120, 7199, 7200, 172800)]
    assert names == ["seconds", "seconds", "minutes", "minutes", "hours", "days"]
