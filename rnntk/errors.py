"""Errors with messages for users: what is wrong, and what to do. `RNNTK_DEBUG=1` shows tracebacks."""

from __future__ import annotations

import difflib
import errno
import functools
import inspect
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# Other names of settings, from Keras, PyTorch, nanoGPT and char-rnn; the command line accepts them, with dashes.
ALIASES = {
    "learning_rate": "lr",
    "batch_size": "bs",
    "seq_length": "seq_len sequence_length block_size",
    "units": "hidden hidden_size rnn_size",
    "layers": "num_layers n_layer n_layers",
    "embedding": "embedding_size embedding_dim n_embd",
    "epochs": "num_epochs max_epochs",
    "max_steps": "steps max_iters",
    "clip_norm": "grad_clip",
    "weight_decay": "wd",
    "warmup_steps": "warmup_iters",
    "beta_2": "beta2 adam_beta2",
    "ema": "ema_decay",
    "val_fraction": "val_split validation_split",
    "temperature": "temp",
    "length": "max_length max_new_tokens",
    "num": "num_samples",
    "prime": "prompt",
    "prime_file": "prompt_file",
    "baselines": "floors",
}

_SETTING = re.compile(r"`([a-z_][a-z0-9_]*)(=[^`]+)?`")


def rendered(text: str, option: Callable[[str], str] | None = None) -> str:
    """Replace settings in backquotes with Python syntax, or with the options that `option` names.

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
    """Base class of rnntk's errors; `str` gives the message for the user.

    Example:
        >>> try:
        ...     rnntk.train("tale.txt", units=0)
        ... except rnntk.RnntkError as error:
        ...     print(error)
        units must be at least 1 and at most 65,536, got 0.

    Messages have settings in backquotes (`` set `val_fraction=0.05` ``), see `rendered`.
    """

    exit_code = 1  # 2 for wrong usage, 128 + signal if interrupted

    def __str__(self) -> str:
        return rendered(super().__str__())

    def render(self, option: Callable[[str], str]) -> str:
        """The message with command-line options instead of settings."""
        return rendered(super().__str__(), option)


class UsageError(RnntkError):
    """A setting or name is unknown, invalid, or in conflict with another."""

    exit_code = 2


class KeptSettings(UsageError):
    """Settings that a resume cannot change; `places` says where each was set, by default in the call."""

    def __init__(self, names: Sequence[str], places: Mapping[str, str] | None = None) -> None:
        given = [(places or {}).get(name, f"`{name}`") for name in names]
        super().__init__(
            f"A resumed run keeps its settings: leave out {', '.join(given)}, or train a new run. `epochs`, "
            "`max_steps` and `max_time` may change."
        )
        self.names = names


class DataError(RnntkError):
    """The text or the images are missing, empty, binary, too short or damaged."""


class EmptyError(DataError):
    """A file contains no text."""


class EncodingError(DataError):
    """Bytes cannot be decoded; `or_replace` is the part of the message about the setting `errors`."""

    def __init__(self, message: str, or_replace: str = "") -> None:
        super().__init__(message + or_replace)
        self.message, self.or_replace = message, or_replace


class CorpusError(DataError):
    """A corpus is not available from any of its sources."""


class RunError(RnntkError):
    """A run is missing, damaged, from a newer version, in use, or does not match."""


class TrainingError(RnntkError):
    """Training cannot continue: the loss is not finite, or a write failed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM, SIGHUP or SIGBREAK stopped training, which has saved; `str` says how to continue.

    Like every `KeyboardInterrupt`, neither `except RnntkError` nor `except Exception` catches it, so that Ctrl-C also
    ends a loop over several trainings. `exit_code` is 128 + the signal's number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message, signal_number)
        self.exit_code = 128 + signal_number

    def __str__(self) -> str:
        return str(self.args[0])


def os_error(error: Exception) -> OSError | None:
    """The error as `OSError`, also if TensorFlow raised it (`<path>; No space left on device`); None for others."""
    if isinstance(error, OSError):
        return error
    message = str(getattr(error, "message", "")).partition("\n")[0]
    found = re.search(r"^(?:{{.*?}} )?([^;]+); (\w[\w ]+?)(?: \[Op:\w+\].*)?$", message)
    numbers = {os.strerror(number): number for number in errno.errorcode}
    if found is None or found[2] not in numbers:
        return None
    return OSError(numbers[found[2]], found[2], found[1])


def near(name: str, choices: Iterable[str]) -> list[str]:
    """Up to three choices close to `name`, best first: by spelling, `ALIASES` and `meanings.toml`."""
    word = _plain(name)
    found = [(_likeness(word, _plain(choice)), choice) for choice in dict.fromkeys(choices)]
    found.sort(key=lambda pair: -pair[0])
    return [choice for score, choice in found if score >= max(0.63, found[0][0] - 0.1)][:3]


def _plain(name: str) -> str:
    """The last word, written like a setting: `train --init-from` -> `init_from`."""
    return name.lower().rpartition(" ")[2].lstrip("-").replace("-", "_")


@functools.cache
def _meanings() -> dict[str, str]:
    from rnntk.config.files import read_toml  # rarely needed

    return read_toml(Path(__file__).with_name("meanings.toml"))


def _likeness(word: str, choice: str) -> float:
    """Similarity of a word to a choice or to a synonym of it, from 0 to 1."""

    def ratio(other: str) -> float:
        return difflib.SequenceMatcher(None, word, other).ratio()

    synonyms = f"{ALIASES.get(choice, '')} {_meanings().get(choice, '')}".split()
    scores = [score for score in map(ratio, synonyms) if score >= 0.8]
    is_part = len(word) > 2 and (choice.startswith(word) or word in choice.split("_"))
    return max(ratio(choice), *scores, 0.8 if is_part else 0)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question with the nearest choices, empty if none is close.

    >>> did_you_mean("linux_kernal", ["linux_kernel", "mnist"])
    " Did you mean 'linux_kernel'?"
    """
    found = [repr(choice) for choice in near(name, choices)]
    listed = " or ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))
    return f" Did you mean {listed}?" if found else ""


def check_output(setting: str, path: Path, read: Iterable[str | Path] = ()) -> None:
    """Check the file that a setting names.

    Raises `UsageError` if there is no folder for it, the name is impossible, or it is one of the files `read`.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        why = f"{error.strerror}. Choose another name."
        raise UsageError(f"`{setting}` {path} cannot be written: {why}") from error
    if not path.absolute().parent.is_dir():
        raise UsageError(f"`{setting}` {path}: there is no folder {path.parent}. Create it first.")
    for other in read:
        with suppress(OSError, ValueError):  # missing, or no name of a file
            if path.is_file() and path.samefile(other):
                raise UsageError(f"`{setting}` {path} would replace a text. Name another file.")


def check_keywords(function: Callable[..., Any], given: Iterable[str]) -> None:
    """Raise `TypeError` with the nearest known keyword for an unknown one, as Python 3.13 does.

    If `function` takes `**kwargs`, only keywords that resemble one of its own are refused.
    """
    known = inspect.signature(function).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for name in given:
        guess = "" if name in known else did_you_mean(name, known)
        if name not in known and (guess or not passes_on):
            raise TypeError(f"{function.__qualname__}() has no argument {name!r}.{guess}")


def naming_arguments(function: F) -> F:
    """Decorator: check the keywords of each call with `check_keywords`."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        check_keywords(function, named)
        return function(*args, **named)

    return call  # type: ignore[return-value]


def listed(words: Sequence[str], most: int = 20) -> str:
    """The first words, and how many more there are.

    >>> listed("abcd", 3)
    'a, b, c and 1 more'
    """
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def named(characters: Iterable[str]) -> list[str]:
    """Characters with their code points.

    >>> named("a")
    ["'a' (U+0061)"]
    """
    return [f"{c!r} (U+{ord(c):04X})" for c in characters]


def quoted(*words: str) -> str:
    """Join the words of a command, quoted for the shell, on Windows for cmd.exe."""
    if os.name != "nt":
        return shlex.join(words)
    import subprocess  # slow

    plain = re.compile(r"[^&|<>^()%!;,=]*")  # cmd.exe interprets the others, as in "numpy>=2"
    safe = [subprocess.list2cmdline([word]) for word in words]
    return " ".join(s if s[:1] == '"' or plain.fullmatch(s) else f'"{s}"' for s in safe)


def shown(path: Path) -> str:
    """A path quoted for the shell, relative if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        relative = str(path)
    text = min(str(path), relative, key=len)
    return quoted(f"./{text}" if text.startswith("-") else text)  # no option
