"""Curves as PNG or SVG with Matplotlib, without a display."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import display
from rnntk.errors import DataError, RnntkError, UsageError, check_output
from rnntk.files import printable, write_bytes
from rnntk.installation import install_command
from rnntk.monitoring import curves
from rnntk.monitoring.curves import Curve, Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
# Okabe and Ito's colour-blind safe palette.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
HANGUL_FONTS = (
    "Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "Baekmuk Gulim",
)  # fmt: skip
POINTS = 1600  # more than the picture's width in pixels


def check_path(path: Path) -> None:
    """Raise `UsageError` if the suffix is not .png or .svg, or the folder is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"`output` must end in {' or '.join(SUFFIXES)}, got {path}.")
    check_output("output", path)


def draw(path: Path, drawn: Sequence[Curve], *, log: bool = False) -> None:
    """Write `figure(drawn)` as PNG or SVG; `DataError` if that fails; errors as of `check_path` and `figure`."""
    check_path(path)
    data = _rendered(figure(drawn, log=log), path.suffix.lower()[1:])
    write_bytes(path, data, advice="Choose another place with `output`.", error=DataError)


def svg(drawn: Sequence[Curve]) -> str:
    """Curves as an SVG element, for a page."""
    text = _rendered(figure(drawn), "svg").decode()
    return text[text.index("<svg") :]


@contextmanager
def _style() -> Iterator[None]:
    """Fonts for Hangul, and a fixed salt for reproducible SVG; `RnntkError` without Matplotlib."""
    display.check_backend()
    try:
        from matplotlib import font_manager, rc_context
    except ImportError as error:
        raise RnntkError(
            f"Matplotlib is not installed. Install it: {install_command('plot')}\nOr draw in the terminal: "
            "rnntk plot --terminal"
        ) from error
    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in HANGUL_FONTS if name in installed)]
    style = {"svg.hashsalt": "rnntk", "font.size": 10, "font.family": fonts}
    with rc_context(style), warnings.catch_warnings():
        # Without a Hangul font, names show as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@_style()
def _rendered(made: Figure, form: str) -> bytes:
    """The picture's bytes; without a date, so that they are reproducible."""
    buffer = io.BytesIO()
    made.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


@_style()
def figure(drawn: Sequence[Curve], *, log: bool = False) -> Figure:
    """A figure of one quantity: steps, running mean, peaks, validation dashed; `RnntkError` without Matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Shown(Figure):
        """Shown in notebooks, though made without pyplot."""

        def _repr_png_(self) -> bytes:
            return _rendered(self, "png")

    made = Shown(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(made)
    axes = made.add_subplot()
    alone = len(drawn) == 1
    unit, unit_name = curves.x_unit(drawn)

    def plot(line: Line, **style: Any) -> None:
        if len(line):
            thin = line.thinned(POINTS)
            axes.plot(thin.x / unit, thin.y, **style)

    for i, curve in enumerate(drawn):
        colour = COLOURS[i % len(COLOURS)]
        name = printable(curve.name).replace("$", r"\$")  # else mathematics
        of_run = (
            "" if alone else f", {name}"
        )  # at the end: Matplotlib hides labels that begin with _
        plot(curve.raw, color=colour, alpha=0.25, linewidth=0.6)
        plot(curve.peaks, color=colour, linewidth=0.8, label=f"largest{of_run}")
        plot(curve.smooth, color=colour, linewidth=1.6, label=f"train{curve.mean}{of_run}")
        plot(
            curve.validation,
            color=COLOURS[1] if alone else colour,
            linewidth=1.2,
            linestyle="--",
            marker="o" if len(curve.validation) <= 60 else None,
            markersize=3.5,
            label=f"validation{of_run}",
        )
    axes.set_xlabel("steps" if unit_name == "steps" else f"training time ({unit_name})")
    axes.set_ylabel(drawn[0].title)
    if log:
        axes.set_yscale("log")
    if alone:
        axes.set_title(name)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return made
