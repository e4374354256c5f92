"""Standard streams that are closed or cannot be written: stdout is reported once, stderr is ignored."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

from rnntk.files import disk_errors, replacing


class Lost(Exception):
    """Stdout cannot be written. No `OSError`, which code may catch for its own files."""

    exit_code = 1


class Closed(Lost):
    """The reader closed the pipe, as `head` does; not an error."""

    exit_code = 128 + getattr(signal, "SIGPIPE", 13)


class _File(io.FileIO):
    """File that raises `Lost` once and drops later writes."""

    _lost = False

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        size = memoryview(data).nbytes
        # click tests the stream with an empty write and ignores the error.
        if size and not self._lost:
            try:
                return super().write(data)
            except OSError as error:
                self._lost = True
                # Windows gives EINVAL for a pipe without a reader.
                if error.errno == errno.EPIPE or (os.name == "nt" and error.errno == errno.EINVAL):
                    raise Closed from error
                raise Lost(f"Cannot write to standard output ({error.strerror}).") from error
        return size


class _Stderr(io.FileIO):
    """File that drops failed writes."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def after_training() -> Iterator[None]:
    """Context that prints results after training; if that fails, the exit code stays 0."""
    try:
        yield
        sys.stdout.flush()
    except Closed:
        pass
    except Lost as lost:
        print(f"Warning: {lost} Training succeeded.", file=sys.stderr)


@contextmanager
def written_to(path: Path | None) -> Iterator[None]:
    """Context that redirects stdout to a UTF-8 file, written atomically; no effect for None and `-`."""
    if path is None or str(path) == "-" or _is_stdout(path):
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(disk_errors(path, advice="Name another file with `output`."))
        if not path.exists() or path.is_file():  # no pipe or device
            path = stack.enter_context(replacing(path.resolve()))
        file = path.open("w", encoding="utf-8", errors="replace", newline="")
        stack.enter_context(redirect_stdout(stack.enter_context(file)))
        yield


def _is_stdout(path: Path) -> bool:
    """Whether the path is stdout, like /dev/stdout; a file there must not be replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # missing, or stdout has no descriptor
        return False


def watch() -> None:
    """Make failed writes to stdout raise `Lost`, and ignore those to stderr.

    Closed streams (`>&-`) become the null device, or the next opened file would take their number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.stdout = _replaced(sys.stdout, _File)
    sys.stderr = _replaced(sys.stderr, _Stderr)


def _replaced(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """The stream with a raw file of this kind; unchanged for the Windows console and in tests."""
    if not isinstance(stream, io.TextIOWrapper) or (
        type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO
    ):
        return stream
    with suppress(OSError):
        stream.flush()
    file = kind(stream.fileno(), "w", closefd=False)
    file.name = stream.name
    unbuffered = stream.write_through  # python -u
    return io.TextIOWrapper(
        file if unbuffered else io.BufferedWriter(file), encoding=stream.encoding, errors=stream.errors,
        newline="", line_buffering=stream.line_buffering, write_through=unbuffered,
    )  # fmt: skip
