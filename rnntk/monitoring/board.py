"""TensorBoard on a folder of runs, in this process."""

from __future__ import annotations

import contextlib
import io
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
        RnntkError: the address is not available.
    """
    if next(runs_dir.rglob(_EVENTS), None) is None:
        raise RunError(
            f"There is nothing to show in {runs_dir}: no run there has written TensorBoard events. "
            "Train one with rnntk train, or name another folder with `runs_dir`."
        )
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(logdir=str(runs_dir), host=host, port=port, reload_multifile=True)
    with _until_signal() as done:
        try:
            # TensorBoard prints advice for its own developers.
            with contextlib.redirect_stderr(io.StringIO()):
                url = board.launch()
        except program.TensorBoardServerException as error:
            raise RnntkError(
                f"TensorBoard cannot listen at {host}, port {port}: {str(error.msg).rstrip('.')}. "
                "Choose another `port` (0 is any free one) or `host`."
            ) from error
        ready(url)
        done.wait()


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
