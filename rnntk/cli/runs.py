"""`rnntk runs`: list, show, rename and delete runs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk import config, duration
from rnntk.cli.console import Console, shown
from rnntk.cli.help import Group
from rnntk.cli.model import unknown_corpus
from rnntk.cli.options import (
    PATH,
    Args,
    command_named,
    complete_runs,
    given,
    option,
    runs_dir_option,
)
from rnntk.cli.table import Column, age, size, table, terminal_width
from rnntk.errors import RunError, UsageError, quoted
from rnntk.storage import directory, folder, metrics

if TYPE_CHECKING:
    from rnntk.storage.checkpoint import Progress
    from rnntk.storage.folder import RunFolder
    from rnntk.storage.listing import CheckpointSummary, Details, Summary

KINDS = ("char-rnn", "row-classifier")

# A narrow terminal keeps steps and losses longest.
COLUMNS = (
    Column("RUN"), Column("CORPUS", drop=5), Column("MODEL", drop=3), Column("STEPS", right=True, drop=1),
    Column("LOSS", right=True, drop=4), Column("VALIDATION", right=True, drop=2),
    Column("AGE", right=True, drop=6), Column("SIZE", right=True, drop=7),
)  # fmt: skip


@command_named("runs", cls=Group, invoke_without_command=True)
@option("--corpus", "Only runs on this corpus.")
@option(
    "--kind",
    "Only runs of rnntk train (char-rnn), or only of rnntk mnist (row-classifier).",
    choices=KINDS,
)
@runs_dir_option
def command(args: Args, console: Console) -> None:
    """List the runs, latest first.

    The column LOSS is the mean of the last 100 steps, the column VALIDATION the lowest validation loss, both in nats
    per symbol (runs of rnntk mnist: per image). A damaged run is listed with its fault.

    Examples:
      rnntk runs
      rnntk runs --corpus linux_kernel
      rnntk runs show runs/linux_kernel-1
      rnntk runs rename linux_kernel-1 kernel
      rnntk runs delete linux_kernel-2 linux_kernel-3
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    from rnntk.storage import listing

    found = listing.runs(args.runs_dir, kind=args.kind, corpus=args.corpus)
    now = time.time()
    if found:
        rows = [_row(s, now) for s in found]
        for line in table(COLUMNS, rows, terminal_width(), [s.problem for s in found]):
            console.result(line)
        console.note(f"Loss: {metrics.MEAN_LOSS}; validation: the lowest; both in nats.")
    else:
        what = f" on {args.corpus}" if args.corpus else f" of kind {args.kind}" if args.kind else ""
        train = directory.train_command(args.runs_dir, args.kind, args.corpus)
        error = RunError(f"There is no run{what} in {args.runs_dir}. Train one: {train}")
        console.note(str(unknown_corpus(error, args.runs_dir, args.kind, args.corpus)))
    console.json("runs", runs_dir=args.runs_dir, runs=[_as_json(s) for s in found])


def _row(s: Summary, now: float) -> list[str]:
    def loss(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    steps = "-" if s.step is None else f"{s.step:,}"
    return [
        s.name, s.corpus or "-", s.model or "-", steps, loss(s.mean_loss), loss(s.best),
        age(now - s.modified), size(s.bytes),
    ]  # fmt: skip


def _as_json(s: Summary) -> dict[str, Any]:
    modified = datetime.fromtimestamp(s.modified, timezone.utc)
    return {
        "name": s.name,
        "path": str(s.path),
        **{name: getattr(s, name) or None for name in ("kind", "corpus", "model")},
        **{name: getattr(s, name) for name in ("step", "loss", "mean_loss", "bytes", "problem")},
        "best_val_loss": s.best,
        "modified": modified.isoformat(timespec="seconds"),
    }


@command_named("show", command.command, short_help="Show everything about one run.")
@click.argument("run", required=False, type=PATH, shell_complete=complete_runs)
@runs_dir_option
def show(args: Args, console: Console) -> None:
    """Show everything about RUN, a run's folder or name (default: the latest run).

    Verifies the checksums of all checkpoints, and names the damaged ones.

    Examples:
      rnntk runs show
      rnntk runs show runs/linux_kernel-1 --json
    """
    from rnntk.storage import listing

    d = listing.details(directory.find(_runs_dir(args), args.run))
    for key, value in _facts(d):
        console.result(f"{key:<13} {value}")
    for text in _next_commands(d.run, d.progress):
        console.note(text)
    record, progress = d.run.record, d.progress
    checkpoints = [{"step": c.step, "bytes": c.bytes, "problem": c.problem} for c in d.checkpoints]
    console.json(
        "runs show",
        **_as_json(d.summary),
        **{name: record.get(name) for name in ("created", "settings", "versions")},
        changed_settings=d.changed,
        model_record=record["model"],
        corpus_record=record["corpus"],
        **{name: progress and getattr(progress, name) for name in ("epoch", "seconds", "best")},
        last=d.last,
        checkpoints=checkpoints,
    )


@command_named("rename", command.command, short_help="Give a run another name.")
@click.argument("run", type=PATH, shell_complete=complete_runs)
@click.argument("new")
@runs_dir_option
@option("--yes -y", "Do not ask first.", is_flag=True)
def rename(args: Args, console: Console) -> None:
    """Rename RUN, a run's folder or name, to NEW. Asks first in a terminal.

    The run must not be in training. It can be resumed by its new name.

    Examples:
      rnntk runs rename linux_kernel-1 kernel
      rnntk runs rename runs/novel-3 novel-512-units
    """
    from rnntk.storage import listing

    old = directory.locate(_runs_dir(args), args.run)
    if not args.yes and sys.stdin.isatty():
        click.confirm(f"Rename {shown(old)} to {args.new}?", default=True, abort=True, err=True)
    names = f"{shown(old)} to {shown(old.parent / args.new)}"  # the working folder may move too
    new = directory.rename(old, args.new)
    console.facts(renamed=names)
    with suppress(RunError):  # a damaged run can only be looked at
        run = folder.open_run(new)
        for line in _next_commands(run, listing.newest(run)[0]):
            console.note(line)
    console.json("runs rename", old=old, new=new)


@command_named("delete", command.command, short_help="Delete runs with all their files.")
@click.argument(
    "runs", nargs=-1, required=True, type=PATH, metavar="RUN...", shell_complete=complete_runs
)
@runs_dir_option
@option("--yes -y", "Do not ask first.", is_flag=True)
def delete(args: Args, console: Console) -> None:
    """Delete each RUN, a run's folder or name, with all its files, after asking.

    If one RUN is in training or is not a run, none is deleted. Before asking, the files that rnntk did not make are
    listed.

    Examples:
      rnntk runs delete linux_kernel-2
      rnntk runs delete runs/novel-1 runs/novel-2 --yes
    """
    from rnntk.storage import listing

    located = (directory.locate(_runs_dir(args), run) for run in args.runs)
    found = list({os.path.realpath(path): path for path in located}.values())
    names = [shown(path) for path in found]  # before the working folder may be deleted
    for path in found:
        directory.check_movable(path)
    for name, path in zip(names, found, strict=True):
        s = listing.summarize(path)
        steps = "" if s.step is None else f", {s.step:,} steps"
        console.note(f"{name}: {s.model or 'damaged'}{steps}, {size(s.bytes)}")
        if others := directory.not_ours(path):
            console.note(f"  also deleted, not made by rnntk: {', '.join(others)}")
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError("Cannot ask before deleting: stdin is not a terminal. Add --yes.")
        click.confirm("Delete this for good?", abort=True, err=True)
    freed = 0
    for name, path in zip(names, found, strict=True):
        freed += directory.delete(path)
        console.facts(deleted=name)
    console.note(f"Freed {size(freed)}.")
    console.json("runs delete", deleted=found, bytes=freed)


def _runs_dir(args: Args) -> Path:
    """`--runs-dir` of the command or of its group (`rnntk runs --runs-dir DIR show`)."""
    parent = click.get_current_context().parent
    return args.runs_dir if given("runs_dir") or not parent else parent.params["runs_dir"]


def _facts(d: Details) -> list[tuple[str, str]]:
    s, record, p = d.summary, d.run.record, d.progress
    written = age(time.time() - s.modified)
    ago = written if written == "now" else f"{written} ago"
    split = record["corpus"].get("split") or {}
    parts = [f"{name} {end - begin:,}" for name, (begin, end) in split.items() if end > begin]
    words = [word for item in d.changed.items() for word in config.typed_setting(*item)]
    versions = [f"{name} {version}" for name, version in (record.get("versions") or {}).items()]
    best = p.best if p else None
    steps = p and f"{p.step:,} steps, {p.epoch} epochs, {duration.show(p.seconds)}"
    facts = [
        ("run", f"{shown(d.run.path)} ({s.kind}), {size(s.bytes)}"),
        ("created", f"{record.get('created', 'unknown')}, written to {ago}"),
        ("model", _model(s.model, record["model"])),
        ("corpus", _corpus(record["corpus"])),
        ("split", parts and f"{', '.join(parts)} symbols, in this order"),
        ("settings", quoted(*words) or "all defaults"),
        *(("chosen", text) for text in chosen_settings(record["corpus"], record["settings"])),
        ("trained", steps),
        ("loss", _losses(d)),
        *(("checkpoint", _checkpoint(c, best)) for c in d.checkpoints),
        ("checkpoint", "" if d.checkpoints else "none yet"),
        ("versions", ", ".join(versions) or "unknown"),
    ]
    return [(name, str(fact)) for name, fact in facts if fact]


def _model(name: str, model: dict[str, Any]) -> str:
    parts = [name]
    parts += [f"{key} {model[key]}" for key in ("embedding", "dropout") if model.get(key)]
    if model.get("layer_norm"):
        parts.append("layer normalisation")
    if isinstance(count := model.get("parameters"), int):
        parts.append(f"{count:,} parameters")
    return ", ".join(parts)


def _corpus(corpus: dict[str, Any]) -> str:
    facts = corpus.get("facts") or {}
    parts = [str(corpus.get("name", "unknown"))]
    if facts.get("symbols") is not None and facts.get("vocabulary_size") is not None:
        parts.append(f"{facts['symbols']:,} symbols, {facts['vocabulary_size']} different")
    if corpus.get("preprocessor"):
        parts.append(f"preprocessor {corpus['preprocessor']}")
    if corpus.get("path"):
        parts.append(f"from {corpus['path']} ({corpus.get('source', 'unknown')})")
    if corpus.get("sha256"):
        parts.append(f"sha256 {corpus['sha256'][:12]}")
    return ", ".join(parts)


def chosen_settings(corpus: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Lines about the settings that rnntk chose for a text and are unchanged, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, choice in (corpus.get("chosen") or {}).items():
        if settings.get(name) == choice["value"]:
            words = f"{name.replace('_', ' ')} {choice['value']}"
            by_reason.setdefault(choice["why"], []).append(words)
    return [f"{', '.join(names)}: {why}" for why, names in by_reason.items()]


def _losses(d: Details) -> str:
    mean = d.summary.mean_loss
    parts = [] if mean is None else [f"{mean:.4f} ({metrics.mean_caption(d.summary.step or 0)})"]
    for name, value in sorted(d.last.items()):  # their order depends on Keras
        if name.startswith("val_"):
            parts.append(f"validation {name[4:].replace('_', ' ')} {value:.4f}")
    if d.progress is not None and (best := d.progress.best):
        parts.append(f"best validation {best['val_loss']:.4f} at step {int(best['step']):,}")
    return ", ".join(parts) or "none yet"


def _checkpoint(c: CheckpointSummary, best: dict[str, float] | None) -> str:
    mark = ", the best" if best and int(best["step"]) == c.step else ""
    return f"step {c.step:,}, {size(c.bytes)}{mark}" + (f": {c.problem}" if c.problem else "")


def _next_commands(run: RunFolder, progress: Progress | None) -> list[str]:
    path = shown(run.path)
    if progress is None:
        return [f"{path} has no whole checkpoint to sample or resume."]
    is_text = run.kind == folder.CHAR_RNN
    texts = [f"Sample from it: rnntk sample {path}"] if is_text else []
    if run.record["corpus"].get("source") == folder.IMPORTED:
        return [*texts, f"Train from it: rnntk train TEXT --init-from {path}"]
    from rnntk.training import schedule

    settings = run.config
    limit = schedule.reached(settings, progress).replace("-", "_")
    # A finished run needs a higher limit to continue.
    more = f" {config.flag(limit)} {2 * getattr(settings, limit)}" if limit else ""
    return [*texts, f"Continue it: {run.resume_command}{more}"]
