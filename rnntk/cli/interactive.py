"""`rnntk sample --interactive`: continue prompts as they are typed."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from rnntk.cli import shading, stream
from rnntk.cli.console import Console, print_error
from rnntk.config import SampleConfig
from rnntk.config.fields import fields_of, type_of
from rnntk.errors import RnntkError, UsageError, near

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece
    from rnntk.decoding.language_model import LanguageModel

LENGTH = 300  # characters per text without --length: about a screen
_SHORT = {"t": "temperature", "len": "length", "s": "seed"}

HELP = """\
Type the beginning of a text; the model continues it. An empty line continues where the text stopped.
  :t 0.8            temperature        :top-k 20, :top-p 0.9, :min-p 0.05   likely symbols only
  :len 200          characters         :greedy on, :beam 4                  the likeliest text
  :seed 3           then 4, 5, ...     :no-repeat 12, :stop TEXT            ends and loops
  :color on         shade by surprise  :num 3, :raw on, :on-unknown skip
  :top-k off        undo a setting     :settings   show all
  :help             this               :quit       leave (also Ctrl-D); Ctrl-C stops the text
Type two colons to begin a text with a colon. Only in :stop, \\n is a line end, \\t a tab, \\\\ a backslash."""


class Session:
    """Interactive session; `shaded` texts are coloured by surprisal."""

    def __init__(
        self, console: Console, model: LanguageModel, settings: SampleConfig, shaded: bool
    ) -> None:
        self._console, self._model = console, model
        self._settings, self._shaded = settings, shaded
        self._text = model.default_prompt
        self._generated = 0  # texts since a setting changed

    def run(self) -> None:
        """Read lines until the end of stdin or `:quit`."""
        terminal = sys.stdin.isatty()
        if terminal:
            self._console.note("Type the beginning of a text, or :help; Ctrl-D leaves.")
        while True:
            try:
                line = _line()
            except UnicodeDecodeError as error:  # later lines may be fine
                print_error(stream.not_utf8("The line", error))
                continue
            except KeyboardInterrupt:
                if not terminal:
                    raise
                click.echo("\nCtrl-D or :quit leaves.", err=True)
                continue
            if line is None:
                if terminal:
                    click.echo(err=True)
                return
            try:
                if line.startswith(":") and not line.startswith("::"):
                    if line[1:].split()[:1] in (["q"], ["quit"], ["exit"]):
                        return
                    self._command(line[1:])
                else:
                    self.generate(line.removeprefix(":") if line else self._text, echo=bool(line))
            except RnntkError as error:
                print_error(error.render(_typed))

    def generate(self, text: str, *, echo: bool = True) -> None:
        """Continue a text. Raises `UsageError` for unknown characters."""
        settings = self._settings
        prompt = self._model.prompt(text, settings.on_unknown)
        if prompt.skipped:
            self._console.note(f"Left out: {', '.join(map(repr, prompt.skipped))}")
        if settings.seed is None:
            seed = secrets.randbelow(2**32)
        else:
            seed = (settings.seed + self._generated) % 2**32
            self._generated += 1
        self._console.detail(f"seed {seed}")
        parts = [] if echo else [prompt.text]
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the text only
            pieces = self._model.pieces(prompt, settings, seed, echo=echo, surprisal=self._shaded)
            numbered = settings.num > 1 and not self._console.quiet
            stream.show(_kept(pieces, parts), numbered, self._shaded)
        self._text = "".join(parts)

    def _command(self, line: str) -> None:
        name, _, value = line.strip().partition(" ")
        name = _SHORT.get(name, name).replace("-", "_")
        if name == "greedy":  # as on the command line: temperature 0
            greedy = value and _parsed(bool, value, name)
            name, value = "temperature", value and ("0" if greedy else "1")
        known = fields_of(SampleConfig)
        if name in ("", "settings"):
            shown = [f"{_typed(key)} {_word(getattr(self._settings, key))}" for key in known]
            self._console.note("  ".join([*shown, f":color {_word(self._shaded)}"]))
        elif name in ("h", "help", "?"):
            click.echo(HELP, err=True)
        elif name == "color":
            self._shaded = _parsed(bool, value or "on", name)
            self._console.note(shading.legend() if self._shaded else "color off")
        elif name in known:
            if value:
                value = value.strip()
                if name == "stop":
                    value = stream.unescaped(":stop", value, self._console)
                field = known[name]
                undone = value == "off" and type_of(field)[0] is not bool
                new: Any = field.default if undone else _parsed(type_of(field)[0], value, name)
                self._settings = dataclasses.replace(self._settings, **{name: new})
                self._generated = 0
            self._console.note(f"{_typed(name)[1:]} {_word(getattr(self._settings, name))}")
        else:
            guess = near(name, [*known, "greedy", "color", "help", "quit", "settings"])
            hint = f" Did you mean {_typed(guess[0])}?" if guess else ""
            raise UsageError(f"There is no :{name}.{hint} :help lists the commands.")


def _kept(pieces: Iterable[Piece], parts: list[str]) -> Iterator[Piece]:
    """Yield the pieces, and append those of the first text to `parts`."""
    for piece in pieces:
        if piece.stream == 0:
            parts.append(piece.text)
        yield piece


def _line() -> str | None:
    """Read a line without its line end; None at the end of stdin."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        with contextlib.suppress(ImportError):  # on Windows
            import readline  # noqa: F401  (history and editing in input())
        try:
            return input("> ")
        except EOFError:
            return None
    # Python's decoder reads ahead, and would lose good lines with a bad one.
    line = sys.stdin.buffer.readline()
    return line.decode("utf-8").rstrip("\r\n") if line else None


def _parsed(bare: type, value: str, name: str) -> Any:
    if bare is bool:
        words = {"on": True, "off": False, "yes": True, "no": False}
        if value in words:
            return words[value]
        raise UsageError(f"`{name}` must be on or off, got {value!r}.")
    try:
        return bare(value)
    except ValueError:
        raise UsageError(f"`{name}` must be a number, got {value!r}.") from None


def _typed(name: str) -> str:
    return f":{name.replace('_', '-')}"


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return repr(value)[1:-1] if isinstance(value, str) else str(value)
