"""The folder of runs: new names, the latest run, and deletion."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from rnntk import files
from rnntk.errors import RunError, TrainingError
from rnntk.storage import directory, folder
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary


def make(path: Path, corpus: str = "tiny", kind: str = folder.CHAR_RNN) -> RunFolder:
    record = {"settings": {}, "model": {"cell": "lstm"}, "corpus": {"name": corpus}, "versions": {}}
    return folder.create(path, kind=kind, **record, vocabulary=Vocabulary("ab\n"))


def test_new_names_count_past_every_name_in_use(tmp_path: Path) -> None:
    assert directory.next_path(tmp_path, "a").name == "a-1"
    for name in ("a-1", "a-9", "a-x", "b-20"):
        (tmp_path / name).mkdir()
    assert directory.next_path(tmp_path, "a").name == "a-10"


def test_new_names_pass_files_links_and_other_spellings(tmp_path: Path) -> None:
    """On some systems A-1 and a-1 are the same name, and so are the two forms of 한."""
    (tmp_path / "a-1").write_text("a file")
    assert directory.next_path(tmp_path, "a").name == "a-2"
    (tmp_path / "A-2").mkdir()
    assert directory.next_path(tmp_path, "a").name == "a-3"
    (tmp_path / unicodedata.normalize("NFD", "한-7")).mkdir()
    assert directory.next_path(tmp_path, unicodedata.normalize("NFC", "한")).name == "한-8"
    try:
        (tmp_path / "a-3").symlink_to(tmp_path / "missing")
    except OSError:
        pytest.skip("needs symbolic links")
    with directory.reserved(None, tmp_path, "a") as path:
        assert path.name == "a-4"


def test_a_name_that_is_taken_meanwhile_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_entries", lambda _: [])
    for name in ("a-1", "a-2"):
        (tmp_path / name).write_text("taken")
    with directory.reserved(None, tmp_path, "a") as path:
        assert path.name == "a-3"


def test_the_latest_run_is_the_one_written_to_last(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two", corpus="other")
    make(tmp_path / "m", kind=folder.ROW_CLASSIFIER)
    for run, time in ((one, 2_000_000_000), (two, 1_900_000_000)):
        os.utime(run.metrics, (time, time))
    assert directory.latest(tmp_path, kind=folder.CHAR_RNN).name == "one"
    assert directory.latest(tmp_path, kind=folder.CHAR_RNN, corpus="other").name == "two"
    assert directory.latest(tmp_path, kind=folder.ROW_CLASSIFIER).name == "m"
    with pytest.raises(RunError, match="no run on third.*rnntk train --corpus third"):
        directory.latest(tmp_path, corpus="third")
    with pytest.raises(RunError, match="rnntk mnist"):
        directory.latest(tmp_path / "nowhere", kind=folder.ROW_CLASSIFIER)


def test_a_run_is_found_beside_a_folder_of_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "runs" / "poems")
    (tmp_path / "poems").mkdir()
    assert directory.locate(Path("runs"), Path("poems")) == Path("runs/poems")
    make(tmp_path / "poems" / "again")
    assert directory.locate(Path("runs"), Path("poems/again")) == Path("poems/again")


def test_a_newer_run_that_cannot_be_read_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older, good, newer = (make(tmp_path / name) for name in ("older", "good", "newer"))
    for run, time in ((older, 1_900_000_000), (good, 2_000_000_000), (newer, 2_100_000_000)):
        os.utime(run.metrics, (time, time))
    for run in (older, newer):
        (run.path / "run.json").write_text("{")
    assert directory.latest(tmp_path).name == "good"
    assert len(caplog.messages) == 1
    assert f"Warning: {newer.path} is damaged: run.json cannot be read" in caplog.messages[0]
    assert f"Using {good.path}, the run before it." in caplog.messages[0]


def test_a_deletion_in_part_names_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path / "r")
    monkeypatch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(
        TrainingError, match=r"r was partly deleted: no permission for the files now in (\S+)\. "
    ):
        directory.delete(run.path)
    [left] = tmp_path.iterdir()
    assert (left / "r" / "run.json").is_file()


def test_a_reserved_path_that_stays_empty_is_removed_with_its_parents(tmp_path: Path) -> None:
    with directory.reserved(None, tmp_path / "a" / "runs", "n") as path:
        assert path.is_dir()
    assert not list(tmp_path.iterdir())
