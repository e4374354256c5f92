"""Text from a file or stdin, and generated text on stdout."""

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

_SECONDS = 0.02  # between flushes, each of which takes as long as sampling a character


def read(path: str, option: str) -> str:
    """Read UTF-8 text from a file, or from stdin for `-`. Raises `UsageError` (unreadable), `DataError` (no UTF-8)."""
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
    """Print text as it is generated, each of `num` texts under its number, coloured by surprisal if `shaded`."""
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
        # Also after Ctrl-C, reset the colour and end the line.
        out.write((shading.RESET if before else "") + "\n")
        out.flush()
