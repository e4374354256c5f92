"""Tables that fit the terminal (Hangul takes two columns); sizes and ages in words."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import wcwidth


@dataclass(frozen=True)
class Column:
    """A column; if space is short, the highest `drop` is left out first, 0 never."""

    title: str
    right: bool = False
    drop: int = 0


def terminal_width() -> int | None:
    """Columns of the terminal on stdout, or None without one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int | None,
    notes: Sequence[str | None],
) -> list[str]:
    """Lines of a table with headings, and the note of each row below it; at most `width` columns wide."""
    keep = list(range(len(columns)))
    widths = [
        max(map(wcwidth.width, [c.title, *(r[i] for r in rows)])) for i, c in enumerate(columns)
    ]
    while width is not None and _total(widths, keep) > width:
        last = max(keep, key=lambda i: columns[i].drop)
        if columns[last].drop == 0:
            break
        keep.remove(last)
    over = 0 if width is None else max(0, _total(widths, keep) - width)
    widths[keep[0]] = max(4, widths[keep[0]] - over)
    lines = []
    for row, note in zip([[c.title for c in columns], *rows], [None, *notes], strict=True):
        padded = [_pad(row[i], widths[i], columns[i].right) for i in keep]
        lines.append("  ".join(padded).rstrip())
        if note:
            lines += indented(note, width)
    return lines


def indented(text: str, width: int | None) -> list[str]:
    """Indent a sentence by two columns and wrap it to `width`."""
    if width is None:
        return ["  " + " ".join(text.split())]
    return textwrap.wrap(
        text, max(width, 20), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )


def _total(widths: Sequence[int], keep: Sequence[int]) -> int:
    return sum(widths[i] for i in keep) + 2 * (len(keep) - 1)


def _pad(text: str, width: int, right: bool) -> str:
    if wcwidth.width(text) > width:
        text = wcwidth.clip(text, 0, width - 1) + "…"
    return wcwidth.rjust(text, width) if right else wcwidth.ljust(text, width)


def size(count: int) -> str:
    """`3566000` -> `3.6 MB`."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{count} bytes" if unit == "bytes" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"


def age(seconds: float) -> str:
    """`7300.0` -> `2 hours`."""
    for limit, unit in ((86400 * 365, "year"), (86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= limit:
            count = int(seconds // limit)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now" if seconds < 10 else f"{int(seconds)} seconds"
