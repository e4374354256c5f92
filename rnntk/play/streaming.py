"""Generate many texts at once: one thread continues each in turn.

A symbol takes tens of microseconds, mostly in Python, so more threads would only wait for the interpreter. New texts go
first until they have a character; texts whose client does not read are skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import numpy as np

from rnntk.config import SampleConfig
from rnntk.decoding.generate import Piece
from rnntk.decoding.language_model import EncodedText, LanguageModel

_SLICE_SECONDS = 0.002
_REST_SECONDS = 0.0002  # sleep between slices, or the event loop rarely gets the interpreter
_PROMPT_SLICE = 64  # symbols of a prompt per slice
_WAITING = 2048  # unread pieces per text, at most


def pieces(
    model: LanguageModel, prompt: EncodedText, config: SampleConfig, seed: int
) -> Iterator[Piece | None]:
    """Generate a text; yields None after each slice of the prompt, so that other texts continue."""
    states = model.decoder.initial_states(1)
    for start in range(0, len(prompt.ids), _PROMPT_SLICE):
        model.decoder.prime(prompt.ids[start : start + _PROMPT_SLICE], states)
        yield None
    yield from model.pieces(prompt, config, seed, surprisal=True, states=states)


class Stream:
    """A text being generated, read by the event loop that made it."""

    def __init__(self, source: Iterator[Piece | None], scheduler: Scheduler) -> None:
        self._source = source
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._waiting: list[Piece] = []
        self._ended = False
        self.fresh = True  # had no turn yet
        self.error: Exception | None = None  # ended it early

    async def take(self) -> list[Piece]:
        """All new pieces, after waiting for some; empty at the end."""
        await self._ready.wait()
        with self._scheduler.change:
            taken, self._waiting = self._waiting, []
            if not self._ended:
                self._ready.clear()
            self._scheduler.change.notify()
        return taken

    def close(self) -> None:
        with self._scheduler.change, contextlib.suppress(ValueError):  # closed before
            self._scheduler.streams.remove(self)

    @property
    def wants(self) -> bool:
        """Whether it has more to generate, and room for it."""
        return not self._ended and len(self._waiting) < _WAITING

    def advance(self) -> None:
        """Generate for `_SLICE_SECONDS`, in the scheduler's thread."""
        until = time.perf_counter() + _SLICE_SECONDS
        found: list[Piece] = []
        ended = False
        fresh, self.fresh = self.fresh, False
        try:
            for piece in self._source:
                if piece is not None:
                    found.append(piece)
                if (fresh and found) or time.perf_counter() > until:
                    break
            else:
                ended = True
        except Exception as error:  # the other texts continue
            ended, self.error = True, error
        with self._scheduler.change:
            first = not self._waiting
            self._waiting += found
            self._ended = ended
        if ended or (found and first):
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                self._loop.call_soon_threadsafe(self._ready.set)


class Scheduler:
    """A thread that generates up to `limit` texts; `change` guards `streams` and their pieces."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.streams: list[Stream] = []  # next in turn first
        self.change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="rnntk-play-sampler", daemon=True)
        self._thread.start()

    def start(self, source: Iterator[Piece | None]) -> Stream | None:
        """Start a text, which the caller must close; None if there are `limit` already."""
        with self.change:
            if len(self.streams) >= self.limit:
                return None
            stream = Stream(source, self)
            self.streams.append(stream)
            self.change.notify()
            return stream

    def close(self) -> None:
        with self.change:
            self._closed = True
            self.change.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        with np.errstate(all="ignore"):
            while stream := self._next():
                stream.advance()
                time.sleep(_REST_SECONDS)

    def _next(self) -> Stream | None:
        """The next text: a fresh one, else the one that waited longest; None once closed."""
        with self.change:
            self.change.wait_for(lambda: self._closed or any(s.wants for s in self.streams))
            if self._closed:
                return None
            wanting = [s for s in self.streams if s.wants]
            chosen = next((s for s in wanting if s.fresh), wanting[0])
            self.streams.remove(chosen)
            self.streams.append(chosen)
            return chosen
