"""How text becomes a string of symbols, and back.

A preprocessor is any object with the members of `Preprocessor`. Another package adds its own
through the entry-point group `rnntk.preprocessors`; its name there is what `--preprocessor` takes.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable

from rnntk.errors import UsageError, nearest

GROUP = "rnntk.preprocessors"


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
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if entry.name not in found or entry.value.startswith("rnntk."):
            found[entry.name] = entry
    return found


def names() -> list[str]:
    """The names `get` takes, sorted."""
    return sorted(_installed())


def get(name: str) -> Preprocessor:
    """The preprocessor of this name.

    Raises:
        UsageError: there is none (the message lists them, and the nearest), or the package that
            brings it does not load.
    """
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
