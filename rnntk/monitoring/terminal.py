"""Curves in the terminal, in braille dots or in ASCII."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

import numpy as np

from rnntk.monitoring import curves
from rnntk.monitoring.curves import Curve, Line

_BRAILLE = 0x2800
# The bit of each of the 4 x 2 dots of a braille character.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LINE = "⠒"  # stands for a braille line in the legend
_LEAST = 10  # columns of a curve, at least


def can_show(stream: TextIO) -> bool:
    """Whether a stream's encoding has braille and box characters."""
    try:
        "⣿│".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def draw(
    drawn: Sequence[Curve],
    *,
    y: str = "loss",
    x: str = "steps",
    log: bool = False,
    width: int = 80,
    height: int = 20,
    ascii_only: bool = False,
) -> list[str]:
    """Lines that show the running means and the validation losses, without colours.

    One run is a line of dots, several are letters A, B, ...; validations are small letters.

    Args:
        drawn, y, x, log: see `picture.figure`; with `log`, values up to 0 are left out.
        width, height: columns in all, unless a curve needs more; rows of the curve itself.
        ascii_only: no braille and no box characters.
    """
    shown = [(c, _scaled(c.smooth, log), _scaled(c.validation, log)) for c in drawn]
    lines = [line for _, *both in shown for line in both if len(line)]
    title = curves.title(y) + (", log scale" if log else "")
    if not lines:
        return [title, "nothing to draw"]
    low = min(float(line.y.min()) for line in lines)
    high = max(float(line.y.max()) for line in lines)
    if low == high:
        low, high = low - 0.5, high + 0.5
    left = min(float(line.x[0]) for line in lines)
    right = max(float(line.x[-1]) for line in lines)
    ticks = _ticks(low, high, height, log)
    margin = max(map(len, ticks.values()))
    canvas = _Canvas(max(_LEAST, width - margin - 1), height, (left, right), (low, high))
    marks = [(chr(ord("A") + i % 26), chr(ord("a") + i % 26)) for i in range(len(drawn))]
    if len(drawn) == 1:
        marks = [("*" if ascii_only else _LINE, "o")]
    for (mark, small), (_, train, validation) in zip(marks, shown, strict=True):
        canvas.line(train, mark)
        canvas.marks(validation, small)
    bar = "|" if ascii_only else "│"
    rows = [
        f"{ticks.get(row, ''):>{margin}}{bar}{text}".rstrip()
        for row, text in enumerate(canvas.rows())
    ]
    return [
        title,
        *rows,
        *_x_axis(left, right, canvas.width, margin, x, ascii_only),
        *(
            f"{mark} {curve.name}, {what}: {number(float(whole.y[-1]))} at the end"[:width]
            for pair, (curve, *both) in zip(marks, shown, strict=True)
            for mark, line, whole, what in zip(
                pair, both, (curve.smooth, curve.validation), ("train", "validation"), strict=True
            )
            if len(line)
        ),
    ]


class _Canvas:
    """A grid of characters, each with 2 x 4 braille dots."""

    def __init__(
        self, width: int, height: int, x_range: tuple[float, float], y_range: tuple[float, float]
    ) -> None:
        self.width, self.height = width, height
        self._x, self._y = x_range, y_range
        self._dots = np.zeros((height, width), np.int64)
        self._letters = np.full((height, width), "")

    def line(self, line: Line, mark: str) -> None:
        """A connected line of a letter, or of dots if `mark` is `_LINE`."""
        wide, high = (2, 4) if mark == _LINE else (1, 1)
        for column, top, bottom in self._strokes(line, wide * self.width, high * self.height):
            if mark != _LINE:
                self._letters[top : bottom + 1, column] = mark
                continue
            for row in range(top, bottom + 1):
                self._dots[row // 4, column // 2] |= _DOTS[row % 4][column % 2]

    def marks(self, line: Line, letter: str) -> None:
        """A letter at every point."""
        columns = _place(line.x, self._x, self.width)
        rows = _place(line.y, self._y[::-1], self.height)
        self._letters[rows, columns] = letter

    def rows(self) -> list[str]:
        """One string per row; letters cover dots."""
        return [
            "".join(
                letter or (chr(_BRAILLE + dots) if dots else " ")
                for letter, dots in zip(letters, row, strict=True)
            )
            for letters, row in zip(self._letters.tolist(), self._dots.tolist(), strict=True)
        ]

    def _strokes(self, line: Line, width: int, height: int) -> list[tuple[int, int, int]]:
        """Column, first row and last row of each column the line crosses, joined to the column before."""
        if not len(line):
            return []
        columns = _place(line.x, self._x, width)
        # One value per column: the mean of its points; columns without any are interpolated.
        filled, first = np.unique(columns, return_index=True)
        means = np.add.reduceat(line.y, first) / np.diff([*first, len(columns)])
        every = np.arange(filled[0], filled[-1] + 1)
        rows = _place(np.interp(every, filled, means), self._y[::-1], height).tolist()
        strokes = []
        for i, (column, row) in enumerate(zip(every.tolist(), rows, strict=True)):
            before = rows[max(i - 1, 0)]
            # The last column's row is drawn already: only the way from there is missing.
            towards = before + (row > before) - (row < before)
            strokes.append((column, min(row, towards), max(row, towards)))
        return strokes


def _place(values: np.ndarray, ends: tuple[float, float], cells: int) -> np.ndarray:
    """The cell of each value; `ends` are the centres of the first and the last cell."""
    begin, end = ends
    share = (values - begin) / (end - begin) if end != begin else np.zeros(len(values))
    return np.clip(np.rint(share * (cells - 1)), 0, cells - 1).astype(np.int64)


def _scaled(line: Line, log: bool) -> Line:
    if not log:
        return line
    above = line.y > 0
    return Line(line.x[above], np.log10(line.y[above]))


def _ticks(low: float, high: float, height: int, log: bool) -> dict[int, str]:
    """Labels of the y axis by row: top, bottom, and some between."""
    count = min(max(2, height // 4 + 1), height)
    rows = np.unique(np.rint(np.linspace(0, height - 1, count)).astype(int)).tolist()
    values = {row: high - (high - low) * row / max(height - 1, 1) for row in rows}
    return {row: number(10**value if log else value) for row, value in values.items()}


def number(value: float) -> str:
    """A number with four significant digits: `2.252`, `13510`, `0.002`, `1e+06`."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e" in text and 1e3 <= abs(value) < 1e6 else text


def _x_axis(
    left: float, right: float, width: int, margin: int, x: str, ascii_only: bool
) -> list[str]:
    """The x axis and its labels: both ends, and the middle if there is room."""
    unit, name = curves.time_unit(right) if x == "time" else (1.0, "steps")
    corner, rule = ("+", "-") if ascii_only else ("└", "─")

    def label(value: float) -> str:
        return number(value / unit) if x == "time" else f"{value:,.0f}"

    first, middle, last = label(left), label((left + right) / 2), f"{label(right)} {name}"
    labels = first + last.rjust(width - len(first))
    at = (width - len(middle)) // 2
    if len(first) + 2 <= at and at + len(middle) + 2 <= width - len(last):
        labels = labels[:at] + middle + labels[at + len(middle) :]
    if len(first) + 1 + len(last) > width:
        labels = label(right).rjust(width)
    return [" " * margin + corner + rule * width, " " * (margin + 1) + labels]
