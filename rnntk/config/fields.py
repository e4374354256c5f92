"""Fields of a configuration (default, help, valid values) and the check of their values."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from rnntk.errors import KeptSettings, UsageError, did_you_mean

C = TypeVar("C", bound="Config")
T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Valid finite numbers from `low` to `high`, both included unless `open_low` or `open_high`."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and abs(value) != math.inf

    def __str__(self) -> str:
        bounds = [
            ("above" if self.open_low else "at least", self.low),
            ("below" if self.open_high else "at most", self.high),
        ]
        return " and ".join(
            f"{words} {bound:{',' if isinstance(bound, int) else 'g'}}"
            for words, bound in bounds
            if math.isfinite(bound)
        )


FRACTION = Range(0, 1, open_high=True)
POSITIVE = Range(0, open_low=True)


def setting(
    default: Any,
    help: str,
    valid: Range | tuple[str, ...] | None = None,
    *,
    on_resume: Literal["kept", "session"] | None = None,
    stored: bool = True,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """Define a field of a configuration.

    Args:
        default: value if nothing else is given.
        help: one line.
        valid: range of a number, or the words to choose from.
        on_resume: whether a resume may change it, for good ("kept") or for one "session".
        stored: whether `run.json` keeps it.
        parse: converts a string, or raises `ValueError`.
    """
    metadata = {name: value for name, value in locals().items() if name != "default"}
    return dataclasses.field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """Command-line option of a field: `batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


def typed_setting(name: str, value: Any) -> list[str]:
    """Command-line words that set a field; a sequence repeats the option."""
    if isinstance(value, bool):
        return [flag(name if value else f"no_{name}")]
    values = value if isinstance(value, (tuple, list)) else [value]
    return [word for item in values for word in (flag(name), str(item))]


@dataclass(frozen=True, repr=False)
class Config:
    """Base of all configurations. Raises `UsageError` for an unknown name or an invalid value."""

    def __new__(cls: type[C], *unnamed: Any, **values: Any) -> C:
        if unnamed:
            name = "input" if "input" in cls.names() else cls.names()[0]
            raise UsageError(
                f"{cls.__name__} takes only named settings, such as {cls.__name__}({name}=...)."
            )
        cls.check_names(values)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            with _about(f.name):
                value = checked(type(self), f.name, getattr(self, f.name))
            object.__setattr__(self, f.name, value)
        self.check_together()

    def __repr__(self) -> str:
        values = [(f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self)]
        changed = [f"{name}={value!r}" for name, value, default in values if value != default]
        return f"{type(self).__name__}({', '.join(changed)})"

    def check_together(self) -> None:
        """Check fields that depend on each other."""

    @classmethod
    def names(cls) -> list[str]:
        return [f.name for f in dataclasses.fields(cls)]

    @classmethod
    def resolve(cls: type[C], given: Mapping[str, Any], *defaults: Mapping[str, Any]) -> C:
        """Merge values by field name: `given` overrides `defaults` (strongest first), which override the fields' own.

        Raises `UsageError` for unknown names in `given`; unknown names in `defaults` are ignored.
        """
        cls.check_names(given)
        merged: dict[str, Any] = {}
        for layer in (given, *defaults):
            merged |= {k: v for k, v in layer.items() if k not in merged and k in cls.names()}
        return cls(**merged)

    @classmethod
    def check_names(cls, given: Iterable[str], also: Iterable[str] = ()) -> None:
        """Raise `UsageError` for a name that is not a field, with the nearest field or word in `also`."""
        for name in given:
            if name not in cls.names():
                near = did_you_mean(name, [*cls.names(), *also])
                raise UsageError(f"There is no setting {name!r}.{near}")

    def resumed(self: C, changes: Mapping[str, Any]) -> C:
        """The configuration of a resumed run; changing `epochs` alone removes `max_steps`.

        Raises `KeptSettings` for another value of a field that a resume may not change.
        """
        allowed = {f.name for f in dataclasses.fields(self) if f.metadata["on_resume"]}
        different = {name for name, value in changes.items() if not self._has(name, value)}
        if fixed := sorted(different - allowed):
            raise KeptSettings(fixed)
        changed = dict(changes)
        if changed.get("epochs", self.epochs) != self.epochs:  # type: ignore[attr-defined]
            changed.setdefault("max_steps", None)
        return dataclasses.replace(self, **changed)

    def _has(self, name: str, value: Any) -> bool:
        try:
            return bool(checked(type(self), name, value) == getattr(self, name))
        except (KeyError, ValueError):  # an unknown name, an invalid value
            return False

    def to_json(self, *, resumed: bool = False) -> dict[str, Any]:
        """The fields that `run.json` stores, paths as strings; if `resumed`, without those of one session."""
        values = {
            name: getattr(self, name)
            for name, field in fields_of(type(self)).items()
            if field.metadata["stored"]
            and not (resumed and field.metadata["on_resume"] == "session")
        }
        return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}

    @classmethod
    def from_json(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration written by `to_json`. Other fields are ignored: a file cannot consent to a licence."""
        stored = {name for name, field in fields_of(cls).items() if field.metadata["stored"]}
        return cls(**{name: value for name, value in values.items() if name in stored})

    def part(self, kind: type[Config]) -> dict[str, Any]:
        """Values of the fields of `kind`, a base of this class."""
        return {name: getattr(self, name) for name in kind.names()}


def fields_of(kind: type[Config]) -> dict[str, dataclasses.Field[Any]]:
    return {f.name: f for f in dataclasses.fields(kind)}


def type_of(field: dataclasses.Field[Any]) -> tuple[type, bool, bool]:
    """A field's bare type, whether it may be None, and whether it is a tuple of that type."""
    hint = str(field.type)  # `str`, `int | None` or `tuple[str, ...]`
    bare = next(kind for kind in _TYPE_NAMES if kind.__name__ in re.findall(r"\w+", hint))
    return bare, hint.endswith("None"), hint.startswith("tuple")


_TYPE_NAMES = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path",
}  # fmt: skip


def checked(kind: type[Config], name: str, value: Any) -> Any:
    """Check a value and convert it to the field's type. The message of a `ValueError` continues the field's name."""
    field = fields_of(kind)[name]
    bare, optional, many = type_of(field)
    if value is None and optional:
        return None
    if many:
        values = [value] if isinstance(value, (str, Path)) else value
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"must be {_TYPE_NAMES[bare]} or a list of such, got {_shown(value)}")
        return tuple(typed(bare, str(v) if isinstance(v, Path) else v) for v in values)
    if isinstance(value, str) and field.metadata["parse"]:
        value = field.metadata["parse"](value)
    value, valid = typed(bare, value), field.metadata["valid"]
    if isinstance(valid, tuple):
        return one_of(valid, value)
    if valid and value not in valid:
        finite = " and finite" if isinstance(value, float) and not math.isfinite(value) else ""
        raise ValueError(f"must be {valid}{finite}, got {_shown(value)}")
    return value


def one_of(valid: tuple[str, ...], value: str) -> str:
    """The word of `valid` that equals `value`, ignoring case. Raises `ValueError` with the nearest one."""
    if value.lower() not in valid:
        near = did_you_mean(value, valid)
        raise ValueError(f"must be one of {', '.join(valid)}, got {value!r}." + near)
    return value.lower()


def word(name: str, valid: tuple[str, ...], value: Any) -> str:
    """The word of `valid` that the argument `name` is, ignoring case. Raises `UsageError`."""
    with _about(name):
        return one_of(valid, typed(str, value))


def argument(name: str, kind: type[T], value: Any) -> T:
    """The argument `name` of a function, of this type. Raises `UsageError` as `converted` does."""
    with _about(name):
        return converted(kind, value)


def converted(kind: type[T], value: Any) -> T:
    """Convert like `typed`. Raises `ValueError` also for a path without a name or with a null character."""
    if kind is Path and isinstance(value, (str, Path)) and (not str(value) or "\0" in str(value)):
        raise ValueError(f"must be a path, got {_shown(value)}")
    result: T = typed(kind, value)
    return result


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Context in which a `ValueError`, whose message continues the name, becomes a `UsageError`."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"`{name}` {sentence(error)}") from None


def sentence(error: object) -> str:
    """Text of an error, ended by a full stop."""
    text = str(error)
    return text if text.endswith((".", "?")) else text + "."


def typed(bare: type, value: Any) -> Any:
    """Convert a value to a type without loss. Raises `ValueError` for another type."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a NumPy scalar
    if bare is Path and isinstance(value, str):
        return Path(value)
    if bare is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError("must be finite, got a number beyond any float") from None
    if not isinstance(value, bare) or (isinstance(value, bool) and bare is not bool):
        raise ValueError(f"must be {_TYPE_NAMES[bare]}, got {_shown(value)}")
    return value


def counted(name: str, value: Any) -> int:
    """A whole number of at least 1, also from NumPy. Raises `UsageError`."""
    with _about(name):
        count = typed(int, value)
        if count < 1:
            raise ValueError(f"must be at least 1, got {count}")
    return int(count)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints no more than 4,300 digits
        text = ""
    return text if 0 < len(text) < 80 else f"a very long {type(value).__name__}"
