"""Load, smooth and thin training curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rnntk.config.fields import word
from rnntk.errors import RunError, UsageError, did_you_mean
from rnntk.storage import metrics
from rnntk.storage.folder import RunFolder

_MOST = 1e100  # larger numbers overflow the axes


class _Quantity(NamedTuple):
    column: str  # in the metrics
    title: str  # of the y axis
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
        """About `points` points: the minimum and maximum of each interval, and both ends."""
        stretch = math.ceil(2 * len(self) / points)
        if stretch <= 2:
            return self
        parts = np.split(self.y, range(stretch, len(self), stretch))
        keep = [k * stretch + at for k, p in enumerate(parts) for at in (p.argmin(), p.argmax())]
        chosen = np.unique([0, *keep, len(self) - 1])
        return Line(self.x[chosen], self.y[chosen])

    def peaks(self) -> Line:
        """The largest value in each of at most `PEAKS` equal intervals."""
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
        """Legend text for `smooth`."""
        many = self.window > 1 and len(self.raw) > 1
        return f" ({metrics.mean_caption(len(self.raw), self.window)})" if many else ""


def load(run: RunFolder, y: str = "loss", x: str = "steps", smooth: int | None = None) -> Curve:
    """A run's curve of `y` (in `QUANTITIES`, or any column of the metrics) over `x`, `steps` or `time`.

    `smooth` is the window of the running mean in steps, by default that of `metrics.MeanLoss`. Raises `UsageError` if
    the run has no such column or `x` is another word, `RunError` if it has no metrics.
    """
    x = word("x", ("steps", "time"), x)
    if not isinstance(y, str):
        raise UsageError(f"`y` must be the name of a metric, got {y!r}.")
    only_validation = y.startswith("val_")
    y_name = y.removeprefix("val_")
    quantity = QUANTITIES.get(y_name, _Quantity(y_name, y))
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
    nothing = Line(np.empty(0), np.empty(0))
    raw, validation = nothing if only_validation else line(quantity.column), line(held_out)
    if not len(raw) and not len(validation):
        names = metrics.read(run.metrics).names
        known = [*names, *(name for name, q in QUANTITIES.items() if q.column in names)]
        raise UsageError(
            f"{run.path} has no {y}. It has {', '.join(sorted(set(known)))}.{did_you_mean(y, known)}"
        )
    smoothed = nothing if only_validation else line(quantity.column, window)
    title = quantity.title
    peaks = {"peaks": raw.peaks()} if quantity.peaks else {}
    return Curve(run.name, raw, smoothed, validation, found.skipped, title, x, window, **peaks)


def x_unit(drawn: Sequence[Curve]) -> tuple[float, str]:
    """Unit of the x axis: its size in steps or seconds, and its name."""
    if drawn[0].x == "steps":
        return 1.0, "steps"
    last = max(line.x[-1] for c in drawn for line in (c.raw, c.validation) if len(line))
    for size, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if last >= 2 * size:
            return size, name
    return 1.0, "seconds"
