"""Text on stdout as it is drawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rnntk.cli import shading

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece

# A flush costs as much as drawing a character; fifty a second look like a stream to anybody.
_SECONDS = 0.02


def show(pieces: Iterable[Piece], num: int, shaded: bool) -> None:
    """Print text as it is drawn, each of several texts under its number, and a line end at the end.

    Args:
        pieces: what is drawn.
        num: texts.
        shaded: colour the characters by surprise; the pieces must have costs.
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
            if shaded:
                text, before = shading.paint(text, sum(piece.costs), before)
            out.write(text)
            if time.monotonic() - flushed > _SECONDS:
                out.flush()
                flushed = time.monotonic()
    finally:
        # Also after Ctrl-C: no terminal is left in colour, and no prompt at the end of a line of text.
        out.write((shading.RESET if before else "") + "\n")
        out.flush()
