"""The errors a user can meet.

Every message says what happened and what to do about it, because it is printed as it stands: the
command line turns an `RnntkError` into one message and an exit code, never into a traceback
(unless `RNNTK_DEBUG=1`).
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

_FIELD = re.compile(r"`([a-z_]+)`")


class RnntkError(Exception):
    """Something failed. The text is the message for the user.

    Example:
        >>> try:
        ...     rnntk.train("tale.txt", units=0)
        ... except rnntk.RnntkError as error:
        ...     print(error)
        units must be at least 1 and at most 65,536, got 0.

    Names of settings stand in backquotes (`` `units` must be at least 1 ``). `str` leaves the quotes out; the
    command line puts the option there instead.

    Attributes:
        exit_code: of the process: 1 failed, 2 wrong usage, 128 + signal if interrupted.
    """

    exit_code = 1

    def __str__(self) -> str:
        return self.render(lambda name: name)

    def render(self, name_of: Callable[[str], str]) -> str:
        """The message, with each setting named by `name_of`."""
        return _FIELD.sub(lambda found: name_of(found[1]), super().__str__())


class UsageError(RnntkError):
    """A flag, setting or name is wrong: out of range, unknown, or at odds with another."""

    exit_code = 2


class DataError(RnntkError):
    """The text or the images cannot be used: missing, empty, binary, too short, damaged."""


class EmptyError(DataError):
    """There is no text at all in a file."""


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
    """The choice most like `name`, or None if none is close.

    >>> nearest("linux_kernal", ["linux_kernel", "mnist"])
    'linux_kernel'
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question that names the nearest choice, or nothing if none is close.

    >>> did_you_mean("linux_kernal", ["linux_kernel", "mnist"])
    " Did you mean 'linux_kernel'?"
    """
    guess = nearest(name, choices)
    return f" Did you mean {guess!r}?" if guess else ""


def quoted(*words: str) -> str:
    """Words of a command as they can be pasted into a shell."""
    if os.name == "nt":
        import subprocess  # only here: every command imports this module

        return subprocess.list2cmdline(words)
    return shlex.join(words)


def shown(path: Path) -> str:
    """A path as it can be pasted into a shell: relative where that is shorter, quoted where it must be."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        relative = str(path)
    return quoted(relative if len(relative) < len(str(path)) else str(path))
