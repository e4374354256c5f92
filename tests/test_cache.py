"""Where things are kept that can be had again."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from rnntk import cache
from rnntk.errors import UsageError


def test_without_a_home_the_cache_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_cache_dir", homeless)
    monkeypatch.delenv("RNNTK_CACHE", raising=False)
    with pytest.raises(UsageError, match="RNNTK_CACHE"):
        cache.cache_dir()
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path))
    assert cache.cache_dir() == tmp_path
