"""Curves of one or several runs: selected, smoothed and thinned for drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnntk.errors import RunError, UsageError, did_you_mean
from rnntk.storage import metrics
from rnntk.storage.folder import RunFolder


class _Quantity(NamedTuple):
    """A number to plot: its column in the metrics, its axis title, and its function of the column."""

    column: str
    title: str
    of: Callable[[np.ndarray], np.ndarray] = lambda values: values


QUANTITIES = {
    "loss": _Quantity("loss", "loss (nats)"),
    "bits": _Quantity("loss", "loss (bits)", lambda nats: nats / math.log(2)),
    "perplexity": _Quantity("loss", "perplexity", lambda nats: np.exp(np.minimum(nats, 700.0))),
    "accuracy": _Quantity("accuracy", "accuracy"),
    "grad_norm": _Quantity("grad_norm", "gradient norm before clipping"),
    "learning_rate": _Quantity("learning_rate", "learning rate"),
    "rate": _Quantity("rate", "characters or images per second"),
}


@dataclass(frozen=True)
class Line:
    """Points of a curve: `x` in steps or seconds, `y` in the quantity's unit; float64, of one length."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def thinned(self, points: int) -> Line:
        """About `points` points that look the same: minimum and maximum of each interval."""
        stretch = math.ceil(2 * len(self) / points)
        if stretch <= 2:
            return self
        parts = np.split(self.y, range(stretch, len(self), stretch))
        keep = [k * stretch + at for k, p in enumerate(parts) for at in (p.argmin(), p.argmax())]
        chosen = np.unique([0, *keep, len(self) - 1])  # readers look for both ends
        return Line(self.x[chosen], self.y[chosen])


@dataclass(frozen=True)
class Curve:
    """One run's curves of a quantity."""

    name: str  # the run's
    raw: Line  # at every step
    smooth: Line  # its running mean
    validation: Line  # on the validation data; may be empty
    skipped: int  # lines of the metrics that could not be read
    title: str = "loss (nats)"  # of the y axis
    x: str = "steps"  # or `time`


def load(run: RunFolder, y: str = "loss", x: str = "steps", smooth: int | None = None) -> Curve:
    """A run's curve of one quantity; the run may be in training.

    Args:
        run: the run folder.
        y: a name in `QUANTITIES`, or any number in the metrics.
        x: `steps` or `time`.
        smooth: window of the running mean in steps, 1 for none; by default a fiftieth of the run.

    Raises `UsageError`, which lists what the run has, if it has no such number; `RunError` if it has no metrics.
    """
    quantity = QUANTITIES.get(y, _Quantity(y, y))
    held_out = f"val_{quantity.column}"
    found = metrics.read(run.metrics, [quantity.column, held_out])
    if not len(found):
        raise RunError(f"{run.path} has no metrics yet: {run.metrics.name} is empty.")

    def line(column: str) -> Line:
        steps, seconds, values = found.series(column)
        along = seconds if x == "time" else steps
        # Finite, and not so large that the axes would overflow.
        good = (np.abs(values) < 1e100) & (np.abs(along) < 1e100)
        return Line(along[good], quantity.of(values[good]))

    raw, validation = line(quantity.column), line(held_out)
    if not len(raw) and not len(validation):
        names = metrics.read(run.metrics).names
        known = [*names, *(name for name, q in QUANTITIES.items() if q.column in names)]
        raise UsageError(
            f"{run.path} has no {y}. It has {', '.join(sorted(set(known)))}.{did_you_mean(y, known)}"
        )
    window = max(1, len(raw) // 50) if smooth is None else smooth
    smooth_line = Line(raw.x, running_mean(raw.y, window))
    return Curve(run.name, raw, smooth_line, validation, found.skipped, quantity.title, x)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the `window` values around each.

    A centred mean does not lag. Near the beginning, where a loss falls steeply, the window is symmetric and shorter; at
    the end it is one-sided, so that the curve ends in a mean and not in a noisy step.
    >>> running_mean(np.array([1.0, 2.0, 6.0, 3.0]), 3).tolist()
    [1.0, 3.0, 3.6666666666666665, 4.5]
    """
    n = len(values)
    if window <= 1 or n < 3:
        return values
    index = np.arange(n)
    before = np.minimum(window // 2, index)
    after = np.minimum(before, n - 1 - index)
    # Sums of differences from the mean, so that a million large values lose no digits.
    middle = values.mean()
    sums = np.concatenate([[0.0], np.cumsum(values - middle)])
    return middle + (sums[index + after + 1] - sums[index - before]) / (before + after + 1)


def x_unit(drawn: Sequence[Curve]) -> tuple[float, str]:
    """A readable unit of the x axis: its size (in seconds, where that is time) and its name."""
    if drawn[0].x == "steps":
        return 1.0, "steps"
    last = max(line.x[-1] for c in drawn for line in (c.raw, c.validation) if len(line))
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if last >= 2 * size:
            return size, name
    return 1.0, "seconds"
