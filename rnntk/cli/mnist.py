"""`rnntk mnist`: a network that reads an image row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk.cli import stdout
from rnntk.cli.console import Console, shown
from rnntk.cli.options import (
    command_named,
    config_options,
    given_values,
    path_option,
    run_options,
)
from rnntk.cli.train import chosen_for_resume
from rnntk.config import MnistConfig

if TYPE_CHECKING:
    from rnntk.training.row_task import ClassifierResult
    from rnntk.training.session import Result


@command_named("mnist")
@config_options(MnistConfig)
@path_option(
    "--plot",
    "FILE",
    "A picture of the worst mistakes on the test images, for example mistakes.png.",
)
@run_options
@click.pass_context
def command(
    ctx: click.Context,
    console: Console,
    run: Path | None,
    runs_dir: Path,
    resume: str | None,
    plot: Path | None,
    **_values: Any,
) -> None:
    """Train a classifier on images, one row per step; test it at the end.

    MNIST is used where it is available; otherwise digits that rnntk draws itself, and it says so.

    Examples:
      rnntk mnist
      rnntk mnist --bidirectional --epochs 10
      rnntk mnist --order permuted --cell gru --epochs 1
      rnntk mnist --data digits --max-steps 200 --plot mistakes.png
    """
    from rnntk.storage import folder
    from rnntk.training import mistakes, rows

    if plot is not None:
        mistakes.check_path(plot)
    settings = given_values(ctx, "run", "runs_dir", "resume", "plot")
    if resume is not None:
        if run is not None:
            settings["run"] = run
        found = chosen_for_resume(runs_dir, resume, folder.ROW_CLASSIFIER)
        data = rows.images_of(found, settings)
        result, test = rows.resume(found, settings, data, quiet=console.quiet)
    else:
        if run is not None:
            folder.refuse_existing(run)
        config, data = rows.load(settings)
        with folder.reserved(run, runs_dir, data.record["name"]) as path:
            result, test = rows.start(config, data, path, quiet=console.quiet)
    if plot is not None:
        mistakes.draw(plot, data.images.x_test, data.images.y_test, test.logits)
    _finish(console, result, test, data.card.title, plot)


@stdout.after_training()
def _finish(
    console: Console, result: Result, test: ClassifierResult, title: str, plot: Path | None
) -> None:
    p = result.progress
    console.facts(
        {
            "run": shown(result.run.path),
            "images": title,
            "reached": f"step {p.step}, epoch {p.epoch}, {p.seconds:.0f} s of training",
            "test": str(test),
            "confusion": "(rows: the true digit, columns: the predicted one)",
        }
    )
    console.result("        " + "".join(f"{digit:>6}" for digit in range(10)))
    for digit, row in enumerate(test.confusion):
        console.result(f"      {digit} " + "".join(f"{n:>6}" if n else "     ." for n in row))
    if plot is not None:
        console.result(f"mistakes      {shown(plot)}")
    console.note(f"Curves: tensorboard --logdir {shown(result.run.logs)}")
    console.json(
        "mnist",
        {
            "run": str(result.run.path),
            "data": result.run.record["corpus"]["name"],
            "step": p.step,
            "epoch": p.epoch,
            "seconds": p.seconds,
            "test_accuracy": test.accuracy,
            "test_interval": list(test.interval),
            "test_loss": test.loss,
            "test_images": test.images,
            "confusion": test.confusion.tolist(),
            "plot": None if plot is None else str(plot),
            "reason": result.reason,
        },
    )
