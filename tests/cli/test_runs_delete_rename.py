"""`rnntk runs delete` and `rnntk runs rename`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

not_windows = pytest.mark.skipif(
    os.name == "nt", reason="needs symbolic links and pseudo-terminals"
)


@pytest.fixture
def three(untrained, text: Path, here: Path) -> Path:
    """Three runs in `runs`, c the newest."""
    for n, name in enumerate("abc"):
        run = untrained(f"runs/{name}", input=(str(text),))
        for file in (run, *run.rglob("*")):
            os.utime(file, (1.8e9 + n, 1.8e9 + n))
    return here / "runs"


def listed(rnntk) -> list[str]:
    return [run["name"] for run in json.loads(rnntk("runs", "--json").stdout)["runs"]]


def test_delete_removes_one_run_and_reports_the_space(rnntk, three: Path) -> None:
    files = [p for p in (three / "b").rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    result = rnntk("runs", "delete", "b", "--yes")
    assert (result.exit_code, result.stdout) == (0, "deleted       runs/b\n")
    assert f"runs/b: rnn 1x8, 4 steps, {size / 1000:.3g} kB\n" in result.stderr
    assert f"Freed {size / 1000:.3g} kB.\n" in result.stderr
    assert sorted(p.name for p in three.iterdir()) == ["a", "c"]
    assert listed(rnntk) == ["c", "a"]
    found = json.loads(rnntk("runs", "delete", three / "a", "c", "c", "--yes", "--json").stdout)
    assert found["command"] == "runs delete"
    assert [Path(p).name for p in found["deleted"]] == ["a", "c"]
    assert found["bytes"] == 2 * size
    assert list(three.iterdir()) == []


def test_after_delete_the_latest_run_is_the_newest_left(rnntk, three: Path) -> None:
    rnntk("runs", "rename", "a", "z")
    assert listed(rnntk) == ["c", "b", "z"]
    assert "runs/c at step" in rnntk("sample", "--length", 3, "--prime", "a").stderr
    rnntk("runs", "delete", "c", "-y")
    assert "runs/b at step" in rnntk("sample", "--length", 3, "--prime", "a").stderr


def test_delete_without_a_terminal_needs_yes(rnntk, three: Path) -> None:
    result = rnntk("runs", "delete", "a", stdin="y\n")
    assert result.exit_code == 2
    assert "stdin is not a terminal. Add --yes." in result.stderr
    assert (three / "a" / "run.json").exists()


@not_windows
@pytest.mark.parametrize(
    ("words", "question", "answer", "left"),
    [
        ("delete a", b"Delete this for good? [y/N]", "y", False),
        ("delete a", b"Delete this for good? [y/N]", "n", True),
        ("delete a", b"Delete this for good? [y/N]", "", True),
        ("rename a z", b"Rename runs/a to z? [Y/n]", "", False),
        ("rename a z", b"Rename runs/a to z? [Y/n]", "n", True),
    ],
)
def test_delete_and_rename_ask_on_a_terminal(
    three: Path, here: Path, words: str, question: bytes, answer: str, left: bool
) -> None:
    import pty

    command = [sys.executable, "-m", "rnntk", "runs", *words.split()]
    terminal, other_end = pty.openpty()
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), other_end)
    process = subprocess.Popen(command, **ends)
    os.close(other_end)
    shown = b""
    while question not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, f"{answer}\n".encode())
    try:
        while more := os.read(terminal, 1000):
            shown += more
    except OSError:  # Linux: the terminal is gone
        pass
    os.close(terminal)
    status = process.wait(timeout=60)
    assert (three / "a").exists() == left
    assert status == int(left)
    assert (b"Freed" in shown or b"renamed" in shown) != left
    assert (three / "z").exists() == (words.startswith("rename") and not left)


@pytest.mark.parametrize("args", [("delete", "b", "a", "--yes"), ("rename", "a", "z")])
def test_a_run_in_training_is_refused_and_nothing_changes(rnntk, three: Path, args) -> None:
    with filelock.FileLock(three / "a" / ".lock"):
        result = rnntk("runs", *args)
    assert result.exit_code == 1
    assert "Another process is training in runs/a." in result.stderr
    assert sorted(p.name for p in three.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("args", [("delete", "x", "--yes"), ("rename", "x", "z")])
@pytest.mark.parametrize("files", [(), ("thesis.txt",), ("checkpoints/best.pt", "metrics.jsonl")])
def test_a_folder_that_is_not_a_run_is_refused(rnntk, here: Path, args, files) -> None:
    for name in ("", *files):
        path = here / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine") if name else path.mkdir()
    result = rnntk("runs", *args)
    assert result.exit_code == 1
    assert "x is not a run folder: it has no run.json." in result.stderr
    assert {
        p.relative_to(here / "x").as_posix() for p in (here / "x").rglob("*") if p.is_file()
    } == set(files)
    missing = rnntk("runs", "delete", "y", "--yes")
    assert (missing.exit_code, "no run y, here or in runs" in missing.stderr) == (1, True)


def test_a_damaged_run_can_be_deleted_and_renamed(rnntk, three: Path) -> None:
    for name in "ab":
        (three / name / "run.json").write_bytes(b"\0" * 40)
    result = rnntk("runs", "delete", "a", "--yes")
    assert (result.exit_code, "runs/a: damaged, " in result.stderr) == (0, True)
    assert rnntk("runs", "rename", "b", "z").exit_code == 0
    assert sorted(p.name for p in three.iterdir()) == ["c", "z"]


def test_files_of_the_user_are_listed_when_deleted(rnntk, three: Path) -> None:
    (three / "a" / "notes.txt").write_text("mine")
    (three / "a" / "checkpoints" / "my-step").mkdir()
    result = rnntk("runs", "delete", "a", "--yes")
    assert "also deleted, not made by rnntk: checkpoints/my-step, notes.txt\n" in result.stderr
    assert "not made by rnntk" not in rnntk("runs", "delete", "b", "--yes").stderr


@not_windows
def test_links_are_never_followed(rnntk, three: Path, here: Path) -> None:
    outside = here / "outside"
    shutil.copytree(three / "a" / "checkpoints", outside)
    before = sorted(outside.rglob("*"))
    shutil.rmtree(three / "a" / "checkpoints")
    (three / "a" / "checkpoints").symlink_to(outside)
    (three / "a" / "link.txt").symlink_to(here / "tiny.txt")
    assert "checkpoints, link.txt" in rnntk("runs", "delete", "a", "--yes").stderr
    assert sorted(outside.rglob("*")) == before
    assert (here / "tiny.txt").exists()
    (three / "link").symlink_to(three / "b")
    for args in (("delete", "link", "--yes"), ("rename", "link", "z")):
        result = rnntk("runs", *args)
        assert (result.exit_code, "runs/link is a symbolic link" in result.stderr) == (1, True)
    (three / "c" / ".lock").unlink()
    (three / "c" / ".lock").symlink_to(here / "tiny.txt")
    assert ".lock is a symbolic link" in rnntk("runs", "delete", "c", "--yes").stderr
    assert (here / "tiny.txt").stat().st_size
    assert (three / "b").exists()
    assert (three / "c").exists()


def test_the_run_of_the_working_folder_can_be_renamed(rnntk, three: Path, monkeypatch) -> None:
    monkeypatch.chdir(three / "a")
    result = rnntk("runs", "rename", ".", "z")
    assert (result.exit_code, result.stdout) == (0, "renamed       . to ../z\n")
    monkeypatch.chdir(three)
    assert sorted(p.name for p in three.iterdir()) == ["b", "c", "z"]


def test_the_run_of_the_working_folder_can_be_deleted(rnntk, three: Path, monkeypatch) -> None:
    monkeypatch.chdir(three / "a")
    result = rnntk("runs", "delete", ".", "../b", three / "b", "--yes")
    monkeypatch.chdir(three)
    assert (result.exit_code, result.stdout) == (0, "deleted       .\ndeleted       ../b\n")
    assert [p.name for p in three.iterdir()] == ["c"]


def test_a_renamed_run_resumes_bit_identically(rnntk, trained: Path, here: Path) -> None:
    shutil.copytree(trained, here / "same")
    result = rnntk("runs", "rename", "r", "two words")
    assert (result.exit_code, result.stdout) == (0, "renamed       r to 'two words'\n")
    assert "Continue it: rnntk train --resume 'two words' --max-steps 8\n" in result.stderr
    for run in ("two words", "same"):
        assert rnntk("train", "--resume", run, "--max-steps", 6).exit_code == 0
    name = "checkpoints/step-00000006/weights.safetensors"
    assert (here / "two words" / name).read_bytes() == (here / "same" / name).read_bytes()
    assert json.loads(rnntk("runs", "rename", "same", "new", "--json").stdout)["new"] == "new"


@pytest.mark.parametrize(
    "new", ["", ".", "..", ".hidden", "../z", "sub/z", "/tmp/z", " ", "a\nb", "\u200b"]
)
def test_a_new_name_is_one_path_component(rnntk, three: Path, new: str) -> None:
    result = rnntk("runs", "rename", "a", new)
    assert result.exit_code == 2
    assert f"{new!r} cannot name a run" in result.stderr
    assert listed(rnntk) == ["c", "b", "a"]


def test_a_name_in_use_is_refused(rnntk, three: Path) -> None:
    (three / "file").write_text("mine")
    for new in ("b", "file", "a"):
        result = rnntk("runs", "rename", "a", new)
        assert (result.exit_code, f"runs/{new} exists already" in result.stderr) == (1, True)
    assert (three / "file").read_text() == "mine"


def test_the_table_runs_of_a_config_holds_for_its_commands(rnntk, three: Path, here: Path) -> None:
    shutil.copytree(three, here / "other")
    (here / "c.toml").write_text('[runs]\nruns_dir = "other"\nyes = true\n')
    assert rnntk("runs", "show", "a", "--config", "c.toml").stdout.startswith(
        "run           other/a"
    )
    assert rnntk("runs", "delete", "a", "--config", "c.toml").exit_code == 0
    assert (three / "a").exists()
    assert not (here / "other" / "a").exists()
    (here / "c.toml").write_text("[runs]\nyess = true\n")
    result = rnntk("runs", "delete", "a", "--config", "c.toml")
    assert result.exit_code == 2
    assert "'yess' in [runs] is not a setting of rnntk runs. Did you mean 'yes'?" in result.stderr


def test_an_empty_name_is_not_the_current_folder(
    rnntk, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(three / "a")
    for command in (
        ["runs", "delete", "", "--yes"],
        ["runs", "rename", "", "z"],
        ["runs", "show", ""],
        ["runs", "--runs-dir", ""],
        ["sample", ""],
        ["sample", "--corpus", ""],
        ["sample", "--output", ""],
        ["plot", ""],
        ["train", "--resume", ""],
        ["train", "x.txt", "--run", ""],
        ["train", "x.txt", "--preprocessor", ""],
    ):
        result = rnntk(*command)
        assert (result.exit_code, "must not be empty" in result.stderr) == (2, True), command
    assert (three / "a" / "run.json").exists()


def test_runs_dir_may_come_before_the_subcommand(rnntk, three: Path, here: Path) -> None:
    three.rename(here / "all")
    assert rnntk("runs", "--runs-dir", "all", "rename", "a", "z").exit_code == 0
    assert rnntk("runs", "--runs-dir", "all", "delete", "z", "--yes").exit_code == 0
    assert rnntk("runs", "delete", "b", "--runs-dir", "all", "--yes").exit_code == 0
    assert [p.name for p in (here / "all").iterdir()] == ["c"]
