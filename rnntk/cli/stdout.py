"""Standard output that cannot be written: distinguished from other files, and reported once."""

from __future__ import annotations

import errno
import io
import signal
import sys
from typing import Any


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


def watch() -> None:
    """Let whatever prints to stdout raise `Lost` where it cannot be written."""
    stream = sys.stdout
    # Windows' console is another kind of file, and a test's stdout is none.
    if not isinstance(stream, io.TextIOWrapper) or (
        type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO
    ):
        return
    stream.flush()
    file = _File(stream.fileno(), "w", closefd=False)
    file.name = stream.name
    whole = stream.write_through  # python -u
    sys.stdout = io.TextIOWrapper(
        file if whole else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=whole,
    )
