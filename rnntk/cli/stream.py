"""Text in and out: a file or stdin as text, and generated text on stdout as it comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.cli import shading
from rnntk.cli.console import harmless
from rnntk.errors import DataError, UsageError

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece

# A flush takes as long as sampling a character; fifty per second look like a stream to anybody.
_SECONDS = 0.02


def read(path: str, option: str) -> str:
    """The text of a UTF-8 file named by `option`, or of stdin for `-`, without a byte order mark.

    Raises `UsageError` if the file cannot be read, `DataError` if it is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read ({error.strerror}).") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(f"{option} {path}", error) from error


def not_utf8(name: str, error: UnicodeDecodeError) -> DataError:
    wrong = error.object[error.start : error.end].hex(" ")
    return DataError(
        f"{name} is not UTF-8: bytes {wrong} at offset {error.start}. Convert it first, for example with iconv."
    )


def show(pieces: Iterable[Piece], num: int, shaded: bool) -> None:
    """Print text as it is generated, each of `num` texts under its number, with a line end at the end.

    `shaded` texts are coloured by surprisal, which the pieces must have.
    """
    out = sys.stdout
    current, before, flushed = -1, 0, 0.0
    try:
        for piece in pieces:
            if piece.stream != current:
                if num > 1:
                    out.write(shading.RESET if before else "")
                    out.write(("\n" if current >= 0 else "") + f"--- {piece.stream + 1} ---\n")
                    before = 0
                current = piece.stream
            text = piece.text
            if out.isatty():
                text = "\r".join(map(harmless, text.split("\r")))
            if shaded:
                text, before = shading.paint(text, sum(piece.nats), before)
            out.write(text)
            if time.monotonic() - flushed > _SECONDS:
                out.flush()
                flushed = time.monotonic()
    finally:
        # Also after Ctrl-C: no terminal is left in colour, and no prompt at the end of a line of text.
        out.write((shading.RESET if before else "") + "\n")
        out.flush()
