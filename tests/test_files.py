"""Atomic writes: whole files or none, and no leftovers, even of a killed process."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rnntk import files
from rnntk.errors import DataError, TrainingError

# Begins to write a file, prints a line, and waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from rnntk.files import replacing

with replacing(Path(sys.argv[1])) as made:
    made.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporary(
    folder: Path, *, machine: str = "00000000", process: int = 1, hours: float = 0
) -> Path:
    made = folder / f".rnntk-{machine}-{process}-00000000-0.tmp"
    made.mkdir()
    (made / "half").write_bytes(b"half")
    for path in (made / "half", made):
        then = path.stat().st_mtime - 3600 * hours
        os.utime(path, (then, then))
    return made


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    with files.replacing(path) as made:
        assert made.name == "file.npz"
        made.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["file.npz"]


def test_a_removed_folder_is_not_created_again(tmp_path: Path) -> None:
    """Otherwise a run whose folder was removed would continue in a new one."""
    with pytest.raises(TrainingError, match="No such file or directory"):
        files.write_bytes(tmp_path / "gone" / "file", b"data")
    assert not (tmp_path / "gone").exists()


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(made: Path) -> None:
        made.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), files.replacing(path) as made:
        fail(made)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    files.write_folder(tmp_path / "f", {"a": b"1", "b": b"2"})
    files.write_folder(tmp_path / "f", {"a": b"3"})
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["a"]
    assert (tmp_path / "f" / "a").read_bytes() == b"3"


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    try:
        (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    except OSError:
        pytest.skip("needs symbolic links")
    files.write_bytes(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"data"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        files.write_bytes(pipe, b"data")
        assert reader.communicate()[0] == b"data"
    assert pipe.is_fifo()


def test_a_failure_names_path_reason_and_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "below"
    with pytest.raises(
        DataError, match=rf"^{re.escape(str(path))} cannot be written \(.*\)\. Go\.$"
    ):
        files.write_bytes(path, b"", advice="Go.", error=DataError)
    with pytest.raises(files.DiskRefused, match=r"\)\. Make it writable\.$") as caught:
        files.write_json(path, {})
    assert isinstance(caught.value, TrainingError)
    assert caught.value.cure == "Make it writable"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX to recognize dead processes")
def test_the_next_writer_removes_files_of_a_killed_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "one")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        files.write_bytes(tmp_path / "two", b"")
        assert len(names(tmp_path)) == 2, "files of a living process stay"
        writer.kill()
    assert len(names(tmp_path)) == 2
    files.write_bytes(tmp_path / "three", b"")
    assert names(tmp_path) == ["three", "two"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX to recognize dead processes")
def test_an_earlier_process_with_the_same_id_counts_as_dead(tmp_path: Path) -> None:
    """In a container, every process has id 1."""
    temporary(tmp_path, machine=files._machine(), process=os.getpid())
    with files.scratch(tmp_path) as mine:
        files.remove_stale(tmp_path)
        assert names(tmp_path) == [mine.name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX to recognize dead processes")
def test_the_shared_temporary_folder_is_used_with_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of this user alone; leftovers of others and links stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    link = tmp_path / f".rnntk-{files._machine()}-1-00000001-0.tmp"
    (tmp_path / "mine").mkdir()
    link.symlink_to("mine")
    left = temporary(tmp_path, machine=files._machine(), process=os.getpid())
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 12345)
        with files.temporary_folder() as made:
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            assert names(tmp_path) == sorted((left.name, link.name, made.name, "mine"))
    with files.temporary_folder() as made:
        assert names(tmp_path) == sorted((link.name, made.name, "mine"))
    assert names(tmp_path) == [link.name, "mine"]


def test_files_of_another_machine_stay_for_a_day(tmp_path: Path) -> None:
    young, old = temporary(tmp_path, hours=23), temporary(tmp_path, process=2, hours=25)
    files.remove_stale(tmp_path)
    assert young.exists()
    assert not old.exists()


def test_temporary_files_of_others_are_never_touched(tmp_path: Path) -> None:
    for name in (".rnntk-mine.tmp", ".file.1.tmp", ".rnntk-00000000-1-00000000-0.tmp.bak"):
        (tmp_path / name).mkdir()
    before = names(tmp_path)
    files.remove_stale(tmp_path)
    assert names(tmp_path) == before


def test_a_rename_is_retried_while_the_file_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses it then; only there are waits set."""
    monkeypatch.setattr(files, "_RENAME_WAITS", (0.0, 0.0))
    refusals = [PermissionError(13, "held")] * 2
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    files.write_bytes(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    refusals += [PermissionError(13, "held")] * 3
    with pytest.raises(TrainingError, match="held"):
        files.write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"data"


def test_windows_refuses_to_replace_an_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Path("runs/r")
    monkeypatch.setattr(os, "name", "nt")
    try:
        with files.disk_errors(target):
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
    except files.DiskRefused as raised:
        told = str(raised)
    monkeypatch.undo()
    assert "runs/r cannot be written (Access is denied)." in told
    assert "close other programs that use it" in told
