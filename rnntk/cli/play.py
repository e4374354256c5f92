"""`rnntk play`: look inside a model on a local page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rnntk import hosts
from rnntk.cli import stream
from rnntk.cli.console import Console, shown
from rnntk.cli.model import load, load_any, model_options
from rnntk.cli.options import FILE, Args, command_named, option, path_option, server_options
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.play.models import Models


@command_named("play")
@model_options("last", "Which checkpoint the page begins with.")
@server_options(8765)
@path_option("--report", "FILE", "Serve nothing: write the views of a text as one HTML file.", FILE)
@option(
    "--input",
    metavar="FILE",
    help="With --report: the text, in UTF-8; - is stdin.  [default: the run's own, else a generated one]",
)
def command(args: Args, console: Console) -> None:
    """Open a page on RUN, a folder or a name in --runs-dir; without it, on the latest.

    Let the model write, see which characters surprise it, find the units that follow quotes, comments,
    indentation or syllables, watch it train, and take six short lessons. Of a run of rnntk mnist the page reads
    digits that you draw. Only this machine can reach the page. Ctrl-C ends it.

    Examples:
      rnntk play
      rnntk play runs/mnist-1
      rnntk play runs/linux_kernel-1 --checkpoint best --no-open
      rnntk play --report report.html --input chapter.txt
    """
    from rnntk.play import serve

    if args.report is None:
        if args.input is not None:
            raise UsageError("--input goes with --report; the page has a field to paste text into.")
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
            f"Warning: with --host {host} everybody who can reach this machine can use the page; there is no password. "
            f"From elsewhere it is port {bound.getsockname()[1]} of this machine's address."
        )
    console.note(f"{shown(models.run.path)} at step {step}. Ctrl-C ends it.")
    console.result(url)
    console.json("play", url=url, run=models.run.path, step=step)
    sys.stdout.flush()
    # The socket listens already, so the browser waits until the server runs.
    console.open_page(url, args.open_browser)
    serve.run(app.create(models, host), bound)
    console.note("Ended.")


def _report(console: Console, models: Models, args: Args) -> None:
    from rnntk.files import write_bytes
    from rnntk.play import report
    from rnntk.play.own_text import OwnText

    given = args.input is not None
    text = stream.read(args.input, "--input") if given else OwnText(models).excerpt()["text"]
    data = report.report(models, text).encode("utf-8")
    write_bytes(args.report, data, advice="Choose another file with --report.")
    size = f"{len(data) / 1000:,.0f} kB"
    console.result(f"report  {shown(args.report)}, {size}: one file, needs no server")
    step, run = models.get().step, models.run.path
    console.json("play", report=args.report, bytes=len(data), run=run, step=step)
