"""The names of texts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rnntk.config import TextConfig
from rnntk.text import corpus


def named(path: str) -> str:
    return corpus.load(TextConfig, {"input": (path,)})[1].name


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))


def test_a_pattern_is_named_after_its_first_file() -> None:
    for name in ("novel-b.txt", "novel-a.txt"):
        Path(name).write_text("hello\n" * 20)
    assert named("novel*.txt") == "novel-a"
    assert named("./novel-[b].txt") == "novel-b"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a<b>:c|d?.txt", "a_b__c_d_"),
        ('say "x" \\ y*.txt', "say _x_ _ y_"),
        ("two\nlines.txt", "two_lines"),
        (".txt", "txt"),
        (".hidden.txt", "hidden"),
        ("...", "text"),
        ("end. .txt", "end"),
        ("NUL.old.txt", "NUL_.old"),
        ("com1.x.txt", "com1_.x"),
        ("con.txt", "con"),  # the run is con-1, no device
        ("console.log.txt", "console.log"),
        ("누구.txt", "누구"),
    ],
)
def test_names_are_legal_on_windows_and_not_hidden(file: str, name: str) -> None:
    Path(file).write_text("hello\n" * 20)
    assert named(file) == name
