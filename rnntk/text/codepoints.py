"""Strings as arrays of code points, and back; lone surrogates, which a Python string may hold, pass both ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CODE_POINTS = 0x110000  # in Unicode


def code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """The code points of `text`, shape `(len(text),)`: `uint8` if it is ASCII, else `uint32`; read-only.

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
