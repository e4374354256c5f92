"""`rnntk mnist`: a network that reads an image row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rnntk import config
from rnntk.cli.console import Console, shown
from rnntk.cli.options import (
    LATEST_RUN,
    Option,
    common_options,
    given,
    refuse_with_resume,
    resume_option,
    run_options,
    settings_options,
    with_config_defaults,
)
from rnntk.config import MachineConfig, MnistConfig
from rnntk.errors import UsageError

RESUMABLE = {
    "epochs",
    "max_steps",
    "max_time",
    "threads",
    "plot",
    "resume",
    "runs_dir",
    "offline",
    "data_dir",
}


@click.command(
    "mnist",
    epilog="""\b
Examples:
  rnntk mnist
  rnntk mnist --bidirectional --epochs 10
  rnntk mnist --order permuted --cell gru --epochs 1
  rnntk mnist --data digits --max-steps 200 --plot mistakes.png""",
)
@settings_options(MnistConfig, MachineConfig)
@click.option(
    "--data-dir",
    cls=Option,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with mnist/mnist.npz.",
)
@click.option(
    "--plot",
    cls=Option,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A picture of the worst mistakes on the test images, for example mistakes.png.",
)
@click.option("--offline/--no-offline", cls=Option, default=False, help="Never use the network.")
@run_options
@resume_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    run: Path | None,
    runs_dir: Path,
    resume: str | None,
    max_time: float | None,
    data_dir: Path | None,
    plot: Path | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Train a classifier on images, one row a step; test it at the end.

    MNIST is used where it can be had; otherwise digits that rnntk draws itself, and it says so.
    """
    from rnntk.runs import folder
    from rnntk.training import mistakes, mnist_run

    console = Console(quiet, verbose, as_json)
    if plot is not None:
        mistakes.check_path(plot)
    found = None
    if resume is not None:
        refuse_with_resume(ctx, RESUMABLE)
        found = (
            folder.find(runs_dir, Path(resume))
            if resume != LATEST_RUN
            else folder.latest(runs_dir, kind=folder.ROW_CLASSIFIER)
        )
        if found.kind != folder.ROW_CLASSIFIER:
            raise UsageError(
                f"{shown(found.path)} is a {found.kind}; continue it with: {found.resume_command}"
            )
        values["data"] = found.record["corpus"]["name"]
    elif run is not None:
        folder.refuse_existing(run)
    from rnntk.corpora import images, registry

    resolved = registry.resolve_images(
        values["data"], data_dir=data_dir, offline=offline, notify=console.detail
    )
    console.note(resolved.detail)
    pictures = images.load_images(resolved)
    corpus = {**resolved.to_json(), "name": resolved.card.name}
    if found is not None:
        outcome = mnist_run.resume(
            found,
            pictures,
            corpus,
            epochs=values["epochs"] if given(ctx, "epochs") else None,
            max_steps=values["max_steps"],
            max_seconds=max_time,
            threads=values["threads"],
            notify=console.note,
            quiet=quiet,
        )
    else:
        values = with_config_defaults(ctx, values, resolved.card.config, "mnist")
        with folder.reserved(run, runs_dir, resolved.card.name) as path:
            outcome = mnist_run.start(
                config.from_mapping(MnistConfig, values),
                config.from_mapping(MachineConfig, values),
                pictures,
                corpus,
                path,
                notify=console.note,
                max_seconds=max_time,
                quiet=quiet,
            )
    if plot is not None:
        mistakes.draw(plot, pictures.x_test, pictures.y_test, outcome.logits)
    _finish(console, outcome, resolved.card.title, plot)


def _finish(console: Console, outcome: Any, title: str, plot: Path | None) -> None:
    low, high = outcome.interval
    p = outcome.result.progress
    console.result(f"run           {shown(outcome.result.run.path)}")
    console.result(f"images        {title}")
    console.result(f"reached       step {p.step}, epoch {p.epoch}, {p.seconds:.0f} s of training")
    console.result(
        f"test          {100 * outcome.accuracy:.2f} % of {outcome.images:,} images right "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %), loss {outcome.loss:.4f} nats"
    )
    console.result("confusion     (rows: the true digit, columns: the one named)")
    console.result("        " + "".join(f"{digit:>6}" for digit in range(10)))
    for digit, row in enumerate(outcome.confusion):
        console.result(f"      {digit} " + "".join(f"{n:>6}" if n else "     ." for n in row))
    if plot is not None:
        console.result(f"mistakes      {shown(plot)}")
    console.note(f"Curves: tensorboard --logdir {shown(outcome.result.run.logs)}")
    console.json(
        "mnist",
        {
            "run": str(outcome.result.run.path),
            "data": outcome.result.run.record["corpus"]["name"],
            "step": p.step,
            "epoch": p.epoch,
            "seconds": p.seconds,
            "test_accuracy": outcome.accuracy,
            "test_interval": list(outcome.interval),
            "test_loss": outcome.loss,
            "test_images": outcome.images,
            "confusion": outcome.confusion.tolist(),
            "plot": None if plot is None else str(plot),
            "reason": outcome.result.reason,
        },
    )
