"""Signals that end a program."""

from __future__ import annotations

import _thread
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rnntk.errors import Interrupted

# The terminal was closed (POSIX); Ctrl-Break (Windows).
_HANGUP, _BREAK = getattr(signal, "SIGHUP", None), getattr(signal, "SIGBREAK", None)
ENDING = [n for n in (signal.SIGINT, signal.SIGTERM, _HANGUP, _BREAK) if n is not None]


class Stopped:
    """Signal handler: the first signal is kept, to stop after the step; a second Ctrl-C stops at once.

    Other signals may come together: the end of a login session sends SIGTERM and SIGHUP, in any order.
    """

    signal_number: int | None = None

    def __init__(self) -> None:
        self._interrupted = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number = number
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True


def end_cleanly() -> None:
    """Make SIGTERM and SIGHUP leave every context, as Ctrl-C does, so that no files stay; a second ends at once."""
    for number in (signal.SIGTERM, _HANGUP):
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


@contextmanager
def handled(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """Context in which `handler` handles the signals in `ENDING`; no effect outside the main thread.

    SIGHUP stays ignored under `nohup`. On Windows, closing the console counts as SIGBREAK.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in ENDING if n != _HANGUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {n: signal.signal(n, handler) for n in numbers}
    closing = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32)(_console_closed)
    windows: Any = getattr(ctypes, "windll", None)
    if windows:
        windows.kernel32.SetConsoleCtrlHandler(closing, True)
    try:
        yield
    finally:
        if windows:
            windows.kernel32.SetConsoleCtrlHandler(closing, False)
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def explained(message: str) -> Iterator[None]:
    """Context in which the signals in `ENDING` raise `Interrupted` with this message."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(message, number)

    with handled(end):
        yield


def _console_closed(event: int) -> bool:
    """Handle a console event, in its own thread: Windows ends the process when this returns, or after 5 s."""
    if event < 2:  # Ctrl-C and Ctrl-Break, which are signals already
        return False
    _thread.interrupt_main(_BREAK or signal.SIGTERM)
    time.sleep(60)
    return True
