"""TOML configuration files, given as a path or as the name of a shipped one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from rnntk.config.fields import Config
from rnntk.errors import UsageError, did_you_mean

# Tables that a file may have: the commands.
TABLES = (
    "board", "cache", "eval", "export", "import", "minchar", "mnist", "play", "plot", "prep", "runs", "sample", "train",
)  # fmt: skip

# Parameters of commands that are no fields of a configuration: allowed in every file, and ignored by the Python
# functions that have no such argument.
COMMAND_ONLY = frozenset({
    "allow_copies", "ascii", "baselines", "check_gradients", "checkpoint", "color", "costs", "dry_run",
    "dynamic", "dynamic_rate", "forget_bias", "format", "greedy", "host", "html", "image", "init_from", "interactive",
    "iterations", "json", "kind", "lines", "list", "log", "novelty", "open", "output", "plot",
    "port", "prime", "prime_file", "quiet", "report", "resume", "run", "runs", "runs_dir", "smooth", "split",
    "terminal", "texts", "verbose", "vocab", "weights", "x", "y",
})  # fmt: skip


def read_config(
    path: Path,
    command: str,
    known: Collection[str],
    commands: Mapping[str, Callable[[], Collection[str]]] | None = None,
) -> dict[str, Any]:
    """Read the settings of one command from a TOML file.

    Top-level keys hold for all commands that know them, a table for the command of its name. Dashes count as
    underscores. Raises `UsageError` for a missing or malformed file, and for an unknown table or key.

    Args:
        path: the file.
        command: `train`, `sample`, ...; `runs` also for `rnntk runs delete`.
        known: the command's settings, or a function's settings and arguments, with underscores.
        commands: functions that return the settings of a command, called only for a key outside `known`. Without
            them, the settings of other commands are those of all configurations and `COMMAND_ONLY`.
    """
    document = read_toml(path)
    own = document.get(command, {})
    if not isinstance(own, dict):
        raise UsageError(f"{path}: {command} must be a table, [{command}].")
    values: dict[str, Any] = {}
    for key, value in document.items():
        name = key.replace("-", "_")
        if isinstance(value, dict):
            if key not in TABLES:
                raise UsageError(f"{path}: [{key}] is not a command.{did_you_mean(key, TABLES)}")
        elif name in known:
            values[name] = value
        else:
            others = _names_of(Config) | COMMAND_ONLY
            if commands is not None:
                others = {name for settings in commands.values() for name in settings()}
            if name not in others:
                guess = did_you_mean(name, others)
                raise UsageError(f"{path}: {key!r} is not a setting of any command.{guess}")
    for key, value in own.items():
        name = key.replace("-", "_")
        if name not in known:
            if name in (COMMAND_ONLY if commands is None else commands[command]()):
                continue  # of the shell alone, or of the group or another of its commands
            problem = f"{path}: {key!r} in [{command}] is not a setting of rnntk {command}."
            raise UsageError(problem + did_you_mean(name, known))
        values[name] = value
    return values


def _names_of(kind: type[Config]) -> set[str]:
    """Names of the fields of a configuration and of its subclasses."""
    return {*kind.names(), *(name for sub in kind.__subclasses__() for name in _names_of(sub))}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises `UsageError` if it is missing or not TOML."""
    # Imported here, because most commands read no TOML.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or 0 in data[:2]:  # with or without a BOM
        raise UsageError(f"{path} is UTF-16, not UTF-8. Save it as UTF-8.")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, RecursionError):
            reason = "it is nested too deeply."
        elif not isinstance(error, (tomllib.TOMLDecodeError, UnicodeError)):
            reason = "a number in it is too long."  # Python's limit of 4,300 digits
        raise UsageError(f"{path} is not a TOML file: {reason}") from error


def place_of(path: Path, command: str, key: str) -> str:
    """Place at which a TOML file sets `key` for a command: `'units' in c.toml, line 3`."""
    pattern = re.compile(rf"""\s*["']?{re.escape(key).replace("_", "[-_]")}["']?\s*=""")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        lines = []
    line_number, table = "", ""
    for number, line in enumerate(lines, 1):
        if heading := re.match(r"""\s*\[\s*["']?([\w-]+)["']?\s*\]""", line):
            table = heading[1]
        elif table in ("", command) and pattern.match(line):
            line_number = f", line {number}"  # the command's own table, which comes last, wins
    return f"{key!r} in {path}{line_number}"


def find_config(path: Path) -> Path:
    """The path itself, else the shipped config of this name, without `.toml` or `configs/`.

    Raises `UsageError`, with the nearest name, if neither exists.
    """
    if path.exists() and not path.is_dir():  # a pipe will do
        return path
    name = path.name.removesuffix(".toml")
    alone = str(path.parent) in (".", "configs")
    if alone and (found := shipped_config(name)):
        return found
    names = sorted({file.stem for folder in _shipped() for file in folder.glob("*.toml")})
    guess = did_you_mean(name, names) if alone else ""
    raise UsageError(
        f"There is no file {path}." + (guess or f" Shipped configs: {', '.join(names)}.")
    )


def corpus_settings(name: str, command: str, known: Collection[str]) -> dict[str, Any]:
    """Settings of a command in the shipped config of a corpus; empty without one."""
    path = shipped_config(name)
    found = read_config(path, command, known) if path else {}
    return {key: value for key, value in found.items() if key not in ("corpus", "input")}


def shipped_config(name: str) -> Path | None:
    """Path of a shipped config, or None."""
    paths = (folder / f"{name}.toml" for folder in _shipped())
    return next((path for path in paths if path.is_file()), None)


def _shipped() -> tuple[Path, Path]:
    package = Path(__file__).parent.parent
    return package / "configs", package.parent / "configs"  # in a wheel, in a checkout
