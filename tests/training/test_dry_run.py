"""`--dry-run`: counts, leaves no files, and estimates the memory of a real run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rnntk.config import TrainConfig
from rnntk.errors import DataError, Interrupted, RunError
from rnntk.text import corpus
from rnntk.training import callbacks, character, dry_run
from rnntk.training.dry_run import Estimate

TEXT = "to be or not to be " * 100


def settings(tmp_path: Path, **changes: Any) -> TrainConfig:
    text = tmp_path / "t.txt"
    text.write_text(TEXT)
    values = {"input": (str(text),), "units": 8, "embedding": 4, "batch_size": 4, "seq_length": 25}
    return TrainConfig(**{**values, "epochs": 7, "sample_every": 0, **changes})


def estimate(tmp_path: Path, **changes: Any) -> Estimate:
    chosen = settings(tmp_path, **changes)
    made = corpus.prepare_corpus(chosen, None)
    return dry_run.estimate(chosen, made, tmp_path / "runs" / "r")


def test_a_dry_run_counts_and_leaves_nothing(tmp_path: Path) -> None:
    found = estimate(tmp_path)
    assert found.steps == 7 * (1900 // 100)
    V, E, H = len(set(TEXT)), 4, 8
    lstm = sum(4 * H * (inputs + H + 1) for inputs in (E, H))
    assert found.parameters == V * E + lstm + (H + 1) * V
    assert found.validations == 0
    assert 0 < found.step_seconds < found.first_step < found.seconds
    assert found.memory is None or found.memory > 50_000_000
    assert {p.name for p in tmp_path.iterdir()} == {"cache", "t.txt"}


def test_validations_are_counted(tmp_path: Path) -> None:
    by_epoch = estimate(tmp_path, val_fraction=0.5)
    assert by_epoch.steps_per_epoch == 9
    assert by_epoch.validations == 7
    assert by_epoch.validation_seconds > 0
    often = estimate(tmp_path, val_fraction=0.5, val_every=5, max_steps=12)
    assert (often.steps, often.validations) == (12, 3), "one more at the end"
    expected = often.first_step + 11 * often.step_seconds + 3 * often.validation_seconds
    assert often.seconds == pytest.approx(expected)


def test_a_run_of_one_step_is_estimated(tmp_path: Path) -> None:
    assert estimate(tmp_path, max_steps=1).steps == 1


def test_a_dry_run_is_refused_like_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="batch_size"):
        estimate(tmp_path, batch_size=1000)
    chosen = settings(tmp_path)
    made = corpus.prepare_corpus(chosen, None)
    source = character.start(settings(tmp_path, units=9, max_steps=1), made, tmp_path / "other").run
    with pytest.raises(RunError, match="do not fit"):
        dry_run.estimate(chosen, made, tmp_path / "r", source)


def test_a_signal_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        callbacks.Clock, "on_test_end", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Interrupted, match="keeps nothing") as caught:
        estimate(tmp_path, val_fraction=0.5)
    assert caught.value.exit_code == 143
    assert {p.name for p in tmp_path.iterdir()} == {"cache", "t.txt"}


# Runs a command and prints its peak memory.
MEASURED = """
import runpy, sys
try:
    runpy.run_module("rnntk", run_name="__main__")
finally:
    from rnntk.training.dry_run import peak_memory
    print(peak_memory(), file=sys.stderr)
"""


@pytest.mark.skipif(dry_run.peak_memory() is None, reason="this system does not report peak memory")
def test_the_estimated_memory_matches_a_real_run(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"{i} is the root of {i * i}\n" for i in range(2000)))
    train = [
        *("train", "--input", "t.txt", "--units", "128", "--batch-size", "20", "--seq-length", "50"),
        *("--max-steps", "60", "--val-fraction", "0.1", "--val-every", "20", "--checkpoint-every", "10"),
        *("--sample-every", "20", "--run", "r", "--quiet"),
    ]  # fmt: skip
    estimated, real = (
        subprocess.run(
            [sys.executable, "-c", MEASURED, *train, *more],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
            env={k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"},
        )
        for more in (["--dry-run", "--json"], [])
    )
    assert len(estimated.stderr.splitlines()) == 1, "TensorFlow must be silent"
    memory, peak = json.loads(estimated.stdout)["memory"], int(real.stderr.splitlines()[-1])
    assert peak / 1.3 < memory < peak * 1.3
    assert (tmp_path / "r").is_dir()
