"""`rnntk cache` lists the cache; `rnntk cache clean` removes entries."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from rnntk import cache, stored
from rnntk.cache import AREAS, Entry
from rnntk.cli.console import Console
from rnntk.cli.help import Group
from rnntk.cli.options import Args, Choice, command_named
from rnntk.cli.table import Column, age, size, table, terminal_width
from rnntk.files import disk_errors, remove, remove_stale

COLUMNS = (
    Column("AREA"), Column("NAME"), Column("SIZE", right=True),
    Column("AGE", right=True, drop=1), Column("WHAT", drop=2),
)  # fmt: skip


@command_named("cache", cls=Group, invoke_without_command=True)
def command(_args: Args, console: Console) -> None:
    """List the cache: downloads, prepared texts and compiled kernels.

    The cache is the folder $RNNTK_CACHE, else the folder rnntk in your user's cache folder (~/.cache on Linux).

    Examples:
      rnntk cache
      rnntk cache clean
      rnntk cache clean kernels prepared
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    found, now = cache.entries(), time.time()
    rows = [[e.area, e.path.name, size(e.bytes), age(now - e.modified), _about(e)] for e in found]
    if rows:
        for line in table(COLUMNS, rows, terminal_width(), [None] * len(rows)):
            console.result(line)
    console.result(f"{size(sum(e.bytes for e in found))} in {cache.cache_dir()}")
    console.json("cache", cache=cache.cache_dir(), entries=list(map(_as_json, found)))


@command_named(
    "clean", command.command, short_help="Remove unfinished files, or whole parts of the cache."
)
@click.argument("areas", nargs=-1, type=Choice(list(AREAS)), metavar="[AREA]...")
def clean(args: Args, console: Console) -> None:
    """Remove unfinished files; with AREA, also everything in that part of the cache.

    Areas: corpora (downloads), built (texts and images made here), prepared (texts as numbers), baselines (losses of
    n-grams), kernels (compiled code). All are recreated when needed, except a prepared text whose original is gone: the
    runs trained on it cannot be resumed.

    Examples:
      rnntk cache clean
      rnntk cache clean corpora built prepared kernels
    """
    for area in AREAS:
        cache.tidy(area, seconds=0)
    remove_stale(Path(tempfile.gettempdir()), own=True)
    found = cache.entries(*args.areas) if args.areas else []
    for entry in found:
        with disk_errors(entry.path), suppress(FileNotFoundError):  # another process was faster
            remove(entry.path)
        console.facts(removed=f"{entry.path} ({size(entry.bytes)})")
    console.note(f"Removed {len(found)} entries, {size(sum(e.bytes for e in found))}.")
    console.json("cache clean", removed=list(map(_as_json, found)))


def _about(entry: Entry) -> str:
    if entry.area == "prepared":
        try:
            facts = stored.read_json(entry.path / "meta.json", {})["facts"]
            names = ", ".join(source["name"] for source in facts["sources"])
            return f"{facts['symbols']:,} symbols of {names}"
        except (OSError, ValueError, KeyError, TypeError):
            return "damaged"
    return AREAS[entry.area].about


def _as_json(entry: Entry) -> dict[str, Any]:
    about = {"area": entry.area, "path": str(entry.path), "bytes": entry.bytes}
    return {**about, "about": _about(entry)}
