"""Isolation of each test: no data folder, an empty cache, only the loopback network."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnntk.corpora.system import Machine


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; its `cache` is the cache."""
    for name in ("RNNTK_DATA", "RNNTK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in (
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bare_machine(tmp_path: Path) -> Machine:
    """A machine whose only source of a corpus is the running Python."""
    nowhere = tmp_path / "machine"
    return Machine(
        sources=nowhere / "src",
        headers=nowhere / "include",
        korean_manuals=nowhere / "man",
        keras_home=nowhere / "keras",
    )


class Server:
    """A loopback web server.

    `pages` maps a path to bytes, `answers` maps one to status and headers; other paths behave as their names say.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.stopping = threading.Event()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path
        if path in self.answers:
            status, headers = self.answers[path]
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(b"some text" if status == 200 else b"")
        elif path in self.pages:
            self._send(handler, self.pages[path], len(self.pages[path]))
        elif path == "/cut-short":
            self._send(handler, b"half of it", 20)
        elif path == "/cut-once":
            whole = self.asked.count(path) > 1
            self._send(handler, b"half of it" + b" and half." * whole, 20)
        elif path == "/busy-once" and self.asked.count(path) > 1:
            self._send(handler, b"at last", 7)
        elif path == "/busy-once" or path == "/busy":
            handler.send_error(503)
        elif path == "/stalls":
            self._send(handler, b"half of it", 20, hold=True)
        elif path == "/silent":
            self.stopping.wait(5)
        elif path == "/drips":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            try:
                for _ in range(100):
                    handler.wfile.write(b".")
                    handler.wfile.flush()
                    time.sleep(0.02)
            except OSError:
                pass
        else:
            handler.send_error(404)

    def _send(
        self,
        handler: http.server.BaseHTTPRequestHandler,
        data: bytes,
        length: int,
        hold: bool = False,
    ) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(data)
        handler.wfile.flush()
        if hold:
            self.stopping.wait(5)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.stopping.set()
    running.server.shutdown()
    running.server.server_close()
    thread.join()
