from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rnntk import signals
from rnntk.signals import Stopped


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX")
@pytest.mark.parametrize("names", [
    "SIGTERM SIGHUP", "SIGHUP SIGTERM", "SIGINT SIGTERM", "SIGTERM SIGINT", "SIGTERM SIGTERM",
    "SIGHUP SIGHUP SIGTERM SIGTERM",
])  # fmt: skip
def test_signals_may_come_together_and_only_a_second_ctrl_c_stops_at_once(names: str) -> None:
    numbers = [getattr(signal, name) for name in names.split()]
    stopped = Stopped()
    with signals.handled(stopped):
        for number in numbers:
            os.kill(os.getpid(), number)
        assert stopped.signal_number == numbers[0]
        if signal.SIGINT not in numbers:
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX")
def test_sighup_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled(Stopped()):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_closing_a_windows_console_waits_for_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: list[Any] = []

    def set_handler(handler: Any, add: bool) -> None:
        handlers.append(handler) if add else handlers.remove(handler)

    kernel32 = SimpleNamespace(SetConsoleCtrlHandler=set_handler)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    stopped = Stopped()
    with signals.handled(stopped):
        (handler,) = handlers
        assert handler(0) == handler(1) == 0, "Ctrl-C and Ctrl-Break are left to Python"
        assert stopped.signal_number is None
        assert handler(2) == 1
        assert waits == [60]
        assert stopped.signal_number == signal.SIGTERM
    assert handlers == []


COMMAND = (
    "-m rnntk train --input text.txt --run r --units 16 --layers 1 --embedding 8 --batch-size 4 "
    "--seq-length 16 --epochs 100000"
)


def wait_for_steps(run: Path) -> None:
    log, end = run / "metrics.jsonl", time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX")
def test_training_is_saved_when_its_login_session_ends(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 300)
    with subprocess.Popen(
        [sys.executable, *COMMAND.split()], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for_steps(tmp_path / "r")
            # Stopped, so that both signals are pending together when it continues.
            for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode in (128 + signal.SIGHUP, 128 + signal.SIGTERM)
    assert "and saved. Continue with: rnntk train --resume r" in errors
    assert list((tmp_path / "r" / "checkpoints").iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_before_training_leaves_no_files(tmp_path: Path, name: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "rnntk", "prep", "-"],
        stdin=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as process:
        try:
            end = time.monotonic() + 60
            while not list(temporary.glob("*/0")) and time.monotonic() < end:
                time.sleep(0.05)
            number = getattr(signal, name)
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
    assert list(temporary.iterdir()) == []


def test_training_is_saved_when_its_terminal_closes(tmp_path: Path) -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 300)
    terminal, inside = os.openpty()
    with subprocess.Popen(
        [sys.executable, *COMMAND.split()],
        cwd=tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(inside, termios.TIOCSCTTY, 0),
    ) as process:
        try:
            os.close(inside)
            wait_for_steps(tmp_path / "r")
            os.close(terminal)
            assert process.wait(60) == 128 + signal.SIGHUP
        finally:
            process.kill()
    assert list((tmp_path / "r" / "checkpoints").iterdir())
