"""`rnntk board`: TensorBoard on the runs."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

import click

from rnntk.cli.console import Console, on_a_desktop
from rnntk.cli.options import console_options, option, runs_dir_option


@click.command(
    "board",
    epilog="""\b
Examples:
  rnntk board
  rnntk board --runs-dir /data/runs --port 8000 --no-open""",
)
@option(
    "--host",
    default="127.0.0.1",
    help="The address to listen at; 0.0.0.0 shows the runs to the whole network.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port; 0 is any free one.  [default: 6006, or the next free one]",
)
@option(
    "--open/--no-open",
    "open_browser",
    default=None,
    help="Open it in the browser.  [default: on a desktop, from a terminal]",
)
@runs_dir_option
@console_options
def command(
    host: str,
    port: int | None,
    open_browser: bool | None,
    runs_dir: Path,
    console: Console,
) -> None:
    """Show the runs in TensorBoard: loss, gradient norm, learning rate, samples, graph, hyperparameters.

    It follows runs that are in training, and ends with Ctrl-C (exit code 0).
    """
    from rnntk.monitoring import board

    def ready(url: str) -> None:
        console.result(url)
        console.json("board", {"url": url, "runs_dir": str(runs_dir)})
        sys.stdout.flush()
        console.note(f"TensorBoard shows {runs_dir} there. Press Ctrl-C to end it.")
        if on_a_desktop() if open_browser is None else open_browser:
            webbrowser.open(url)

    board.serve(runs_dir, host=host, port=port, ready=ready)
