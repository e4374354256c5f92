"""Characters shaded by surprisal, readable on dark and light terminals."""

from __future__ import annotations

import math
import os
import sys
from bisect import bisect_right

import click
from click.core import ParameterSource

BITS = (2, 3, 4, 5, 6, 8)  # lower limit of each shade
# Backgrounds for black letters from the 256-colour palette; contrast at least 5 : 1.
_PALETTE = (230, 223, 216, 209, 203, 197)
RESET = "\x1b[0m"
_CODES = (RESET, *(f"\x1b[38;5;16;48;5;{colour}m" for colour in _PALETTE))


def shade(bits: float) -> int:
    """Shade for a surprisal in bits, from 0 (none) to 6."""
    return bisect_right(BITS, bits)


def paint(text: str, nats: float, before: int) -> tuple[str, int]:
    """Shade characters by their total surprisal; `before` and the second result are the terminal's shade."""
    target = shade(nats / math.log(2) / max(1, len(text)))
    painted = []
    for character in text:
        current = 0 if character == "\n" else target  # many terminals colour the rest of the line
        if current != before:
            painted.append(_CODES[current])
            before = current
        painted.append(character)
    return "".join(painted), before


def legend() -> str:
    """The scale of shades, in words."""
    return f"Shaded by surprise: from {BITS[0]} bits (pale) to {BITS[-1]} bits and more (red)."


def wanted(color: bool) -> bool:
    """Whether to shade: with the flag always, else only on a terminal without NO_COLOR."""
    source = click.get_current_context().get_parameter_source("color")
    return color and (source is ParameterSource.COMMANDLINE or has_colours())


def has_colours() -> bool:
    """Whether stdout is a terminal and NO_COLOR is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
