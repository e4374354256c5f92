"""Paths, patterns and folders, and messages about the parts that are not read."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest

from rnntk.config import TextConfig
from rnntk.errors import DataError, UsageError
from rnntk.text import inputs

links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


def names(*paths: str | Path, glob: str | None = None) -> list[str]:
    with inputs.opened(TextConfig(input=tuple(map(str, paths)), glob=glob)) as found:
        return [Path(one.name).name for one in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("alpha\n")
    (folder / "sub" / "b.txt").write_text("beta\n")
    return folder


@links
def test_links_in_a_folder_are_counted(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "c.txt").write_text("gamma\n")
    (folder / "file.txt").symlink_to("../other/c.txt")
    (folder / "other").symlink_to("../other")
    (folder / "gone.txt").symlink_to("nowhere.txt")
    with caplog.at_level(logging.INFO, "rnntk"):
        assert names(folder) == ["a.txt", "file.txt", "b.txt"]
    assert f"Left out of {folder}{os.sep}: 1 linked folder, 1 broken link. Choose" in caplog.text
    (folder / "circle").symlink_to(".")
    with caplog.at_level(logging.INFO, "rnntk"):
        names(folder)
    assert "2 linked folders, 1 broken link. Choose" in caplog.text


def denying(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a folder unreadable, for root too; the expected message."""
    scandir, is_file = os.scandir, Path.is_file

    def denied(of: object) -> None:
        if str(of).startswith(str(path)):
            raise PermissionError(13, "Permission denied", str(of))

    monkeypatch.setattr(os, "scandir", lambda of=".": denied(of) or scandir(of))
    monkeypatch.setattr(Path, "is_file", lambda of: denied(of) or is_file(of))
    return f"{path} cannot be read: Permission denied. Change its permissions, or name other"


@pytest.mark.parametrize("glob", [None, "*.txt"])
def test_a_folder_that_cannot_be_read_is_named(
    folder: Path, glob: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = denying(folder / "sub", monkeypatch)
    for path in (folder, folder / "sub"):
        with pytest.raises(DataError, match=f"^{re.escape(told)}"):
            names(path, glob=glob)


@links
def test_a_broken_link_is_named(tmp_path: Path) -> None:
    link = tmp_path / "bl.txt"
    link.symlink_to("nowhere.txt")
    told = f"{link} is a link to nowhere.txt, which does not exist. Name another file."
    for path in (link, tmp_path / "b*.txt"):
        with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
            names(path)


def test_an_empty_name_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for paths in ([""], ["a.txt", ""]):
        with pytest.raises(UsageError, match="^A name in input is empty. Name a file or folder"):
            names(*paths)


def test_patterns_are_expanded(folder: Path) -> None:
    (folder / "[x].txt").write_text("brackets\n")
    assert names(folder / "*.txt") == ["[x].txt", "a.txt"]
    assert names(folder / "[x].txt") == ["[x].txt"]
    assert inputs.matches(str(folder / "none*")) == [str(folder / "none*")]
