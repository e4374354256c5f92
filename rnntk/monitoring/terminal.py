"""Curves in the terminal: coloured braille dots, or letters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import cycle
from string import ascii_lowercase, ascii_uppercase
from typing import TextIO

import numpy as np
import uniplot

from rnntk.monitoring import curves
from rnntk.monitoring.curves import Curve, Line

_MOST = 1e9  # the labels of larger values leave no room for the curves
_POWER = re.compile(r"(?<=│ )10\^-?\d+\.\d+$", re.MULTILINE)  # labels of a logarithmic axis
_PLAIN = str.maketrans("┌┐└┘─│", "++++-|")


def can_show(stream: TextIO) -> bool:
    """Whether a stream's encoding has braille and box-drawing characters."""
    try:
        return bool("⣿│".encode(getattr(stream, "encoding", None) or "ascii"))
    except (UnicodeEncodeError, LookupError):
        return False


def draw(
    drawn: Sequence[Curve],
    *,
    log: bool = False,
    width: int = 80,
    height: int = 20,
    colour: bool = False,
    ascii_only: bool = False,
) -> list[str]:
    """The plot as lines of text: running means, validation, and the largest gradient norms.

    `log` omits values <= 0 and is automatic beyond 1e9. `width` is in columns (at least 20), `height` in rows. With
    `colour`, curves are braille dots; without it, or with `ascii_only`, letters: A, B, ... for running means,
    a, b, ... for validation and peaks.
    """
    width = max(20, width)
    lines_of = [(c.peaks, c.smooth, c.validation) for c in drawn]  # later ones are drawn on top
    log = log or any(np.any(line.y > _MOST) for lines in lines_of for line in lines)
    series = [
        (letter, _label(curve, line, width - 3), shown.thinned(8 * width))
        for curve, lines, upper, lower in zip(
            drawn, lines_of, cycle(ascii_uppercase), cycle(ascii_lowercase)
        )
        for letter, line in zip((lower, upper, lower), lines, strict=True)
        if len(shown := _positive(line) if log else line)
    ]
    if not series:
        return [drawn[0].title, "nothing to draw"]
    letters, labels, lines = zip(*series, strict=True)
    unit, unit_name = curves.x_unit(drawn)
    plot = uniplot.plot_to_string(
        [line.y for line in lines],
        [line.x / unit for line in lines],
        lines=True,
        y_as_log=log,
        width=width,
        line_length_hard_cap=width - 2 * log,  # `number` may be two columns wider than 10^-4.6
        height=height,
        x_gridlines=[],
        y_gridlines=[],
        character_set="braille" if colour and not ascii_only else "ascii",
        force_ascii_characters=letters,
        color=colour,
        legend_labels=labels,
        legend_placement="vertical",
    )
    plot = _POWER.sub(lambda found: number(10 ** float(found[0][3:])), plot)
    return [
        f"{drawn[0].title} against {unit_name}" + (", log scale" if log else ""),
        *(plot.translate(_PLAIN) if ascii_only else plot).splitlines(),
    ]


def _label(curve: Curve, line: Line, width: int) -> str:
    """Legend text of a line, with a long name shortened."""
    end = number(line.y[-1])
    if line is curve.peaks:
        at = line.y.argmax()
        place = f" at step {line.x[at]:,.0f}" if curve.x == "steps" else ""
        text = f": largest {number(line.y[at])}{place}"
    else:
        text = f": validation {end}" if line is curve.validation else f": train {end}{curve.mean}"
    room = max(width - len(text), 8)
    name = curve.name if len(curve.name) <= room else curve.name[: room - 3] + "..."
    return (name + text)[:width]


def number(value: float) -> str:
    """Four significant digits: `2.252`, `13472`, `0.002`, `1e+06`."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e" in text and 1e3 <= abs(value) < 1e6 else text


def _positive(line: Line) -> Line:
    return Line(line.x[line.y > 0], line.y[line.y > 0])
