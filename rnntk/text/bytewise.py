"""The preprocessor `bytes`: every byte of a file is a symbol, U+0000 to U+00FF.

Text is UTF-8; a byte that is not UTF-8 is a lone surrogate, U+DC80 to U+DCFF (`surrogateescape`, PEP 383), so the bytes
of any file are recovered exactly.
"""

from __future__ import annotations

import codecs
import re

ALPHABET = "".join(map(chr, range(256)))

_ESCAPED = re.compile("[\udc80-\udcff]")
_NO_BYTES = re.compile("([^\x00-\xff]+)")


class Bytes:
    """Every byte is a symbol; text is UTF-8."""

    name = "bytes"
    version = 1
    raw = True  # files are read as bytes: nothing is detected, refused or replaced
    alphabet = ALPHABET  # in every vocabulary, so that a model can read any file

    def encode(self, text: str) -> str:
        """The bytes of `text` in UTF-8, one symbol each; an escaped byte becomes itself again."""
        try:
            data = text.encode("utf-8", "surrogateescape")
        except (
            UnicodeEncodeError
        ):  # a surrogate that is no escaped byte, as a Python string may hold
            data = b"".join(
                c.encode("utf-8", "surrogateescape" if _ESCAPED.match(c) else "surrogatepass")
                for c in text
            )
        return data.decode("latin-1")

    def decode(self, symbols: str) -> str:
        """The text of these bytes; a byte that is not UTF-8 gives U+FFFD, a symbol above U+00FF itself."""
        decoder = self.decoder()
        return decoder.feed(symbols) + decoder.flush()

    def decoder(self) -> _Decoder:
        """A decoder that holds back the bytes of an unfinished character."""
        return _Decoder()


class _Decoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, symbols: str) -> str:
        # Symbols that are no bytes are at the odd places. They end a character.
        return "".join(
            self._shown(b"", final=True) + part if i % 2 else self._shown(part.encode("latin-1"))
            for i, part in enumerate(_NO_BYTES.split(symbols))
        )

    def flush(self) -> str:
        return self._shown(b"", final=True)

    def _shown(self, data: bytes, *, final: bool = False) -> str:
        text = self._utf8.decode(data, final)
        if final:
            self._utf8.reset()
        return text if text.isascii() else _ESCAPED.sub("\ufffd", text)
