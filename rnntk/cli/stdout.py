"""Standard streams that are closed or cannot be written: stdout is reported once, stderr is no reason to stop."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Lost(Exception):
    """Standard output is lost. Not an `OSError`, so that no code takes it for a file of its own."""

    exit_code = 1


class Closed(Lost):
    """The reader closed the pipe, as `head` does: not an error, nothing is printed."""

    exit_code = 128 + getattr(signal, "SIGPIPE", 13)


class _File(io.FileIO):
    """Raises `Lost` once; what is written afterwards, while the program ends, goes nowhere."""

    _lost = False

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        size = memoryview(data).nbytes
        # Nothing is written to find out what kind of file this is (click does), and what is raised then is dropped.
        if size and not self._lost:
            try:
                return super().write(data)
            except OSError as error:
                self._lost = True
                if error.errno == errno.EPIPE:
                    raise Closed from error
                raise Lost(f"Standard output cannot be written ({error.strerror}).") from error
        return size


class _Notes(io.FileIO):
    """Drops what cannot be written: no work ends because nobody reads the notes about it."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def after_training() -> Iterator[None]:
    """Printing the results of training that was saved: the exit code stays 0 where they cannot be written."""
    try:
        yield
        sys.stdout.flush()
    except Closed:
        pass
    except Lost as lost:
        print(f"Warning: {lost} Training has succeeded.", file=sys.stderr)


def watch() -> None:
    """Let whatever prints to stdout raise `Lost` where it cannot be written; notes on stderr are dropped there.

    Standard streams that were closed by who started us (`>&-`) lead nowhere: what goes there was not wanted, and no
    other file must take their place.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.stdout = _replaced(sys.stdout, _File)
    sys.stderr = _replaced(sys.stderr, _Notes)


def _replaced(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """The stream over a file of this kind."""
    # Windows' console is another kind of file, and a test's stream is none.
    if not isinstance(stream, io.TextIOWrapper) or (
        type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO
    ):
        return stream
    with suppress(OSError):
        stream.flush()
    file = kind(stream.fileno(), "w", closefd=False)
    file.name = stream.name
    whole = stream.write_through  # python -u
    return io.TextIOWrapper(
        file if whole else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=whole,
    )
