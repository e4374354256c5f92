"""The preprocessor `bytes`: every byte of a file is a symbol, U+0000 to U+00FF.

In text, undecodable bytes are lone surrogates U+DC80 to U+DCFF (`surrogateescape`, PEP 383), so any file can be
restored.
"""

from __future__ import annotations

import codecs
import re
from itertools import repeat

ALPHABET = "".join(map(chr, range(256)))

_ESCAPED = re.compile("[\udc80-\udcff]")
_NO_BYTES = re.compile("([^\x00-\xff]+)")


class Bytes:
    """Every byte of the text in UTF-8 is a symbol."""

    name = "bytes"
    version = 1
    raw = True  # read files as bytes, whatever their encoding
    alphabet = ALPHABET  # in every vocabulary, so that a model can read any file

    def encode(self, text: str) -> str:
        """The bytes of `text` in UTF-8, one symbol each; escaped bytes are restored."""
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # a lone surrogate that is not an escaped byte
            how = ("surrogateescape" if _ESCAPED.match(c) else "surrogatepass" for c in text)
            data = b"".join(map(str.encode, text, repeat("utf-8"), how))
        return data.decode("latin-1")

    def decode(self, symbols: str) -> str:
        """The text of these bytes; undecodable bytes become U+FFFD, symbols above U+00FF stay."""
        decoder = self.decoder()
        return decoder.feed(symbols) + decoder.flush()

    def decoder(self) -> _Decoder:
        """A decoder that holds back unfinished characters."""
        return _Decoder()


class _Decoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, symbols: str) -> str:
        # Parts at odd places are symbols above U+00FF, which end an unfinished character.
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
