"""The cache directory: downloads, prepared texts and compiled kernels, all of which can be recreated."""

from __future__ import annotations

import os
from pathlib import Path

from rnntk.errors import UsageError


def cache_dir() -> Path:
    """`$RNNTK_CACHE`, else the user's cache folder. Raises `UsageError` if the user has no home folder."""
    if named := os.environ.get("RNNTK_CACHE"):
        return Path(named)
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("rnntk", appauthor=False))
    except (RuntimeError, KeyError, OSError) as error:  # a user without a name, in a container
        raise UsageError(
            "This user has no home folder, so there is no place for a cache. Name one with RNNTK_CACHE."
        ) from error
