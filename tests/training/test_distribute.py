"""Several devices and processes train the weights of one process, with one writer, and no worker hangs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from rnntk.config import TrainConfig
from rnntk.cores import available_cores
from rnntk.errors import UsageError
from rnntk.storage import folder
from rnntk.text import corpus
from rnntk.training import character
from rnntk.training.job import ALONE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

CORES = available_cores()  # of this process; each worker has one thread
TRAIN = [sys.executable, "-m", "rnntk", "train"]
SMALL: dict[str, Any] = {
    "layers": 2, "units": 8, "embedding": 6, "batch_size": 5, "seq_length": 20, "epochs": 1000,
    "learning_rate": 0.01, "val_fraction": 0.1, "val_every": 30, "checkpoint_every": 20, "clip_norm": 0.5,
    "sample_every": 0, "schedule": "decay",
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.txt"
    path.write_text("".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(60)))
    return path


class StopAfter(keras.callbacks.Callback):
    """Stops training after this many steps like a signal, without a last validation."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._left -= 1
        self.model.stop_training = self._left == 0


# Else chosen by the size of the text.
PLAIN = ["--no-layer-norm", "--weight-decay", "0", "--ema", "0"]


def alone(text: Path, path: Path, callbacks: Any = (), **settings: Any) -> folder.RunFolder:
    """Train the same run in this process."""
    run_settings = TrainConfig(**{**SMALL, "input": (str(text),), **settings})
    made = corpus.prepare_corpus(run_settings, None)
    return character.start(run_settings, made, path, quiet=True, callbacks=callbacks).run


def flags(**settings: Any) -> list[str]:
    return [part for k, v in settings.items() for part in (f"--{k.replace('_', '-')}", str(v))]


class Workers:
    """`rnntk train` in several processes on this machine."""

    def __init__(self, warm: Any, where: Path, count: int, *arguments: str) -> None:
        sockets = [socket.socket() for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
        for one in sockets:
            one.close()
        together = ["--distribute", "multiworker", "--workers", ",".join(addresses), "--index"]
        self.processes = [
            warm.Popen(
                [
                    *TRAIN,
                    *arguments,
                    "--sample-every",
                    "0",
                    "--threads",
                    "1",
                    *together,
                    str(index),
                ],
                cwd=where,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(count)
        ]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def ended(self, within: float = 100) -> list[tuple[int, str, str]]:
        """Exit code, stdout and stderr of each; the limit allows for a busy machine."""
        until = time.monotonic() + within
        found = []
        for process in self.processes:
            out, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
            found.append((process.returncode, out, errors))
        return found

    def wait_for_steps(self, run: Path, steps: int) -> None:
        """Wait until the run has trained this many steps."""
        until = time.monotonic() + 120
        while not (run / "metrics.jsonl").is_file() or metrics_lines(run) < steps:
            assert all(p.poll() is None for p in self.processes), self.ended()
            assert time.monotonic() < until
            time.sleep(0.02)


def metrics_lines(run: Path) -> int:
    return (run / "metrics.jsonl").read_bytes().count(b'"loss"')


def assert_same(one: folder.RunFolder, two: folder.RunFolder) -> None:
    """Weights, optimizer, states and metrics are equal up to float32 rounding."""
    a, b = one.checkpoint(), two.checkpoint()
    for x, y in (
        (a.weights(), b.weights()),
        (a.optimizer(), b.optimizer()),
        (a.states(), b.states()),
    ):
        assert x.keys() == y.keys()
        for name in x:
            np.testing.assert_allclose(x[name], y[name], rtol=1e-4, atol=2e-6, err_msg=name)
    assert (a.progress.step, a.progress.epoch) == (b.progress.step, b.progress.epoch)
    lines = [[json.loads(line) for line in r.metrics.read_text().splitlines()] for r in (one, two)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    for x, y in zip(*lines, strict=True):
        for name in ("loss", "grad_norm", "learning_rate", "val_loss"):
            assert (name in x) == (name in y)
            if name in x:
                np.testing.assert_allclose(x[name], y[name], rtol=1e-4, atol=1e-6)


def test_one_process_resumes_what_two_trained(warm: Any, text: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "dropout": 0.3, "dropout_kind": "element", "cell": "lstm"}
    run = tmp_path / "r"
    arguments = ["--run", "r", "--input", str(text), *PLAIN]
    arguments += flags(**settings, max_steps=5000)
    with Workers(warm, tmp_path, 2, *arguments) as job:
        job.wait_for_steps(run, 32)
        job.processes[1].send_signal(signal.SIGTERM)
        for code, out, errors in job.ended():
            assert code == 128 + signal.SIGTERM, errors
            assert "and saved. Continue with: rnntk train --resume r" in errors
            assert out == ""
    stopped = folder.open_run(run)
    done = stopped.checkpoint().progress.step
    assert 32 <= done < 5000
    one = alone(text, tmp_path / "alone", [StopAfter(done)], **settings)
    assert_same(one, stopped)
    assert len(list((run / "logs").glob("events.*"))) == 1, "one writer"
    for path in (one.path, run):
        resumed = folder.open_run(path)
        character.resume(resumed, {"max_steps": done + 13, "threads": CORES}, quiet=True)
    assert_same(one, stopped)


def test_a_job_whose_worker_was_killed_resumes_on_two_processes_and_on_one(
    warm: Any, text: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, "dropout": 0.2, "dropout_kind": "sequence", "cell": "gru"}
    run = tmp_path / "r"
    more = ["--run", "r", "--input", str(text), *PLAIN]
    more += flags(**settings, max_steps=5000)
    for victim, steps in ((1, 25), (0, 70)):
        with Workers(warm, tmp_path, 2, *more) as job:
            job.wait_for_steps(run, steps)
            job.processes[victim].kill()
            code, out, errors = job.ended()[1 - victim]
            assert (code, out) == (1, ""), errors
            assert "Another worker has ended or cannot be reached" in errors
            assert "rnntk train --resume r" in errors
            assert "Traceback" not in errors
        done = folder.open_run(run).checkpoint().progress.step
        assert done % 20 == 0 or done % 30 == 0, "the step of a checkpoint"
        assert 0 < done < 5000
        more = ["--resume", "r", *flags(max_steps=5000)]  # with two again, then with one
    total = done + 13
    character.resume(folder.open_run(run), {"max_steps": total, "threads": CORES}, quiet=True)
    assert_same(alone(text, tmp_path / "alone", **settings, max_steps=total), folder.open_run(run))


def test_two_devices_train_the_same_weights_as_one(warm: Any, text: Path, tmp_path: Path) -> None:
    """In another process, because the CPU must be split into two devices before TensorFlow starts."""
    cases = [
        {"cell": "lstm", "dropout": 0.3},
        {"cell": "gru", "clip": "norm", "optimizer": "adagrad"},
    ]
    program = f"""
        import json
        from pathlib import Path
        import logging
        from rnntk.config import TrainConfig
        from rnntk.errors import UsageError
        from rnntk.text import corpus
        from rnntk.training import character, device
        device.ready("cpu", 2)
        import tensorflow as tf
        cut = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [cut, cut])
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("rnntk").addHandler(handler)
        logging.getLogger("rnntk").setLevel(logging.INFO)
        def start(path, **changes):
            values = {{**{SMALL!r}, "input": ({str(text)!r},), "max_steps": 32, "distribute": "mirrored", **changes}}
            settings = TrainConfig(**values)
            made = corpus.prepare_corpus(settings, None)
            character.start(settings, made, Path(path), quiet=True)
        for i, case in enumerate({cases!r}):
            start(f"m{{i}}", **case)
        try:
            start("few", batch_size=1)
        except UsageError as error:
            said.append(str(error))
        print(json.dumps(said))
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = warm.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "batch rows shared by 2 replicas." in said[0]
    assert said[-1].startswith("batch_size=1 is less than the 2 replicas")
    assert not (tmp_path / "few").exists()
    for i, case in enumerate(cases):
        assert_same(
            alone(text, tmp_path / f"alone{i}", **case, max_steps=32),
            folder.open_run(tmp_path / f"m{i}"),
        )


def shared(replicas: int, workers: int, index: int) -> Any:
    from rnntk.training.distribute import SharedJob

    job = SharedJob.__new__(SharedJob)
    job.replicas, job.workers, job.index = replicas, workers, index
    job.wish = job.wishes = np.zeros(3, np.float32)
    return job


@pytest.mark.parametrize(
    ("batch", "replicas", "workers", "expected"),
    [
        (4, 2, 2, [[(0, 2)], [(2, 4)]]),
        (5, 2, 2, [[(0, 3)], [(3, 5)]]),
        (7, 4, 2, [[(0, 2), (2, 4)], [(4, 6), (6, 7)]]),
        (3, 3, 1, [[(0, 1), (1, 2), (2, 3)]]),
    ],
)
def test_batch_rows_are_distributed_in_order_and_completely(
    batch: int, replicas: int, workers: int, expected: list[list[tuple[int, int]]]
) -> None:
    for index in range(workers):
        rows = shared(replicas, workers, index).rows(batch)
        assert [(s.start, s.stop) for s in rows] == expected[index]


def test_more_replicas_than_batch_rows_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"batch_size=3 is less than the 4 replicas.*Raise it to 4"
    ):
        shared(4, 2, 0).rows(3)


def test_workers_with_different_settings_are_refused_with_both_values() -> None:
    job = shared(2, 2, 1)
    said = [
        {"facts": {"`units`": units, "the text": "x"}, "message": "runs/a-1"} for units in (8, 9)
    ]
    job.exchange = lambda _: [json.dumps(one).encode() for one in said]
    with pytest.raises(UsageError, match="units is 9 at worker 1, but 8 at worker 0"):
        job.barrier({}, "runs/a-2")
    said[1] = said[0]
    assert job.barrier({}, "runs/a-2") == "runs/a-1", "the chief decides"
    assert ALONE.barrier({}, "runs/a-2") == "runs/a-2"


@pytest.mark.parametrize(("index", "wish", "sent"), [
    (0, "max-time", [1, 0, 0]), (1, "max-time", [0, 0, 0]), (1, "signal", [0, 1, 0]), (1, "callback", [0, 0, 1]),
    (0, "", [0, 0, 0]),
])  # fmt: skip
def test_max_time_counts_on_the_chief_and_signals_on_any_worker(
    index: int, wish: str, sent: Sequence[int]
) -> None:
    job = shared(2, 2, index)
    assert job.stop_reason(wish) == "", "the others' wishes arrive with the next step"
    assert job.wish.tolist() == list(sent)
    job.wishes = np.array([0, 2, 1], np.float32)
    assert job.stop_reason("") == "signal"
    assert ALONE.stop_reason(wish) == wish


def test_one_device_needs_no_strategy(caplog: pytest.LogCaptureFixture) -> None:
    from rnntk.config import DistributeConfig
    from rnntk.training import distribute

    assert distribute.start(DistributeConfig(distribute="mirrored")) is ALONE
    assert "is the only device" in caplog.text
    assert distribute.start(DistributeConfig()) is ALONE


def test_a_port_in_use_is_reported(warm: Any, tmp_path: Path, text: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        together = ["--distribute", "multiworker", "--workers", address, "--index", "0"]
        done = warm.run(
            [*TRAIN, "--input", str(text), "--run", "r", *flags(**SMALL), *together],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "RNNTK_CACHE": str(tmp_path)},
            timeout=100,
        )
    assert done.returncode == 1
    assert f"Check that {address} is a free local port" in done.stderr
    assert not (tmp_path / "r").exists()
