"""The errors a user can meet.

Every message says what happened and what to do about it, because it is printed as it stands: the
command line turns an `RnntkError` into one message and an exit code, never into a traceback
(unless `RNNTK_DEBUG=1`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class RnntkError(Exception):
    """Something could not be done. The text is the message for the user.

    Attributes:
        exit_code: what the process ends with: 1 could not, 2 wrong usage, 128 + signal when interrupted.
    """

    exit_code = 1


class UsageError(RnntkError):
    """A flag, setting or name is wrong: out of range, unknown, or at odds with another."""

    exit_code = 2


class DataError(RnntkError):
    """The text or the images cannot be used: missing, empty, binary, too short, damaged."""


class EncodingError(DataError):
    """The bytes cannot be decoded as text.

    Args:
        message: what is wrong, and what always helps.
        or_replace: what helps as well where `--errors replace` can be given.

    Attributes:
        message: the text without `or_replace`.
    """

    def __init__(self, message: str, or_replace: str = "") -> None:
        super().__init__(message + or_replace)
        self.message, self.or_replace = message, or_replace


class CorpusError(DataError):
    """A corpus cannot be had from any of its sources."""


class RunError(RnntkError):
    """A run folder cannot be used: missing, damaged, from a newer version, in use, not matching."""


class TrainingError(RnntkError):
    """Training cannot go on: the loss is not a number, the disk is full."""


class Interrupted(RnntkError):
    """Training was stopped by a signal, after it had saved.

    Args:
        message: what to type to go on.
        signal_number: 2 (SIGINT) or 15 (SIGTERM); the exit code is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, or None when none is like it at all.

    >>> nearest("linux_kernal", ["linux_kernel", "mnist"])
    'linux_kernel'
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: ` Did you mean 'linux_kernel'?`, or nothing.

    >>> did_you_mean("linux_kernal", ["linux_kernel", "mnist"])
    " Did you mean 'linux_kernel'?"
    >>> did_you_mean("?", ["linux_kernel", "mnist"])
    ''
    """
    found = nearest(name, choices)
    return f" Did you mean {found!r}?" if found else ""


def shown(path: Path) -> str:
    """A path as a user would type it: relative where that is shorter, quoted where it must be."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        relative = str(path)
    text = relative if len(relative) < len(str(path)) else str(path)
    return f'"{text}"' if " " in text else text
