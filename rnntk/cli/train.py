"""`rnntk train`: prepares if needed, trains, writes a run folder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk import duration
from rnntk.cli.console import Bar, Console, shown
from rnntk.cli.options import (
    LATEST_RUN,
    PATH,
    config_options,
    console_options,
    given_values,
    option,
    run_options,
)
from rnntk.config import TrainConfig
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.storage.folder import RunFolder
    from rnntk.text.corpus import Corpus

REASONS = {
    "epochs": "all epochs done",
    "max-steps": "all steps done",
    "max-time": "time is up",
    "patience": "validation stopped improving",
    "callback": "stopped by a callback",
}


@click.command(
    "train",
    epilog="""\b
Examples:
  rnntk train --corpus linux_kernel --max-time 2m
  rnntk train --input novel.txt --layers 3 --units 512
  rnntk train --resume runs/linux_kernel-1 --epochs 100""",
)
@config_options(TrainConfig)
@option(
    "--init-from",
    type=PATH,
    metavar="RUN",
    help="Start from the weights of this run; symbols are matched.",
)
@option("--dry-run", is_flag=True, help="Check everything and measure a few steps; train nothing.")
@run_options
@console_options
@click.pass_context
def command(
    ctx: click.Context,
    console: Console,
    run: Path | None,
    runs_dir: Path,
    resume: str | None,
    init_from: Path | None,
    dry_run: bool,
    **_values: Any,
) -> None:
    """Train a character model on a corpus, or on files of your own.

    Without --corpus and --input it takes linux_kernel; what each corpus trains with by default is its own
    config (rnntk prep --list shows the corpora).
    """
    from rnntk.storage import folder
    from rnntk.training import character

    if resume is not None:
        changes = given_values(ctx, "resume", "runs_dir", "corpus")
        found = chosen_for_resume(runs_dir, resume, folder.CHAR_RNN, ctx.params["corpus"])
        _finish(console, character.resume(found, changes, quiet=console.quiet))
        return
    if run is not None:
        folder.refuse_existing(run)
    source = folder.find(runs_dir, init_from) if init_from is not None else None
    settings = given_values(ctx, "run", "runs_dir", "init_from", "dry_run")
    with Bar(console, "preparing") as bar:
        config, corpus = character.load(settings, source, progress=bar)
    if dry_run:
        path = run or folder.next_path(runs_dir, corpus.name)
        _dry_run(console, config, corpus, path, source)
        return
    if config.distribute != "none":
        run = run or folder.next_path(runs_dir, corpus.name)  # only the chief makes it
    with folder.reserved(run, runs_dir, corpus.name) as path:
        result = character.start(config, corpus, path, init_from=source, quiet=console.quiet)
    _finish(console, result)


def chosen_for_resume(
    runs_dir: Path, resume: str, kind: str, corpus: str | None = None
) -> RunFolder:
    """The run to continue: by path or name, else the latest of this kind, and on this corpus."""
    from rnntk.storage import folder

    if resume == LATEST_RUN:
        return folder.latest(runs_dir, kind=kind, corpus=corpus)
    found = folder.find(runs_dir, Path(resume))
    if found.kind != kind:
        raise UsageError(
            f"{shown(found.path)} is a {found.kind}; continue it with: {found.resume_command}"
        )
    return found


def _dry_run(
    console: Console, config: TrainConfig, corpus: Corpus, path: Path, source: RunFolder | None
) -> None:
    from rnntk.training import dry_run

    found = dry_run.estimate(config, corpus, path, source)
    memory = f"{found.memory / 1e6:,.0f} MB" if found.memory else "not known on this system"
    validation = (
        f", {found.validations:,} validations of {found.validation_seconds:.2f} s"
        if found.validations
        else ""
    )
    limit = (
        f"; --max-time ends it after {duration.show(config.max_time)}" if config.max_time else ""
    )
    console.result(f"would train   {shown(path)}")
    console.result(f"parameters    {found.parameters:,}")
    console.result(f"steps         {found.steps:,}, {found.steps_per_epoch:,} per epoch")
    console.result(
        f"time          about {duration.show(found.seconds)}: first step {found.first_step:.1f} s, "
        f"then {found.step_seconds:.3f} s per step{validation}{limit}"
    )
    console.result(f"memory        about {memory}")
    console.json("train", {"dry_run": True, "run": str(path), **dataclasses.asdict(found)})


def _both(result: Any, nats: float, *, held_out: bool) -> str:
    """A loss in nats per symbol, and in bits per character (comparable across preprocessors) or per byte."""
    if result.run.record["corpus"]["preprocessor"] == "bytes":
        bits, unit = 1 / math.log(2), "byte"
    else:
        bits, unit = _bits(result, held_out=held_out), "character"
    return f"{nats:.4f} nats per symbol ({nats * bits:.3f} bits per {unit})"


def _bits(result: Any, *, held_out: bool) -> float:
    """Bits per character for one nat per symbol: the held-out text has its own number of symbols per character."""
    if held_out:
        from rnntk.storage import metrics

        found = metrics.read(result.run.metrics, ["val_loss", "val_bits_per_character"])
        pairs = zip(
            found.series("val_loss")[2], found.series("val_bits_per_character")[2], strict=True
        )
        for loss, bits in pairs:
            return float(bits / loss)
    facts = result.run.record["corpus"]["facts"]
    return float(facts["symbols"] / facts["characters"] / math.log(2))


def _describe(console: Console, result: Any) -> None:
    p = result.progress
    console.result(f"run           {shown(result.run.path)}")
    console.result(
        f"reached       step {p.step}, epoch {p.epoch}, loss {_both(result, p.losses['loss'], held_out=False)}, "
        f"{REASONS[result.reason]}"
    )
    if p.best is not None:
        console.result(
            f"best          validation {_both(result, p.best['val_loss'], held_out=True)} "
            f"at step {p.best['step']:.0f}"
        )
    prompt = result.run.record["corpus"].get("prime")
    console.note(
        f"Sample from it: rnntk sample {shown(result.run.path)}"
        + (f' --prime "{prompt}"' if prompt else "")
    )


def _finish(console: Console, result: Any) -> None:
    if result.chief:
        _describe(console, result)
    p = result.progress
    console.json(
        "train",
        {
            "run": str(result.run.path),
            "step": p.step,
            "epoch": p.epoch,
            "seconds": p.seconds,
            "losses": p.losses,
            "best": p.best,
            "reason": result.reason,
        },
    )
