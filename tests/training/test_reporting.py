"""Failures of reporting never end training, and the exit code tells how training ended."""

from __future__ import annotations

import io
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from rnntk.config import TrainConfig
from rnntk.errors import TrainingError
from rnntk.storage import folder
from rnntk.text import corpus
from rnntk.training import char_task, character

SMALL = [
    "--units",
    "8",
    "--layers",
    "1",
    "--embedding",
    "6",
    "--batch-size",
    "4",
    "--seq-length",
    "16",
]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{i} is the root of {i * i}\n" for i in range(200)), encoding="utf-8")
    return path


def start(text: Path, path: Path, quiet: bool = True, callbacks: Any = (), **changes: Any) -> Any:
    config = TrainConfig(
        input=(str(text),), units=8, layers=1, embedding=6, batch_size=4, seq_length=16,
        **{"max_steps": 8, "sample_every": 0, "log_every": 1} | changes,
    )  # fmt: skip
    made = corpus.prepare_corpus(config, None)
    return character.start(config, made, path, quiet=quiet, callbacks=callbacks)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
@pytest.mark.parametrize("streams", ["broken pipe", "full disk", "closed"])
def test_training_continues_when_a_stream_cannot_be_written(
    warm: Any, text: Path, tmp_path: Path, streams: str
) -> None:
    command = [sys.executable, "-m", "rnntk", "train", "--input", str(text), "--run", "r", *SMALL]
    command += ["--max-steps", "20", "--log-every", "1"]
    if streams == "broken pipe":
        process = warm.Popen(command, cwd=tmp_path, stdout=warm.PIPE, stderr=warm.STDOUT)
        process.stdout.readline()
        process.stdout.close()
    elif streams == "full disk":
        with Path("/dev/full").open("w") as full:
            process = warm.Popen(command, cwd=tmp_path, stdout=full, stderr=full)
    else:
        shell = shlex.join(command) + " >&- 2>&- <&-"
        process = subprocess.Popen(["sh", "-c", shell], cwd=tmp_path)
    assert process.wait() == 0
    run = folder.open_run(tmp_path / "r")
    assert run.checkpoint().progress.step == 20
    lines = run.metrics.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 21))


class Refusing(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [Refusing(), None])
def test_a_library_call_trains_without_a_usable_stderr(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: Any
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert start(text, tmp_path / "r", quiet=False).progress.step == 8


def test_a_full_disk_ends_only_tensorboard(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def scalar(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.summary, "scalar", scalar)
    assert start(text, tmp_path / "r").progress.step == 8
    told = [m for m in caplog.messages if "Training continues without TensorBoard" in m]
    assert len(told) == 1, "once"


class At(keras.callbacks.Callback):
    """Does something at a step."""

    def __init__(self, step: int, do: Any) -> None:
        super().__init__()
        self._step, self._do = step, do

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self._step:
            self._do()


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_missing_run_folder_is_noticed_at_the_next_step(
    text: Path, tmp_path: Path, how: str
) -> None:
    path, moved = tmp_path / "r", tmp_path / "moved"

    def away() -> None:
        shutil.move(path, moved)
        if how == "removed":
            shutil.rmtree(moved)
        elif how == "replaced":
            shutil.copytree(moved, path)

    with pytest.raises(
        TrainingError, match=r"renamed or removed: training ends at step 4\..*--resume FOLDER"
    ):
        start(text, path, callbacks=[At(2, away)], checkpoint_every=2)
    assert path.exists() == (how == "replaced")
    if how != "removed":
        found = folder.open_run(moved)
        assert found.checkpoint().progress.step == 2
        assert character.resume(found, {}, quiet=True).progress.step == 8


@pytest.mark.parametrize("diverged", [False, True])
def test_a_run_in_the_place_of_a_moved_one_keeps_its_checkpoints(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diverged: bool
) -> None:
    path, moved = tmp_path / "r", tmp_path / "moved"

    def replace() -> None:
        path.rename(moved)
        shutil.copytree(moved, path)
        (path / "checkpoints" / "step-00000099").mkdir()
        if diverged:
            monkeypatch.setattr(char_task.CharTask, "step", lambda *_: {"loss": math.nan})

    with pytest.raises(TrainingError, match=r"renamed or removed: training ends at step"):
        start(text, path, callbacks=[At(2 if diverged else 7, replace)], checkpoint_every=100)
    assert [p.name for p in (path / "checkpoints").iterdir()] == ["step-00000099"]


def test_a_failed_run_stays_if_it_has_a_step(text: Path, tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        start(text, tmp_path / "r", callbacks=[At(2, fail)])
    assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 3
    with pytest.raises(RuntimeError):
        start(
            text,
            tmp_path / "s",
            callbacks=[keras.callbacks.LambdaCallback(on_train_begin=lambda _: fail())],
        )
    assert not (tmp_path / "s").exists()
