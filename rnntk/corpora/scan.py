"""One pass over a file's bytes, in pieces: what detection needs to know of them."""

from __future__ import annotations

import codecs
import hashlib
import re

WINDOW = 1 << 16
"""Bytes to look at from the first that is not ASCII: an ASCII head would hide the rest."""

ASCII = bytes(range(128))
_NON_ASCII = re.compile(rb"[\x80-\xff]")
# How a seven-bit encoding may leave ASCII: ISO 2022, HZ, UTF-7. Apart, as each alone is found faster.
_SHIFTS = [re.compile(shift) for shift in (rb"\x1b\$", rb"~\{", rb"\+[A-Za-z0-9+/]{3,}-")]


class Scan:
    """The findings of one pass over the bytes.

    Attributes:
        head: the first bytes.
        window: bytes from the first word that is not ASCII.
        places: words around the first occurrence of each byte that the window lacks.
        shifted: bytes from the first possible shift of a seven-bit encoding.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = self.nuls = 0
        self.head, self.window, self.shifted = bytearray(), bytearray(), bytearray()
        self.places: list[bytes] = []
        self.first_nul: int | None = None
        self.utf8_failure: tuple[int, bytes] | None = None
        self._last = b""
        self._seen = ASCII
        self._sha = hashlib.sha256()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    @property
    def trailing_sub(self) -> bool:
        return self._last[-1:] == b"\x1a"

    def add(self, chunk: bytes) -> None:
        self._sha.update(chunk)
        self.head += chunk[: WINDOW - len(self.head)]
        if 0 in chunk:
            if self.first_nul is None:
                self.first_nul = self.size + chunk.index(0)
            self.nuls += chunk.count(0)
        if self.shifted:
            self.shifted += chunk[: WINDOW - len(self.shifted)]
        elif not self.window:
            starts = [found.start() for shift in _SHIFTS if (found := shift.search(chunk))]
            self.shifted += chunk[min(starts) :][:WINDOW] if starts else b""
        ascii_only = chunk.isascii()
        if self.utf8_failure is None and (not ascii_only or self._utf8.getstate()[0]):
            self._try_utf8(chunk, final=False)
        if self.window or not ascii_only:
            rest = self._fill_window(chunk)
            if self.utf8_failure and not ascii_only:
                self._add_places(rest)
        self.size += len(chunk)
        self._last = (self._last + chunk[-40:])[-40:]

    def _fill_window(self, chunk: bytes) -> bytes:
        """The bytes of the chunk that are beyond the window."""
        start = 0
        if not self.window and (found := _NON_ASCII.search(chunk)):
            start = found.start()
            before = (self._last + chunk[max(start - 40, 0) : start])[-40:]
            self.window += b"" if before[-1:].isspace() else b"".join(before.split()[-1:])
        room = max(WINDOW - len(self.window), 0)
        self.window += chunk[start : start + room]
        if room:
            self._seen = ASCII + bytes(set(self.window) - set(ASCII))
        return chunk[start + room :]

    def _add_places(self, beyond: bytes) -> None:
        for value in set(beyond.translate(None, self._seen)):
            at = beyond.index(value)
            # Whole words, as a character of several bytes must not be cut.
            start = max(beyond.rfind(space, 0, at) for space in (b"\n", b" ")) + 1
            words = beyond[max(start, at - 400) : at + 400].split()
            self.places.append(b" ".join(words[:-1] or words))
            self._seen += bytes([value])

    def finish(self) -> None:
        if self.utf8_failure is None:
            self._try_utf8(b"", final=True)

    def _try_utf8(self, chunk: bytes, final: bool) -> None:
        try:
            self._utf8.decode(chunk, final)
        except UnicodeDecodeError as error:
            offset = self.size + len(chunk) - len(error.object) + error.start
            self.utf8_failure = (offset, error.object[error.start : error.end])
