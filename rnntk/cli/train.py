"""`rnntk train`: prepares if needed, trains, writes a run folder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
)
from rnntk.cli.prep import prepared_text
from rnntk.config import (
    DistributeConfig,
    MachineConfig,
    ModelConfig,
    OptimizationConfig,
    TextConfig,
)
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.runs.folder import RunFolder
    from rnntk.text.corpus import Corpus
    from rnntk.training.text_run import TextRun

REASONS = {
    "epochs": "all epochs done",
    "max-steps": "all steps done",
    "max-time": "time is up",
    "patience": "validation has not become better any more",
    "callback": "stopped by a callback",
}

# What may be given with --resume; everything else comes from the run.
RESUMABLE = {
    "epochs", "max_steps", "max_time", "patience", "explosion_steps", "threads", "resume", "runs_dir",
    "sample_every", "corpus", "input", "data_dir", "offline", "distribute", "workers", "index",
}  # fmt: skip


@click.command(
    "train",
    epilog="""\b
Examples:
  rnntk train --corpus linux_kernel --max-time 2m
  rnntk train --input novel.txt --layers 3 --units 512
  rnntk train --resume runs/linux_kernel-1 --epochs 100""",
)
@settings_options(TextConfig, ModelConfig, OptimizationConfig, MachineConfig, DistributeConfig)
@click.option(
    "--sample-every",
    cls=Option,
    type=click.IntRange(0),
    default=500,
    help="Steps between printed samples; 0 for none.",
)
@click.option(
    "--init-from",
    cls=Option,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Start from the weights of this run; symbols are matched.",
)
@click.option(
    "--dry-run", cls=Option, is_flag=True, help="Check all, measure a few steps, train nothing."
)
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
    sample_every: int,
    init_from: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Train a character model on a corpus, or on files of your own.

    Without --corpus and --input it takes linux_kernel; what each corpus trains with by default is its own
    config (rnntk prep --list shows the corpora).
    """
    console = Console(quiet, verbose, as_json)
    distribute = _distribute(values)
    if resume is not None:
        every = sample_every if given(ctx, "sample_every") else None
        _resume(ctx, console, resume, runs_dir, max_time, every, values, distribute)
        return
    from rnntk.runs import folder
    from rnntk.training import text_run
    from rnntk.training.text_run import TextRun

    if run is not None:
        folder.refuse_existing(run)
    source = folder.find(runs_dir, init_from) if init_from is not None else None
    own = (
        _of_source(source, another_text=given(ctx, "corpus") or given(ctx, "input"))
        if source
        else {}
    )
    values |= {k: own[k] for k in ("corpus", "input") if k in own}
    values, corpus = prepared_text(
        ctx, console, {**values, "sample_every": sample_every}, "train", stronger=own
    )
    settings = TextRun.from_json(values)
    if dry_run:
        if distribute.distribute != "none":
            raise UsageError("--dry-run measures one process alone; leave --distribute out.")
        _dry_run(
            console,
            settings,
            corpus,
            run or folder.next_path(runs_dir, corpus.name),
            sample_every=values["sample_every"],
            max_time=max_time,
            init_from=source,
        )
        return
    if distribute.distribute != "none":
        run = run or folder.next_path(runs_dir, corpus.name)  # only the chief makes it
    with folder.reserved(run, runs_dir, corpus.name) as path:
        result = text_run.start(
            settings,
            corpus,
            path,
            notify=console.note,
            draw=_draw,
            sample_every=values["sample_every"],
            max_seconds=max_time,
            quiet=quiet,
            init_from=source,
            distribute=distribute,
        )
    _finish(console, result)


def _of_source(source: RunFolder, *, another_text: bool) -> dict[str, Any]:
    """What a new run takes from the one whose weights it begins with, where the user says nothing else.

    Network and symbols must be that run's. Its text is taken too, unless another is given.

    Raises:
        UsageError: no text is given and that run's cannot be had.
    """
    from rnntk.runs import folder
    from rnntk.text import inputs

    record = source.record["corpus"]
    own = {**source.record["model"], "preprocessor": record["preprocessor"]}
    if another_text:
        return own
    text = config.from_mapping(TextConfig, source.settings)
    files = record.get("inputs") or list(text.input)
    if record.get("source") == folder.IMPORTED or inputs.STDIN in files:
        raise UsageError(
            f"The text of {shown(source.path)} is not at hand. Give one with --input or --corpus."
        )
    return {
        **own,
        **{k: v for k, v in dataclasses.asdict(text).items() if k != "offline"},
        "preprocessor": record["preprocessor"],
        "input": tuple(files),
    }


def _distribute(values: dict[str, Any]) -> DistributeConfig:
    """Who trains together, checked before the text is prepared, which may take long."""
    settings = config.from_mapping(DistributeConfig, values)
    if settings.distribute == "multiworker":
        from rnntk.training import cluster

        cluster.find(settings.workers, settings.index)
    return settings


def _dry_run(
    console: Console,
    settings: TextRun,
    corpus: Corpus,
    path: Path,
    *,
    sample_every: int,
    max_time: float | None,
    init_from: RunFolder | None,
) -> None:
    from rnntk.training import dry_run

    found = dry_run.estimate(
        settings,
        corpus,
        path,
        notify=console.note,
        draw=_draw,
        sample_every=sample_every,
        init_from=init_from,
    )
    from rnntk.training.report import duration  # imports TensorFlow, which is ready only now

    memory = f"{found.memory / 1e6:,.0f} MB" if found.memory else "not known on this system"
    validation = (
        f", {found.validations:,} validations of {found.validation_seconds:.2f} s"
        if found.validations
        else ""
    )
    console.result(f"would train   {shown(path)}")
    console.result(f"parameters    {found.parameters:,}")
    console.result(f"steps         {found.steps:,}, {found.steps_per_epoch:,} an epoch")
    console.result(
        f"time          about {duration(found.seconds)}: first step {found.first_step:.1f} s, "
        f"then {found.step_seconds:.3f} s a step{validation}"
        + (f"; --max-time ends it after {duration(max_time)}" if max_time else "")
    )
    console.result(f"memory        about {memory}")
    console.json("train", {"dry_run": True, "run": str(path), **dataclasses.asdict(found)})


def _resume(
    ctx: click.Context,
    console: Console,
    resume: str,
    runs_dir: Path,
    max_time: float | None,
    sample_every: int | None,
    values: dict[str, Any],
    distribute: DistributeConfig,
) -> None:
    from rnntk.runs import folder
    from rnntk.training import text_run

    refuse_with_resume(ctx, RESUMABLE)
    found = (
        folder.find(runs_dir, Path(resume))
        if resume != LATEST_RUN
        else folder.latest(runs_dir, kind=folder.CHAR_RNN, corpus=values["corpus"])
    )
    if found.kind != folder.CHAR_RNN:
        raise UsageError(
            f"{shown(found.path)} is a {found.kind}; continue it with: {found.resume_command}"
        )
    result = text_run.resume(
        found,
        epochs=values["epochs"] if given(ctx, "epochs") else None,
        max_steps=values["max_steps"],
        patience=values["patience"],
        explosion_steps=values["explosion_steps"] if given(ctx, "explosion_steps") else None,
        max_seconds=max_time,
        threads=values["threads"],
        input=values["input"],
        data_dir=values["data_dir"],
        offline=values["offline"],
        notify=console.note,
        draw=_draw,
        sample_every=sample_every,
        quiet=console.quiet,
        distribute=distribute,
    )
    _finish(console, result)


def _draw(run: RunFolder, weights: dict[str, Any]) -> str:
    """A text of 200 symbols, always with the same seed so that one sees the model change."""
    from rnntk.decoding.language_model import LanguageModel

    model = LanguageModel(run, weights)
    return model.default_prompt + "".join(model.stream(length=200, seed=0))


def _both(result: Any, nats: float, *, held_out: bool) -> str:
    """A loss in nats a symbol, and in bits a character: only these compare jamo with syllables.

    Where a symbol is a byte, in bits a byte, as such figures are given.
    """
    if result.run.record["corpus"]["preprocessor"] == "bytes":
        bits, unit = 1 / math.log(2), "byte"
    else:
        bits, unit = _bits(result, held_out=held_out), "character"
    return f"{nats:.4f} nats a symbol ({nats * bits:.3f} bits a {unit})"


def _bits(result: Any, *, held_out: bool) -> float:
    """Bits a character for one nat a symbol: the held-out text has its own number of symbols a character."""
    if held_out:
        from rnntk.runs import metrics

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
    prime = result.run.record["corpus"].get("prime")
    console.note(
        f"Draw from it with: rnntk sample {shown(result.run.path)}"
        + (f' --prime "{prime}"' if prime else "")
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
