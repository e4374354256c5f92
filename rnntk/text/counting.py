"""Counting symbols and writing ids in one pass, before the vocabulary is known.

Ids are first given in order of first appearance. When all is counted, they are renumbered by
descending count. Memory does not grow with the text: a few tables over all code points.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rnntk.text.codepoints import CODE_POINTS, code_points, from_code_points
from rnntk.text.vocabulary import Vocabulary, id_dtype

_IDS_AT_A_TIME = 1 << 20


class Counter:
    """How often each code point occurs, a text at a time."""

    def __init__(self) -> None:
        self.counts = np.zeros(CODE_POINTS, np.int64)

    def add(self, codes: NDArray[np.unsignedinteger]) -> NDArray[np.intp]:
        """Count the codes, shape `(n,)`; returns the counts of these alone, up to the greatest."""
        counted = np.bincount(codes)
        self.counts[: len(counted)] += counted
        return counted

    def occurring(self) -> dict[str, int]:
        """The characters that occur, in order of code point, and how often each does."""
        codes = np.flatnonzero(self.counts)
        return dict(zip(from_code_points(codes), self.counts[codes].tolist(), strict=True))


class SymbolWriter:
    """Counts the symbols of a text and writes their provisional ids.

    Args:
        path: the file for the provisional ids.
    """

    def __init__(self, path: Path) -> None:
        self.counter = Counter()
        self.length = 0
        self._path = path
        self._file: BinaryIO = path.open("wb")
        self._order: list[int] = []
        self._table = np.zeros(CODE_POINTS, np.uint8)
        # The ids so far are of this width: wider ones may follow narrower ones in the same file.
        self._segments: list[tuple[np.dtype, int]] = []

    def add(self, symbols: str) -> None:
        """Count and write these symbols."""
        codes = code_points(symbols)
        seen = self.counter.counts[: int(codes.max(initial=0)) + 1] > 0
        counted = self.counter.add(codes)
        new = np.flatnonzero((counted > 0) & ~seen)
        if new.size:
            self._number(new, codes)
        ids = _look_up(self._table, codes)
        if not self._segments or self._segments[-1][0] != self._table.dtype:
            self._segments.append((self._table.dtype, 0))
        dtype, count = self._segments[-1]
        self._segments[-1] = (dtype, count + len(codes))
        self._file.write(ids)
        self.length += len(codes)

    def _number(self, new: NDArray[np.intp], codes: NDArray[np.unsignedinteger]) -> None:
        """Give the next ids to new symbols, in order of first appearance."""
        is_new = np.zeros(int(new[-1]) + 2, bool)
        is_new[new] = True
        appearing = codes[is_new[np.minimum(codes, len(is_new) - 1)]]
        ordered = list(dict.fromkeys(appearing.tolist()))
        first = len(self._order)
        self._order += ordered
        dtype = id_dtype(len(self._order))
        if dtype != self._table.dtype:
            self._table = self._table.astype(dtype)
        self._table[ordered] = np.arange(first, len(self._order), dtype=dtype)

    def counts(self) -> dict[str, int]:
        """The symbols in order of first appearance, and how often each occurs."""
        counts = self.counter.counts[self._order].tolist()
        return dict(zip(map(chr, self._order), counts, strict=True))

    def close(self) -> None:
        """End the file of provisional ids."""
        self._file.close()

    def renumber(self, vocabulary: Vocabulary, path: Path) -> None:
        """Write the ids of `vocabulary` to `path`, flat and little-endian. Call `close` before."""
        order = "".join(map(chr, self._order))
        final = vocabulary.encode(order).astype(vocabulary.dtype.newbyteorder("<"))
        with self._path.open("rb") as source, path.open("wb") as target:
            for dtype, count in self._segments:
                while count:
                    part = np.fromfile(source, dtype, min(count, _IDS_AT_A_TIME))
                    target.write(_look_up(final, part))
                    count -= len(part)


def _look_up(
    table: NDArray[np.unsignedinteger], indices: NDArray[np.unsignedinteger]
) -> bytes | memoryview:
    """`table[indices]` as bytes; where both are single bytes, several times faster."""
    if table.dtype.itemsize == 1 and indices.dtype == np.uint8:
        small = np.zeros(256, np.uint8)
        small[: min(len(table), 256)] = table[:256]
        return indices.tobytes().translate(small.tobytes())
    return table[indices].data
