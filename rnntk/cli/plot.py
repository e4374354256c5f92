"""`rnntk plot`: plot curves of runs as a picture or in the terminal."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk.cli.console import Console, harmless, shown
from rnntk.cli.options import PATH, Args, command_named, option, runs_dir_option
from rnntk.cli.shading import has_colours

if TYPE_CHECKING:
    from rnntk.monitoring.curves import Curve, Line

ROWS = 20  # height of a plot in a terminal of at least 27 lines


@command_named("plot")
@click.argument("runs", nargs=-1, type=PATH, metavar="[RUN]...")
@option("--output", "A .png or .svg file.  [default: <y>.png]", type=PATH, metavar="FILE")
@option("--terminal", "Draw in the terminal; needs no Matplotlib.", is_flag=True)
@option("--x", "Steps, or seconds.", choices=("steps", "time"), default="steps")
@option(
    "--y",
    "loss, bits, perplexity, accuracy, grad_norm, learning_rate, rate (speed) or any logged number.",
    default="loss",
)
@option("--smooth", "Mean of the last N steps; 1 for none.  [default: 100]", type=click.IntRange(1))
@option("--log", "Logarithmic y axis.", is_flag=True)
@option("--ascii", "With --terminal: ASCII characters only.", is_flag=True)
@runs_dir_option
def command(args: Args, console: Console) -> None:
    """Draw the curves of RUNs, folders or names (default: the latest run), in one picture.

    Pale: single steps; bold: mean of the last 100; dashed: validation. --y grad_norm also shows the largest
    values. Runs may still be training. Pictures need Matplotlib.

    Examples:
      rnntk plot --terminal
      rnntk plot runs/linux_kernel-1 --output loss.svg
      rnntk plot linux_kernel-1 linux_kernel-2 --x time --y bits
    """
    from rnntk.monitoring import curves
    from rnntk.storage import folder

    x, y, log = args.x, args.y, args.log
    path = args.output or (None if args.terminal else Path(f"{y}.png"))
    if path is not None:
        from rnntk.monitoring import picture

        picture.check_path(path)
    found = [folder.find(args.runs_dir, run) for run in args.runs or [None]]
    drawn = [curves.load(run, y, x, args.smooth) for run in found]
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
