"""Bind and run the page's server."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rnntk import hosts
from rnntk.errors import RnntkError, UsageError
from rnntk.installation import install_command
from rnntk.play import limits

if TYPE_CHECKING:
    import uvicorn

    from rnntk.play.guard import App

PORT = 8765


class MissingExtra(RnntkError):
    """A package of `rnntk[play]` is not installed."""


def require() -> None:
    """Raise `MissingExtra` if one of the server's packages is missing."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"rnntk play needs {' and '.join(missing)}. Install: {install_command('play')}"
        )


def single_threaded_products() -> None:
    """Make NumPy multiply on one thread; call this before NumPy is imported.

    One symbol's products are too small to split: with more threads, twenty texts started after 350 ms, not 25.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")


def bind(host: str, port: int | None) -> socket.socket:
    """A listening socket; `port` 0 is any free one, None is `PORT` or any free one. `UsageError` if unavailable."""
    family, address = hosts.resolve(host, port)
    for wanted in [PORT, 0] if port is None else [port]:
        found = socket.socket(family, socket.SOCK_STREAM)
        # On Windows, SO_REUSEADDR would share the port.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        found.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            found.bind((address[0], wanted, *address[2:]))
            found.listen(128)  # now, so that the printed address answers at once
            return found
        except OSError as error:
            found.close()
            if port is None and wanted and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise UsageError(
                f"Cannot listen at {host}:{wanted} ({error.strerror}). Choose another `port` (0: any free one)."
            ) from error
    raise AssertionError("port 0 is always tried last")


def url(bound: socket.socket) -> str:
    """The URL to open in a browser on this machine."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server(app: App) -> uvicorn.Server:
    """A quiet server with short timeouts for idle connections."""
    import uvicorn

    from rnntk.play.connection import Connection

    config = uvicorn.Config(
        app,
        http=Connection,
        limit_concurrency=limits.CONNECTIONS,
        log_level="critical",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def run(app: App, bound: socket.socket) -> None:
    """Serve until Ctrl-C or a signal."""
    sys.setswitchinterval(0.001)  # 5 ms by default: the event loop would wait too long
    with contextlib.suppress(KeyboardInterrupt):
        server(app).run(sockets=[bound])
