"""Output of the commands: results on stdout, as one object with --json; notes on stderr."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from rnntk.config.fields import flag
from rnntk.errors import rendered
from rnntk.errors import shown as shown  # for the commands
from rnntk.files import json_text

SCHEMA_VERSION = 1

# Control characters except tab and newline, bidirectional overrides, surrogates of no byte.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udc7f\udd00-\udfff]"
)


def harmless(text: str) -> str:
    """Escape control characters, so that a file's text cannot control the terminal."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def print_error(error: object) -> None:
    """Print an error on stderr."""
    click.echo(click.style("Error: ", fg="red") + harmless(str(error)), err=True)


@dataclass(frozen=True)
class Console:
    """Output of a command; prints log records of the library as notes."""

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
        """Print a sentence on stderr, unless --quiet."""
        if not self.quiet:
            click.echo(harmless(text), err=True)

    def detail(self, text: str) -> None:
        """Print a sentence on stderr with --verbose."""
        if self.verbose:
            click.echo(harmless(text), err=True)

    def result(self, text: str) -> None:
        """Print a line of the result on stdout, unless --json."""
        if not self.as_json:
            click.echo(harmless(text))

    def facts(self, **facts: object) -> None:
        """Print a line per fact: its name, with blanks for `_`, and its value."""
        for name, value in facts.items():
            self.result(f"{name.replace('_', ' ').strip():<13} {value}")

    def json(self, command: str, /, **values: Any) -> None:
        """Print the result on stdout as one JSON object, with --json."""
        if self.as_json:
            head = {"schema_version": SCHEMA_VERSION, "command": command}
            text = json_text({**head, **values}, indent=2, default=str)
            click.echo(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    def open_page(self, url: str, wanted: bool | None) -> None:
        """Open a page in the browser; by default only from a terminal on a desktop."""
        if wanted is None:
            displays = map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))
            desktop = sys.platform in ("win32", "darwin") or any(displays)
            wanted = desktop and sys.stdout.isatty() and sys.stdin.isatty()
        if wanted:
            import webbrowser

            webbrowser.open(url)


class _Notes(logging.Handler):
    """Prints log records as notes on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(harmless(rendered(self.format(record), flag)), err=True)


@contextmanager
def progress_bar(
    console: Console, title: str, unit: str = "B"
) -> Iterator[Callable[[int, int], None]]:
    """Yield `show(done, total)`, which draws a progress bar in a terminal."""
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if console.quiet or not sys.stderr.isatty():
            return
        if bar is None:
            from tqdm import tqdm  # slow to import

            bar = tqdm(
                desc=title, unit=unit, unit_scale=True, leave=False, dynamic_ncols=True, delay=0.5
            )
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
