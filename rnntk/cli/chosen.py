"""The run that a command works on: by its folder, by its name in --runs-dir, or the latest one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rnntk.errors import RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    from rnntk.storage.folder import RunFolder


def chosen(
    run: Path | None, runs_dir: Path, *, kind: str | None = None, corpus: str | None = None
) -> RunFolder:
    """The run a user means.

    Args:
        run: its folder, or its name in `runs_dir`; None for the latest there.
        runs_dir: the folder of runs.
        kind: where none is named: only runs of this kind.
        corpus: where none is named: only runs on this corpus.

    Raises:
        RunError: there is none, or it cannot be read.
        UsageError: a run is named, and --corpus typed that it is not on.
    """
    from rnntk.storage import folder

    if run is None:
        try:
            return folder.latest(runs_dir, kind=kind, corpus=corpus)
        except RunError as error:
            raise without_false_advice(error, runs_dir, kind, corpus) from error
    found = folder.find(runs_dir, run)
    source = click.get_current_context().get_parameter_source("corpus")
    # In a config file, or in the environment, it is what to train on.
    if source is ParameterSource.COMMANDLINE and found.record["corpus"].get("name") != corpus:
        on = found.record["corpus"].get("name")
        raise UsageError(
            f"{found.path} is on {on}, not on {corpus}. Leave out --corpus, which is for the latest run on a corpus, "
            "or name another run."
        )
    return found


def without_false_advice(
    error: RunError, runs_dir: Path, kind: str | None, corpus: str | None
) -> RunError:
    """The error that there is no such run, naming the corpora of the runs here if there is no corpus of that name."""
    if corpus is None:
        return error
    from rnntk.corpora import registry
    from rnntk.storage import listing

    known = [card.name for card in registry.all_cards()]
    if corpus in known or corpus.endswith(".toml"):
        return error
    here = sorted({s.corpus for s in listing.runs(runs_dir, kind=kind) if s.corpus})
    text = f"There is no run on {corpus} in {runs_dir}, and no corpus of this name."
    text += f" The runs there are on {', '.join(here)}." if here else " There is no run at all."
    text += did_you_mean(corpus, [*here, *known])
    _, line_end, damaged = str(error).partition("\n")
    return RunError(text + line_end + damaged)
