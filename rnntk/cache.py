"""Cache directory: downloads, prepared texts, compiled kernels. Everything in it can be recreated."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rnntk.errors import UsageError
from rnntk.files import remove, remove_stale

ANOTHER_CACHE = "Name another folder with RNNTK_CACHE."  # advice for an unwritable cache


def cache_dir() -> Path:
    """`$RNNTK_CACHE`, else a folder in the user's cache. Raises `UsageError` without a home folder."""
    if named := os.environ.get("RNNTK_CACHE"):
        return Path(named)
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("rnntk", appauthor=False))
    except (RuntimeError, KeyError, OSError) as error:  # a user in a container may have no name
        raise UsageError(f"This user has no home folder. {ANOTHER_CACHE}") from error


@dataclass(frozen=True)
class Area:
    """Folder of the cache; only entries whose names match `names` are listed and removed."""

    about: str
    names: re.Pattern[str]
    early: str = ".rnntk-*"  # unfinished files of versions before 1.0


AREAS = {
    "corpora": Area("downloads", re.compile(".+-[0-9a-f]{12}")),
    "built": Area("texts and images made here", re.compile(r".+-[0-9a-f]{12}(\.\w+)?")),
    "prepared": Area("texts as ids", re.compile("[0-9a-f]{32}"), ".[0-9a-z]*.*"),
    "baselines": Area("n-gram losses", re.compile(r"[0-9a-f]{32}\.json")),
    "kernels": Area("compiled kernels", re.compile(r"[0-9a-f]{32}\.bin"), "tmp*"),
}


@dataclass(frozen=True)
class Entry:
    """A file or folder in an area of the cache."""

    area: str
    path: Path
    bytes: int
    modified: float


def entries(*areas: str) -> list[Entry]:
    """List the entries of these areas (default: all), sorted by area and name."""
    found = []
    for area in areas or AREAS:
        for path in sorted((cache_dir() / area).glob("*")):
            if AREAS[area].names.fullmatch(path.name):
                files = (p for p in (path, *path.rglob("*")) if not p.is_dir())
                size = sum(file.lstat().st_size for file in files)
                found.append(Entry(area, path, size, path.lstat().st_mtime))
    return found


def tidy(area: str, seconds: float = 3600.0) -> None:
    """Remove unfinished files of dead processes; those of versions before 1.0 only if older than `seconds`."""
    folder = cache_dir() / area
    remove_stale(folder)
    for path in folder.glob("*"):
        if AREAS[area].names.fullmatch(path.name) and path.is_dir():
            remove_stale(path)
            with suppress(OSError):  # it has files
                path.rmdir()
    for path in folder.glob(AREAS[area].early):
        if not path.name.startswith(".rnntk-"):
            with suppress(OSError):  # another process may remove it too
                if time.time() - path.lstat().st_mtime >= seconds:
                    remove(path)
