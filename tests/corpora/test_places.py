"""Where things are on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnntk.corpora import places
from rnntk.errors import UsageError


def test_without_a_home_the_cache_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(places.platformdirs, "user_cache_dir", homeless)
    monkeypatch.delenv("RNNTK_CACHE", raising=False)
    with pytest.raises(UsageError, match="RNNTK_CACHE"):
        places.cache_dir()
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path))
    assert places.cache_dir() == tmp_path
