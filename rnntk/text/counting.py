"""Count symbols and write ids in one pass, in bounded memory.

Each distinct character is encoded once; the rest is array look-ups from code points to ids. The first ids are by order
of appearance; they are renumbered by descending count once the vocabulary is known.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rnntk.errors import UsageError
from rnntk.files import rename
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import CODE_POINTS, Vocabulary, code_points, from_code_points, id_dtype

PIECE = 1 << 14  # characters between two rows of the index

_IDS_AT_A_TIME = 1 << 20
_SAMPLE = 10_000  # characters that the preprocessor is checked on


class SymbolWriter:
    """Counts a text's characters and symbols, and writes provisional ids to the file `path`."""

    def __init__(self, path: Path, preprocessor: Preprocessor) -> None:
        # Numbers of symbols and of characters before each piece and at the end, alternating.
        self.index = array("Q", (0, 0))
        self._preprocessor = preprocessor
        self._path = path
        self._file: BinaryIO = path.open("wb")
        self._characters = np.zeros(CODE_POINTS, np.int64)  # counts by code point
        self._encoded: dict[str, str] = {}  # the symbols of each character
        self._symbols: dict[str, int] = {}  # provisional ids
        # By code point: ids of the character's symbols, padded, and a mask of those used.
        self._ids = np.zeros((256, 1), np.uint8)
        self._used: NDArray[np.bool_] = np.zeros((256, 1), bool)
        # Type and number of the ids written; they grow wider as symbols appear.
        self._segments: list[tuple[np.dtype, int]] = []

    @property
    def one_to_one(self) -> bool:
        """Whether every character so far is one symbol."""
        return all(len(symbols) == 1 for symbols in self._encoded.values())

    def add(self, text: str) -> None:
        """Count and write a piece; `UsageError` if the preprocessor depends on context."""
        sample, encode = text[:_SAMPLE], self._preprocessor.encode
        if not self._encoded and encode(sample) != "".join(map(encode, sample)):
            raise UsageError(
                f"`preprocessor` {self._preprocessor.name!r} must encode each character by itself. Choose another."
            )
        codes = code_points(text)
        counted = histogram(codes)
        new = np.flatnonzero((counted > 0) & (self._characters[: len(counted)] == 0))
        self._characters[: len(counted)] += counted
        if new.size:
            self._learn(_by_first_appearance(new, codes))
        lengths = None
        if self.one_to_one:
            ids = _look_up(self._ids[:, 0], codes)
        else:
            # `take` and `compress` are several times as fast as indexing.
            side_by_side = self._ids.take(codes, axis=0).ravel()
            ids = np.compress(self._used.take(codes, axis=0).ravel(), side_by_side).data
            lengths = self._used.sum(axis=1).take(codes)
        before = self.index[-2]
        for start in range(0, len(codes), PIECE):
            count = min(PIECE, len(codes) - start)
            symbols = count if lengths is None else int(lengths[start : start + count].sum())
            self.index.extend((self.index[-2] + symbols, self.index[-1] + count))
        if not self._segments or self._segments[-1][0] != self._ids.dtype:
            self._segments.append((self._ids.dtype, 0))
        dtype, written = self._segments[-1]
        self._segments[-1] = (dtype, written + self.index[-2] - before)
        self._file.write(ids)

    def _learn(self, characters: str) -> None:
        """Encode new characters and give their new symbols the next ids."""
        new = {character: self._preprocessor.encode(character) for character in characters}
        self._encoded |= new
        for symbol in "".join(new.values()):
            self._symbols.setdefault(symbol, len(self._symbols))
        rows = max(len(self._ids), max(map(ord, new)) + 1)
        width = max(self._ids.shape[1], *map(len, new.values()))
        grown = [(0, rows - len(self._ids)), (0, width - self._ids.shape[1])]
        self._used = np.pad(self._used, grown)
        self._ids = np.pad(self._ids.astype(id_dtype(len(self._symbols))), grown)
        for character, symbols in new.items():
            row = ord(character), slice(len(symbols))
            self._ids[row] = [self._symbols[symbol] for symbol in symbols]
            self._used[row] = True

    def characters(self) -> dict[str, int]:
        """Count of each character, in order of first appearance."""
        return {c: int(self._characters[ord(c)]) for c in self._encoded}

    def symbols(self) -> dict[str, int]:
        """Count of each symbol, in order of first appearance."""
        counts = dict.fromkeys(self._symbols, 0)
        for character, count in self.characters().items():
            for symbol in self._encoded[character]:
                counts[symbol] += count
        return counts

    def close(self) -> None:
        self._file.close()

    def renumber(self, vocabulary: Vocabulary, path: Path) -> None:
        """Replace the closed file of provisional ids by final ids at `path`, flat and little-endian."""
        final = vocabulary.encode("".join(self._symbols))
        final = final.astype(vocabulary.dtype.newbyteorder("<"))
        if any(dtype != final.dtype for dtype, _ in self._segments):
            path.touch()
        else:
            # Ids of the same width are overwritten in place, which halves disk writes.
            rename(self._path, path)
        source_path = self._path if self._path.exists() else path
        with source_path.open("rb") as source, path.open("r+b") as target:
            for dtype, count in self._segments:
                while count:
                    part = np.fromfile(source, dtype, min(count, _IDS_AT_A_TIME))
                    target.write(_look_up(final, part))
                    count -= len(part)
        self._path.unlink(missing_ok=True)


def histogram(codes: NDArray[np.unsignedinteger]) -> NDArray[np.intp]:
    """Counts of the values `0..max` in `codes` `(n,)`, shape `(max + 1,)`; for bytes `(256,)`."""
    if codes.dtype != np.uint8:
        return np.bincount(codes)
    # Counting pairs of bytes halves the work.
    even = len(codes) // 2 * 2
    pairs = np.bincount(codes[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    counted = pairs.sum(axis=0) + pairs.sum(axis=1)
    if even < len(codes):
        counted[codes[-1]] += 1
    return counted


def _by_first_appearance(new: NDArray[np.intp], codes: NDArray[np.unsignedinteger]) -> str:
    # Assigned backwards, so that the first place of each character is the one that stays.
    places = np.zeros(int(codes.max()) + 1, np.int64)
    places[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return from_code_points(new[np.argsort(places[new])])


def _look_up(
    table: NDArray[np.unsignedinteger], indices: NDArray[np.unsignedinteger]
) -> bytes | memoryview:
    """The bytes of `table[indices]`; `bytes.translate` is several times as fast as `take`."""
    if table.dtype.itemsize == 1 and indices.dtype == np.uint8:
        small = np.zeros(256, np.uint8)
        small[: min(len(table), 256)] = table[:256]
        return indices.tobytes().translate(small.tobytes())
    return table.take(indices).data
