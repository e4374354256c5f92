"""Output of the commands: results on stdout, notes on stderr, one JSON object with --json."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from rnntk.errors import shown as shown  # where every command looks for it
from rnntk.files import json_text

SCHEMA_VERSION = 1

# Names and texts come from files of others; a terminal obeys the control characters in them, and reorders others.
_HIDDEN = (
    *range(9),
    *range(11, 32),
    *range(127, 160),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
VISIBLE = {code: f"\\u{code:04x}" for code in _HIDDEN}
"""For `str.translate`: each such character as JSON and Python write it."""


def print_error(error: object) -> None:
    """Print a message that something could not be done, on stderr."""
    click.echo(click.style("Error: ", fg="red") + str(error).translate(VISIBLE), err=True)


@dataclass(frozen=True)
class Console:
    """Output of a command: no notes when `quiet`, more when `verbose`, results as one object when `as_json`.

    Log records of the library are printed as notes.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        logger = logging.getLogger("rnntk")
        logger.handlers = [_Notes()]
        logger.propagate = False
        level = logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO
        logger.setLevel(level)

    def note(self, text: str) -> None:
        """A sentence for the user, on stderr."""
        if not self.quiet:
            click.echo(text.translate(VISIBLE), err=True)

    def detail(self, text: str) -> None:
        """A sentence for the curious, on stderr with --verbose."""
        if self.verbose:
            click.echo(text.translate(VISIBLE), err=True)

    def result(self, text: str) -> None:
        """A line of the result, on stdout; left out when the result is JSON."""
        if not self.as_json:
            click.echo(text.translate(VISIBLE))

    def facts(self, facts: Mapping[str, str]) -> None:
        """Lines of the result, each a name and a value."""
        for name, value in facts.items():
            self.result(f"{name:<13} {value}")

    def json(self, command: str, values: Mapping[str, Any]) -> None:
        """The result as one object on stdout, when it was asked for."""
        if self.as_json:
            head = {"schema_version": SCHEMA_VERSION, "command": command}
            click.echo(json_text({**head, **values}, indent=2).translate(VISIBLE))

    def open_page(self, url: str, wanted: bool | None) -> None:
        """Open a page in the browser; by default only on a desktop, not in a pipe, a container or over ssh."""
        if wanted is None:
            displays = map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))
            wanted = (sys.platform in ("win32", "darwin") or any(displays)) and (
                sys.stdout.isatty() and sys.stdin.isatty()
            )
        if wanted:
            import webbrowser

            webbrowser.open(url)


class _Notes(logging.Handler):
    """Prints log records as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        click.echo(self.format(record).translate(VISIBLE), err=True)


class Bar:
    """A progress bar that appears at the first call and only on a terminal; `unit` is counted."""

    def __init__(self, console: Console, title: str, unit: str = "B") -> None:
        self._console, self._title, self._unit = console, title, unit
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show `done` of `total`."""
        if self._console.quiet or not sys.stderr.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm  # here, because it takes as long to import as the rest of rnntk

            self._bar = tqdm(
                total=total, desc=self._title, unit=self._unit, unit_scale=True,
                leave=False, dynamic_ncols=True, delay=0.5,
            )  # fmt: skip
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
