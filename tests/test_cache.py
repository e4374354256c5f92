"""The cache directory."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from rnntk import cache, files
from rnntk.config import TextConfig
from rnntk.errors import UsageError
from rnntk.text import corpus


def test_without_a_home_the_cache_must_be_named(
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


def test_unfinished_files_are_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with the names of rnntk before 1.0 too, if they are old."""
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    text = tmp_path / "text.txt"
    text.write_text("some text\n")
    first = corpus.prepare_corpus(TextConfig(input=str(text)), None)
    folder, kernels = tmp_path / "cache" / "prepared", tmp_path / "cache" / "kernels"
    kernels.mkdir()
    left = [folder / f".{'a' * 32}.x1", folder / ".key.77", kernels / "tmpabc"]
    dead = folder / f".rnntk-{files._machine()}-{os.getpid()}-00000000-0.tmp"
    for path in (*left, dead):
        path.mkdir()
        (path / "ids.bin").write_bytes(b"half")
    cache.tidy("prepared")
    assert left[0].exists(), "another process may still write to it"
    for path in left:
        os.utime(path, (0, 0))
    corpus.prepare_corpus(TextConfig(input=str(text)), None)
    cache.tidy("kernels")
    assert sorted(folder.iterdir()) == [first.prepared.folder]
    assert list(kernels.iterdir()) == []
