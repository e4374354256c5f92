"""Read a run's metrics: all as columns, the newest values, or the rows added since the last call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnntk import stored
from rnntk.errors import RunError
from rnntk.stored import is_number

_CHUNK = 1 << 22  # bytes parsed at once
_TAIL = 1 << 18  # bytes; more than `MEAN_STEPS` lines
_MOST_COLUMNS = 256  # a limit on memory, for files with many names

MEAN_STEPS = 100
MEAN_LOSS = f"mean of the last {MEAN_STEPS} steps"  # the caption where runs share it


class MeanLoss:
    """The loss that is shown everywhere: the mean of the last `MEAN_STEPS` losses (`trailing_mean` of a column)."""

    def __init__(self, losses: Iterable[float] = ()) -> None:
        self._losses = deque(losses, maxlen=MEAN_STEPS)

    @classmethod
    def of(cls, path: Path) -> MeanLoss:
        """Continue a metrics file."""
        return cls(_losses(_tail(path)))

    def add(self, loss: float) -> float:
        """Add the loss of a step; return the mean. In nats."""
        self._losses.append(loss)
        return sum(self._losses) / len(self._losses)


def mean_caption(steps: int, window: int = MEAN_STEPS) -> str:
    """Caption of a mean of the last `window` of `steps` steps.

    >>> mean_caption(506), mean_caption(40)
    ('mean of the last 100 steps', 'mean of all 40 steps')
    """
    if steps > window:
        return f"mean of the last {window:,} steps"
    return f"mean of all {steps:,} steps" if steps > 1 else "of 1 step"


def trailing_mean(values: np.ndarray, window: int = MEAN_STEPS) -> np.ndarray:
    """Mean of each value and up to `window - 1` values before it, float64 `(n,)`.

    >>> trailing_mean(np.array([1.0, 2.0, 6.0]), 2).tolist()
    [1.0, 1.5, 4.0]
    """
    window = min(window, len(values))
    if window <= 1:
        return values
    padded = np.concatenate([np.zeros(window - 1), values])
    # Differences of cumulative sums would lose digits after a spike.
    sums = np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1)
    return np.asarray(sums / np.minimum(np.arange(1, len(values) + 1), window))


@dataclass(frozen=True)
class MetricColumns:
    """Columns of a metrics file, with NaN where a line lacks the number."""

    columns: dict[str, np.ndarray]  # by name, always with `step`: float64 `(lines,)`
    skipped: int = 0  # unreadable lines, not counting an unfinished last one

    def __len__(self) -> int:
        return len(self.columns["step"])

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, seconds (interpolated where missing) and values of one number where measured, each float64 `(n,)`."""
        steps, none = self.columns["step"], np.full(len(self), np.nan)
        values, seconds = self.columns.get(name, none), self.columns.get("seconds", none)
        measured, timed = ~np.isnan(values), ~np.isnan(seconds)
        if timed.any() and not timed.all():
            seconds = np.interp(steps, steps[timed], seconds[timed])
        return steps[measured], seconds[measured], values[measured]

    @property
    def names(self) -> list[str]:
        """Names of the numbers in the file, without `step`, `epoch` and `seconds`."""
        return sorted(set(self.columns) - {"step", "epoch", "seconds"})


@dataclass
class Follower:
    """Reads a metrics file while it is being written."""

    path: Path
    offset: int = 0  # bytes of whole lines read so far
    skipped: int = 0  # unreadable lines so far

    def added(self) -> Iterator[list[dict[str, Any]]]:
        """Rows added since the last call, a few megabytes at a time, without an unfinished last line."""
        rest = b""
        with stored.opened(self.path) as file:
            file.seek(self.offset)
            while data := file.read(_CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                rows, bad = _parse(lines)
                self.offset = file.tell() - len(rest)
                self.skipped += bad
                yield rows

    def cut_back(self) -> bool:
        """Whether the file is now shorter than `offset`, as a resumed run truncates it to its checkpoint."""
        return self.path.stat().st_size < self.offset


def read(path: Path, names: Iterable[str] | None = None) -> MetricColumns:
    """Columns of a metrics file: `step`, `seconds` and `names`, or all for None. Raises `RunError` if unreadable."""
    wanted = None if names is None else {"step", "seconds", *names}
    follower = Follower(path)
    try:
        parts = [_columns(rows, wanted) for rows in follower.added() if rows]
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    columns: dict[str, np.ndarray] = {"step": np.empty(0)}
    lengths = [len(part["step"]) for part in parts]
    for name in sorted({name for part in parts for name in part}):
        columns[name] = np.concatenate(
            [part.get(name, np.full(n, np.nan)) for part, n in zip(parts, lengths, strict=True)]
        )
    return MetricColumns(columns, follower.skipped)


def last(path: Path) -> dict[str, float]:
    """Newest value of each number in the last 256 KiB of the file, and `mean_loss` (see `MeanLoss`)."""
    rows = _tail(path)
    newest: dict[str, float] = {}
    for row in rows:
        newest.update({key: float(value) for key, value in row.items() if is_number(value)})
    if losses := _losses(rows):
        newest["mean_loss"] = MeanLoss(losses[:-1]).add(losses[-1])
    return newest


def _tail(path: Path) -> list[dict[str, Any]]:
    """The rows in the last `_TAIL` bytes of a metrics file; none if it is unreadable."""
    try:
        with stored.opened(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            data = file.read()
    except OSError:
        return []
    lines = data.split(b"\n")[:-1]
    return _parse(lines if size <= _TAIL else lines[1:])[0]


def _losses(rows: list[dict[str, Any]]) -> list[float]:
    return [float(row["loss"]) for row in rows if is_number(row.get("loss"))]


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The rows with a step in these lines, and the number of other lines."""
    lines = [line for line in lines if line.strip()]
    rows = _parsed(b"[" + b",".join(lines) + b"]") or []  # three times as fast as line by line
    if len(rows) != len(lines):
        rows = [_parsed(line) for line in lines]

    def has_step(row: Any) -> bool:
        step = row.get("step") if isinstance(row, dict) else None
        return is_number(step) and abs(step) < 1 << 63

    good = list(filter(has_step, rows))
    return good, len(lines) - len(good)


def _parsed(text: bytes) -> Any:
    """The value of a JSON text; None if it is damaged."""
    try:
        return stored.parse(text)
    except ValueError:
        return None


def _columns(rows: list[dict[str, Any]], wanted: set[str] | None) -> dict[str, np.ndarray]:
    names = {name for row in rows for name in row}
    columns = {}
    for name in sorted(names if wanted is None else names & wanted)[:_MOST_COLUMNS]:
        values = [row.get(name) for row in rows]
        try:
            column = np.array(values, np.float64)  # None becomes NaN
        except (TypeError, ValueError, OverflowError):
            column = np.empty(())
        if column.ndim != 1:
            column = np.array([v if is_number(v) else np.nan for v in values], np.float64)
        columns[name] = column
    return columns
