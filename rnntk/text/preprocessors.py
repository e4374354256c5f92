"""How text becomes a string of symbols, and back.

A preprocessor is any object with the members of `Preprocessor`. Another package adds its own by the entry-point group
`rnntk.preprocessors`; its name there is the value of the setting `preprocessor`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rnntk.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rnntk.preprocessors"

# As in pyproject.toml. Reading the metadata of all installed packages would take longer than sampling a text,
# and no package may shadow these.
OWN = {
    "plain": "rnntk.text.preprocessors:Plain",
    "ascii": "rnntk.text.preprocessors:Plain",
    "hangul": "rnntk.text.hangul:Hangul",
    "hangul-slides": "rnntk.text.hangul:HangulSlides",
    "bytes": "rnntk.text.bytewise:Bytes",
}


class StreamingDecoder(Protocol):
    """Turns symbols that come little by little into text.

    The outputs of `feed` and of the last `flush` joined are `decode` of all that was fed.
    """

    def feed(self, symbols: str) -> str:
        """The text that is certain, whatever comes next."""

    def flush(self) -> str:
        """The text held back. A new stream may follow."""


@runtime_checkable
class Preprocessor(Protocol):
    """Text to symbols and back.

    It encodes each character alone: `encode(a + b) == encode(a) + encode(b)` for any cut, so that a text larger than
    memory can be encoded piece by piece.

    It may have two more members: `raw = True`, to get files as their bytes in UTF-8 with `surrogateescape`, and
    `alphabet`, a string of symbols that every vocabulary has, even if the text lacks them.
    """

    name: str  # for `--preprocessor`
    version: int  # raised when the same text gives other symbols, so that no stale data is used

    def encode(self, text: str) -> str:
        """The symbols of any text, one character each."""

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


def installed() -> dict[str, EntryPoint]:
    """Every installed preprocessor by name; rnntk's own cannot be shadowed."""
    from importlib.metadata import EntryPoint, entry_points

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, value, GROUP) for name, value in OWN.items()}


def get(name: str) -> Preprocessor:
    """The preprocessor of this name. Raises `UsageError` if there is none, or it does not load."""
    if name in OWN:
        module, _, kind = OWN[name].partition(":")
        own: Preprocessor = getattr(importlib.import_module(module), kind)()
        return own
    known = installed()
    if name not in known:
        raise UsageError(
            f"`preprocessor` {name!r} is not installed.{did_you_mean(name, known)}"
            f" Installed: {', '.join(sorted(known))}."
        )
    entry = known[name]
    try:
        preprocessor = entry.load()()
    except Exception as error:
        raise UsageError(
            f"The preprocessor {name!r} ({entry.value}) does not load:"
            f" {type(error).__name__}: {error}."
            " Mend or uninstall the package that brings it, or choose another `preprocessor`."
        ) from error
    if not isinstance(preprocessor, Preprocessor):
        raise UsageError(
            f"The preprocessor {name!r} ({entry.value}) lacks some of name, version, encode, decode"
            " and decoder. Mend the package that brings it, or choose another `preprocessor`."
        )
    return preprocessor
