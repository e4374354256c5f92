"""Forbidden, read-only and full disks. The faults are real; tests skip if the system does not allow them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk.config import TrainConfig
from rnntk.errors import TrainingError
from rnntk.storage import checkpoint, folder
from rnntk.storage.folder import RunFolder
from rnntk.text import corpus
from rnntk.training import character

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs POSIX permissions and mounts"
)

TEXT = "".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(60))
STEPS = 40


@contextlib.contextmanager
def permissions_apply() -> Iterator[None]:
    """Drop root's right to write anywhere for a while (Linux: CAP_DAC_OVERRIDE)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    sets = (
        ctypes.c_uint32 * 6
    )()  # effective, permitted, inheritable; then the same of capabilities over 31
    if not hasattr(libc, "capset") or libc.capget(header, sets) != 0:
        pytest.skip("runs as root and cannot drop capabilities")
    before = sets[0]
    sets[0] &= ~(1 << 1)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@contextlib.contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """A file system mounted at a folder; skips if that is not allowed."""
    if sys.platform != "linux":
        pytest.skip("needs Linux mounts")
    done = subprocess.run(["mount", *arguments, str(at)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def remount(options: str, at: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)


def start(tmp_path: Path, path: Path, **changes: Any) -> RunFolder:
    text = tmp_path / "tiny.txt"
    text.write_text(TEXT, encoding="utf-8")
    settings = TrainConfig(
        **{
            "input": (str(text),),
            "layers": 1,
            "units": 24,
            "embedding": 6,
            "batch_size": 4,
            "seq_length": 20,
            "epochs": 50,
            "checkpoint_every": 5,
            "keep": 50,
            "max_steps": STEPS,
            "sample_every": 0,
            **changes,
        }
    )
    made = corpus.prepare_corpus(settings, None)
    return character.start(settings, made, path, quiet=True).run


def resume(path: Path) -> RunFolder:
    run = folder.open_run(path)
    character.resume(run, {"max_steps": STEPS}, quiet=True)
    return run


def after_first_checkpoint(monkeypatch: pytest.MonkeyPatch, do: Any) -> None:
    """Calls `do` once, after the first checkpoint."""
    real = checkpoint.write
    waiting = [do]

    def write(*arguments: Any, **named: Any) -> Path:
        found = real(*arguments, **named)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(checkpoint, "write", write)


def same_end(one: RunFolder, two: RunFolder) -> bool:
    a, b = (run.checkpoint().weights() for run in (one, two))
    assert one.checkpoint().progress.step == two.checkpoint().progress.step == STEPS
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_new_run_in_a_forbidden_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o500)
    with permissions_apply(), pytest.raises(TrainingError) as caught:
        start(tmp_path, runs / "r")
    message = str(caught.value)
    assert str(runs / "r") in message
    assert "cannot be written (Permission denied)" in message
    assert "another folder with run" in message
    assert list(runs.iterdir()) == []


def test_a_new_run_on_a_read_only_file_system(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with (
        mounted("-t", "tmpfs", "-o", "ro", "tmpfs", at=runs),
        pytest.raises(
            TrainingError, match=r"cannot be written \(Read-only file system\).*folder with run"
        ),
    ):
        start(tmp_path, runs / "r")


def test_a_run_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        TrainingError, match=r"cannot be written \(Not a directory\).*folder with run"
    ):
        start(tmp_path, tmp_path / "file" / "r")


def test_a_run_folder_that_becomes_forbidden_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start(tmp_path, tmp_path / "whole")
    checkpoints = tmp_path / "r" / "checkpoints"
    after_first_checkpoint(monkeypatch, lambda: checkpoints.chmod(0o500))
    with permissions_apply(), pytest.raises(TrainingError) as caught:
        start(tmp_path, tmp_path / "r")
    message = str(caught.value)
    assert "step-00000010 cannot be written (Permission denied)" in message
    assert "Earlier checkpoints are intact." in message
    assert "--resume" in message
    assert [p.name for p in checkpoints.iterdir()] == ["step-00000005"]
    checkpoints.chmod(0o700)
    assert same_end(whole, resume(tmp_path / "r"))


def test_a_file_system_that_becomes_read_only_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = tmp_path / "r" / "checkpoints"
    with contextlib.ExitStack() as stack:

        def protect() -> None:
            stack.enter_context(mounted("--bind", str(checkpoints), at=checkpoints))
            remount("bind,ro", checkpoints)

        after_first_checkpoint(monkeypatch, protect)
        with pytest.raises(TrainingError, match=r"step-00000010 .*\(Read-only file system\)"):
            start(tmp_path, tmp_path / "r")
        run = folder.open_run(tmp_path / "r")
        assert checkpoint.steps(run.checkpoints) == [5]
        assert run.checkpoint().progress.step == 5
        # A read-only run can be used: only training writes.
        with pytest.raises(TrainingError, match="cannot be written"):
            resume(tmp_path / "r")
    assert resume(tmp_path / "r").checkpoint().progress.step == STEPS


def test_a_full_file_system(tmp_path: Path) -> None:
    whole = start(tmp_path, tmp_path / "whole")
    small = tmp_path / "small"
    small.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=400k", "tmpfs", at=small):
        with pytest.raises(TrainingError, match=r"No space is left .*\(No space left on device\)"):
            start(tmp_path, small / "r")
        run = folder.open_run(small / "r")
        steps = checkpoint.steps(run.checkpoints)
        assert steps, "the test needs room for one checkpoint at least"
        assert steps[-1] < STEPS
        for step in steps:
            checkpoint.read(run.checkpoints / checkpoint.folder_name(step))
        assert not list(run.checkpoints.glob(".*")), "nothing half written is left"
        remount("size=20m", small)
        assert same_end(whole, resume(small / "r"))
