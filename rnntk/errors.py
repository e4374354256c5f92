"""Errors with a message for the user: what happened, and what to do. `RNNTK_DEBUG=1` shows tracebacks."""

from __future__ import annotations

import difflib
import errno
import functools
import inspect
import os
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_SETTING = re.compile(r"`([a-z_]+)(=[^`]+)?`")


def rendered(text: str, option: Callable[[str], str] | None = None) -> str:
    """Replace settings in backquotes by Python syntax, or by the command-line names that `option` gives.

    >>> text = 'Leave it out with `on_unknown="skip"`.'
    >>> rendered(text)
    'Leave it out with on_unknown="skip".'
    >>> rendered(text, lambda name: "--" + name.replace("_", "-"))
    'Leave it out with --on-unknown skip.'
    """
    if option is None:
        return _SETTING.sub(r"\1\2", text)

    def typed(found: re.Match[str]) -> str:
        value = (found[2] or "=True")[1:].strip('"')
        if value in ("True", "False"):
            return option(found[1] if value == "True" else f"no_{found[1]}")
        return f"{option(found[1])} {value}"

    return _SETTING.sub(typed, text)


class RnntkError(Exception):
    """Base of all errors of rnntk; `str` is the message for the user.

    Example:
        >>> try:
        ...     rnntk.train("tale.txt", units=0)
        ... except rnntk.RnntkError as error:
        ...     print(error)
        units must be at least 1 and at most 65,536, got 0.

    Messages put settings in backquotes (`` set `val_fraction=0.05` ``), see `rendered`.
    """

    exit_code = 1  # 2 for wrong usage, 128 + signal if interrupted

    def __str__(self) -> str:
        return rendered(super().__str__())

    def render(self, option: Callable[[str], str]) -> str:
        """The message with the names of command-line options."""
        return rendered(super().__str__(), option)


class UsageError(RnntkError):
    """A setting or name is unknown, out of range, or in conflict with another."""

    exit_code = 2


class DataError(RnntkError):
    """The text or the images are missing, empty, binary, too short or damaged."""


class EmptyError(DataError):
    """A file has no text."""


class EncodingError(DataError):
    """The bytes cannot be decoded; `or_replace` is the part of the message about the setting `errors`."""

    def __init__(self, message: str, or_replace: str = "") -> None:
        super().__init__(message + or_replace)
        self.message, self.or_replace = message, or_replace


class CorpusError(DataError):
    """A corpus is not available from any of its sources."""


class RunError(RnntkError):
    """A run is missing, damaged, from a newer version, in use, or does not match."""


class TrainingError(RnntkError):
    """Training cannot continue, for example because the loss is not finite or the disk is full."""


class Interrupted(RnntkError):
    """Training saved and stopped after a signal, such as SIGINT (2), SIGTERM (15) or SIGHUP (1)."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def os_error(error: Exception) -> OSError | None:
    """Convert to `OSError`, also from TensorFlow's `<path>; No space left on device`; None for other errors."""
    if isinstance(error, OSError):
        return error
    message = str(getattr(error, "message", "")).partition("\n")[0]
    found = re.search(r"^(?:{{.*?}} )?([^;]+); (\w[\w ]+?)(?: \[Op:\w+\].*)?$", message)
    numbers = {os.strerror(number): number for number in errno.errorcode}
    if found is None or found[2] not in numbers:
        return None
    return OSError(numbers[found[2]], found[2], found[1])


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most similar to `name`, or None if none is close."""
    return next(iter(difflib.get_close_matches(name, list(choices), n=1)), None)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question with the nearest choice, or an empty string if none is close.

    >>> did_you_mean("linux_kernal", ["linux_kernel", "mnist"])
    " Did you mean 'linux_kernel'?"
    """
    guess = nearest(name, choices)
    return f" Did you mean {guess!r}?" if guess else ""


def check_keywords(function: Callable[..., Any], given: Iterable[str]) -> None:
    """Raise `TypeError` for an unknown keyword, with the nearest known one, as Python 3.13 does.

    If `function` takes `**kwargs`, only a keyword that resembles one of its own is refused.
    """
    known = inspect.signature(function).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for name in given:
        near = "" if name in known else did_you_mean(name, known)
        if name not in known and (near or not passes_on):
            raise TypeError(f"{function.__qualname__}() has no argument {name!r}.{near}")


def naming_arguments(function: F) -> F:
    """Decorator: check the keywords of each call with `check_keywords`."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        check_keywords(function, named)
        return function(*args, **named)

    return call  # type: ignore[return-value]


def quoted(*words: str) -> str:
    """Join the words of a command, quoted for the shell."""
    if os.name == "nt":
        import subprocess  # slow, and every command imports this module

        return subprocess.list2cmdline(words)
    return shlex.join(words)


def shown(path: Path) -> str:
    """A path quoted for the shell, relative if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        relative = str(path)
    text = min(str(path), relative, key=len)
    return quoted(f"./{text}" if text.startswith("-") else text)  # "-x" would be an option
