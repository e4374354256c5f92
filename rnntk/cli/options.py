"""Options from the fields of a configuration, and options of every command."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace as Args
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from rnntk import config
from rnntk.cli.console import Console
from rnntk.cli.help import Command
from rnntk.cli.main import COMMANDS, load_command
from rnntk.config import Config
from rnntk.config.fields import checked, fields_of, one_of, sentence, type_of, typed
from rnntk.errors import ALIASES, KeptSettings, UsageError, rendered

F = TypeVar("F", bound=Callable[..., Any])

LATEST_RUN = "@latest"

# RNNTK_DATA is the data folder, so --data needs another name.
_ENVIRONMENT = {"data_dir": "RNNTK_DATA", "data": "RNNTK_MNIST_DATA"}

_METAVARS = {  # names of values in the help, by option, else by type
    "NAME": "corpus preprocessor encoding y", "PATTERN": "glob", "CHAR": "unknown_symbol", "TIME": "max_time",
    "HOST:PORT,...": "workers", "ADDRESS": "host", "K": "top_k", "P": "top_p min_p", "RUN": "init_from",
    "[DIR]": "resume", "DIR": "data_dir run runs_dir", "FILE": "config plot vocab prime_file file",
    "PATH": "input path", "best|last|STEP": "checkpoint", "N": "integer integer_range", "X": "float float_range",
}  # fmt: skip
_METAVAR = {name: metavar for metavar, names in _METAVARS.items() for name in names.split()}

_NAMES = {"NAME", "RUN", "[DIR]", "DIR", "FILE"}  # an empty one is an unset variable of a script

_LAYERS = (ParameterSource.DEFAULT_MAP, ParameterSource.ENVIRONMENT, ParameterSource.COMMANDLINE)
"""Sources of values, weakest first."""

_CONFIG = "rnntk.config"  # key of the config file's path in a context's `meta`


class Option(click.Option):
    """An option that shows its default, and that `RNNTK_<NAME>` sets too.

    Its value is one of `choices`, if given. The names in `ALIASES` are options too, which the help does not show.
    """

    def __init__(self, *args: Any, choices: Sequence[str] = (), **kwargs: Any) -> None:
        self.unset = kwargs.get("default")  # the value if nothing sets it; click 8.3 has a sentinel
        if choices:
            kwargs["type"] = Choice(choices)
        hidden = "[default" in kwargs["help"] or kwargs.get("default") in (None, ())
        kwargs.setdefault("show_default", not hidden)
        super().__init__(*args, **kwargs)
        assert self.name
        if self.metavar is None and not self.is_flag:
            named = getattr(self.type, "choices", None)
            by_type = _METAVAR.get(self.type.name.replace(" ", "_"), "TEXT")
            self.metavar = "|".join(named or [_METAVAR.get(self.name, by_type)])
        aliases = [config.flag(word) for word in ALIASES.get(self.name, "").split()]
        aliases += ["-o"] if self.name == "output" else []
        self.opts += [alias for alias in aliases if alias not in self.opts]
        if self.envvar is None:
            self.envvar = _ENVIRONMENT.get(self.name, f"RNNTK_{self.name.upper()}")

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert a value; one from a config file must have its type already, and names are not empty."""
        if value == "" and self.metavar in _NAMES:
            raise click.BadParameter("must not be empty.", ctx, self)
        if value is not None and _in_file(ctx, self):
            values = value if self.multiple and isinstance(value, list) else [value]
            if not isinstance(self.type, (FieldType, click.types.FuncParamType)):
                kinds: dict[str, type] = {"boolean": bool, "integer": int, "float": float}
                try:
                    for item in values:
                        typed(kinds.get(self.type.name.removesuffix(" range"), str), item)
                except ValueError as error:
                    raise click.BadParameter(sentence(error), ctx, self) from None
            value = values if self.multiple else value
        return super().type_cast_value(ctx, value)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Source of an invalid value: flag, environment variable, or file and line."""
        if ctx and ctx.get_parameter_source(self.name or "") is ParameterSource.ENVIRONMENT:
            return f"{self.envvar} in the environment"
        if ctx and self.name and _in_file(ctx, self):
            return config.place_of(ctx.meta[_CONFIG], _table(ctx), self.name)
        return f"'{self.opts[0]}'"


def _in_file(ctx: click.Context | None, param: click.Parameter | None) -> bool:
    """Whether the value comes from the config file."""
    if ctx is None or param is None or _CONFIG not in ctx.meta:
        return False
    return ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT_MAP


def option(names: str, help: str, **attributes: Any) -> Callable[[F], F]:
    """Decorator: add an option; its names are separated by blanks."""
    return click.option(*names.split(), cls=Option, help=help, **attributes)


class _Name(click.Path):
    """A path that is not empty: `Path("")` is the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("must not be empty.", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Name(path_type=Path)
FILE = _Name(path_type=Path, dir_okay=False)


class Choice(click.Choice):
    """Words to choose from, in any case; the error for another word names the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return one_of(tuple(self.choices), str(value))
        except ValueError as error:
            self.fail(sentence(error), param, ctx)


class FieldType(click.ParamType):
    """Type of an option that converts and checks a value as its configuration field does."""

    envvar_list_splitter = os.pathsep

    def __init__(self, kind: type[Config], name: str) -> None:
        self._kind, self._field = kind, name
        field = fields_of(kind)[name]
        self._bare, _, self._many = type_of(field)
        self._is_number = self._bare in (int, float) and not field.metadata["parse"]
        self.name = {int: "integer", float: "float"}.get(self._bare, "text")
        valid = field.metadata["valid"]
        self.choices = valid if isinstance(valid, tuple) else ()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if self._is_number and isinstance(value, str) and not _in_file(ctx, param):
            with contextlib.suppress(ValueError):  # `checked` refuses it
                value = self._bare(value)
        try:
            value = checked(self._kind, self._field, value)
        except ValueError as error:
            self.fail(sentence(error), param, ctx)
        return value[0] if self._many else value  # click collects the values of a repeated option

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if self._field in ("input", "data_dir"):
            return complete_files(ctx, param, incomplete)
        words = self.choices
        if self._field == "corpus":
            from rnntk.corpora import registry

            words = tuple(card.name for card in registry.all_cards())
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def complete_files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files and folders, for the shell's completion."""
    return [CompletionItem(incomplete, type="file")]


def complete_runs(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Folders, and names of runs."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        runs = ctx.params.get("runs_dir") or Path("runs")
        names = sorted(path.name for path in runs.iterdir() if path.name.startswith(incomplete))
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, names)]


def config_options(kind: type[Config], leave_out: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator: add an option for every field of a configuration."""
    options = [_option(kind, name) for name in kind.names() if name not in leave_out]
    return lambda function: added(function, *options)


def _option(kind: type[Config], name: str) -> Callable[[F], F]:
    field = fields_of(kind)[name]
    bare, _, many = type_of(field)
    flag = config.flag(name)
    help = rendered(field.metadata["help"], config.flag)
    if bare is bool:
        return switch(flag, bool(field.default), help)
    return option(flag, help, type=FieldType(kind, name), multiple=many, default=field.default)


def switch(flag: str, default: bool, help: str) -> Callable[[F], F]:
    """A pair `--name/--no-name`, so that a flag can undo a config file."""
    no_flag = config.flag(f"no_{flag[2:]}")
    return option(f"{flag}/{no_flag}", help, default=default, show_default=False)


def _load_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    path = config.find_config(value)
    commands = {name: lambda name=name: _all_names(load_command(name)) for name in COMMANDS}
    values = config.read_config(path, _table(ctx), _names(ctx.command), commands)
    repeatable = {p.name for p in ctx.command.params if isinstance(p, click.Option) and p.multiple}
    for name in repeatable & values.keys():
        if not isinstance(values[name], (str, list, dict)):
            values[name] = [values[name]]  # `FieldType` refuses it; click 8.1 would fail
    ctx.meta[_CONFIG] = path
    ctx.default_map = {**(ctx.default_map or {}), **values}


def _table(ctx: click.Context) -> str:
    """The table of a config file that holds for a command: `runs` for `rnntk runs delete`."""
    while ctx.parent and ctx.parent.parent:
        ctx = ctx.parent
    return ctx.command.name or ""


def _names(command: click.Command) -> list[str]:
    return [p.name for p in command.params if p.name and p.name != "config"]


def _all_names(command: click.Command) -> list[str]:
    """The settings of a command and of its subcommands."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [name for one in (command, *inner) for name in _names(one)]


def added(function: F, *options: Callable[[F], F]) -> F:
    """Add options to a function, in this order."""
    return functools.reduce(lambda decorated, add: add(decorated), reversed(options), function)


_EVERYWHERE = [
    Option(
        ["--config"], type=PATH, is_eager=True, expose_value=False, callback=_load_config,
        help="TOML file of settings, or one of rnntk's by name.",
    ),
    Option(["--json"], is_flag=True, help="Print the result as JSON."),
    Option(["--quiet", "-q"], is_flag=True, help="Print only results, warnings and errors."),
    Option(["--verbose", "-v"], is_flag=True, help="Print more details."),
]  # fmt: skip


def command_named(
    name: str, make: Callable[..., Any] = click.command, **attributes: Any
) -> Callable[[Callable[..., None]], Any]:
    """Decorator: make a command of a function `(args, console)`. Its docstring is the help, `Examples:` come last.

    `--config`, `--json`, `--quiet` and `--verbose` are added; the last three may be its group's (`runs --json show`).
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**values: Any) -> None:
            parent = click.get_current_context().parent
            outer = parent.params if parent else {}
            names = ("quiet", "verbose", "json")
            console = Console(*(values.pop(name) or outer.get(name, False) for name in names))
            function(Args(**values), console)

        text, _, examples = (inspect.getdoc(function) or "").partition("Examples:\n")
        epilog = f"\b\nExamples:\n{examples}"
        attributes.setdefault("cls", Command)
        command: click.Command = make(name, help=text, epilog=epilog, **attributes)(run)
        command.params += _EVERYWHERE
        return command

    return decorate


def source(name: str) -> ParameterSource | None:
    """Source of a parameter's value in the running command; None without such a parameter."""
    return click.get_current_context().get_parameter_source(name)


def given(name: str) -> bool:
    """Whether a flag, the environment or a config file set this option."""
    return source(name) not in (None, ParameterSource.DEFAULT)


def drop_weaker(args: Args, *pairs: tuple[str, str]) -> set[str]:
    """Unset the weaker of two options that exclude each other; return the names of those.

    A flag is stronger than the environment, which is stronger than a config file.
    """
    dropped = set()
    options = {p.name: p for p in click.get_current_context().command.params}
    for pair in pairs:
        ranks = [_LAYERS.index(source(name)) if given(name) else -1 for name in pair]
        if -1 not in ranks and ranks[0] != ranks[1] and all(getattr(args, n) for n in pair):
            weaker = options[pair[ranks[0] > ranks[1]]]
            assert isinstance(weaker, Option)
            setattr(args, weaker.name, weaker.unset)
            dropped.add(weaker.name)
    return dropped


def refuse_both(args: Args, *pairs: tuple[str, str]) -> None:
    """Raise `UsageError` if both options of a pair are given; the weaker one is unset instead, as in `drop_weaker`."""
    dropped = drop_weaker(args, *pairs)
    for pair in pairs:
        if all(
            given(n) and n not in dropped and getattr(args, n) not in (None, False, ())
            for n in pair
        ):
            raise UsageError(f"Give {' or '.join(map(config.flag, pair))}, not both.")


def given_values(args: Args, *leave_out: str) -> dict[str, Any]:
    """Settings that the user gave, by field name; arguments TEXT join the paths of --input.

    A corpus and an input replace each other, as `overridden` says.
    """
    values: dict[str, Any] = {}
    for layer in _LAYERS:
        stronger = {
            k: v for k, v in vars(args).items() if k not in leave_out and source(k) is layer
        }
        if texts := stronger.pop("texts", ()):
            stronger["input"] = (*stronger.get("input", ()), *texts)
        values = config.overridden(values, stronger)
    return values


@contextlib.contextmanager
def naming_places() -> Iterator[None]:
    """Context in which a refusal of settings to resume with names the environment or file that set them."""
    try:
        yield
    except KeptSettings as error:
        ctx = click.get_current_context()
        places = {
            p.name: p.get_error_hint(ctx)
            for p in ctx.command.params
            if p.name and source(p.name) is not ParameterSource.COMMANDLINE
        }
        raise KeptSettings(error.names, places) from None


text_paths = click.argument("texts", nargs=-1, metavar="[TEXT]...", shell_complete=complete_files)
runs_dir_option = option(
    "--runs-dir", "Folder that holds the runs.", type=PATH, default=Path("runs")
)
run_option = option("--run", "Folder of the new run.  [default: runs/<corpus>-<n>]", type=PATH)
resume_option = option(
    "--resume",
    "Continue the run DIR; without DIR, the latest.",
    is_flag=False,
    flag_value=LATEST_RUN,
    shell_complete=complete_runs,
)


def run_options(function: F) -> F:
    """Decorator: add `--run`, `--runs-dir` and `--resume [DIR]`."""
    return added(function, run_option, runs_dir_option, resume_option)


def server_options(port: int) -> Callable[[F], F]:
    """Decorator: add `--host`, `--port` (with this default) and `--open`."""
    host_help = "Address to listen on; with 0.0.0.0, other machines can open the page."
    port_help = f"Port to listen on; 0: any free one.  [default: {port}, or a free one]"
    open_help = "Open the page in a browser.  [default: in a terminal on a desktop]"
    return lambda function: added(
        function,
        option("--host", host_help, default="127.0.0.1"),
        option("--port", port_help, type=click.IntRange(0, 65535)),
        option("--open/--no-open", open_help, default=None),
    )
