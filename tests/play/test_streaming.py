"""Many texts at once: the right text, a place for each, no one waits for another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from rnntk.config import SampleConfig
from rnntk.decoding.generate import Piece
from rnntk.errors import RunError
from rnntk.play import streaming
from rnntk.play.models import Models
from rnntk.play.streaming import Scheduler, Stream


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    found = Scheduler(4)
    yield found
    found.close()


async def drained(stream: Stream) -> str:
    text = ""
    while pieces := await stream.take():
        text += "".join(piece.text for piece in pieces)
    return text


def forever() -> Iterator[Piece]:
    while True:
        time.sleep(0)
        yield Piece("x", "x", (0.0,), 0)


def test_the_text_is_that_of_sample(scheduler: Scheduler, korean: Models) -> None:
    """Also if the prompt is longer than a slice."""
    model = korean.get()
    prime = "각시가 말했다. " * 20

    async def run() -> list[str]:
        streams = []
        for seed in range(4):
            source = streaming.pieces(model, model.prompt(prime), SampleConfig(length=200), seed)
            stream = scheduler.start(source)
            assert stream is not None
            streams.append(stream)
        return await asyncio.gather(*map(drained, streams))

    expected = ["".join(model.stream(prime, seed=seed, length=200)) for seed in range(4)]
    assert asyncio.run(run()) == expected


def test_a_place_is_free_when_a_text_is_closed(scheduler: Scheduler) -> None:
    async def run() -> None:
        streams = [scheduler.start(forever()) for _ in range(4)]
        assert None not in streams
        assert scheduler.start(forever()) is None
        assert streams[0] is not None
        streams[0].close()
        streams[0].close()
        assert len(scheduler.streams) == 3
        assert scheduler.start(forever()) is not None

    asyncio.run(run())


def test_nobody_waits_for_a_client_that_takes_nothing(scheduler: Scheduler) -> None:
    """The idle text stops when its buffer is full; the other continues."""

    async def run() -> tuple[int, int]:
        idle, busy = scheduler.start(forever()), scheduler.start(forever())
        assert idle is not None
        assert busy is not None
        taken = 0
        while taken < 20_000:
            taken += len(await busy.take())
        waited = len(idle._waiting)
        more = len(await idle.take())
        assert more == waited
        assert await idle.take()  # it is generated again now
        return waited, taken

    waited, taken = asyncio.run(run())
    assert taken >= 20_000
    assert streaming._WAITING <= waited < streaming._WAITING + 5_000


def test_an_error_ends_only_its_own_text(scheduler: Scheduler) -> None:
    def broken() -> Iterator[Piece]:
        yield Piece("a", "a", (0.0,), 0)
        raise RunError("the run is damaged")

    async def run() -> tuple[str, Exception | None]:
        bad, good = scheduler.start(broken()), scheduler.start(forever())
        assert bad is not None
        assert good is not None
        text = await drained(bad)
        assert await good.take()
        return text, bad.error

    text, error = asyncio.run(run())
    assert text == "a"
    assert str(error) == "the run is damaged"


def test_a_text_of_no_length_ends(scheduler: Scheduler, plain: Models) -> None:
    model = plain.get()

    async def run() -> str:
        source = streaming.pieces(model, model.prompt("int"), SampleConfig(length=0), 0)
        stream = scheduler.start(source)
        assert stream is not None
        return await asyncio.wait_for(drained(stream), 10)

    assert asyncio.run(run()) == ""
