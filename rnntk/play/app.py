"""The page's server as an ASGI application."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rnntk.config import SampleConfig
from rnntk.errors import RnntkError, UsageError
from rnntk.files import json_text
from rnntk.play import inside, limits, pages, reading, streaming
from rnntk.play.guard import App, Guard, Message, Receive, Send
from rnntk.play.models import Models
from rnntk.play.progress import CheckpointSamples, LossCurve
from rnntk.play.streaming import Scheduler, Stream

_BUSY = "The server is busy with as many requests as it takes on at once. Try again in a moment."


class Busy(RnntkError):
    """The server has as many requests as it takes on at once."""


class Api:
    """Handlers of the page's requests."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.curve = LossCurve(models.run)
        self.samples = CheckpointSamples(models)
        self.traces = inside.Traces()
        self.scheduler = Scheduler(limits.STREAMS)
        self._jobs = 0
        self._at_once: anyio.CapacityLimiter | None = None

    async def run(self, _: Request) -> Response:
        """The facts of the run."""
        return JSONResponse({**self.models.describe(), "limits": _limits()})

    async def read(self, request: Request) -> Response:
        """Surprisal of a text, symbol by symbol."""
        asked = await _asked(request, {"text": str}, {"step": int})
        return await self._answer(
            lambda: reading.read(self.models.get(asked.get("step")), asked["text"])
        )

    async def units(self, request: Request) -> Response:
        """Units that follow a visible feature."""
        asked = await _asked(request, {"text": str}, {"step": int, "quantity": str})

        def answer() -> dict[str, Any]:
            model = self.models.get(asked.get("step"))
            return inside.ranking(self.traces.get(model, asked["text"]), asked.get("quantity"))

        return await self._answer(answer)

    async def unit(self, request: Request) -> Response:
        """The values of one unit."""
        asked = await _asked(
            request, {"text": str, "layer": int, "unit": int, "quantity": str}, {"step": int}
        )

        def answer() -> dict[str, Any]:
            model = self.models.get(asked.get("step"))
            found = self.traces.get(model, asked["text"])
            return inside.unit(found, asked["layer"], asked["unit"], asked["quantity"])

        return await self._answer(answer)

    async def training(self, _: Request) -> Response:
        """The loss so far."""
        return await self._answer(lambda: {**self.curve.look(), "steps": self.samples.steps()})

    async def sample(self, request: Request) -> Response:
        """A sample of the model at a checkpoint."""
        step = request.query_params.get("step", "")
        if not (step.isascii() and step.isdigit() and len(step) < 16):
            raise UsageError(f"The step {step[:20]!r} is not a number.")
        return await self._answer(lambda: self.samples.get(int(step)))

    async def write(self, request: Request) -> Response:
        """A text as it is generated: JSON lines."""
        settings = {
            "length": int,
            "temperature": float,
            "top_k": int,
            "top_p": float,
            "seed": int,
        }
        asked = await _asked(request, {"prime": str}, {"step": int, **settings})
        text, step = asked["prime"], asked.get("step")
        if len(text) > limits.TEXT:
            raise UsageError(
                f"The prompt has {len(text):,} characters; at most {limits.TEXT:,} are read. Take its end."
            )
        config = SampleConfig(**{k: asked[k] for k in settings if k in asked})
        if config.length > limits.LENGTH:
            raise UsageError(
                f"`length` must be at most {limits.LENGTH:,} here, got {config.length:,}."
            )
        seed = config.new_seed()
        model = self.models.loaded(step)
        if model is None:
            model = await anyio.to_thread.run_sync(self.models.get, step)
        prompt = model.prompt(text, "skip")
        stream = self.scheduler.start(streaming.pieces(model, prompt, config, seed))
        if stream is None:
            raise Busy(_BUSY)
        head = {
            "seed": seed,
            "step": model.step,
            "prime": prompt.text,
            "skipped": prompt.skipped,
        }
        return TextResponse(stream, head)

    async def _answer(self, work: Callable[[], dict[str, Any]]) -> Response:
        """Do what takes time in a thread, two at a time, so that the event loop never waits."""
        if self._jobs >= limits.JOBS:
            raise Busy(_BUSY)
        self._at_once = self._at_once or anyio.CapacityLimiter(2)
        self._jobs += 1
        try:
            return await anyio.to_thread.run_sync(
                lambda: JSONResponse(work()), limiter=self._at_once
            )
        finally:
            self._jobs -= 1


class TextResponse(StreamingResponse):
    """A text as JSON lines: first its seed and prompt, then pieces `[text, nats]`, then how it ended.

    A client that takes nothing for `limits.SECONDS` is dropped; until then only its own text waits.
    """

    def __init__(self, stream: Stream, head: dict[str, Any]) -> None:
        self._stream = stream
        super().__init__(self._lines(head), media_type="application/x-ndjson")

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send it; whatever happens, its place is free afterwards."""

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
    """The application for a run's models, to be bound to the address `host`."""
    api = Api(models)
    # Once, so that the first text does not wait for tables that are made when they are first needed.
    model = models.get()
    list(streaming.pieces(model, model.prompt(""), SampleConfig(length=1), 0))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            api.scheduler.close()

    return Starlette(
        routes=[
            Route("/", _file),
            Route("/page/{name}", _file),
            Route("/api/run", api.run),
            Route("/api/read", api.read, methods=["POST"]),
            Route("/api/units", api.units, methods=["POST"]),
            Route("/api/unit", api.unit, methods=["POST"]),
            Route("/api/write", api.write, methods=["POST"]),
            Route("/api/training", api.training),
            Route("/api/sample", api.sample),
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
    if isinstance(error, Busy):
        return JSONResponse({"error": str(error)}, 503, {"retry-after": "1"})
    return JSONResponse({"error": str(error)}, 400)


async def _asked(
    request: Request, needed: dict[str, type], optional: dict[str, type]
) -> dict[str, Any]:
    """The JSON object of a request, its values checked; null counts as missing."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UsageError("The request must be application/json.")
    body = bytearray()
    try:
        with anyio.fail_after(limits.SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.BODY:
                    raise UsageError(
                        f"The request is over {limits.BODY:,} bytes. Take a part of the text."
                    )
    except TimeoutError as error:
        raise UsageError("The request took too long to arrive.") from error
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("The request is not JSON.") from error
    if not isinstance(found, dict):
        raise UsageError("The request must be an object.")
    values: dict[str, Any] = {}
    for name, kind in {**needed, **optional}.items():
        value = found.get(name)
        if value is None:
            if name in needed:
                raise UsageError(f"The request lacks {name!r}.")
            continue
        if kind is float and type(value) is int:
            value = float(value) if abs(value) < 2**53 else value
        if type(value) is not kind:
            raise UsageError(f"{name!r} must be of type {kind.__name__}.")
        values[name] = value
    if any("\ud800" <= c <= "\udfff" for v in values.values() if isinstance(v, str) for c in v):
        raise UsageError("The text has half a surrogate pair, which is not a character.")
    return values


def _limits() -> dict[str, int]:
    return {"text": limits.TEXT, "length": limits.LENGTH}


def _line(value: dict[str, Any]) -> str:
    return json_text(value, separators=(",", ":")) + "\n"
