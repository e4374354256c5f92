"""Options made from the fields of a configuration, and the few that every command has."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from rnntk import config
from rnntk.cli.console import Console
from rnntk.cli.main import COMMANDS, load_command
from rnntk.config import Config
from rnntk.config.fields import checked, fields_of, hints, sentence

F = TypeVar("F", bound=Callable[..., Any])


# RNNTK_DATA is the data folder in every other tool's sense; so --data needs another name.
_ENVIRONMENT = {"data_dir": "RNNTK_DATA", "data": "RNNTK_MNIST_DATA"}


_CONFIG = "rnntk.config"
"""Where a context's `meta` keeps the path of the config file."""

RESULT_OPTIONS = ("as_json", "quiet", "verbose", "config")
"""Options that only say how to print, or where others come from."""


class Option(click.Option):
    """An option that `RNNTK_<NAME>` sets too, and that shows its default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("show_default", kwargs.get("default") not in (None, ()))
        super().__init__(*args, **kwargs)
        if self.envvar is None:
            assert self.name
            self.envvar = _ENVIRONMENT.get(self.name, f"RNNTK_{self.name.upper()}")

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Where a wrong value came from: the flag, else the variable or the file and line."""
        source = ctx.get_parameter_source(self.name) if ctx and self.name else None
        if ctx and source is ParameterSource.ENVIRONMENT:
            return f"{self.envvar} in the environment"
        if ctx and source is ParameterSource.DEFAULT_MAP and _CONFIG in ctx.meta:
            assert self.name
            line = config.line_of(ctx.meta[_CONFIG], self.name)
            where = f", line {line}" if line else ""
            return f"{self.name!r} in {ctx.meta[_CONFIG]}{where}"
        return super().get_error_hint(ctx)


option = functools.partial(click.option, cls=Option)
PATH = click.Path(path_type=Path)


class FieldType(click.ParamType):
    """The type of a configuration's field: converts and checks as the configuration does."""

    envvar_list_splitter = os.pathsep

    def __init__(self, kind: type[Config], name: str) -> None:
        self._kind, self._field = kind, name
        self._bare, _, self._many = hints(kind)[name]
        self.name = {int: "N", float: "X", Path: "PATH"}.get(self._bare, "TEXT")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """The words to choose from, where the field has some."""
        valid = fields_of(self._kind)[self._field].metadata["valid"]
        return f"[{'|'.join(valid)}]" if isinstance(valid, tuple) else None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value in the field's type; fails with the configuration's own words."""
        try:
            if isinstance(value, str) and self._bare in (int, float) and not self._parses:
                with contextlib.suppress(ValueError):  # refused below, with its type
                    value = self._bare(value)
            value = checked(self._kind, self._field, value)
        except ValueError as error:
            self.fail(sentence(error), param, ctx)
        # click collects the values of an option that may be repeated one by one.
        return value[0] if self._many else value

    @property
    def _parses(self) -> bool:
        return fields_of(self._kind)[self._field].metadata["parse"] is not None


def config_options(*kinds: type[Config], leave_out: tuple[str, ...] = ()) -> Callable[[F], F]:
    """A decorator that adds an option for every field of these configurations."""

    def decorate(function: F) -> F:
        for kind in reversed(kinds):
            for name in reversed(kind.names()):
                if name not in leave_out:
                    function = _option(kind, name)(function)
        return function

    return decorate


def _option(kind: type[Config], name: str) -> Callable[[F], F]:
    field = fields_of(kind)[name]
    bare, _, many = hints(kind)[name]
    described = {"default": field.default, "help": field.metadata["help"]}
    if bare is bool:
        return option(flag_pair(name), show_default=False, **described)
    return option(
        config.flag(name),
        type=FieldType(kind, name),
        multiple=many,
        metavar=field.metadata["metavar"],
        **described,
    )


def flag_pair(name: str) -> str:
    """`offline` -> `--offline/--no-offline`, so that a flag can undo a file's true."""
    dashed = name.replace("_", "-")
    return f"--{dashed}/--no-{dashed}"


def _load_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    assert ctx.command.name
    path = config.find_config(value)
    commands = {name: functools.partial(_settings_of, name) for name in COMMANDS}
    values = config.read_config(path, ctx.command.name, _names(ctx.command), commands)
    ctx.meta[_CONFIG] = path
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _settings_of(name: str) -> list[str]:
    return _names(load_command(name))


def _names(command: click.Command) -> list[str]:
    return [p.name for p in command.params if p.name and p.name != "config"]


def common_options(function: F) -> F:
    """`--config`, `--json`, `--quiet`, `--verbose`: what every command has."""
    for decorate in (
        option("--verbose", "-v", is_flag=True, help="Print more about what is done."),
        option("--quiet", "-q", is_flag=True, help="Print results and errors only."),
        option(
            "--json",
            "as_json",
            is_flag=True,
            envvar="RNNTK_JSON",
            help="One JSON object on stdout.",
        ),
        option(
            "--config",
            type=PATH,
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


def given_values(ctx: click.Context, *leave_out: str) -> dict[str, Any]:
    """All settings that the user set, by field name."""
    names = set(_names(ctx.command)) - {*RESULT_OPTIONS, *leave_out}
    return {name: ctx.params[name] for name in names & set(ctx.params) if given(ctx, name)}


def run_options(function: F) -> F:
    """`--run`, `--runs-dir`, `--resume [DIR]`: where a training run goes, or which one continues."""
    for decorate in (
        option(
            "--resume",
            is_flag=False,
            flag_value=LATEST_RUN,
            metavar="[DIR]",
            help="Continue a run exactly; without DIR the latest one.",
        ),
        runs_dir_option,
        option(
            "--run",
            type=PATH,
            metavar="DIR",
            help="The new run folder.  [default: runs/<corpus>-<n>]",
        ),
    ):
        function = decorate(function)
    return function


def runs_dir_option(function: F) -> F:
    """`--runs-dir`: the folder in which runs are made and found."""
    return option(
        "--runs-dir", type=PATH, default=Path("runs"), metavar="DIR", help="The folder of runs."
    )(function)


LATEST_RUN = "@latest"
