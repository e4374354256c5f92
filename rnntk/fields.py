"""A dataclass field that is also an option: its help, range and choices, and their check.

Each kind of settings is a frozen dataclass of such fields (`settings.py`). The command line makes its options
from them, a TOML file is checked against them, and a value out of range is refused here for all three, naming the flag.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnntk.errors import UsageError, nearest


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    open_high: bool = False,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
) -> Any:
    """A dataclass field that is also an option.

    Args:
        default: the value when nobody says otherwise.
        help: one line, shown by `--help`.
        low: the least value allowed (the bound itself is excluded when `open_low`).
        high: the greatest value allowed (the bound itself is excluded when `open_high`).
        choices: the words allowed.
        metavar: what the value is called in `--help`.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "open_low": open_low,
            "open_high": open_high,
            "choices": choices,
            "metavar": metavar,
        },
    )


def flag(name: str) -> str:
    """The option a field is set by: `batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


def typed_setting(name: str, value: Any) -> list[str]:
    """The words that give a setting this value on the command line; an option that may be repeated takes a sequence."""
    if isinstance(value, bool):
        return [flag(name if value else f"no_{name}")]
    values = value if isinstance(value, (tuple, list)) else [value]
    return [word for one in values for word in (flag(name), str(one))]


@dataclass(frozen=True)
class Settings:
    """Base of all settings: checks every field's range and choices when it is made.

    Raises:
        UsageError: a value is out of its range; the message names the flag and the range.
    """

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None or not f.metadata:
                continue
            choices = f.metadata["choices"]
            if choices and value not in choices:
                guess = nearest(str(value), choices)
                raise UsageError(
                    f"{flag(f.name)} is {value!r}, but must be one of {', '.join(choices)}."
                    + (f" Did you mean {guess!r}?" if guess else "")
                )
            if isinstance(value, (int, float)) and not _in_range(value, f.metadata):
                allowed = describe_range(f.metadata)
                if (
                    isinstance(value, float)
                    and not math.isfinite(value)
                    and "finite" not in allowed
                ):
                    allowed = f"finite, and {allowed}"
                raise UsageError(f"{flag(f.name)} is {value}, but must be {allowed}.")


def _in_range(value: float, metadata: Mapping[str, Any]) -> bool:
    low, high = metadata["low"], metadata["high"]
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if low is not None and (value <= low if metadata["open_low"] else value < low):
        return False
    return not (high is not None and (value >= high if metadata["open_high"] else value > high))


def describe_range(metadata: Mapping[str, Any]) -> str:
    """The range in words: `at least 1`, `above 0 and at most 1`."""
    parts = []
    if metadata["low"] is not None:
        parts.append(("above " if metadata["open_low"] else "at least ") + _number(metadata["low"]))
    if metadata["high"] is not None:
        parts.append(
            ("below " if metadata["open_high"] else "at most ") + _number(metadata["high"])
        )
    return " and ".join(parts) or "a finite number"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
