"""Curves as a PNG or SVG, by Matplotlib without a display."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from rnntk.errors import DataError, RnntkError, UsageError
from rnntk.files import write_bytes
from rnntk.monitoring import curves
from rnntk.monitoring.curves import Curve, Line

SUFFIXES = (".png", ".svg")
MISSING = (
    "A picture needs Matplotlib, which is not installed. Install it with: pip install 'rnntk[plot]'\n"
    "Or draw in the terminal without it: rnntk plot --terminal"
)
# Okabe and Ito's colours, which colour-blind readers tell apart too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
HANGUL_FONTS = (
    "Noto Sans CJK KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Baekmuk Gulim",
)
POINTS = 1600  # more than a picture is wide, so thinning cannot be seen


def check_path(path: Path) -> None:
    """Refuse a path that a picture cannot be written to.

    Raises:
        UsageError: the suffix is neither .png nor .svg, or there is no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"`output` is {path}, but a picture must end in {' or '.join(SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"`output` is {path}, but there is no folder {path.parent}. Make it first."
        )


def draw(
    path: Path, drawn: Sequence[Curve], *, y: str = "loss", x: str = "steps", log: bool = False
) -> None:
    """Draw curves: train pale at every step and bold as a running mean, validation with dots.

    The same curves give the same bytes: no date is written.

    Args:
        path: of the picture; its suffix is the format. An existing file is replaced.
        drawn: one or several runs.
        y: the quantity, for the title of the axis.
        x: `steps` or `time`.
        log: whether y is on a logarithmic scale.

    Raises:
        UsageError: see `check_path`.
        RnntkError: Matplotlib is missing.
        DataError: the file cannot be written.
    """
    check_path(path)
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RnntkError(MISSING) from error
    unit, unit_name = curves.time_unit(curves.span(drawn)) if x == "time" else (1.0, "steps")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    style = {
        "svg.hashsalt": "rnntk",  # with no date, an SVG's bytes are the same every time
        "font.size": 10,
        "font.family": ["DejaVu Sans", *(name for name in HANGUL_FONTS if name in installed)],
    }
    with rc_context(style), warnings.catch_warnings():
        # Without a font for Hangul, names show boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        alone = len(drawn) == 1
        for i, curve in enumerate(drawn):
            colour = COLOURS[i % len(COLOURS)]
            other = COLOURS[1] if alone else colour
            # The name stands last: Matplotlib leaves out of the legend what begins with an underscore.
            name = curve.name.replace("$", r"\$")  # two dollars would be mathematics
            of_run = "" if alone else f", {name}"

            def points(line: Line) -> tuple[list[float], list[float]]:
                thin = line.thinned(POINTS)
                return (thin.x / unit).tolist(), thin.y.tolist()

            if len(curve.raw):
                axes.plot(*points(curve.raw), color=colour, alpha=0.25, linewidth=0.6)
                axes.plot(
                    *points(curve.smooth), color=colour, linewidth=1.6, label=f"train{of_run}"
                )
            if len(curve.validation):
                axes.plot(
                    *points(curve.validation),
                    color=other,
                    linewidth=1.2,
                    linestyle="--",
                    marker="o" if len(curve.validation) <= 60 else None,
                    markersize=3.5,
                    label=f"validation{of_run}",
                )
        axes.set_xlabel("steps" if x == "steps" else f"training time ({unit_name})")
        axes.set_ylabel(curves.title(y))
        if log:
            axes.set_yscale("log")
        if alone:
            axes.set_title(name)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        buffer = io.BytesIO()
        form = path.suffix.lower()[1:]
        figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
    write_bytes(
        path, buffer.getvalue(), advice="Choose another place with `output`.", error=DataError
    )
