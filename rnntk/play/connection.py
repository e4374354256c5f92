"""Connections that time out for slow clients, which uvicorn lacks."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from rnntk.play import limits


class Connection(H11Protocol):
    """Closes after `limits.SECONDS` without a complete request, or without progress of a response."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self, before: tuple[Any, int] | None) -> None:
        now = None
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            now = (self.cycle, 0)
        elif self.flow.write_paused:
            now = (self.cycle, self.transport.get_write_buffer_size())
        if now is not None and now == before:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(limits.SECONDS, self._watch, now)
