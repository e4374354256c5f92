"""Shared by the handlers of all pages: slow work in threads, and checked requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rnntk import stored
from rnntk.errors import RnntkError, UsageError
from rnntk.play import limits
from rnntk.play.models import Models
from rnntk.play.progress import LossCurve

Values = dict[str, Any]  # of a JSON object
Handler = Callable[[Request], Awaitable[Response]]


class Busy(RnntkError):
    """Too many requests at once; answered with status 503."""

    def __init__(self) -> None:
        super().__init__("The server is busy. Try again in a moment.")


class Answers:
    """Handlers of a page's requests by name: `gets` and `posts`."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.curve = LossCurve(models.run)
        self.gets: dict[str, Handler] = {"run": self.get(models.describe)}
        self.posts: dict[str, Handler] = {}
        self._jobs = 0
        self._at_once: anyio.CapacityLimiter | None = None

    def training(self) -> Values:
        """The loss curve, and `checkpoints`, the steps to choose from, as JSON."""
        return {**self.curve.look(), "checkpoints": self.models.steps()}

    def get(self, work: Callable[[], Values]) -> Handler:
        """A handler that answers with the result of `work`."""

        async def handler(_: Request) -> Response:
            return await self.answer(work)

        return handler

    def post(self, work: Callable[[Values], Values], /, **needed: type) -> Handler:
        """A handler that calls `work` with the checked values of a request; `quantity` and `step` may be None."""

        async def handler(request: Request) -> Response:
            values = await asked(request, needed, {"quantity": str})
            return await self.answer(lambda: work(values))

        return handler

    async def answer(self, work: Callable[[], Values]) -> Response:
        """Do slow work in a thread, two at a time, so that the event loop never waits."""
        if self._jobs >= limits.JOBS:
            raise Busy
        self._at_once = self._at_once or anyio.CapacityLimiter(2)
        self._jobs += 1
        try:
            return await to_thread.run_sync(lambda: JSONResponse(work()), limiter=self._at_once)
        finally:
            self._jobs -= 1

    def close(self) -> None:
        """Stop background work."""


async def asked(
    request: Request, needed: Mapping[str, type], optional: Mapping[str, type]
) -> Values:
    """Type-checked values of a request's JSON object; None for a missing `optional` one or `step`."""
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
        raise UsageError("The request must be a JSON object.")
    values: Values = {}
    for name, kind in {**optional, **needed, "step": int}.items():
        value = values[name] = found.get(name)
        if value is None and name in needed:
            raise UsageError(f"The request lacks {name!r}.")
        if value is not None and kind is not object and type(value) is not kind:
            raise UsageError(f"{name!r} must be of type {kind.__name__}.")
    if any("\ud800" <= c <= "\udfff" for v in values.values() if isinstance(v, str) for c in v):
        raise UsageError("The text contains an unpaired surrogate. Remove it.")
    return values
