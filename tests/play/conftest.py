"""Tiny runs with random weights, written as training writes them, and the page's server on loopback."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.play import app, serve
from rnntk.play.models import Models
from rnntk.storage import checkpoint, folder
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = os.environ.get("RNNTK_CHROMIUM") or shutil.which("chromium")
PLAIN = 'int f(void)\n{\n\tif (a) /* a b */\n\t\treturn g("x y", 12);\n\treturn 0; // end\n}\n' * 3
KOREAN = "각시가 말했다. “값이 얼마요?” ㅋㅋ 하고 웃었다.\n하늘은 맑고 바람은 차다.\n" * 3


def write_run(
    random_weights: Callable[..., dict[str, np.ndarray]],
    path: Path,
    *,
    text: str = PLAIN,
    preprocessor: str = "plain",
    cell: str = "lstm",
    steps: tuple[int, ...] = (10, 20, 30),
    before: bool = False,
    H: int = 12,
    layer_norm: bool = False,
    spread: float = 0.7,
) -> RunFolder:
    """A run folder with a checkpoint at each step, and a loss that falls."""
    codec = preprocessors.get(preprocessor)
    vocabulary = Vocabulary.from_counts(Counter(codec.encode(text)))
    run = folder.create(
        path,
        kind=folder.CHAR_RNN,
        settings={},
        model={
            "cell": cell,
            "layers": 2,
            "units": H,
            "parameters": 1234,
            "layer_norm": layer_norm,
        },
        corpus={
            "name": "tiny",
            "preprocessor": codec.name,
            "preprocessor_version": codec.version,
            "prime": text[:4],
        },
        versions={},
        vocabulary=vocabulary,
    )
    rows = []
    for step in range(1, steps[-1] + 1):
        row = {"step": step, "loss": 3.0 - 0.05 * step, "seconds": step * 0.1}
        rows.append(row | ({"val_loss": 3.1 - 0.05 * step} if step % 10 == 0 else {}))
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for k, step in enumerate(steps):
        checkpoint.write(
            run.checkpoints,
            weights=random_weights(
                cell, V=len(vocabulary), H=H, seed=k, scale=spread, reset_after=not before
            ),
            optimizer={},
            states={},
            progress=checkpoint.Progress(step=step),
        )
    return run


class Client:
    """Speaks to the server as a browser would.

    Args:
        port: on loopback.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"content-type": "application/json"} if body is not None else {}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(
                method or ("GET" if data is None else "POST"),
                path,
                data,
                {**sent, **(headers or {})},
            )
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, body: object = None) -> Any:
        """The JSON of an answer that must be good."""
        status, _, data = self.ask(path, body)
        assert status == 200, data
        return json.loads(data)

    def lines(self, body: object) -> list[dict[str, Any]]:
        """All lines of a text that is written."""
        status, _, data = self.ask("/api/write", body)
        assert status == 200, data
        return [json.loads(line) for line in data.decode().splitlines()]


@contextlib.contextmanager
def served(models: Models) -> Iterator[Client]:
    """The server, running in a thread."""
    bound = serve.bind("127.0.0.1", 0)
    server = serve.server(app.create(models))
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    try:
        yield Client(bound.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        bound.close()
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def make_run(random_weights) -> Callable[..., RunFolder]:
    """Writes a run folder; see `write_run`."""
    return functools.partial(write_run, random_weights)


@pytest.fixture(scope="session")
def plain(make_run, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """An LSTM on C-like text."""
    return Models(LanguageModel.load(make_run(tmp_path_factory.mktemp("play") / "plain")))


@pytest.fixture(scope="session")
def korean(make_run, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """An LSTM on Korean, read jamo by jamo."""
    path = tmp_path_factory.mktemp("play") / "korean"
    return Models(LanguageModel.load(make_run(path, text=KOREAN, preprocessor="hangul")))


@pytest.fixture(scope="session")
def client(plain: Models) -> Iterator[Client]:
    """A server of the plain model."""
    with served(plain) as found:
        yield found


@pytest.fixture(scope="session")
def korean_client(korean: Models) -> Iterator[Client]:
    """A server of the Korean model."""
    with served(korean) as found:
        yield found


@pytest.fixture
def serving() -> Callable[[Models], contextlib.AbstractContextManager[Client]]:
    """Serves any models, as a context manager."""
    return served


@pytest.fixture(scope="session")
def plain_text() -> str:
    """Text that the plain model's vocabulary comes from."""
    return PLAIN


@pytest.fixture(scope="session")
def korean_text() -> str:
    """Text that the Korean model's vocabulary comes from."""
    return KOREAN


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium, or set RNNTK_CHROMIUM to its path")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes contexts that note what goes wrong; the test fails when anything did."""
    made: list[BrowserContext] = []
    wrong: list[str] = []

    def make(**options) -> BrowserContext:
        found = browser.new_context(**options)
        found.set_default_timeout(20_000)
        found.on("console", lambda m: wrong.append(f"console: {m.text}"))
        found.on("weberror", lambda e: wrong.append(f"error: {e.error}"))
        found.on("request", lambda r: wrong.append(r.url) if is_foreign(r.url) else None)
        found.on(
            "response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status > 399 else None
        )
        made.append(found)
        return found

    yield make
    for one in made:
        one.close()
    assert wrong == []


def is_foreign(url: str) -> bool:
    return not re.match(r"http://127\.0\.0\.1:\d+/|file://|data:|blob:", url)


@pytest.fixture
def opened(context) -> Callable[..., Page]:
    """Opens a page and waits until it has started."""

    def open_page(url: str, **options) -> Page:
        page = context(**options).new_page()
        page.goto(url)
        page.locator("body[data-ready]").wait_for()
        return page

    return open_page
