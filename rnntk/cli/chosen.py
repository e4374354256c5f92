"""The run that a command works on: by its folder, by its name in --runs-dir, or the latest one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnntk.runs.folder import RunFolder


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
    """
    from rnntk.runs import folder

    if run is None:
        return folder.latest(runs_dir, kind=kind, corpus=corpus)
    if run.is_dir():
        return folder.open_run(run)
    from rnntk.runs import listing  # here, since most commands start without it

    return listing.find(runs_dir, run)
