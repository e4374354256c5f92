"""`rnntk mnist`: train a network that reads images row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.cli import stdout
from rnntk.cli.console import Console, shown
from rnntk.cli.options import (
    Args,
    command_named,
    config_options,
    given_values,
    path_option,
    run_options,
)
from rnntk.cli.train import chosen_for_resume, curves_of
from rnntk.config import MnistConfig

if TYPE_CHECKING:
    from rnntk.training.row_task import ClassifierResult
    from rnntk.training.session import Result


@command_named("mnist")
@config_options(MnistConfig)
@path_option(
    "--plot", "FILE", "A picture of the worst mistakes on the test images, such as mistakes.png."
)
@run_options
def command(args: Args, console: Console) -> None:
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

    if args.plot is not None:
        mistakes.check_path(args.plot)
    if args.resume is not None:
        settings = given_values(args, "runs_dir", "resume", "plot")
        found = chosen_for_resume(args.runs_dir, args.resume, folder.ROW_CLASSIFIER)
        data = rows.images_of(found, settings)
        result, test = rows.resume(found, settings, data, quiet=console.quiet)
    else:
        if args.run is not None:
            folder.refuse_existing(args.run)
        settings = given_values(args, "run", "runs_dir", "plot")
        config, data = rows.load(settings)
        with folder.reserved(args.run, args.runs_dir, data.record["name"]) as path:
            result, test = rows.start(config, data, path, quiet=console.quiet)
    if args.plot is not None:
        mistakes.draw(args.plot, data.images.x_test, data.images.y_test, test.logits)
    _finish(console, result, test, data.card.title, args.plot)


@stdout.after_training()
def _finish(
    console: Console, result: Result, test: ClassifierResult, title: str, plot: Path | None
) -> None:
    from rnntk.storage.metrics import MEAN_LOSS

    p = result.progress
    console.facts(
        run=shown(result.run.path),
        images=title,
        reached=f"step {p.step:,}, {p.epoch} epochs done, {p.seconds:.0f} s of training",
        loss=f"{p.losses['mean_loss']:.4f} nats per image, {MEAN_LOSS}",
        test=test,
        confusion="(rows: the true digit, columns: the predicted one)",
    )
    width = len(str(test.confusion.max())) + 1
    console.result("   " + "".join(f"{digit:>{width}}" for digit in range(10)))
    for digit, row in enumerate(test.confusion):
        console.result(f"  {digit}" + "".join(f"{n or '.':>{width}}" for n in row))
    if plot is not None:
        console.facts(mistakes=shown(plot))
    console.note(f"Its curves: {curves_of(result.run.path)}")
    data, confusion = result.run.record["corpus"]["name"], test.confusion.tolist()
    numbers = {name: getattr(p, name) for name in ("step", "epoch", "seconds")}
    numbers |= {f"test_{n}": getattr(test, n) for n in ("accuracy", "interval", "loss", "images")}
    found = {**numbers, "confusion": confusion, "plot": plot, "reason": result.reason}
    console.json("mnist", run=result.run.path, data=data, **found)
