"""The vocabulary: the symbols of a text (single characters) by descending count, ties by first appearance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rnntk import __version__, stored
from rnntk.errors import DataError, RunError, listed, named
from rnntk.installation import upgrade_advice

FORMAT_VERSION = 1
CODE_POINTS = 0x110000  # in Unicode


def refuse_newer(what: object, version: int, readable: int) -> None:
    """Raise `RunError` if a file format is newer than the newest `readable` one."""
    if version > readable:
        formats = f"format {version}; this rnntk {__version__} reads up to {readable}"
        raise RunError(f"{what} was written by a newer rnntk ({formats}). {upgrade_advice()}")


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of `text`, shape `(len(text),)`, read-only: `uint8` for ASCII, else `uint32`.

    >>> code_points("가").tolist()
    [44032]
    """
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def from_code_points(codes: NDArray[np.integer]) -> str:
    """The string of these code points, shape `(n,)`."""
    return str(np.ascontiguousarray(codes, "<u4").data, "utf-32-le", "surrogatepass")


def id_dtype(vocabulary_size: int) -> np.dtype:
    """The narrowest unsigned integer type that holds every id.

    >>> id_dtype(256), id_dtype(257)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.min_scalar_type(max(vocabulary_size - 1, 0)))


@dataclass(init=False, unsafe_hash=True)
class Vocabulary:
    """The symbols of a text in the order of their ids.

    >>> v = Vocabulary.from_counts({"b": 1, "a": 3, "n": 2})
    >>> v.symbols, v.encode("nab").tolist(), v.decode([0, 1])
    ('anb', [1, 0, 2], 'an')

    `symbols` must be distinct characters (else `DataError`); `unknown`, one of them, stands for all characters not
    listed.
    """

    symbols: str
    unknown_symbol: str | None

    def __init__(self, symbols: Iterable[str], *, unknown: str | None = None) -> None:
        listed = list(symbols)
        if not listed:
            raise DataError("The vocabulary is empty: the text has no symbols.")
        if any(len(s) != 1 for s in listed) or len(set(listed)) != len(listed):
            raise DataError("The symbols of a vocabulary must be distinct characters.")
        if unknown is not None and unknown not in listed:
            raise DataError(f"The unknown symbol {unknown!r} is not in the vocabulary.")
        self.symbols = "".join(listed)
        self.unknown_symbol = unknown

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], *, unknown: str | None = None) -> Vocabulary:
        """The vocabulary of symbols with their counts, in order of first appearance."""
        return cls(sorted(counts, key=lambda symbol: -counts[symbol]), unknown=unknown)

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._known

    @property
    def dtype(self) -> np.dtype:
        """The type of the ids: `uint8` up to 256 symbols, then `uint16`, `uint32`."""
        return id_dtype(len(self))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.symbols)

    @cached_property
    def _codes(self) -> NDArray[np.uint32]:
        return code_points(self.symbols).astype(np.uint32)

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """Id by code point, -1 for none; the last entry is for all greater code points."""
        table = np.full(int(self._codes.max()) + 2, -1, np.int64)
        if self.unknown_symbol is not None:
            table[:] = self.symbols.index(self.unknown_symbol)
        table[self._codes] = np.arange(len(self))
        return table

    def encode(self, symbols: str) -> NDArray[np.unsignedinteger]:
        """The ids of symbols, shape `(n,)`, of type `dtype`; `DataError` if one is not in the vocabulary."""
        codes = np.minimum(code_points(symbols), np.uint32(len(self._table) - 1))
        ids = self._table[codes]
        if ids.size and ids.min() < 0:
            missing = listed(named(self.unknown(symbols)))
            raise DataError(f"Not in the vocabulary of {len(self)} symbols: {missing}.")
        return ids.astype(self.dtype)

    def decode(self, ids: Iterable[int] | NDArray[np.integer]) -> str:
        """The symbols of these ids; `DataError` if an id is not in the vocabulary."""
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
        if array.size == 0:
            return ""
        if array.min() < 0 or array.max() >= len(self):
            span = f"{array.min()} to {array.max()}"
            raise DataError(f"Ids must be 0 to {len(self) - 1}, got {span}.")
        return from_code_points(self._codes[array])

    def unknown(self, symbols: str) -> list[str]:
        """The distinct characters of a string that are not in the vocabulary, in order of appearance."""
        return [s for s in dict.fromkeys(symbols) if s not in self._known]

    def to_json(self) -> str:
        """The vocabulary as JSON in ASCII."""
        content = {"symbols": list(self.symbols), "unknown": self.unknown_symbol}
        return json.dumps({"format_version": FORMAT_VERSION, **content})

    @classmethod
    def from_json(cls, text: str | bytes) -> Vocabulary:
        """Read what `to_json` wrote; `RunError` if it is from a newer rnntk, `DataError` if damaged."""
        try:
            content = stored.parse(text)
            stored.conform(content, {"format_version": int, "symbols": [str], "unknown?": str})
        except ValueError as error:
            raise DataError(f"The vocabulary is damaged ({error}).") from error
        refuse_newer("The vocabulary", content["format_version"], FORMAT_VERSION)
        return cls(content["symbols"], unknown=content.get("unknown"))
