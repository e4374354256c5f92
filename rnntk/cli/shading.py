"""Characters shaded by surprisal on the terminal: the higher, the warmer the background.

Every shade sets the colour of the letter too, so that it can be read on a dark and on a light terminal.
"""

from __future__ import annotations

import math
import os
import sys
from bisect import bisect_right

import click
from click.core import ParameterSource

BITS = (2, 3, 4, 5, 6, 8)  # at which each shade begins; below the first there is none
# Black on these colours of the 256-colour palette: their contrast is 5 : 1 or better.
_PALETTE = (230, 223, 216, 209, 203, 197)
RESET = "\x1b[0m"
_CODES = (RESET, *(f"\x1b[38;5;16;48;5;{colour}m" for colour in _PALETTE))


def shade(bits: float) -> int:
    """The shade of a character of so many bits: 0 for none, to 6."""
    return bisect_right(BITS, bits)


def paint(text: str, nats: float, before: int) -> tuple[str, int]:
    """A text of one or a few characters with the codes that shade it, and the terminal's shade after it.

    `nats` is their surprisal together, `before` the shade the terminal is in.
    """
    wanted = shade(nats / math.log(2) / max(1, len(text)))
    painted = []
    for character in text:
        # A shaded line end would colour the whole rest of the line on many terminals.
        now = 0 if character == "\n" else wanted
        if now != before:
            painted.append(_CODES[now])
            before = now
        painted.append(character)
    return "".join(painted), before


def legend() -> str:
    """The scale in words."""
    return f"Shaded by surprise: from {BITS[0]} bits (pale) to {BITS[-1]} bits and more (red)."


def wanted(color: bool) -> bool:
    """Whether to shade: always when the flag was typed, else only on a terminal without NO_COLOR."""
    if (
        not color
        or click.get_current_context().get_parameter_source("color") is ParameterSource.COMMANDLINE
    ):
        return color
    return has_colours()


def has_colours() -> bool:
    """Whether stdout is a terminal, and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
