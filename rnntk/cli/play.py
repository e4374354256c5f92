"""`rnntk play`: look inside a model on a local page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rnntk import hosts
from rnntk.cli import stream
from rnntk.cli.console import Console, shown
from rnntk.cli.model import check_written, load, load_any, model_options
from rnntk.cli.options import FILE, Args, command_named, option, server_options
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.play.models import Models


@command_named("play")
@model_options
@server_options(8765)
@option(
    "--report",
    "Save a report on a text (--input) as HTML, instead of opening the page.",
    type=FILE,
)
@option(
    "--input",
    "Text file for --report; - is stdin.  [default: some of the run's text, else a generated one]",
)
def command(args: Args, console: Console) -> None:
    """Look inside RUN, a run's folder or name (default: the latest run), on a page in your browser.

    The page lets the model generate text, shows which characters surprise it and which units track quotes or
    indentation, draws the loss during training, and has six short lessons. For a run of rnntk mnist, you draw digits
    and the network reads them. Ctrl-C ends the command.

    Examples:
      rnntk play
      rnntk play runs/mnist-1
      rnntk play runs/linux_kernel-1 --checkpoint last --no-open
      rnntk play --report report.html --input chapter.txt
    """
    from rnntk.play import serve

    if args.report is None:
        if args.input is not None:
            raise UsageError("--input needs --report. On the page, paste the text into Read.")
        serve.require()
        serve.single_threaded_products()
    from rnntk.play.models import Models

    if args.report is not None:
        _report(console, Models(load(args)), args)
    else:
        _serve(console, Models(load_any(args)), args)


def _serve(console: Console, models: Models, args: Args) -> None:
    from rnntk.play import app, serve

    host = args.host
    bound = serve.bind(host, args.port)
    url = serve.url(bound)
    step = models.get().step
    if not hosts.is_loopback(host):
        console.note(
            f"Warning: with --host {host}, whoever can reach port "
            f"{bound.getsockname()[1]} can use the page."
        )
    console.note(f"{shown(models.run.path)} at step {step}. Ctrl-C ends it.")
    console.result(url)
    console.json("play", url=url, run=models.run.path, step=step)
    sys.stdout.flush()
    # The socket listens already, so the browser waits until the server runs.
    console.open_page(url, args.open)
    serve.run(app.create(models, host), bound)
    console.note("Ended.")


def _report(console: Console, models: Models, args: Args) -> None:
    from rnntk.files import write_bytes
    from rnntk.play import report
    from rnntk.play.own_text import OwnText

    given = args.input is not None
    check_written(args, models.run, "report", args.input)
    text = stream.read(args.input, "--input") if given else OwnText(models).excerpt()["text"]
    data = report.report(models, text).encode("utf-8")
    write_bytes(args.report, data, advice="Name another file with --report.")
    size = f"{len(data) / 1000:,.0f} kB"
    console.result(f"report  {shown(args.report)}, {size}, opens without a server")
    step, run = models.get().step, models.run.path
    console.json("play", report=args.report, bytes=len(data), run=run, step=step)
