"""Pickles of plain data, read without running any code in them.

A pickle is a program, so there are two checks: every opcode must build a container, string or number, and the unpickler
looks up no names, so that nothing can be called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any, NoReturn

from rnntk.errors import DataError

# More than a vocabulary of all of Unicode.
_MOST_BYTES = 1 << 25

_PLAIN = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS
    PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    """.split()  # noqa: SIM905
)
_ESCAPED = re.compile(rb"\\x[89a-f][0-9a-f]")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside it")


def load(path: Path, *, encoding: str = "ASCII") -> Any:
    """The content of a pickle of tuples, lists, dicts, strings and integers, from Python 2 or 3.

    Args:
        path: the file.
        encoding: of Python 2's byte strings; `latin-1` makes characters of the same values, U+0000 to U+00FF.

    Raises:
        DataError: the file is missing, damaged, or holds anything else; none of it has run.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MOST_BYTES else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    if size > _MOST_BYTES:
        raise DataError(
            f"{path} has {size:,} bytes; a vocabulary is never that large. Give another file with `vocab`."
        )
    try:
        # pickletools reads only ASCII in Python 2's repr of a byte string; the length stays.
        for opcode, argument, _ in pickletools.genops(_ESCAPED.sub(rb"\\x3f", data)):
            if opcode.name not in _PLAIN:
                called = (
                    str(argument).replace(" ", ".") if opcode.name in ("GLOBAL", "INST") else ""
                )
                raise DataError(
                    f"{path} is refused: beside plain containers and strings it has a {opcode.name} instruction"
                    f"{called and f' ({called})'}, which could run code. Nothing of it was run. "
                    "A vocabulary needs only a tuple, list or dict of characters."
                )
            # The unpickler allocates as many objects as the highest index.
            if opcode.name in _PUTS and int(str(argument)) > len(data):
                raise ValueError(f"an object is put in place {argument}")
        return _Plain(io.BytesIO(data), encoding=encoding).load()
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} holds Python 2 byte strings that are not ASCII, so its symbols are bytes and not characters. "
            "Write the vocabulary again as Unicode strings, or give another file with `vocab`."
        ) from error
    except Exception as error:
        # Damaged files raise ValueError, EOFError, IndexError, MemoryError, ...
        raise DataError(
            f"{path} is not a pickle, or is damaged ({type(error).__name__}: {error}). "
            "Give the vocabulary's file with `vocab`."
        ) from error


def holds_bytes(path: Path) -> bool:
    """Whether a pickle is refused by `load` only for byte strings of Python 2 that are not ASCII."""
    try:
        load(path)
    except DataError as error:
        return isinstance(error.__cause__, UnicodeDecodeError)
    return False
