"""Decodes generated symbols to text, piece by piece."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnntk.text.preprocessors import Plain, Preprocessor
from rnntk.text.vocabulary import Vocabulary


class Piece(NamedTuple):
    """A piece of text; its last symbols may belong to the next character, since some ends are only seen late."""

    text: str  # whole characters
    symbols: str  # generated since the previous piece
    nats: tuple[float, ...]  # their surprisal under the model's softmax; empty unless asked for
    stream: int  # index of its text


Block = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Symbols of each stream, and their surprisal in nats (no columns unless asked for): `(t, n)` each."""

_HELD = 8
"""Upper bound of symbols per character, and of the characters that a decoder holds back and gives at once."""


def most_symbols(codec: Preprocessor, length: int) -> int:
    """The most symbols generated for `length` characters; a model that generates no valid text ends there."""
    return length if isinstance(codec, Plain) else length * _HELD


def fewest_symbols(codec: Preprocessor, symbols: str, length: int) -> int:
    """The fewest symbols that must follow these for `length` characters; 0 if they are enough."""
    missing = length - len(codec.decoder().feed(symbols))
    return max(1, missing - _HELD) if missing > 0 else 0


class TextStream:
    """Decodes the symbols of one stream and watches for its end.

    Args:
        stream: its index.
        codec: decodes symbols.
        echo: symbols to yield first, such as the prompt.
        stop: the text ends after this string; None for no stop.
        length: the text ends after this many characters, not counting the echo. `ended` is true after an end.
    """

    def __init__(
        self, stream: int, codec: Preprocessor, echo: str, stop: str | None, length: int
    ) -> None:
        self.stop, self.ended = stop, length == 0
        self._left = length
        self._stream, self._decoder = stream, codec.decoder()
        self._echo = self._decoder.feed(echo)
        self._tail = ""  # end of the text, to find a stop that spans pieces
        self._symbols = ""
        self._nats: list[float] = []

    def begin(self) -> Iterator[Piece]:
        """Yield the echo, if any."""
        if self._echo:
            yield Piece(self._echo, "", (), self._stream)

    def add(self, symbols: str, nats: Sequence[float]) -> Piece | None:
        """Add symbols with their surprisal; return the text that is now complete, if any."""
        text = self._decoder.feed(symbols)
        self._symbols += symbols
        self._nats += nats
        return self._piece(text) if text else None

    def end(self) -> Iterator[Piece]:
        """Yield the text held back."""
        text = "" if self.ended else self._decoder.flush()
        if text or self._symbols:
            yield self._piece(text)

    def whole(self, symbols: str, nats: Sequence[float]) -> Iterator[Piece]:
        """Yield a whole text, echo included; without surprisal in few pieces."""
        yield from self.begin()
        start = 0
        while start < len(symbols) and not self.ended:
            end = start + (1 if nats else max(1, self._left - _HELD))
            if piece := self.add(symbols[start:end], nats[start:end]):
                yield piece
            start = end
        yield from self.end()

    def _piece(self, text: str) -> Piece:
        text = text[: self._left]
        if self.stop:
            text = self._until_stop(text, self.stop)
        self._left -= len(text)
        self.ended |= not self._left
        piece = Piece(text, self._symbols, tuple(self._nats), self._stream)
        self._symbols = ""
        self._nats.clear()
        return piece

    def _until_stop(self, text: str, stop: str) -> str:
        seen = self._tail + text
        place = seen.find(stop)
        if place >= 0:
            self.ended = True
            return text[: place + len(stop) - len(self._tail)]
        self._tail = seen[max(0, len(seen) - len(stop) + 1) :]
        return text


def assemble(
    blocks: Iterator[Block], vocabulary: Vocabulary, texts: Sequence[TextStream]
) -> Iterator[Piece]:
    """The pieces of the first text as its symbols arrive in `blocks`, then those of the other texts in order."""
    first, *others = texts
    # Without a stop, decode the others as a whole at the end: symbol by symbol takes longer than sampling.
    watched = texts if first.stop else texts[:1]
    counters = copy.deepcopy(texts[len(watched) :])  # see only where the texts end
    pieces: list[list[Piece]] = [[] for _ in texts]
    waiting: list[Block] = []
    yield from first.begin()
    for ids, nats in blocks:
        by_stream = [vocabulary.decode(column) for column in ids.T]
        for t, row in enumerate(nats):
            for k, text in enumerate(watched):
                if not text.ended:
                    piece = text.add(by_stream[k][t], (row.item(k),) if row.size else ())
                    if piece and k:
                        pieces[k].append(piece)
                    elif piece:
                        yield piece
        for counter, symbols in zip(counters, by_stream[1:], strict=False):
            counter.add(symbols, ())
        if counters:
            waiting.append((ids.astype(vocabulary.dtype), nats))
        if all(text.ended for text in (*watched, *counters)):
            break
    yield from first.end()
    if first.stop or not waiting:
        for k, text in enumerate(others, 1):
            yield from (*text.begin(), *pieces[k], *text.end())
        return
    later, later_nats = (np.concatenate(part) for part in zip(*waiting, strict=True))
    for k, text in enumerate(others, 1):
        own = later_nats[:, k].tolist() if later_nats.size else []
        yield from text.whole(vocabulary.decode(later[:, k]), own)
