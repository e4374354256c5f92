"""Fixtures and settings of all tests."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import settings

# In the background, a shell ignores Ctrl-C, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup ignores the signal of a closed terminal.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before click 8.2, a runner merged both streams by default.
if "mix_stderr" in inspect.signature(CliRunner).parameters:
    CliRunner.__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[method-assign]

# No deadline: a shared machine can be slow at any moment.
settings.register_profile("rnntk", deadline=None)
settings.load_profile("rnntk")


@pytest.fixture(autouse=True)
def _own_logging(caplog: pytest.LogCaptureFixture) -> None:
    """Undo what an earlier command set for the library's log, and capture all of it."""
    logger = logging.getLogger("rnntk")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.DEBUG)


class _Forked(subprocess.Popen):
    """A process that the fork server makes; its parent sends the exit status."""

    def __init__(self, server: socket.socket, command: list[Any], **options: Any) -> None:
        assert command[0] == sys.executable
        self._server = server
        super().__init__(command, **options)

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more):
        ends = more[3:9]  # of the pipes; -1 for a stream that is inherited
        streams = [end if end != -1 else own for own, end in enumerate((ends[0], ends[3], ends[5]))]
        self._link, other = socket.socketpair()
        with other:
            socket.send_fds(self._server, [b"x"], [*streams, other.fileno()])
        request = {
            "arguments": [os.fsdecode(argument) for argument in args[1:]],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        self._link.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._receive()
        self._close_pipe_fds(*ends)

    def _receive(self) -> int:
        data = self._link.recv(8, socket.MSG_WAITALL)
        assert len(data) == 8, "the fork server has ended"
        return struct.unpack("q", data)[0]

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags and not select.select([self._link], [], [], 0)[0]:
            return 0, 0
        status = self._receive()
        self._link.close()
        return self.pid, status

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
        return self.returncode


class Warm:
    """`subprocess` for `[sys.executable, ...]`: each process is forked from one that has imported TensorFlow.

    Some tests still start real processes: of imports, of environment variables, and of the shell's redirections.
    """

    PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, server: socket.socket) -> None:
        self._server = server

    def Popen(self, command: list[Any], **options: Any) -> subprocess.Popen[Any]:  # noqa: N802
        return _Forked(self._server, command, **options)

    def run(
        self,
        command: list[Any],
        *,
        input: Any = None,
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> subprocess.CompletedProcess[Any]:
        if input is not None:
            options["stdin"] = self.PIPE
        if capture_output:
            options |= {"stdout": self.PIPE, "stderr": self.PIPE}
        with self.Popen(command, **options) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
        if check:
            done.check_returncode()
        return done


@contextmanager
def _fork_server(*arguments: str, env: dict[str, str]) -> Iterator[Any]:
    if sys.platform != "linux":  # macOS does not allow a fork after such imports
        yield subprocess
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        program = str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", *program, *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **env},
        )
        theirs.close()
        try:
            yield Warm(ours)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`Warm` processes that have imported rnntk and TensorFlow and compiled the kernels."""
    with _fork_server("rnntk", env={"RNNTK_CACHE": str(tmp_path_factory.mktemp("warm"))}) as found:
        yield found


@pytest.fixture
def warm_reader(warm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read TensorFlow 1 checkpoints in a forked process, not in one that imports TensorFlow first."""
    monkeypatch.setattr("rnntk.exchange.tf1.subprocess", warm)


@pytest.fixture(scope="module")
def warm_tensorflow() -> Iterator[Any]:
    """`Warm` processes that have imported TensorFlow, and nothing of rnntk."""
    with _fork_server(env={}) as found:
        yield found


@pytest.fixture(scope="session")
def compiled_kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], None]:
    """Copies compiled kernels into the cache, which would take each new process two seconds to compile."""
    from rnntk.kernels.native import Kernels

    kept = tmp_path_factory.mktemp("compiled") / "kernels"
    Kernels(cache=kept)

    def copy() -> None:
        shutil.copytree(kept, Path(os.environ["RNNTK_CACHE"], "kernels"), dirs_exist_ok=True)

    return copy


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at the end what was not tested here, and what it needs."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:4} {reason}")


GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def make_weights(cell, layers=2, V=11, E=5, H=7, seed=0, scale=0.7, reset_after=True):
    """Normal weights under CharRNN's names, in Keras' layout."""
    rng = np.random.default_rng(seed)
    gates = GATES[cell] * H

    def draw(*shape):
        return rng.normal(0, scale, shape).astype(np.float32)

    weights = {"embedding/embeddings": draw(V, E)}
    inputs = E
    for k in range(layers):
        weights[f"rnn_{k}/kernel"] = draw(inputs, gates)
        weights[f"rnn_{k}/recurrent_kernel"] = draw(H, gates)
        two = cell == "gru" and reset_after
        weights[f"rnn_{k}/bias"] = draw(*((2, gates) if two else (gates,)))
        inputs = H
    weights["output/kernel"] = draw(H, V)
    weights["output/bias"] = draw(V)
    return weights


@pytest.fixture(scope="session")
def random_weights():
    return make_weights
