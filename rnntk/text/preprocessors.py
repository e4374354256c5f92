"""How text becomes a string of symbols, and back.

A preprocessor is any object with the members of `Preprocessor`. Another package adds its own
through the entry-point group `rnntk.preprocessors`; its name there is what `--preprocessor` takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rnntk.errors import UsageError, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "rnntk.preprocessors"

# The same as in pyproject.toml. Looking through the metadata of every installed package takes longer
# than drawing a text does, and no package may shadow these.
OWN = {
    "plain": "rnntk.text.preprocessors:Plain",
    "ascii": "rnntk.text.preprocessors:Plain",
    "hangul": "rnntk.text.hangul:Hangul",
    "hangul-slides": "rnntk.text.hangul:HangulSlides",
    "bytes": "rnntk.text.bytewise:Bytes",
}


class StreamingDecoder(Protocol):
    """Turns symbols that come little by little into text, without ever taking a character back.

    All that `feed` and the last `flush` gave, one after the other, is `decode` of all that was fed.
    """

    def feed(self, symbols: str) -> str:
        """The text that is certain now, whatever comes next; what is not yet is held back."""

    def flush(self) -> str:
        """What was held back: the end makes it certain. A new stream may follow."""


@runtime_checkable
class Preprocessor(Protocol):
    """Text to symbols and back.

    The law every preprocessor keeps: `encode(a + b) == encode(a) + encode(b)` for any cut, so that
    a text larger than memory can be encoded piece by piece.

    Attributes:
        name: what `--preprocessor` calls it.
        version: raised when the same text would give other symbols, so that no stale data is used.

    It may have two more: `raw = True`, when files are not to be decoded but given as their bytes in UTF-8 with
    `surrogateescape`, and `alphabet`, a string of symbols that every vocabulary has, met in the text or not.
    """

    name: str
    version: int

    def encode(self, text: str) -> str:
        """The symbols of a text, one character each. Takes any string."""

    def decode(self, symbols: str) -> str:
        """The text of these symbols. Total: takes any string, never raises."""

    def decoder(self) -> StreamingDecoder:
        """A fresh streaming decoder."""


class Plain:
    """Every character is a symbol."""

    name = "plain"
    version = 1

    def encode(self, text: str) -> str:
        """`text` itself."""
        return text

    def decode(self, symbols: str) -> str:
        """`symbols` themselves."""
        return symbols

    def decoder(self) -> StreamingDecoder:
        """A decoder that holds nothing back."""
        return _PlainDecoder()


class _PlainDecoder:
    def feed(self, symbols: str) -> str:
        return symbols

    def flush(self) -> str:
        return ""


def _installed() -> dict[str, EntryPoint]:
    """Every installed preprocessor by name. No package can shadow one of rnntk's own."""
    from importlib.metadata import EntryPoint, entry_points

    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, value, GROUP) for name, value in OWN.items()}


def names() -> list[str]:
    """The names `get` takes, sorted."""
    return sorted(_installed())


def get(name: str) -> Preprocessor:
    """The preprocessor of this name.

    Raises:
        UsageError: there is none (the message lists them, and the nearest), or the package that
            brings it does not load.
    """
    if name in OWN:
        module, _, kind = OWN[name].partition(":")
        own: Preprocessor = getattr(importlib.import_module(module), kind)()
        return own
    installed = _installed()
    if name not in installed:
        guess = nearest(name, installed)
        raise UsageError(
            f"There is no preprocessor {name!r} (--preprocessor)."
            + (f" Did you mean {guess!r}?" if guess else "")
            + f" Installed: {', '.join(sorted(installed))}."
        )
    entry = installed[name]
    try:
        preprocessor = entry.load()()
    except Exception as error:
        raise UsageError(
            f"The preprocessor {name!r} ({entry.value}) does not load:"
            f" {type(error).__name__}: {error}."
            " Mend or uninstall the package that brings it, or choose another with --preprocessor."
        ) from error
    if not isinstance(preprocessor, Preprocessor):
        raise UsageError(
            f"The preprocessor {name!r} ({entry.value}) lacks some of name, version, encode, decode"
            " and decoder. Mend the package that brings it, or choose another with --preprocessor."
        )
    return preprocessor
