"""Settings as files and records: TOML in, JSON in and out. What there is to set is in `settings.py`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rnntk.errors import UsageError, nearest
from rnntk.fields import Settings, flag, typed_setting
from rnntk.settings import (
    EXPLOSION_STEPS,
    DistributeConfig,
    MachineConfig,
    MnistConfig,
    ModelConfig,
    OptimizationConfig,
    SampleConfig,
    TextConfig,
)

__all__ = [
    "EXPLOSION_STEPS",
    "DistributeConfig",
    "MachineConfig",
    "MnistConfig",
    "ModelConfig",
    "OptimizationConfig",
    "SampleConfig",
    "Settings",
    "TextConfig",
    "find_config",
    "flag",
    "from_mapping",
    "read_config",
    "read_toml",
    "shipped_config",
    "to_json",
    "typed_setting",
]  # fmt: skip

T = TypeVar("T")

_EVERY_KEY = {
    f.name for kind in Settings.__subclasses__() for f in dataclasses.fields(kind)
} | {"prime", "prime_file", "run", "runs_dir", "max_time", "sample_every", "output", "checkpoint"} | {
    "format", "vocab", "forget_bias", "greedy"
}  # fmt: skip


def to_json(*settings: Settings) -> dict[str, Any]:
    """Settings as one flat, JSON-able dictionary."""
    merged: dict[str, Any] = {}
    for part in settings:
        for key, value in dataclasses.asdict(part).items():
            merged[key] = str(value) if isinstance(value, Path) else value
    return merged


def from_mapping(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make one kind of settings from the keys of `values` that belong to it; the rest is ignored."""
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    picked: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in names
    }
    if picked.get("data_dir") is not None:
        picked["data_dir"] = Path(picked["data_dir"])
    return kind(**picked)


def read_config(path: Path, command: str, known: list[str], commands: list[str]) -> dict[str, Any]:
    """The settings a TOML file gives to one command.

    Keys before the first table go to every command that knows them; the table named like the command
    goes to it alone. Dashes and underscores are the same.

    Args:
        path: the file.
        command: `train`, `sample`, ...
        known: the command's keys, with underscores.
        commands: all commands' names, which tables may be called.

    Raises:
        UsageError: no such file, no TOML, an unknown table or key (with the nearest name).
    """
    document = read_toml(path)
    values: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in commands:
                raise UsageError(f"{path}: [{key}] is no command." + _guess(key, commands))
            continue
        if _plain(key) in known:
            values[_plain(key)] = value
        elif _plain(key) not in _EVERY_KEY:
            raise UsageError(
                f"{path}: {key!r} is no setting of any command."
                + _guess(_plain(key), [*_EVERY_KEY])
            )
    for key, value in document.get(command, {}).items():
        if _plain(key) not in known:
            raise UsageError(
                f"{path}: {key!r} in [{command}] is no setting of rnntk {command}."
                + _guess(_plain(key), known)
            )
        values[_plain(key)] = value
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        UsageError: the file is missing, or not TOML (with the line).
    """
    # Here, because most commands read no file and should not wait for the parser.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error


def find_config(path: Path) -> Path:
    """The file that a user means: the path itself, else the shipped config of this name.

    Args:
        path: a file, or the name of a shipped config, with or without `configs/` and `.toml`.

    Raises:
        UsageError: neither is there (with the nearest name).
    """
    # A pipe is as good as a file.
    if path.exists() and not path.is_dir():
        return path
    name = path.name.removesuffix(".toml")
    alone = str(path.parent) in (".", "configs")
    if alone and (found := shipped_config(name)):
        return found
    names = sorted({file.stem for folder in _shipped() for file in folder.glob("*.toml")})
    guess = nearest(name, names) if alone else None
    raise UsageError(
        f"Cannot read {path}: there is no such file, and no config of this name comes with rnntk."
        + (f" Did you mean {guess!r}?" if guess else f" It has {', '.join(names)}.")
    )


def shipped_config(name: str) -> Path | None:
    """The TOML of this name that comes with rnntk (`configs/`), or None."""
    paths = (folder / f"{name}.toml" for folder in _shipped())
    return next((path for path in paths if path.is_file()), None)


def _shipped() -> tuple[Path, Path]:
    # An installed wheel carries configs/ inside the package; a checkout has it beside the package.
    package = Path(__file__).parent
    return package / "configs", package.parent / "configs"


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _guess(key: str, choices: list[str]) -> str:
    guess = nearest(key, choices)
    return f" Did you mean {guess!r}?" if guess else ""
