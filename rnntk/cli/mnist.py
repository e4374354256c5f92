"""`rnntk mnist`: train a network that reads images row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rnntk.cli import stdout
from rnntk.cli.console import Console, shown
from rnntk.cli.model import find_run
from rnntk.cli.options import (
    FILE,
    PATH,
    Args,
    command_named,
    config_options,
    given_values,
    naming_places,
    option,
    resume_option,
    runs_dir_option,
    source,
)
from rnntk.cli.train import curves_of, run_to_resume
from rnntk.config import MnistConfig, corpus_settings, flag
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.training.row_task import ClassifierResult
    from rnntk.training.rows import Images
    from rnntk.training.session import Result

# Words by the highest of the ten probabilities.
_SURE = ((0.95, "surely a"), (0.7, "probably a"), (0.4, "perhaps a"), (0.0, "unsure, at best a"))
# Settings that --image accepts: `data` chooses the run.
_WITH_IMAGE = ("data", "data_dir", "offline", "device", "threads")


@command_named("mnist")
@config_options(MnistConfig)
@option("--plot", "Picture to write: the worst mistakes of the test.", type=PATH)
@option(
    "--image",
    "Picture of a digit to read with a trained run, instead of training; repeatable.",
    type=FILE,
    multiple=True,
)
@option(
    "--run",
    "Folder of the new run; with --image, the trained run to use (without --run, the latest, or the "
    "latest on --data).  [default: runs/<data>-<n>]",
    type=PATH,
)
@runs_dir_option
@resume_option
def command(args: Args, console: Console) -> None:
    """Train a classifier that reads an image row by row, and test it.

    Uses MNIST if it is on this machine or can be downloaded, else digits drawn by rnntk. With --image, a trained
    classifier reads your pictures: one digit each, dark on light or light on dark. --resume of a finished run tests it.

    Examples:
      rnntk mnist
      rnntk mnist --bidirectional --epochs 10
      rnntk mnist --data digits --max-steps 200 --plot mistakes.png
      rnntk mnist --image seven.png --image four.jpg
    """
    if args.image:
        _classify(console, args)
        return
    from rnntk.storage import directory, folder
    from rnntk.training import mistakes, rows

    if args.plot is not None:
        mistakes.check_path(args.plot)
    if args.resume is not None:
        settings = given_values(args, "runs_dir", "resume", "plot", "image")
        found = run_to_resume(args.runs_dir, args.resume, folder.ROW_CLASSIFIER)
        with naming_places():
            data = rows.images_of(found, settings)
            result, test = rows.resume(found, settings, data, quiet=console.quiet)
    else:
        if args.run is not None:
            folder.refuse_existing(args.run)
        settings = given_values(args, "run", "runs_dir", "plot", "image")
        config, data = rows.load(settings)
        with directory.reserved(args.run, args.runs_dir, data.record["name"]) as path:
            result, test = rows.start(config, data, path, quiet=console.quiet)
    _finish(console, result, data, test, args.plot)


# Both image sets have these settings in place of the defaults of `MnistConfig`.
_SETTINGS = corpus_settings("mnist", "mnist", MnistConfig.names())
for _option in command.params:
    if isinstance(_option, click.Option) and _option.show_default and _option.name in _SETTINGS:
        _option.show_default = f"{_SETTINGS[_option.name]}"


def _classify(console: Console, args: Args) -> None:
    """Print the probability of each digit for each picture."""
    import numpy as np

    from rnntk.corpora import images
    from rnntk.decoding.row_model import RowModel
    from rnntk.storage import folder

    of_training = ("resume", "plot", *(n for n in MnistConfig.names() if n not in _WITH_IMAGE))
    # In a config file or the environment, settings are for training.
    wrong = [flag(n) for n in of_training if source(n) is ParameterSource.COMMANDLINE]
    if wrong:
        raise UsageError(f"--image trains nothing. Leave out {', '.join(wrong)}.")
    read = [images.read_picture(path) for path in args.image]
    run = find_run(
        args.run, args.runs_dir, kind=folder.ROW_CLASSIFIER, corpus=args.data, option="data"
    )
    model = RowModel.load(run, "best")
    console.note(f"Read by {shown(run.path)} at step {model.step}.")
    rows = []
    for path, p in zip(args.image, model.probabilities(np.stack(read)), strict=True):
        order = np.argsort(-p, kind="stable").tolist()
        best, second = order[:2]
        sure = next(word for least, word in _SURE if p[best] >= least)
        console.result(f"{shown(path)}: {sure} {best}, else {second}")
        for digit in order:
            bar = "#" * round(30 * p[digit])
            console.result(f"  {digit}  {100 * p[digit]:5.1f} %  {bar}".rstrip())
        rows.append({"file": path, "digit": best, "probabilities": p.round(6).tolist()})
    console.json("mnist", run=run.path, step=model.step, images=rows)


@stdout.after_training()
def _finish(
    console: Console, result: Result, data: Images, test: ClassifierResult, plot: Path | None
) -> None:
    from rnntk.storage.metrics import mean_caption
    from rnntk.training import mistakes

    p = result.progress
    console.facts(
        run=shown(result.run.path),
        images=data.card.title,
        reached=f"step {p.step:,}, {p.epoch} epochs done, {p.seconds:.0f} s of training",
        loss=f"{p.losses['mean_loss']:.4f} nats per image, {mean_caption(p.step)}",
        test=test,
        confusion="(rows: the true digit, columns: the predicted one)",
    )
    width = len(str(test.confusion.max())) + 1
    console.result("   " + "".join(f"{digit:>{width}}" for digit in range(10)))
    for digit, row in enumerate(test.confusion):
        console.result(f"  {digit}" + "".join(f"{n or '.':>{width}}" for n in row))
    numbers = {name: getattr(p, name) for name in ("step", "epoch", "seconds")}
    numbers |= {f"test_{n}": getattr(test, n) for n in ("accuracy", "interval", "loss", "images")}
    found = {**numbers, "confusion": test.confusion.tolist(), "plot": None, "reason": result.reason}
    try:
        if plot is not None:
            mistakes.draw(plot, data.images.x_test, data.images.y_test, test.logits)
            found["plot"] = plot
            console.facts(mistakes=shown(plot))
    finally:  # a picture that cannot be written must not lose the result
        console.note(f"Its curves: {curves_of(result.run.path)}")
        name = result.run.record["corpus"]["name"]
        console.json("mnist", run=result.run.path, data=name, **found)
