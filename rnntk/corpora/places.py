"""The data folders, and whether the network may be used."""

from __future__ import annotations

import os
from pathlib import Path

from rnntk.errors import UsageError


def data_dirs(data_dir: Path | None = None) -> list[Path]:
    """Folders that may hold corpora, in order: `data_dir` (`UsageError` if it is missing), `$RNNTK_DATA`, `./data`."""
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"`data_dir` is {data_dir}, but there is no such folder.")
    named = [data_dir, os.environ.get("RNNTK_DATA") or None, "data"]
    folders = [Path(folder) for folder in named if folder is not None]
    return list(dict.fromkeys(folders))


def is_offline(offline: bool = False) -> bool:
    """Whether the network is forbidden, by argument or `RNNTK_OFFLINE`."""
    return offline or os.environ.get("RNNTK_OFFLINE", "").lower() in ("1", "true", "yes", "on")
