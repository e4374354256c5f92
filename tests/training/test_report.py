"""The progress report: its limit, narrow terminals, and the lines of a piped run."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from rnntk.config import TrainConfig
from rnntk.storage.checkpoint import Progress
from rnntk.training import report
from rnntk.training.report import Report


def made(
    progress: Progress, limit: float | None = None, tty: bool = False, **settings: Any
) -> tuple[Report, io.StringIO]:
    """A report on a task of 100 steps per epoch, with its stream."""
    config = TrainConfig(val_fraction=0.1, **{"epochs": 50, **settings})
    task: Any = SimpleNamespace(config=config, unit="chars", target="symbol", steps_per_epoch=100)
    stream = io.StringIO()
    stream.isatty = lambda: tty  # type: ignore[method-assign]
    sys.stderr = stream
    return Report(task, progress, limit), stream


@pytest.fixture(autouse=True)
def _own_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())


def train(one: Report, progress: Progress, steps: int, seconds: float) -> None:
    """Train steps of this many seconds each."""
    for _ in range(steps):
        progress.stepped(2.0, 100)
        progress.losses |= {"mean_loss": 1.487, "val_loss": 1.532}
        progress.seconds += seconds
        one.on_train_batch_end(0, {"loss": 2.0, "rate": 12_345.0})


def shown(limit: float | None, steps: int, seconds: float, **settings: Any) -> str:
    """The text of the bar after these steps."""
    progress = Progress()
    one, _ = made(progress, limit, **settings)
    train(one, progress, steps, seconds)
    return f"{100 * one._state()[0]:.0f}% {one._text(200)}"


def test_the_bar_follows_the_limit_that_ends_the_run_first() -> None:
    assert shown(None, 500, 0.1).startswith("10% epoch 5/50  step 500/5000  loss 1.487  val 1.532")
    assert shown(None, 150, 0.1, max_steps=200).startswith("75% epoch 2  step 150/200")
    by_time = shown(15.0, 75, 0.1)
    assert by_time.startswith("50% epoch 1  step 75  loss 1.487")
    assert by_time.endswith("8s left")
    assert shown(1e6, 500, 0.1).startswith("10% epoch 5/50  step 500/5000")
    assert shown(1.0, 10, 0.1).startswith("100% ")


def test_with_max_time_the_bar_measures_this_session() -> None:
    progress = Progress(step=400, epoch=4, seconds=1000.0, losses={"mean_loss": 2.0})
    one, _ = made(progress, 10.0)
    assert one._state()[0] == 0
    train(one, progress, 20, 0.25)
    assert one._state()[0] == pytest.approx(0.5)
    one, _ = made(Progress(step=400, epoch=4), None)
    assert one._state()[0] == pytest.approx(400 / 5000)


def test_the_time_left_ignores_the_first_step() -> None:
    progress = Progress()
    one, _ = made(progress)
    train(one, progress, 1, 60.0)
    train(one, progress, 99, 0.1)
    assert one._state()[1] == pytest.approx(490)


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (120, "epoch 5/50  step 500/5000  loss 1.487  val 1.532  12.3k chars/s  7m30s left"),
        (80, "epoch 5  step 500  loss 1.487  val 1.532  12.3k chars/s  7m30s left"),
        (50, "loss 1.487  val 1.532  7m30s left"),
        (34, "loss 1.487  7m30s left"),
        (20, "loss 1.487"),
    ],
)
def test_a_narrow_terminal_keeps_the_most_important_parts(columns: int, kept: str) -> None:
    progress = Progress()
    one, stream = made(progress, tty=True)
    one.on_train_begin()
    assert one._bar is not None
    one._bar.dynamic_ncols = lambda _: (columns, 24)
    train(one, progress, 500, 0.1)
    one.on_train_end()
    frame = re.split("[\r\n]", stream.getvalue().rstrip("\n"))[-1]
    assert frame.rstrip().endswith("  " + kept)
    assert len(frame.rstrip()) <= columns
    assert frame.startswith(" 10% ")


def test_the_bar_shows_a_validation() -> None:
    progress = Progress()
    one, stream = made(progress, tty=True)
    one.on_train_begin()
    train(one, progress, 3, 0.1)
    one.on_test_begin()
    assert stream.getvalue().endswith("chars/s  validating")
    one.on_test_end()
    train(one, progress, 1, 0.1)
    one.on_train_end()
    assert stream.getvalue().rpartition("\r")[2].rstrip().endswith("left")


def lines(steps: int, seconds: float, log_every: int) -> list[int]:
    """The steps at which a piped run prints a line."""
    progress = Progress()
    one, stream = made(progress, log_every=log_every)
    one.on_train_begin()
    assert stream.getvalue().startswith("Training up to 5,000 steps (50 epochs)"), "at once"
    assert "Loss is the mean of the last 100 steps, in nats per symbol.\n" in stream.getvalue()
    train(one, progress, steps, seconds)
    one.on_train_end()
    return [int(found) for found in re.findall(r"% .*step (\d+)/5000", stream.getvalue())]


def test_a_piped_run_prints_a_line_within_ten_seconds_then_every_log_every_steps() -> None:
    assert lines(7, 20.0, 1000) == [1, 7], "the first step takes longer"
    assert lines(35, 0.625, 10) == [10, 20, 30, 35]
    assert lines(2005, 0.125, 1000) == [80, 1000, 2000, 2005]
    assert lines(300, 0.01, 100) == [100, 200, 300], "the last one once"


def test_the_bar_of_a_test_shows_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for tty, quiet, seen in ((True, False, True), (True, True, False), (False, False, False)):
        stream = io.StringIO()
        stream.isatty = lambda tty=tty: tty  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stderr", stream)
        assert list(report.bar(range(3), title="testing", quiet=quiet)) == [0, 1, 2]
        assert ("testing" in stream.getvalue()) == seen
