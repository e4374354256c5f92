"""`rnntk board`: TensorBoard on the runs."""

from __future__ import annotations

import sys

from rnntk.cli.console import Console
from rnntk.cli.options import Args, command_named, runs_dir_option, server_options


@command_named("board")
@server_options(6006)
@runs_dir_option
def command(args: Args, console: Console) -> None:
    """Show loss, gradient norm, samples, graph and settings of the runs in TensorBoard, a page in your browser.

    The page follows runs that are still training. Ctrl-C ends the command.

    Examples:
      rnntk board
      rnntk board --runs-dir /data/runs --port 8000 --no-open
    """
    from rnntk.monitoring import board

    def ready(url: str) -> None:
        console.result(url)
        console.json("board", url=url, runs_dir=args.runs_dir)
        sys.stdout.flush()
        console.note(f"TensorBoard shows {args.runs_dir}. Ctrl-C ends it.")
        console.open_page(url, args.open)

    board.serve(args.runs_dir, host=args.host, port=args.port, ready=ready)
