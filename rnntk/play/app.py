"""ASGI application of the page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rnntk.config import SampleConfig
from rnntk.decoding.row_model import RowModel
from rnntk.errors import RnntkError, UsageError
from rnntk.files import json_text
from rnntk.play import limits, pages, reading, streaming, visible
from rnntk.play.answers import Answers, Busy, Values, asked
from rnntk.play.digits import DigitAnswers
from rnntk.play.guard import App, Guard, Message, Receive, Send
from rnntk.play.models import Models
from rnntk.play.own_text import OwnText
from rnntk.play.progress import CheckpointSamples
from rnntk.play.streaming import Scheduler, Stream


class Api(Answers):
    """Handlers of the page of a character model."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        # Warm up: the first text needs tables that are made on first use.
        model = models.get()
        list(streaming.pieces(model, model.prompt(""), SampleConfig(length=1), 0))
        self.samples = CheckpointSamples(models)
        self.scheduler = Scheduler(limits.STREAMS)
        text = OwnText(models)
        traced = lru_cache(limits.TRACES)(lambda at, text: reading.trace(models.get(at), text))

        def trace(v: Values) -> reading.Trace:
            return traced(v["step"], v["text"])

        self.gets |= {
            "text": self.get(text.excerpt),
            "runs": self.get(lambda: {"runs": models.relatives()}),
            "training": self.get(
                lambda: {**self.training(), "steps": self.samples.steps(), **text.baselines()}
            ),
            "sample": self.sample,
        }
        self.posts |= {
            "write": self.write,
            "read": self.post(lambda v: reading.read(models.get(v["step"]), v["text"]), text=str),
            "units": self.post(lambda v: visible.ranking(trace(v), v["quantity"]), text=str),
            "unit": self.post(
                lambda v: visible.unit(trace(v), v["layer"], v["unit"], v["quantity"]),
                text=str,
                layer=int,
                unit=int,
                quantity=str,
            ),
            "layer": self.post(
                lambda v: visible.layer(trace(v), v["layer"], v["quantity"]),
                text=str,
                layer=int,
                quantity=str,
            ),
        }

    def close(self) -> None:
        self.scheduler.close()

    async def sample(self, request: Request) -> Response:
        step = request.query_params.get("step", "")
        if not (step.isascii() and step.isdigit() and len(step) < 16):
            raise UsageError(f"The step {step[:20]!r} is not a number.")
        return await self.answer(lambda: self.samples.get(int(step)))

    async def write(self, request: Request) -> Response:
        """Generate a text, streamed as JSON lines."""
        settings = dict.fromkeys(("length", "temperature", "top_k", "top_p", "seed"), object)
        values = await asked(request, {"prime": str}, settings)
        text, step = values["prime"], values["step"]
        if len(text) > limits.TEXT:
            raise UsageError(
                f"The prompt has {len(text):,} characters; shorten it to {limits.TEXT:,}."
            )
        config = SampleConfig(**{k: values[k] for k in settings if values[k] is not None})
        if config.length > limits.LENGTH:
            raise UsageError(f"`length` must be at most {limits.LENGTH:,}, got {config.length:,}.")
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


class TextResponse(StreamingResponse):
    """JSON lines: seed and prompt, pieces `[text, nats]`, then `end` or `error`; drops a client that stops reading."""

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
    api = DigitAnswers(models) if isinstance(models.default, RowModel) else Api(models)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            api.close()

    return Starlette(
        routes=[
            Route("/", _file),
            Route("/page/{name}", _file),
            *(Route(f"/api/{name}", handler) for name, handler in api.gets.items()),
            *(Route(f"/api/{name}", post, methods=["POST"]) for name, post in api.posts.items()),
        ],
        middleware=[Middleware(Guard, host=host)],
        exception_handlers={RnntkError: _refusal},
        lifespan=lifespan,
    )


async def _file(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    if name not in pages.TYPES:
        return JSONResponse({"error": "File not found."}, 404)
    return Response(pages.read(name), media_type=pages.TYPES[name])


async def _refusal(_: Request, error: Exception) -> Response:
    status = (503, {"retry-after": "1"}) if isinstance(error, Busy) else (400,)
    return JSONResponse({"error": str(error)}, *status)


def _line(value: dict[str, Any]) -> str:
    return json_text(value, separators=(",", ":")) + "\n"
