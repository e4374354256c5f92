"""Shared by the campaigns in this folder: findings, and `rnntk` commands in forked processes.

Importing TensorFlow takes seconds, so a campaign imports it once (`load`) and forks a child per command. By then it
has computed nothing and has no threads of its own, so each child is like a fresh process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

TINY = [
    "--units",
    "16",
    "--layers",
    "1",
    "--embedding",
    "8",
    "--batch-size",
    "4",
    "--seq-length",
    "16",
    "--schedule",
    "decay",  # cosine decay depends on the limits, which some resumes raise
]
TEXT = "".join(f"{i} is the square root of {i * i}\n" for i in range(300))
MINUTE = 60.0


class Findings:
    """Findings by kind, with the command that repeats the first of each.

    Args:
        repeat: the command, without the number of the case.
    """

    def __init__(self, repeat: str) -> None:
        self._repeat = repeat
        self._first: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, case: object, detail: str = "") -> None:
        """Count a finding; print the first of its kind."""
        self.counts[kind] += 1
        if kind not in self._first:
            self._first[kind] = f"{self._repeat} {case}"
            print(f"FINDING {kind}\n    {self._repeat} {case}", file=sys.stderr, flush=True)
            if detail:
                print("    " + detail.strip().replace("\n", "\n    "), file=sys.stderr, flush=True)

    def exit(self, summary: str) -> NoReturn:
        """Print the summary and all findings; exit with 1 if there are any."""
        print(summary)
        for kind, count in self.counts.most_common():
            print(f"{count:8,}  {kind}\n          {self._first[kind]}")
        print(f"{sum(self.counts.values()):,} findings of {len(self.counts):,} kinds")
        sys.exit(bool(self.counts))


def load() -> None:
    """Import everything that forked commands need."""
    from rnntk.training import device

    device.import_tensorflow()
    import rnntk.cli.eval
    import rnntk.cli.export
    import rnntk.cli.import_
    import rnntk.cli.plot
    import rnntk.cli.prep
    import rnntk.cli.runs
    import rnntk.cli.sample
    import rnntk.cli.train
    import rnntk.training.char_task
    import rnntk.training.character
    import rnntk.training.session  # noqa: F401


class Command:
    """An `rnntk` command in a forked child.

    Args:
        words: its arguments.
        cwd: its working folder.
        log: file for stdout and stderr together.
        prepare: called in the child, before the command.
    """

    def __init__(
        self, *words: str, cwd: Path, log: Path, prepare: Callable[[], object] | None = None
    ) -> None:
        self.words, self._log = words, log
        self.code: int | None = None
        self.began = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(words, cwd, log, prepare)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while running."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, seconds: float = 2 * MINUTE) -> int:
        """The exit code; -9 for a command that is killed because it takes longer."""
        until = time.monotonic() + seconds
        try:
            while self.poll() is None:
                time.sleep(0.001)
                if time.monotonic() > until:
                    self.send(signal.SIGKILL)
                    until = float("inf")
        except KeyboardInterrupt:
            self.send(signal.SIGKILL)
            raise
        assert self.code is not None
        return self.code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    @property
    def said(self) -> str:
        """Its output."""
        return self._log.read_text("utf-8", "replace")


def _run(
    words: Sequence[str], cwd: Path, log: Path, prepare: Callable[[], object] | None
) -> NoReturn:
    from rnntk.__main__ import main

    code = 70
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number in (1, 2):
            os.dup2(out, number)
        os.chdir(cwd)
        sys.argv = ["rnntk", *words]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if prepare:
            prepare()
        code = _exit_code(main)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    finally:
        os._exit(code)  # the child must never run the code of its parent


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1


def crash(said: str) -> str | None:
    """The last line of the output if it shows a crash, else None."""
    if "Traceback" in said or "Unexpected error" in said:
        return f"crash: {said.strip().splitlines()[-1][:100]}"
    return None


def outcome(run: Path) -> dict[str, Any]:
    """The content of a run without times: hashes of arrays, metrics, progress, samples and vocabulary."""
    from dataclasses import asdict

    from rnntk.storage import folder

    saved = folder.open_run(run).checkpoint()
    found: dict[str, Any] = {
        name: {key: _sum(value) for key, value in sorted(arrays.items())}
        for name, arrays in (
            ("weights", saved.weights()),
            ("optimizer", saved.optimizer()),
            ("states", saved.states()),
        )
    }
    timed = ("seconds", "metrics_bytes")
    found["progress"] = {k: v for k, v in asdict(saved.progress).items() if k not in timed}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    found["metrics"] = [
        {k: v for k, v in line.items() if k not in ("seconds", "rate")} for line in lines
    ]
    samples = run / "samples.txt"
    found["samples"] = samples.read_text("utf-8") if samples.exists() else ""
    found["vocabulary"] = (run / "vocabulary.json").read_text("utf-8")
    return found


def _sum(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"


def difference(one: Any, two: Any, where: str = "") -> str | None:
    """The first difference of two outcomes, or None."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if one.keys() != two.keys():
            return f"{where}: {sorted(set(one) ^ set(two))} on one side only"
        pairs: Iterator[tuple[Any, Any, Any]] = ((k, one[k], two[k]) for k in one)
    elif isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            return f"{where}: {len(one)} and {len(two)} entries"
        pairs = ((k, a, b) for k, (a, b) in enumerate(zip(one, two, strict=True)))
    else:
        return None if one == two else f"{where}: {str(one)[:80]!r} and {str(two)[:80]!r}"
    return next((d for k, a, b in pairs if (d := difference(a, b, f"{where}/{k}"))), None)


def litter(*folders: Path) -> list[str]:
    """Temporary files left in these folders."""
    return sorted(
        str(path.relative_to(top))
        for top in folders
        for path in top.rglob("*")
        if path.name.endswith(".tmp") or (path.name.startswith(".") and path.name != ".lock")
    )


def contents(top: Path) -> dict[str, bytes]:
    """The files in a folder, by relative path."""
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def tf1_checkpoint(folder: Path, *, version: int = 2, name: str = "model.ckpt") -> None:
    """Write a small TensorFlow 1 checkpoint of a character model at step 7, with its vocabulary."""
    import tensorflow as tf

    v1, rng = tf.compat.v1, np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    (folder / "vocab.pkl").write_bytes(pickle.dumps(tuple("abcd")))
    scope = "rnnlm/multi_rnn_cell/cell_0/basic_rnn_cell/"
    shapes = {
        "rnnlm/embedding": (4, 2), "rnnlm/softmax_w": (3, 4), "rnnlm/softmax_b": (4,),
        f"{scope}kernel": (5, 3), f"{scope}bias": (3,),
    }  # fmt: skip
    with v1.Graph().as_default(), v1.Session() as session:
        for variable, shape in shapes.items():
            v1.get_variable(variable, initializer=rng.normal(size=shape))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(write_version=version)
        saver.save(session, str(folder / name), global_step=7, write_meta_graph=False)
