"""The preprocessor `bytes`: every byte of the file is a symbol, whatever the file holds.

Symbols are the characters U+0000 to U+00FF, one for each value of a byte. The text of a file is its bytes read as
UTF-8, where a byte that is not UTF-8 stands as a lone surrogate, U+DC80 to U+DCFF (Python's `surrogateescape`,
PEP 383). So the bytes of any file come back exactly, and a character is what it is in UTF-8, or one odd byte.
"""

from __future__ import annotations

import codecs
import re

ALPHABET = "".join(map(chr, range(256)))

_ESCAPED = re.compile("[\udc80-\udcff]")
_NO_BYTES = re.compile("([^\x00-\xff]+)")


class Bytes:
    """Every byte is a symbol; text is UTF-8.

    Attributes:
        raw: files are read as bytes: nothing is detected, refused or replaced.
        alphabet: symbols that every vocabulary has, so that a model can read any file.
    """

    name = "bytes"
    version = 1
    raw = True
    alphabet = ALPHABET

    def encode(self, text: str) -> str:
        """The bytes of `text` as UTF-8, one symbol each; a byte that stood as a surrogate is itself again."""
        try:
            data = text.encode("utf-8", "surrogateescape")
        except (
            UnicodeEncodeError
        ):  # a surrogate that stands for no byte: no file has one, but a string may
            data = b"".join(
                c.encode("utf-8", "surrogateescape" if _ESCAPED.match(c) else "surrogatepass")
                for c in text
            )
        return data.decode("latin-1")

    def decode(self, symbols: str) -> str:
        """The text of these bytes; each that is not UTF-8 gives one U+FFFD, each symbol that is no byte itself."""
        decoder = self.decoder()
        return decoder.feed(symbols) + decoder.flush()

    def decoder(self) -> _Decoder:
        """A decoder that holds back the bytes of a character until it is whole."""
        return _Decoder()


class _Decoder:
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, symbols: str) -> str:
        # What is no byte stands at the odd places. It ends a character.
        parts = _NO_BYTES.split(symbols)
        texts = []
        for i, part in enumerate(parts):
            if i % 2:
                texts.append(self._shown(b"", final=True) + part)
            else:
                texts.append(self._shown(part.encode("latin-1")))
        return "".join(texts)

    def flush(self) -> str:
        return self._shown(b"", final=True)

    def _shown(self, data: bytes, *, final: bool = False) -> str:
        text = self._utf8.decode(data, final)
        if final:
            self._utf8.reset()
        return text if text.isascii() else _ESCAPED.sub("\ufffd", text)
