"""SIGKILL at random moments, writes included: the run always goes on, to the same last bit."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rnntk.storage import checkpoint, folder

COMMAND = [sys.executable, "-m", "rnntk", "train", "--quiet", "--sample-every", "0"]
SETTINGS = [
    *("--units", "24", "--embedding", "8", "--batch-size", "4", "--seq-length", "10", "--dropout", "0.1"),
    *("--val-fraction", "0.1", "--val-every", "7", "--checkpoint-every", "1", "--keep", "2", "--epochs", "1000"),
    *("--schedule", "plateau"),
]  # fmt: skip


def train(
    where: Path, text: Path, steps: int, *, resume: bool, name: str
) -> subprocess.Popen[bytes]:
    more = ["--resume", name] if resume else ["--run", name, "--input", str(text), *SETTINGS]
    return subprocess.Popen(
        [*COMMAND, *more, "--max-steps", str(steps)],
        cwd=where,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def kill_and_resume(where: Path, kills: int, steps: int, seed: int) -> None:
    rng = random.Random(seed)
    text = where / "text.txt"
    text.write_text("".join(f"{i} is the square root of {i * i}\n" for i in range(300)))
    finish(train(where, text, steps, resume=False, name="whole"))
    killed = 0
    while killed < kills:
        run = where / "part"
        began = checkpoint.steps(run / "checkpoints")
        process = train(where, text, steps, resume=bool(began), name="part")
        # Random moments only begin once it trains; the first seconds are TensorFlow's import.
        while process.poll() is None and checkpoint.steps(run / "checkpoints") in ([], began):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.25))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, errors = process.communicate()
        assert b"Error" not in errors
        done = folder.open_run(run).checkpoint().progress.step
        assert done < steps, f"finished after {killed} kills: the run is too short for this test"
    finish(train(where, text, steps, resume=True, name="part"))
    one, two = (folder.open_run(where / name).checkpoint() for name in ("whole", "part"))
    assert one.progress.step == two.progress.step == steps
    assert one.progress.best == two.progress.best
    assert one.progress.reductions == two.progress.reductions
    for a, b in (
        (one.weights(), two.weights()),
        (one.optimizer(), two.optimizer()),
        (one.states(), two.states()),
    ):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    lines = [
        [
            line
            for line in (where / name / "metrics.jsonl").read_text().splitlines()
            if '"step"' in line
        ]
        for name in ("whole", "part")
    ]
    assert len(lines[0]) == len(lines[1]) == steps


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_three_kills(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=3, steps=250, seed=1)


@pytest.mark.acceptance
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_twenty_kills(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=20, steps=1200, seed=2)
