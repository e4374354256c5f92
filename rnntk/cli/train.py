"""`rnntk train`: prepare a text if needed, and train a run."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk import duration
from rnntk.cli import runs, stdout, stream
from rnntk.cli.console import Console, progress_bar, shown
from rnntk.cli.model import find_run
from rnntk.cli.options import (
    LATEST_RUN,
    PATH,
    Args,
    command_named,
    complete_runs,
    config_options,
    given_values,
    naming_places,
    option,
    run_options,
    text_paths,
)
from rnntk.config import TrainConfig
from rnntk.errors import UsageError, quoted

if TYPE_CHECKING:
    from rnntk.storage.folder import RunFolder
    from rnntk.text.corpus import Corpus
    from rnntk.training.session import Result

REASONS = {
    "epochs": "all epochs done",
    "max-steps": "all steps done",
    "max-time": "time is up",
    "patience": "validation stopped improving",
    "callback": "stopped by a callback",
}


@command_named("train")
@text_paths
@config_options(TrainConfig)
@option(
    "--init-from",
    "Start from the last weights of this run, instead of random ones.",
    type=PATH,
    shell_complete=complete_runs,
)
@option("--dry-run", "Check everything and time a few steps, without training.", is_flag=True)
@run_options
def command(args: Args, console: Console) -> None:
    """Train a character model on TEXT (your files or folders) or on a corpus (default: linux_kernel).

    For your own TEXT, rnntk chooses the settings that you leave out by its length and alphabet (--dry-run shows which
    and why). For a corpus (rnntk prep --list shows all), the defaults below hold unless it has its own.

    Examples:
      rnntk train novel.txt
      rnntk train poems/ letters.docx --units 512
      rnntk train --corpus linux_kernel --max-time 2m
      rnntk train --resume runs/linux_kernel-1 --epochs 100
    """
    from rnntk.storage import directory, folder
    from rnntk.training import character

    if args.resume is not None:
        changes = given_values(args, "resume", "runs_dir", "corpus")
        found = run_to_resume(args.runs_dir, args.resume, folder.CHAR_RNN, args.corpus)
        with naming_places():
            result = character.resume(found, changes, quiet=console.quiet)
        _finish(console, result)
        return
    if args.run is not None:
        folder.refuse_existing(args.run)
    source = directory.find(args.runs_dir, args.init_from) if args.init_from is not None else None
    settings = given_values(args, "run", "runs_dir", "init_from", "dry_run")
    with progress_bar(console, "preparing") as bar:
        config, corpus = character.load(settings, source, progress=bar)
    if args.dry_run or config.distribute != "none":  # only the chief of a job creates the run
        args.run = args.run or directory.next_path(args.runs_dir, corpus.name)
        if args.dry_run:
            _dry_run(console, config, corpus, args.run, source)
            return
    with directory.reserved(args.run, args.runs_dir, corpus.name) as path:
        result = character.start(config, corpus, path, init_from=source, quiet=console.quiet)
    _finish(console, result)


def run_to_resume(runs_dir: Path, resume: str, kind: str, corpus: str | None = None) -> RunFolder:
    """The run to resume: of this path or name, or the latest of this kind and corpus."""
    run = None if resume == LATEST_RUN else Path(resume)
    found = find_run(run, runs_dir, kind=kind, corpus=corpus)
    if found.kind != kind:
        path = shown(found.path)
        raise UsageError(f"{path} is a {found.kind}; continue it: {found.resume_command}")
    return found


def _dry_run(
    console: Console, config: TrainConfig, corpus: Corpus, path: Path, source: RunFolder | None
) -> None:
    from rnntk.training import dry_run

    found = dry_run.estimate(config, corpus, path, source)
    time = (
        f"about {duration.show(found.seconds)}: first step {found.first_step:.1f} s, "
        f"then {found.step_seconds:.3f} s per step"
    )
    if found.validations:
        time += f", {found.validations:,} validations of {found.validation_seconds:.2f} s"
    if config.max_time:
        time += f"; --max-time ends it after {duration.show(config.max_time)}"
    memory = f"about {found.memory / 1e6:,.0f} MB" if found.memory else "unknown on this system"
    for line in runs.chosen_settings(corpus.record, config.to_json()):
        console.facts(chosen=line)
    console.facts(
        would_train=shown(path),
        parameters=f"{found.parameters:,}",
        steps=f"{found.steps:,}, {found.steps_per_epoch:,} per epoch",
        time=time,
        memory=memory,
    )
    chosen = corpus.record.get("chosen")
    console.json("train", dry_run=True, run=path, chosen=chosen, **dataclasses.asdict(found))


def _in_units(result: Result, nats: float, *, held_out: bool) -> str:
    """A loss in nats per symbol, and in bits per character or byte."""
    corpus, digits = result.run.record["corpus"], 4 if held_out else 3
    of_bytes = corpus["preprocessor"] == "bytes"
    symbols = 1.0 if of_bytes else corpus["facts"]["symbols"] / corpus["facts"]["characters"]
    bits = symbols / math.log(2)
    if held_out and not of_bytes:  # with its own number of symbols per character
        from rnntk.storage import metrics

        names = ["val_loss", "val_bits_per_character"]
        logged = metrics.read(result.run.metrics, names)
        val_nats, val_bits = (logged.series(name)[2] for name in names)
        if len(val_nats):
            bits = val_bits[0] / val_nats[0]
    per = "byte" if of_bytes else "character"
    return f"{nats:.{digits}f} nats per symbol ({nats * bits:.{digits - 1}f} bits per {per})"


def curves_of(run: Path) -> str:
    """Commands that show the curves of a run."""
    folder = "" if run.parent == Path("runs") else f" --runs-dir {shown(run.parent)}"
    return f"rnntk plot --terminal {shown(run)}, or rnntk board{folder}"


def prime_option(prompt: str) -> str:
    """The option that gives a prompt to `rnntk sample`, after a blank; empty without a prompt."""
    return f" --prime {quoted(stream.escaped(prompt))}" if prompt else ""


@stdout.after_training()
def _finish(console: Console, result: Result) -> None:
    from rnntk.storage.metrics import mean_caption

    p, path = result.progress, shown(result.run.path)
    if result.chief:
        reached = f"step {p.step:,}, {p.epoch} epochs done: {REASONS[result.reason]}"
        loss = f"{_in_units(result, p.losses['mean_loss'], held_out=False)}, {mean_caption(p.step)}"
        console.facts(run=path, reached=reached, loss=loss)
        if p.best is not None:
            console.facts(validation=_in_units(result, p.losses["val_loss"], held_out=True))
            best = _in_units(result, p.best["val_loss"], held_out=True)
            console.facts(best=f"{best} at step {p.best['step']:,.0f}")
        prompt = result.run.record["corpus"].get("prime")
        console.note(f"Sample from it: rnntk sample {path}{prime_option(prompt or '')}")
        console.note(f"Its curves: {curves_of(result.run.path)}")
    numbers = {name: getattr(p, name) for name in ("step", "epoch", "seconds", "losses", "best")}
    console.json("train", run=result.run.path, **numbers, reason=result.reason)
