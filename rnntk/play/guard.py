"""Middleware against requests to other host names (see `hosts`) and from other sites' pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from rnntk import hosts

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

HEADERS = {
    # No other origins, nothing inline, no framing.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware for a server at `host`: refuses foreign requests, adds `HEADERS` to every response."""

    def __init__(self, app: App, host: str) -> None:
        self._app = app
        self._names = hosts.Names(host)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if refused := self._refused(Headers(scope=scope), scope):
            await JSONResponse({"error": refused}, 403)(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refused(self, headers: Headers, scope: Any) -> str | None:
        host = headers.get("host", "")
        if host not in self._names:
            return f"Host {host!r} is refused. Open the address that rnntk play printed."
        own = f"{scope['scheme']}://{host}"
        linked = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site") and not linked
        if foreign or headers.get("origin", own) != own:
            return "Requests from other sites are refused."
        return None
