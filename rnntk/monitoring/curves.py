"""Load curves of runs, and smooth and thin them for drawing."""

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
    column: str  # of the metrics
    title: str  # of the axis
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
    """Points of a curve, float64 of equal length."""

    x: np.ndarray  # steps or seconds
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def thinned(self, points: int) -> Line:
        """About `points` points that look the same: each interval's minimum and maximum."""
        stretch = math.ceil(2 * len(self) / points)
        if stretch <= 2:
            return self
        parts = np.split(self.y, range(stretch, len(self), stretch))
        keep = [k * stretch + at for k, p in enumerate(parts) for at in (p.argmin(), p.argmax())]
        chosen = np.unique([0, *keep, len(self) - 1])  # with both ends
        return Line(self.x[chosen], self.y[chosen])


@dataclass(frozen=True)
class Curve:
    """A quantity of one run."""

    name: str  # the run's
    raw: Line  # every step
    smooth: Line  # running mean of `raw`
    validation: Line  # may be empty
    skipped: int  # unreadable lines of the metrics
    title: str = "loss (nats)"  # of the y axis
    x: str = "steps"  # or `time`


def load(run: RunFolder, y: str = "loss", x: str = "steps", smooth: int | None = None) -> Curve:
    """A run's curve of `y` (in `QUANTITIES`, or any number in the metrics) over `x`, `steps` or `time`.

    `smooth` is the running mean's window in steps, by default 1/50 of the run. Raises `UsageError` if the run has no
    such number, `RunError` if it has no metrics.
    """
    quantity = QUANTITIES.get(y, _Quantity(y, y))
    held_out = f"val_{quantity.column}"
    found = metrics.read(run.metrics, [quantity.column, held_out])
    if not len(found):
        raise RunError(f"{run.path} has no metrics yet: {run.metrics.name} is empty.")

    def line(column: str) -> Line:
        steps, seconds, values = found.series(column)
        along = seconds if x == "time" else steps
        good = (np.abs(values) < 1e100) & (np.abs(along) < 1e100)  # larger ones overflow the axes
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
    """Centred mean over `window` values, which has no lag.

    The window shrinks symmetrically at the start, where a loss falls steeply, and is cut off at the end.
    >>> running_mean(np.array([1.0, 2.0, 6.0, 3.0]), 3).tolist()
    [1.0, 3.0, 3.6666666666666665, 4.5]
    """
    n = len(values)
    if window <= 1 or n < 3:
        return values
    index = np.arange(n)
    before = np.minimum(window // 2, index)
    after = np.minimum(before, n - 1 - index)
    middle = values.mean()  # subtracted, so that the sums of many large values lose no digits
    sums = np.concatenate([[0.0], np.cumsum(values - middle)])
    return middle + (sums[index + after + 1] - sums[index - before]) / (before + after + 1)


def x_unit(drawn: Sequence[Curve]) -> tuple[float, str]:
    """A readable unit of the x axis: its size in steps or seconds, and its name."""
    if drawn[0].x == "steps":
        return 1.0, "steps"
    last = max(line.x[-1] for c in drawn for line in (c.raw, c.validation) if len(line))
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if last >= 2 * size:
            return size, name
    return 1.0, "seconds"
