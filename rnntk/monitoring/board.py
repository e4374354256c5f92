"""TensorBoard in this process."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnntk import hosts, signals
from rnntk.errors import RnntkError, RunError
from rnntk.storage import directory


def serve(runs_dir: Path, *, host: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve TensorBoard for a folder of runs until Ctrl-C or another signal.

    `port` None is 6006 or the next free one, 0 any free one; `ready` is called with the URL. Raises `RunError` if the
    folder is unreadable or has no events, `UsageError` if `host` is not an address, `RnntkError` if it is taken.
    """
    directory.run_folders(runs_dir)  # raises an error that `rglob` passes over since Python 3.13
    if not any(runs_dir.rglob("events.out.tfevents.*")):
        raise RunError(
            f"No run in {runs_dir} has TensorBoard events. Train one, or choose another `runs_dir`."
        )
    hosts.resolve(host, port)
    from tensorboard import program

    def server(app: Any, flags: Any) -> Any:
        return program.create_port_scanning_werkzeug_server(_guarded(app, hosts.Names(host)), flags)

    board = program.TensorBoard(server_class=server)
    board.configure(logdir=str(runs_dir), host=host, port=port, reload_multifile=True)
    done = threading.Event()
    with signals.handled(lambda *_: done.set()):
        try:
            with contextlib.redirect_stderr(
                io.StringIO()
            ) as stderr:  # TensorBoard prints its own advice
                url = board.launch()
        except (program.TensorBoardServerException, SystemExit, OSError) as error:
            printed = stderr.getvalue().strip().rpartition("\n")[2]  # the reason for a SystemExit
            why = str(getattr(error, "msg", None) or printed or error)
            at = host if port is None else f"{host}, port {port}"
            raise RnntkError(
                f"TensorBoard cannot listen at {at}: {why.rstrip('.')}. Choose another `port` (0: any free "
                "one) or `host`."
            ) from error
        ready(url)
        while not done.wait(0.5):  # on Windows, signal handlers do not run during an endless wait
            pass


def _guarded(app: Any, own: hosts.Names) -> Any:
    """A WSGI application that refuses requests to other host names."""

    def guard(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        name = environ.get("HTTP_HOST", "")
        if name in own:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"Host {name!r} is refused. Open the address that rnntk board printed.".encode()]

    return guard
