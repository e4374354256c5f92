"""Help in titled groups: `--help` without the rare options of a long command, `--help-all` with them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from rnntk.config.fields import flag
from rnntk.config.files import read_toml
from rnntk.errors import ALIASES, did_you_mean

_ALL = "rnntk.help_all"  # key in a context's `meta`
_COLUMN = 22  # the widest option with help beside it
_NARROW = 64  # below this width, help is under its option


@functools.cache
def layout() -> dict[str, Any]:
    """The groups and rare options of `help.toml`."""
    return read_toml(Path(__file__).with_name("help.toml"))


def grouped(command: click.Command, options: Sequence[click.Option]) -> dict[str, list[Any]]:
    """Options by the title of their group, in display order; those without a group come last, as `Other`."""
    first = layout()["most_used"].get(command.name, "").split()
    groups = layout()["groups"]
    places = {name: title for title, names in groups.items() for name in names.split()}
    members: dict[str, list[Any]] = {title: [] for title in ("Most used", *groups, "Other")}
    for option in options:
        key = f"{command.name}.{option.name}"
        title = places.get(key if key in places else option.name or "", "Other")
        members["Most used" if option.name in first else title].append(option)
    order = [*first, *(name.rpartition(".")[2] for name in places), *(o.name for o in options)]
    for group in members.values():
        group.sort(key=lambda option: order.index(option.name))
    return {title: group for title, group in members.items() if group}


def _row(option: click.Option) -> tuple[str, str]:
    """The two columns of an option: its names and value, its help and default."""
    names = [o for o in option.opts if len(o) == 2] + [o for o in option.opts if len(o) > 2][:1]
    on = option.default is not False or "[default: on" in (option.help or "")
    both = option.secondary_opts and on
    value = f" / {option.secondary_opts[0]}" if both else ""
    value += "" if option.is_flag else f" {option.metavar}"
    help = option.help or ""
    if option.show_default:
        help += f"  [default: {shown_default(option)}]"
    before, bracket, rest = help.partition("[default:")
    if len(bracket + rest) <= 42:  # stays on one line
        rest = rest.replace(" ", "\xa0")
    return ", ".join(names) + value, (before + bracket + rest).replace("-", "\u2011")


def shown_default(option: click.Option) -> str:
    """The default in the help: `show_default` if it is text, else `default`."""
    value = option.show_default if isinstance(option.show_default, str) else option.default
    return f"{value:g}" if isinstance(value, float) else str(value)


class Command(click.Command):
    """A command with help in groups; the error for an unknown option names the nearest."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), _HELP_ALL]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [arg.partition("=")[0] for arg in args]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:  # its name of "-lr" is "-l"
            name = next((w for w in words if w.startswith(error.option_name)), error.option_name)
            raise click.UsageError(
                f"There is no option {name}.{self._advice(name, ctx)}", ctx
            ) from None
        except click.UsageError as error:
            repeated = self._repeated()
            if not repeated or "unexpected extra argument" not in error.message:
                raise
            advice = f"Repeat {repeated} before each file."
            raise click.UsageError(f"{error.message.rstrip('.')}. {advice}", ctx) from None

    def _advice(self, name: str, ctx: click.Context) -> str:
        """Advice about an unknown option."""
        known = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and not p.hidden]
        flags = [next(opt for opt in p.opts if len(opt) > 2) for p in known]
        if hint := did_you_mean(name, flags):
            return hint
        return f" For the file, write ./{name}." if Path(name).exists() else ""

    def _repeated(self) -> str:
        """The first repeatable option with a path, if the command has no arguments; else empty."""
        if any(isinstance(p, click.Argument) for p in self.params):
            return ""
        options = (p for p in self.params if isinstance(p, click.Option) and p.multiple)
        return next((p.opts[0] for p in options if isinstance(p.type, click.Path)), "")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completions without the hidden aliases."""
        aliases = {flag(word) for words in ALIASES.values() for word in words.split()}
        return [c for c in super().shell_complete(ctx, incomplete) if c.value not in aliases]

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace("\xa0", " ").replace("\u2011", "-")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [p for p in self.params if isinstance(p, click.Option) and not p.hidden]
        rare = set(layout()["rare"].split()) - set(layout()["most_used"].get(self.name, "").split())
        whole = ctx.meta.get(_ALL) or len(options) <= layout()["few"]
        shown = [p for p in options if whole or p.name not in rare]
        sections = {title: list(map(_row, g)) for title, g in grouped(self, shown).items()}
        more = "" if shown == options else f"; --help-all: all {len(options)} options"
        sections["Output"].append(("-h, --help", f"Show this help{more}."))
        write_sections(formatter, sections)


def write_sections(
    formatter: click.HelpFormatter, sections: dict[str, list[tuple[str, str]]]
) -> None:
    """Write titled lists with aligned second columns; on a narrow screen these are below the first."""
    widths = [len(name) for rows in sections.values() for name, _ in rows]
    column = max(width for width in widths if width <= _COLUMN)
    narrow = formatter.width < _NARROW and column > 16
    formatter.write_paragraph()
    for title, rows in sections.items():
        formatter.write_heading(title)
        with formatter.indentation():
            lined_up = rows if narrow else [(f"{name:<{column}}", text) for name, text in rows]
            formatter.write_dl(lined_up, col_max=4 if narrow else column)


class Group(Command, click.Group):
    """A group of commands; `help [COMMAND]` shows help, the error for an unknown command names the nearest."""

    advised: tuple[str, ...] = ()  # further names for that error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] == "help":
            args = [*(word for word in args if word != "help"), "--help"]
        if args == ["--help"] and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        if not args[0].startswith("-") and args[0] not in known:
            hint = did_you_mean(args[0], [*known, *self.advised])
            if not hint:
                hint = f" The commands are {', '.join(known)}"
                if self.invoke_without_command:
                    hint += f"; {ctx.command_path} alone is a command too"
                hint += "."
            raise click.UsageError(f"There is no command {ctx.command_path} {args[0]}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


def _show_all(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


_HELP_ALL = click.Option(
    ["--help-all"], is_flag=True, is_eager=True, expose_value=False, hidden=True, callback=_show_all
)
