"""What the handlers of all pages share: facts, training, slow work in threads, and the reading of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


class Busy(RnntkError):
    """The server has too many requests at once; answered with status 503."""

    def __init__(self) -> None:
        super().__init__("The server is busy with other requests. Try again in a moment.")


class Answers:
    """Handlers of any model's page."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.curve = LossCurve(models.run)
        self._jobs = 0
        self._at_once: anyio.CapacityLimiter | None = None

    async def run(self, _: Request) -> Response:
        """Facts about the run, and the page's defaults and limits."""
        return await self.answer(self.models.describe)

    async def answer(self, work: Callable[[], dict[str, Any]]) -> Response:
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
        """End what runs in the background."""


async def asked(
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
