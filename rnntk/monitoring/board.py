"""TensorBoard on a folder of runs, in this process."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnntk import hosts
from rnntk.errors import RnntkError, RunError

_EVENTS = "events.out.tfevents.*"


def serve(runs_dir: Path, *, host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve TensorBoard until SIGINT (Ctrl-C) or SIGTERM.

    Args:
        runs_dir: the folder of runs, watched at any depth.
        host: the address to listen on.
        port: None for 6006 or the next free one, 0 for any free one.
        ready: called with the URL when the server answers.

    Raises:
        RunError: no run in the folder has written events.
        UsageError: `host` is no address.
        RnntkError: the address is not available.
    """
    if next(runs_dir.rglob(_EVENTS), None) is None:
        raise RunError(
            f"There is nothing to show in {runs_dir}: no run there has written TensorBoard events. "
            "Train one with rnntk train, or name another folder with `runs_dir`."
        )
    hosts.resolve(host, port)
    from tensorboard import program

    def server(app: Any, flags: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(_guarded(app, hosts.Names(host)), flags)

    board = program.TensorBoard(server_class=server)
    board.configure(logdir=str(runs_dir), host=host, port=port, reload_multifile=True)
    with _until_signal() as done:
        try:
            # TensorBoard prints advice for its own developers.
            with contextlib.redirect_stderr(io.StringIO()) as said:
                url = board.launch()
        except (program.TensorBoardServerException, SystemExit, OSError) as error:
            # The server prints why before it would end the process.
            printed = said.getvalue().strip().rpartition("\n")[2]
            why = str(getattr(error, "msg", None) or printed or error)
            at = host if port is None else f"{host}, port {port}"
            raise RnntkError(
                f"TensorBoard cannot listen at {at}: {why.rstrip('.')}. "
                "Choose another `port` (0 is any free one), or an address of this machine as `host`."
            ) from error
        ready(url)
        done.wait()


def _guarded(app: Any, own: hosts.Names) -> Any:
    """A WSGI application that refuses requests which do not name this server."""

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        name = environ.get("HTTP_HOST", "")
        if name in own:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"This server is not {name!r}. Open the address that rnntk board printed.".encode()]

    return guard


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets."""
    done = threading.Event()
    before = {n: signal.signal(n, lambda *_: done.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield done
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
