"""The page's ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rnntk import stored
from rnntk.config import SampleConfig
from rnntk.errors import RnntkError, UsageError
from rnntk.files import json_text
from rnntk.play import limits, pages, reading, streaming, visible
from rnntk.play.guard import App, Guard, Message, Receive, Send
from rnntk.play.models import Models
from rnntk.play.progress import CheckpointSamples, LossCurve
from rnntk.play.streaming import Scheduler, Stream


class Busy(RnntkError):
    """The server has too many requests at once; answered with status 503."""

    def __init__(self) -> None:
        super().__init__("The server is busy with other requests. Try again in a moment.")


class Api:
    """Handlers of the page's requests."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.curve = LossCurve(models.run)
        self.samples = CheckpointSamples(models)
        self._trace = lru_cache(limits.TRACES)(lambda at, text: reading.trace(models.get(at), text))
        self.scheduler = Scheduler(limits.STREAMS)
        self._jobs = 0
        self._at_once: anyio.CapacityLimiter | None = None

    async def run(self, _: Request) -> Response:
        """Facts about the run, and the page's defaults and limits."""
        return JSONResponse(self.models.describe())

    async def read(self, request: Request) -> Response:
        """Surprisal of each symbol of a text."""
        asked = await _asked(request, {"text": str})
        model = partial(self.models.get, asked["step"])
        return await self._answer(lambda: reading.read(model(), asked["text"]))

    async def units(self, request: Request) -> Response:
        """Units that best follow each visible feature."""
        asked = await _asked(request, {"text": str}, {"quantity": str})
        trace = partial(self._trace, asked["step"], asked["text"])
        return await self._answer(lambda: visible.ranking(trace(), asked["quantity"]))

    async def unit(self, request: Request) -> Response:
        which = {"layer": int, "unit": int, "quantity": str}
        asked = await _asked(request, {"text": str, **which})
        trace = partial(self._trace, asked["step"], asked["text"])
        return await self._answer(lambda: visible.unit(trace(), *(asked[name] for name in which)))

    async def training(self, _: Request) -> Response:
        return await self._answer(lambda: {**self.curve.look(), "steps": self.samples.steps()})

    async def sample(self, request: Request) -> Response:
        step = request.query_params.get("step", "")
        if not (step.isascii() and step.isdigit() and len(step) < 16):
            raise UsageError(f"The step {step[:20]!r} is not a number.")
        return await self._answer(lambda: self.samples.get(int(step)))

    async def write(self, request: Request) -> Response:
        """Generate a text, streamed as JSON lines."""
        settings = dict.fromkeys(("length", "temperature", "top_k", "top_p", "seed"), object)
        asked = await _asked(request, {"prime": str}, settings)
        text, step = asked["prime"], asked["step"]
        if len(text) > limits.TEXT:
            raise UsageError(
                f"The prompt has {len(text):,} characters; at most {limits.TEXT:,} are read. Take its end."
            )
        config = SampleConfig(**{k: asked[k] for k in settings if asked[k] is not None})
        if config.length > limits.LENGTH:
            raise UsageError(
                f"`length` must be at most {limits.LENGTH:,} here, got {config.length:,}."
            )
        seed = config.new_seed()
        model = self.models.default
        if step is not None:
            model = await to_thread.run_sync(self.models.get, step)
        prompt = model.prompt(text, "skip")
        stream = self.scheduler.start(streaming.pieces(model, prompt, config, seed))
        if stream is None:
            raise Busy
        head = {"seed": seed, "step": model.step, "prime": prompt.text}
        head["skipped"] = list(prompt.skipped)
        return TextResponse(stream, head)

    async def _answer(self, work: Callable[[], dict[str, Any]]) -> Response:
        """Do slow work in a thread, two at a time, so that the event loop never waits."""
        if self._jobs >= limits.JOBS:
            raise Busy
        self._at_once = self._at_once or anyio.CapacityLimiter(2)
        self._jobs += 1
        try:
            return await to_thread.run_sync(lambda: JSONResponse(work()), limiter=self._at_once)
        finally:
            self._jobs -= 1


class TextResponse(StreamingResponse):
    """A text as JSON lines: seed and prompt, then pieces `[text, nats]`, then `end` or `error`.

    A client that reads nothing for `limits.SECONDS` is dropped.
    """

    def __init__(self, stream: Stream, head: dict[str, Any]) -> None:
        self._stream = stream
        super().__init__(self._lines(head), media_type="application/x-ndjson")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        async def in_time(message: Message) -> None:
            with anyio.fail_after(limits.SECONDS):
                await send(message)

        try:
            with contextlib.suppress(TimeoutError, ClientDisconnect):
                await super().__call__(scope, receive, in_time)
        finally:
            self._stream.close()

    async def _lines(self, head: dict[str, Any]) -> AsyncIterator[str]:
        yield _line(head)
        while pieces := await self._stream.take():
            yield _line({"pieces": [[p.text, round(sum(p.nats), 3)] for p in pieces]})
        error = self._stream.error
        yield _line({"error": str(error)} if error else {"end": True})


def create(models: Models, host: str = "127.0.0.1") -> App:
    """The ASGI application for a run's models, served at `host`."""
    api = Api(models)
    # Warm up, so that the first text does not wait for tables made on first use.
    model = models.get()
    list(streaming.pieces(model, model.prompt(""), SampleConfig(length=1), 0))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            api.scheduler.close()

    gets = {"run": api.run, "training": api.training, "sample": api.sample}
    posts = {"read": api.read, "units": api.units, "unit": api.unit, "write": api.write}
    return Starlette(
        routes=[
            Route("/", _file),
            Route("/page/{name}", _file),
            *(Route(f"/api/{name}", answer) for name, answer in gets.items()),
            *(Route(f"/api/{name}", answer, methods=["POST"]) for name, answer in posts.items()),
        ],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={RnntkError: _refusal},
        lifespan=lifespan,
    )


async def _file(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    if name not in pages.TYPES:
        return JSONResponse({"error": "There is no such file."}, 404)
    return Response(pages.read(name), media_type=pages.TYPES[name])


async def _refusal(_: Request, error: Exception) -> Response:
    status = (503, {"retry-after": "1"}) if isinstance(error, Busy) else (400,)
    return JSONResponse({"error": str(error)}, *status)


async def _asked(
    request: Request, needed: dict[str, type], optional: Mapping[str, type] = {}
) -> dict[str, Any]:
    """The type-checked values of a request's JSON object; None for a missing optional value or `step`."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UsageError("The request must be application/json.")
    body = bytearray()
    try:
        with anyio.fail_after(limits.SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.BODY:
                    raise UsageError(
                        f"The request is over {limits.BODY:,} bytes. Shorten the text."
                    )
    except TimeoutError as error:
        raise UsageError("The request took too long to arrive.") from error
    try:
        found = stored.parse(bytes(body))
    except ValueError as error:
        raise UsageError("The request is not JSON.") from error
    if not isinstance(found, dict):
        raise UsageError("The request must be an object.")
    values: dict[str, Any] = {}
    for name, kind in {**needed, **optional, "step": int}.items():
        value = values[name] = found.get(name)
        if value is None and name in needed:
            raise UsageError(f"The request lacks {name!r}.")
        if value is not None and kind is not object and type(value) is not kind:
            raise UsageError(f"{name!r} must be of type {kind.__name__}.")
    if any("\ud800" <= c <= "\udfff" for v in values.values() if isinstance(v, str) for c in v):
        raise UsageError("The text has half a surrogate pair, which is not a character.")
    return values


def _line(value: dict[str, Any]) -> str:
    return json_text(value, separators=(",", ":")) + "\n"
