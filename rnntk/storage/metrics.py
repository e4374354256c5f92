"""Reading a run's metrics: all of the file as columns, its end, or what was added since the last look."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnntk.errors import RunError

_CHUNK = 1 << 22  # bytes parsed at once: quick, and small beside the file
_TAIL = 1 << 16


@dataclass(frozen=True)
class MetricColumns:
    """Columns of a metrics file; NaN where a line has no such number.

    Attributes:
        columns: float64 arrays of one length by name, in the order of the file. `step` is always there.
        skipped: lines that could not be read, not counting a half-written last one.
    """

    columns: dict[str, np.ndarray]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.columns["step"])

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, seconds and values of one number, where it was measured.

        Lines without a time get it from the steps around them.

        Returns:
            Three float64 arrays of one length; all empty when the file has no such number.
        """
        values = self.columns.get(name)
        if values is None:
            return np.empty(0), np.empty(0), np.empty(0)
        steps, seconds = self.columns["step"], self.columns.get("seconds")
        there = ~np.isnan(values)
        if seconds is None:
            return steps[there], np.full(int(there.sum()), np.nan), values[there]
        timed = ~np.isnan(seconds)
        if timed.any() and not timed.all():
            seconds = np.interp(steps, steps[timed], seconds[timed])
        return steps[there], seconds[there], values[there]

    @property
    def names(self) -> list[str]:
        """The numbers the file has, beside `step`, `epoch` and `seconds`."""
        return sorted(set(self.columns) - {"step", "epoch", "seconds"})


@dataclass
class Follower:
    """A metrics file that is being written, read a piece at a time.

    Attributes:
        path: a run's `metrics.jsonl`.
        offset: bytes read so far, whole lines only.
        skipped: lines of them that could not be read.
    """

    path: Path
    offset: int = 0
    skipped: int = 0

    def added(self) -> Iterator[list[dict[str, Any]]]:
        """The rows added since the last call, some megabytes at a time; an unfinished last line waits for the next.

        Raises:
            OSError: the file cannot be read.
        """
        rest = b""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while data := file.read(_CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                rows, bad = _parse(lines)
                self.offset = file.tell() - len(rest)
                self.skipped += bad
                yield rows

    def cut_back(self) -> bool:
        """Whether the file is shorter than what was read: a resumed run cuts it back to its checkpoint.

        Raises:
            OSError: the file cannot be read.
        """
        return self.path.stat().st_size < self.offset


def read(path: Path, names: Iterable[str] | None = None) -> MetricColumns:
    """Read a metrics file; a million lines take a few seconds.

    Args:
        path: a run's `metrics.jsonl`.
        names: the numbers wanted beside `step` and `seconds`; None for all.

    Raises:
        RunError: the file cannot be read.
    """
    wanted = None if names is None else {"step", "seconds", *names}
    follower = Follower(path)
    try:
        parts = [_columns(rows, wanted) for rows in follower.added() if rows]
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}).") from error
    columns: dict[str, np.ndarray] = {"step": np.empty(0)}
    lengths = [len(part["step"]) for part in parts]
    for name in sorted({name for part in parts for name in part}):
        columns[name] = np.concatenate(
            [part.get(name, np.full(n, np.nan)) for part, n in zip(parts, lengths, strict=True)]
        )
    return MetricColumns(columns, follower.skipped)


def last(path: Path) -> dict[str, float]:
    """The newest value of every number near the end of the file; empty when there is none.

    Only the last 64 KiB are read, so that many runs can be listed at once.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            data = file.read()
    except OSError:
        return {}
    lines = data.split(b"\n")[:-1]
    rows, _ = _parse(lines if size <= _TAIL else lines[1:])
    newest: dict[str, float] = {}
    for row in rows:
        newest.update({key: float(value) for key, value in row.items() if _is_number(value)})
    return newest


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The objects of these lines that have a step, and how many lines could not be read."""
    lines = [line for line in lines if line.strip()]
    try:
        # One call for all is three times as fast as one for each.
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        rows = []
    if len(rows) != len(lines):
        rows = [_object(line) for line in lines]
    good = [row for row in rows if isinstance(row, dict) and _is_step(row.get("step"))]
    return good, len(lines) - len(good)


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_step(value: Any) -> bool:
    return _is_number(value) and value - value == 0  # neither NaN nor infinite


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _columns(rows: list[dict[str, Any]], wanted: set[str] | None) -> dict[str, np.ndarray]:
    names = {name for row in rows for name in row}
    columns = {}
    for name in names if wanted is None else names & wanted:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = np.array(values, np.float64)  # None becomes NaN
        except (TypeError, ValueError, OverflowError):
            columns[name] = np.array([v if _is_number(v) else np.nan for v in values], np.float64)
    return columns
