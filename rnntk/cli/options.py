"""Options made from settings, and the few every command has."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from rnntk import config
from rnntk.cli.console import Console
from rnntk.cli.main import COMMANDS
from rnntk.config import Settings
from rnntk.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


# RNNTK_DATA is the data folder in every other tool's sense; so --data needs another name.
_ENVIRONMENT = {"data_dir": "RNNTK_DATA", "data": "RNNTK_MNIST_DATA"}


_CONFIG = "rnntk.config"
"""Where a context's `meta` keeps the path of the config file."""


class Option(click.Option):
    """An option that `RNNTK_<NAME>` sets too, and that shows its default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("show_default", kwargs.get("default") not in (None, ()))
        super().__init__(*args, **kwargs)
        if self.envvar is None:
            assert self.name
            self.envvar = _ENVIRONMENT.get(self.name, f"RNNTK_{self.name.upper()}")

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Who said the wrong value: the flag, else the variable or the file that did."""
        source = ctx.get_parameter_source(self.name) if ctx and self.name else None
        if ctx and source is ParameterSource.ENVIRONMENT:
            return f"{self.envvar} in the environment"
        if ctx and source is ParameterSource.DEFAULT_MAP and _CONFIG in ctx.meta:
            return f"{self.name!r} in {ctx.meta[_CONFIG]}"
        return super().get_error_hint(ctx)


class Duration(click.ParamType):
    """`90`, `90s`, `2m`, `1h30m`: a time in seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds as a float; fails with the forms allowed."""
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"(?:\d+[hm])+\d+(?:\.\d+)?", text):
            units = "s" if "m" in text else "ms"
            wanted = " or ".join(text + unit for unit in units)
            self.fail(f"{value!r} ends in a number without its unit; write {wanted}.", param, ctx)
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
        seconds = 0.0
        if found:
            hours, minutes, rest = found.groups()
            seconds = 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(rest or 0)
        if seconds <= 0:
            self.fail(f"{value!r} is no time; write for example 90s, 2m or 1h30m.", param, ctx)
        return seconds


def settings_options(*kinds: type[Settings], leave_out: tuple[str, ...] = ()) -> Callable[[F], F]:
    """A decorator that adds an option for every field of these settings."""

    def decorate(function: F) -> F:
        for kind in reversed(kinds):
            hints = typing.get_type_hints(kind)
            for f in reversed(dataclasses.fields(kind)):
                if f.name not in leave_out:
                    function = _option(f, hints[f.name])(function)
        return function

    return decorate


def _option(f: dataclasses.Field[Any], hint: Any) -> Callable[[F], F]:
    multiple = typing.get_origin(hint) is tuple
    bare = hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        bare = next(part for part in typing.get_args(hint) if part is not type(None))
    meta = f.metadata
    arguments: dict[str, Any] = {
        "default": f.default,
        "help": meta["help"],
        "metavar": meta["metavar"],
    }
    if bare is bool:
        return click.option(flag_pair(f.name), cls=Option, show_default=False, **arguments)
    if meta["choices"]:
        arguments["type"] = click.Choice(meta["choices"], case_sensitive=False)
    elif bare in (int, float):
        ranged = click.IntRange if bare is int else click.FloatRange
        arguments["type"] = ranged(
            meta["low"], meta["high"], min_open=meta["open_low"], max_open=meta["open_high"]
        )
    elif bare is Path:
        arguments["type"] = click.Path(path_type=Path)
    return click.option(config.flag(f.name), cls=Option, multiple=multiple, **arguments)


def flag_pair(name: str) -> str:
    """`offline` -> `--offline/--no-offline`, so that a file's true can be undone by a flag."""
    dashed = name.replace("_", "-")
    return f"--{dashed}/--no-{dashed}"


def _load_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    known = [p.name for p in ctx.command.params if p.name and p.name != "config"]
    assert ctx.command.name
    path = config.find_config(value)
    values = config.read_config(path, ctx.command.name, known, list(COMMANDS))
    ctx.meta[_CONFIG] = path
    ctx.default_map = {**(ctx.default_map or {}), **values}


def common_options(function: F) -> F:
    """`--config`, `--json`, `--quiet`, `--verbose`: what every command has."""
    for decorate in (
        click.option(
            "--verbose", "-v", is_flag=True, cls=Option, help="Say more about what is done."
        ),
        click.option(
            "--quiet", "-q", is_flag=True, cls=Option, help="Print results and errors only."
        ),
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            cls=Option,
            envvar="RNNTK_JSON",
            help="One JSON object on stdout.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            cls=Option,
            is_eager=True,
            expose_value=False,
            callback=_load_config,
            metavar="FILE",
            help="Settings from TOML: a file, or the name of a shipped one. Flags and environment win over it.",
        ),
    ):
        function = decorate(function)
    return function


def console_options(function: Callable[..., None]) -> Callable[..., None]:
    """The common options; the command gets its `console` of them."""

    @functools.wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, verbose: bool, **values: Any) -> None:
        function(*args, console=Console(quiet, verbose, as_json), **values)

    return common_options(command)


def given(ctx: click.Context, name: str) -> bool:
    """Whether the user set this option: by flag, environment or config file."""
    return ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


def with_config_defaults(
    ctx: click.Context, values: dict[str, Any], config_name: str | None, command: str
) -> dict[str, Any]:
    """Fill what the user left open from the corpus' own config; what the user set stays.

    Raises:
        UsageError: the shipped config has an unknown key or a bad value.
    """
    path = config.shipped_config(config_name) if config_name else None
    if path is None:
        return values
    known = [p.name for p in ctx.command.params if p.name]
    filled = dict(values)
    for key, value in config.read_config(path, command, known, list(COMMANDS)).items():
        if key not in ("corpus", "input") and not given(ctx, key):
            param = next(p for p in ctx.command.params if p.name == key)
            try:
                filled[key] = param.type_cast_value(ctx, value)
            except click.BadParameter as error:
                raise UsageError(f"{path}: {key}: {error.message}") from error
    return filled


def run_options(function: F) -> F:
    """`--run`, `--runs-dir`, `--max-time`: where a training run goes, and how long it may take."""
    for decorate in (
        click.option(
            "--max-time",
            cls=Option,
            type=Duration(),
            metavar="TIME",
            help="Stop after this long: 90s, 2m, 1h30m.",
        ),
        runs_dir_option,
        click.option(
            "--run",
            cls=Option,
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The new run folder.  [default: runs/<corpus>-<n>]",
        ),
    ):
        function = decorate(function)
    return function


def runs_dir_option(function: F) -> F:
    """`--runs-dir`: the folder in which runs are made and found."""
    return click.option(
        "--runs-dir",
        cls=Option,
        type=click.Path(path_type=Path),
        default=Path("runs"),
        metavar="DIR",
        help="The folder of runs.",
    )(function)


LATEST_RUN = "@latest"


def resume_option(function: F) -> F:
    """`--resume [DIR]`: continue a run, the latest when no folder is named."""
    return click.option(
        "--resume",
        cls=Option,
        is_flag=False,
        flag_value=LATEST_RUN,
        metavar="[DIR]",
        help="Continue a run exactly; without DIR the latest one.",
    )(function)


def refuse_with_resume(ctx: click.Context, allowed: set[str]) -> None:
    """Raise `UsageError` when a setting that belongs to the run is given with `--resume`.

    Options that only say how to print are always allowed.
    """
    free = allowed | {"as_json", "quiet", "verbose", "config"}
    fixed = sorted(
        p.name for p in ctx.command.params if p.name and given(ctx, p.name) and p.name not in free
    )
    if fixed:
        raise UsageError(
            f"With --resume the settings come from the run, so {', '.join(map(config.flag, fixed))} cannot be "
            "given; --epochs, --max-steps and --max-time may. For other settings train a new run."
        )
