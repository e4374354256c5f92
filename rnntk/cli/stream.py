"""Text read from a file or stdin, and generated text written to stdout."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.cli import shading
from rnntk.cli.console import Console, harmless
from rnntk.errors import DataError, UsageError

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece

_ESCAPES = {"\\n": "line end", "\\t": "tab", "\\r": "carriage return", "\\\\": "backslash"}
_ESCAPE = re.compile(r"\\[ntr\\]")

_SECONDS = 0.02  # between flushes; each takes as long as sampling a character


def read(path: str, option: str) -> str:
    """Read UTF-8 text from a file, or from stdin for `-`. Raises `UsageError` (unreadable), `DataError` (no UTF-8)."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(f"{option} {path}", error) from error


def not_utf8(name: str, error: UnicodeDecodeError) -> DataError:
    data = error.object[error.start : error.end].hex(" ")
    return DataError(
        f"{name} is not UTF-8: bytes {data} at offset {error.start}. Convert it, for example with iconv."
    )


def unescaped(name: str, text: str, console: Console) -> str:
    """Replace the known escapes in a typed text, and print a note about them."""
    if read := [f"{e} is a {_ESCAPES[e]}" for e in dict.fromkeys(_ESCAPE.findall(text))]:
        console.note(f"{name}: {', '.join(read)}. For a backslash, type \\\\.")
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), text)


def escaped(text: str) -> str:
    """A text as `unescaped` reads it, with line ends and backslashes escaped."""
    return re.sub(r"[\\\n\t\r]", lambda found: found[0].encode("unicode_escape").decode(), text)


def show(pieces: Iterable[Piece], numbered: bool, shaded: bool) -> None:
    """Print texts as they are generated, each ended by a line end.

    `numbered`: in a terminal, each text is under its number. `shaded`: coloured by surprisal.
    """
    out = sys.stdout
    current, before, last, flushed = -1, 0, "", 0.0

    def end() -> None:
        out.write((shading.RESET if before else "") + ("" if last == "\n" else "\n"))

    try:
        for piece in pieces:
            if piece.stream != current:
                if current >= 0:
                    end()
                if numbered and out.isatty():
                    out.write(f"--- {piece.stream + 1} ---\n")
                current, before, last = piece.stream, 0, ""
            text = piece.text
            last = text[-1:] or last
            if out.isatty():
                text = "\r".join(map(harmless, text.split("\r")))
            if shaded:
                text, before = shading.paint(text, sum(piece.nats), before)
            out.write(text)
            if time.monotonic() - flushed > _SECONDS:
                out.flush()
                flushed = time.monotonic()
    finally:
        end()  # also after Ctrl-C
        out.flush()
