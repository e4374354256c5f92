"""Imports TensorFlow once, then forks a child for each command: `python fork_server.py FD [rnntk]`.

A fresh process spends six seconds of processor time on importing TensorFlow and compiling kernels. This one has
computed nothing and has no threads of its own, so each child is like a fresh process. `warm` in conftest.py is the
client.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NoReturn


def load(rnntk: bool) -> None:
    """Import TensorFlow, and if asked everything that a command of rnntk needs."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if not rnntk:
        import tensorflow  # noqa: F401

        return
    from rnntk.kernels import native
    from rnntk.training import device

    device.import_tensorflow()
    native.kernels()
    import rnntk.cli.eval
    import rnntk.cli.export
    import rnntk.cli.import_
    import rnntk.cli.prep
    import rnntk.cli.runs
    import rnntk.cli.sample
    import rnntk.cli.train
    import rnntk.training.char_task
    import rnntk.training.character
    import rnntk.training.session


def serve(server: socket.socket) -> list[str]:
    """Fork for every request until the client ends. Returns in a child only: the command to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children's own parents wait for them
    while True:
        request, descriptors, _, _ = socket.recv_fds(server, 1, 4)
        if not request:
            sys.exit()
        if os.fork() == 0:
            server.close()
            return command(descriptors[:3], socket.socket(fileno=descriptors[3]))
        for descriptor in descriptors:
            os.close(descriptor)


def command(streams: list[int], client: socket.socket) -> list[str]:
    """Fork the command, which gets its arguments; its parent sends its process id and exit status."""
    request = json.loads(client.makefile().readline())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        _watch(child, streams, client)
    client.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(line_buffering=output.isatty())
    return request["arguments"]


def _watch(child: int, streams: list[int], client: socket.socket) -> NoReturn:
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):  # a client that has ended
        client.sendall(struct.pack("q", child))
        client.sendall(struct.pack("q", os.waitpid(child, 0)[1]))
    os._exit(0)


def run(arguments: list[str]) -> None:
    """Code that `python ARGUMENTS...` runs: `-m MODULE`, `-c CODE` or a file."""
    kind, *rest = arguments
    sys.path[0] = str(Path(kind).parent) if kind.endswith(".py") else ""
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    load("rnntk" in sys.argv)
    run(serve(socket.socket(fileno=int(sys.argv[1]))))
