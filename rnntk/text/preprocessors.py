"""Preprocessors turn text into a string of symbols, and back.

Other packages add theirs to the entry-point group `rnntk.preprocessors`, under the name that `preprocessor` takes.
"""

from __future__ import annotations

import importlib
from itertools import chain
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rnntk.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

AUTO = "auto"  # `hangul` for a Korean text, else `plain`
GROUP = "rnntk.preprocessors"

# Also in pyproject.toml. Listed here so that no package can shadow them, and because reading entry points is slow.
OWN = {
    "plain": "rnntk.text.preprocessors:Plain",
    "ascii": "rnntk.text.preprocessors:Plain",
    "hangul": "rnntk.text.hangul:Hangul",
    "hangul-slides": "rnntk.text.hangul:HangulSlides",
    "bytes": "rnntk.text.bytewise:Bytes",
}


class StreamingDecoder(Protocol):
    """Decodes symbols piece by piece: all outputs of `feed` and `flush` joined are `decode` of the whole."""

    def feed(self, symbols: str) -> str:
        """The text that no later symbols can change."""

    def flush(self) -> str:
        """The text held back; then a new stream may begin."""


@runtime_checkable
class Preprocessor(Protocol):
    """Text to symbols and back, each character by itself: `encode(a + b) == encode(a) + encode(b)`.

    Optional: `raw = True` to get any file, decoded as UTF-8 with `surrogateescape`; `alphabet`, a string of symbols
    that every vocabulary contains.
    """

    name: str
    version: int  # to be raised when the same text gives other symbols; outdates prepared texts

    def encode(self, text: str) -> str:
        """The symbols of any text, as characters."""

    def decode(self, symbols: str) -> str:
        """The text of any symbols; never raises."""

    def decoder(self) -> StreamingDecoder:
        """A fresh streaming decoder."""


class Plain:
    """Every character is a symbol."""

    name = "plain"
    version = 1

    def encode(self, text: str) -> str:
        return text

    def decode(self, symbols: str) -> str:
        return symbols

    def decoder(self) -> StreamingDecoder:
        return _PlainDecoder()


class _PlainDecoder:
    def feed(self, symbols: str) -> str:
        return symbols

    def flush(self) -> str:
        return ""


def foreign(preprocessor: Preprocessor, symbols: str) -> str:
    """Those of `symbols` that the preprocessor makes of no text."""
    own = set(preprocessor.encode(symbols))
    rest = [symbol for symbol in symbols if symbol not in own]
    if rest:  # encode all of Unicode, which takes a second
        codes = [range(0xD800), range(0xE000, 0x110000)]
        if getattr(preprocessor, "raw", False):
            codes.append(range(0xDC80, 0xDD00))  # escaped bytes
        own |= set(preprocessor.encode("".join(map(chr, chain(*codes)))))
    return "".join(symbol for symbol in rest if symbol not in own)


def installed() -> dict[str, EntryPoint]:
    """Every installed preprocessor by name."""
    from importlib.metadata import EntryPoint, entry_points

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, value, GROUP) for name, value in OWN.items()}


def get(name: str) -> Preprocessor:
    """The preprocessor of this name; `UsageError` if it is not installed or does not load."""
    if name in OWN:
        module, _, kind = OWN[name].partition(":")
        own: Preprocessor = getattr(importlib.import_module(module), kind)()
        return own
    known = installed()
    if name not in known:
        hint = f"{did_you_mean(name, known)} Installed: {', '.join(sorted(known))}."
        raise UsageError(f"`preprocessor` {name!r} is not installed.{hint}")
    entry = known[name]
    what = f"The preprocessor {name!r} ({entry.value})"
    advice = "Fix or uninstall its package, or choose another `preprocessor`."
    try:
        preprocessor = entry.load()()
    except Exception as error:
        why = f"does not load: {type(error).__name__}: {error}"
        raise UsageError(f"{what} {why}. {advice}") from error
    if not isinstance(preprocessor, Preprocessor):
        missing = "lacks some of name, version, encode, decode and decoder"
        raise UsageError(f"{what} {missing}. {advice}")
    return preprocessor
