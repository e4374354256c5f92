"""Reading a run's metrics: the whole file as columns, its end, or what was added since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnntk import stored
from rnntk.errors import RunError
from rnntk.stored import is_number

_CHUNK = 1 << 22  # bytes parsed at once: quick, and small beside the file
_TAIL = 1 << 16
_MOST_COLUMNS = 256  # a file of strange names must not fill the memory


@dataclass(frozen=True)
class MetricColumns:
    """Columns of a metrics file; NaN where a line has no such number."""

    columns: dict[str, np.ndarray]  # float64, of one length, by name; always with `step`
    skipped: int = 0  # unreadable lines, without an unfinished last one

    def __len__(self) -> int:
        return len(self.columns["step"])

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, seconds and values of one number where it was measured: float64 arrays of one length.

        Missing times are interpolated.
        """
        steps, none = self.columns["step"], np.full(len(self), np.nan)
        values, seconds = self.columns.get(name, none), self.columns.get("seconds", none)
        measured, timed = ~np.isnan(values), ~np.isnan(seconds)
        if timed.any() and not timed.all():
            seconds = np.interp(steps, steps[timed], seconds[timed])
        return steps[measured], seconds[measured], values[measured]

    @property
    def names(self) -> list[str]:
        """The numbers in the file, other than `step`, `epoch` and `seconds`."""
        return sorted(set(self.columns) - {"step", "epoch", "seconds"})


@dataclass
class Follower:
    """A metrics file that is being written, read a piece at a time."""

    path: Path
    offset: int = 0  # bytes of whole lines read so far
    skipped: int = 0  # lines of them that could not be read

    def added(self) -> Iterator[list[dict[str, Any]]]:
        """The rows added since the last call, some megabytes at a time, without an unfinished last line."""
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
        """Whether the file is shorter than the part read: a resumed run truncates it to its checkpoint."""
        return self.path.stat().st_size < self.offset


def read(path: Path, names: Iterable[str] | None = None) -> MetricColumns:
    """Read a metrics file; a million lines take a few seconds.

    Args:
        path: a run's `metrics.jsonl`.
        names: the numbers to read beside `step` and `seconds`; None for all.

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
    """The newest value of every number in the last 64 KiB of the file."""
    try:
        with stored.opened(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            data = file.read()
    except OSError:
        return {}
    lines = data.split(b"\n")[:-1]
    rows, _ = _parse(lines if size <= _TAIL else lines[1:])
    newest: dict[str, float] = {}
    for row in rows:
        newest.update({key: float(value) for key, value in row.items() if is_number(value)})
    return newest


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The objects with a step in these lines, and the number of unreadable lines."""
    lines = [line for line in lines if line.strip()]
    try:
        # One call for all is three times as fast as one per line.
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        rows = []
    if len(rows) != len(lines):
        rows = [_object(line) for line in lines]
    good = [row for row in rows if isinstance(row, dict) and _is_step(row.get("step"))]
    return good, len(lines) - len(good)


def _object(line: bytes) -> Any:
    try:
        return stored.parse(line)
    except ValueError:
        return None


def _is_step(value: Any) -> bool:
    return is_number(value) and abs(value) < 1 << 63  # NaN is not


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
