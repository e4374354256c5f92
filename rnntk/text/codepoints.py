"""Strings as arrays of code points, and back: what makes the text stage fast.

Lone surrogates pass both ways. They cannot come out of a file, but a Python string may hold them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CODE_POINTS = 0x110000
"""How many code points Unicode has."""


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of `text`, shape `(len(text),)`, read-only.

    ASCII text gives `uint8` (a quarter of the memory traffic), any other `uint32`.

    >>> code_points("가").tolist()
    [44032]
    """
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def from_code_points(codes: NDArray[np.integer]) -> str:
    """The string of these code points, shape `(n,)`.

    >>> from_code_points(np.array([0xAC00, 0x41]))
    '가A'
    """
    return str(np.ascontiguousarray(codes, "<u4").data, "utf-32-le", "surrogatepass")
