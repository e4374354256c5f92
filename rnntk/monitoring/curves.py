"""Load curves of runs, and smooth and thin them for drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from rnntk.errors import RunError, UsageError, did_you_mean
from rnntk.storage import metrics
from rnntk.storage.folder import RunFolder

_MOST = 1e100  # larger numbers overflow the axes


class _Quantity(NamedTuple):
    column: str  # of the metrics
    title: str  # of the axis
    of: Callable[[np.ndarray], np.ndarray] = lambda values: values
    window: int = metrics.MEAN_STEPS
    peaks: bool = False  # whether single large values matter


QUANTITIES = {
    "loss": _Quantity("loss", "loss (nats)"),
    "bits": _Quantity("loss", "loss (bits)", lambda nats: nats / math.log(2)),
    "perplexity": _Quantity("loss", "perplexity", lambda nats: np.exp(np.minimum(nats, 700.0))),
    "accuracy": _Quantity("accuracy", "accuracy"),
    "grad_norm": _Quantity("grad_norm", "gradient norm before clipping", peaks=True),
    "learning_rate": _Quantity("learning_rate", "learning rate", window=1),
    "rate": _Quantity("rate", "characters or images per second"),
}


PEAKS = 100


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

    def peaks(self) -> Line:
        """The largest value of each of at most `PEAKS` stretches of equal length, at its step."""
        size = max(1, math.ceil(len(self) / PEAKS))
        chosen = [k + int(self.y[k : k + size].argmax()) for k in range(0, len(self), size)]
        return Line(self.x[chosen], self.y[chosen])


@dataclass(frozen=True)
class Curve:
    """A quantity of one run."""

    name: str  # the run's
    raw: Line  # every step
    smooth: Line  # mean of the last `window` steps
    validation: Line  # may be empty
    skipped: int  # unreadable lines of the metrics
    title: str = "loss (nats)"  # of the y axis
    x: str = "steps"  # or `time`
    window: int = metrics.MEAN_STEPS
    peaks: Line = field(default_factory=lambda: Line(np.empty(0), np.empty(0)))  # may be empty

    @property
    def mean(self) -> str:
        """How `smooth` was made, for a legend."""
        return f" (mean of {self.window} steps)" if self.window > 1 else ""


def load(run: RunFolder, y: str = "loss", x: str = "steps", smooth: int | None = None) -> Curve:
    """A run's curve of `y` (in `QUANTITIES`, or any number in the metrics) over `x`, `steps` or `time`.

    `smooth` is the window of the mean in steps, by default that of the loss shown everywhere (`metrics.MeanLoss`).
    Raises `UsageError` if the run has no such number, `RunError` if it has no metrics.
    """
    quantity = QUANTITIES.get(y, _Quantity(y, y))
    held_out = f"val_{quantity.column}"
    found = metrics.read(run.metrics, [quantity.column, held_out])
    if not len(found):
        raise RunError(f"{run.path} has no metrics yet: {run.metrics.name} is empty.")

    def line(column: str, window: int = 1) -> Line:
        steps, seconds, values = found.series(column)
        along = seconds if x == "time" else steps
        good = (np.abs(values) < _MOST) & (np.abs(along) < _MOST)
        along, values = along[good], quantity.of(metrics.trailing_mean(values[good], window))
        return Line(along[values < _MOST], values[values < _MOST])

    window = quantity.window if smooth is None else smooth
    raw, validation = line(quantity.column), line(held_out)
    if not len(raw) and not len(validation):
        names = metrics.read(run.metrics).names
        known = [*names, *(name for name, q in QUANTITIES.items() if q.column in names)]
        raise UsageError(
            f"{run.path} has no {y}. It has {', '.join(sorted(set(known)))}.{did_you_mean(y, known)}"
        )
    curve = Curve(
        run.name,
        raw,
        line(quantity.column, window),
        validation,
        found.skipped,
        quantity.title,
        x,
        window,
    )
    return replace(curve, peaks=raw.peaks()) if quantity.peaks else curve


def x_unit(drawn: Sequence[Curve]) -> tuple[float, str]:
    """A readable unit of the x axis: its size in steps or seconds, and its name."""
    if drawn[0].x == "steps":
        return 1.0, "steps"
    last = max(line.x[-1] for c in drawn for line in (c.raw, c.validation) if len(line))
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if last >= 2 * size:
            return size, name
    return 1.0, "seconds"
