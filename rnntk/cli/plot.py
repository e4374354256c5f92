"""`rnntk plot`: plot curves of runs as a picture or in the terminal."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk.cli.console import Console, harmless, shown
from rnntk.cli.options import PATH, Args, command_named, complete_runs, option, runs_dir_option
from rnntk.cli.shading import has_colours

if TYPE_CHECKING:
    from rnntk.monitoring.curves import Curve, Line

ROWS = 20  # height of a plot in a terminal of at least 27 lines


@command_named("plot")
@click.argument("runs", nargs=-1, type=PATH, metavar="[RUN]...", shell_complete=complete_runs)
@option(
    "--output",
    "Picture to write, .png or .svg.  [default: none with --terminal, else named after --y, as loss.png]",
    type=PATH,
    metavar="FILE",
)
@option("--terminal", "Draw in the terminal, without Matplotlib.", is_flag=True)
@option(
    "--x",
    "What the x axis shows: steps, or seconds of training.",
    choices=("steps", "time"),
    default="steps",
)
@option(
    "--y",
    "What to draw: loss, bits, perplexity, accuracy, grad_norm, learning_rate, rate (speed) or another logged "
    "number.",
    default="loss",
)
@option(
    "--smooth",
    "Draw the mean of the last N steps; 1: no mean.  [default: 100]",
    type=click.IntRange(1),
)
@option("--log", "Logarithmic y axis.", is_flag=True)
@option("--ascii", "With --terminal: ASCII characters only.", is_flag=True)
@runs_dir_option
def command(args: Args, console: Console) -> None:
    """Draw a curve per RUN, a run's folder or name (default: the latest run), in one picture.

    A pale line shows single steps, a bold one the mean of the last 100 steps, a dashed one validation. With --y
    grad_norm, another line shows the largest norm in each stretch of steps. A run may still be training. Pictures
    need Matplotlib.

    Examples:
      rnntk plot --terminal
      rnntk plot runs/linux_kernel-1 --output loss.svg
      rnntk plot linux_kernel-1 linux_kernel-2 --x time --y bits
    """
    from rnntk.monitoring import curves
    from rnntk.storage import directory

    x, y, log = args.x, args.y, args.log
    found = [directory.find(args.runs_dir, run) for run in args.runs or [None]]
    drawn = [curves.load(run, y, x, args.smooth) for run in found]
    path = args.output or (None if args.terminal else Path(f"{y}.png"))
    if path is not None:
        from rnntk.monitoring import picture

        picture.check_path(path)
    for curve in drawn:
        if curve.skipped:
            console.note(f"{curve.name}: skipped {curve.skipped} damaged lines of metrics.jsonl.")
    if path is not None:
        picture.draw(path, drawn, log=log)
        console.facts(drawn=shown(path))
    if args.terminal and not console.as_json:
        from rnntk.monitoring import terminal as screen

        columns, lines = shutil.get_terminal_size()
        plot = screen.draw(
            [replace(curve, name=harmless(curve.name)) for curve in drawn],
            log=log, width=columns, height=min(max(lines - 7, 5), ROWS),
            colour=has_colours(), ascii_only=args.ascii or not screen.can_show(sys.stdout),
        )  # fmt: skip
        click.echo("\n".join(plot))
    console.json("plot", output=path, x=x, y=y, runs=[_as_json(curve) for curve in drawn])


def _as_json(curve: Curve) -> dict[str, Any]:
    def last(line: Line) -> float | None:
        return float(line.y[-1]) if len(line) else None

    raw, validation = curve.raw, curve.validation
    found = {
        "name": curve.name,
        "points": len(raw),
        "last": last(raw),
        "last_mean": last(curve.smooth),
    }
    return found | {"validation_points": len(validation), "last_validation": last(validation)}
