"""Decodes generated symbols to text, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary


class Piece(NamedTuple):
    """A piece of text; its last symbols may belong to the next character, since some ends are only seen late."""

    text: str  # whole characters
    symbols: str  # generated since the previous piece
    nats: tuple[float, ...]  # their surprisal under the model's softmax; empty unless asked for
    stream: int  # index of its text


Row = tuple[NDArray[np.intp], NDArray[np.float64]]
"""One symbol of each stream, and its surprisal in nats (empty unless asked for): `(n,)` each."""


class TextStream:
    """Decodes the symbols of one stream and watches for its end.

    Args:
        stream: its index.
        codec: decodes symbols.
        echo: symbols to yield first, such as the prompt.
        stop: the text ends after this string; then `ended` is true.
    """

    def __init__(self, stream: int, codec: Preprocessor, echo: str, stop: str | None) -> None:
        self.stop, self.ended = stop, False
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
        """Yield a whole text, echo included; without surprisal as one piece."""
        yield from self.begin()
        by_symbol = [(s, [n]) for s, n in zip(symbols, nats, strict=False)]
        for part, own in by_symbol or [(symbols, [])]:
            if piece := self.add(part, own):
                yield piece
        yield from self.end()

    def _piece(self, text: str) -> Piece:
        if self.stop:
            text = self._until_stop(text, self.stop)
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
    rows: Iterator[Row], vocabulary: Vocabulary, texts: Sequence[TextStream]
) -> Iterator[Piece]:
    """The pieces of the first text as soon as its symbols arrive in `rows`, then those of the other texts in order."""
    symbols = vocabulary.symbols
    first, *others = texts
    # Without a stop, decode the others as a whole at the end: symbol by symbol takes longer than sampling.
    watched = texts if first.stop else texts[:1]
    pieces: list[list[Piece]] = [[] for _ in texts]
    waiting: list[Row] = []
    yield from first.begin()
    for ids, nats in rows:
        for k, text in enumerate(watched):
            if not text.ended:
                piece = text.add(symbols[ids.item(k)], (nats.item(k),) if nats.size else ())
                if piece and k:
                    pieces[k].append(piece)
                elif piece:
                    yield piece
        if len(watched) < len(texts):
            waiting.append((ids, nats))
        if first.stop and all(text.ended for text in texts):
            break
    yield from first.end()
    later = np.array([ids for ids, _ in waiting], np.intp).reshape(-1, len(texts))
    later_nats = np.array([nats for _, nats in waiting]).reshape(-1, len(texts))
    for k, text in enumerate(others, 1):
        if first.stop:
            yield from (*text.begin(), *pieces[k], *text.end())
        else:
            yield from text.whole(vocabulary.decode(later[:, k]), later_nats[:, k].tolist())
