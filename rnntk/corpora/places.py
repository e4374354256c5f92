"""Where things are on this machine: the data folders, the cache, the network if it is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from rnntk.errors import UsageError


def cache_dir() -> Path:
    """The folder for what can be had again: `$RNNTK_CACHE`, else the user's cache folder.

    Raises:
        UsageError: neither is there.
    """
    named = os.environ.get("RNNTK_CACHE")
    try:
        return Path(named or platformdirs.user_cache_dir("rnntk", appauthor=False))
    except RuntimeError as error:
        raise UsageError(
            "This user has no home folder, so there is no place for a cache. Name one with RNNTK_CACHE."
        ) from error


def data_dirs(data_dir: Path | None = None) -> list[Path]:
    """The folders that may hold corpora, in order: `--data-dir`, `$RNNTK_DATA`, `./data`.

    Raises:
        UsageError: `data_dir` is given and is not a folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"--data-dir {data_dir}: there is no such folder.")
    named = [data_dir, os.environ.get("RNNTK_DATA") or None, "data"]
    folders = [Path(folder) for folder in named if folder is not None]
    return list(dict.fromkeys(folders))


def is_offline(offline: bool = False) -> bool:
    """Whether the network is forbidden, by argument or by `RNNTK_OFFLINE`."""
    return offline or os.environ.get("RNNTK_OFFLINE", "").lower() in ("1", "true", "yes", "on")
