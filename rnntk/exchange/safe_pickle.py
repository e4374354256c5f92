"""Read pickles of plain data without running code in them.

Every opcode must build a container, string or number, and the unpickler looks up no names. Containers are limited in
number and never shared, because a small file could otherwise build a structure that takes forever to walk.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any, NoReturn

from rnntk.errors import DataError

_MOST_BYTES = 1 << 22  # some 200,000 symbols
_MOST_CONTAINERS = 500  # also limits how deeply they nest

_ATOMS = set(
    """NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 STRING BINSTRING SHORT_BINSTRING
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8""".split()  # noqa: SIM905
)
_CONTAINERS = {
    "EMPTY_LIST", "LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT",
}  # fmt: skip
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_OTHERS = {"PROTO", "FRAME", "STOP", "MARK", "APPEND", "APPENDS", "SETITEM", "SETITEMS"}
_PLAIN = _ATOMS | _CONTAINERS | _PUTS | _GETS | _OTHERS
_ESCAPED = re.compile(rb"\\x[89a-f][0-9a-f]")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to an object outside it")


def load(path: Path, *, encoding: str = "ASCII") -> Any:
    """The content of a pickle of tuples, lists, dicts, strings and integers, from Python 2 or 3.

    `encoding` decodes Python 2 byte strings; `latin-1` maps bytes to U+0000 to U+00FF. Raises `DataError`, without
    running any code, if the file is missing, damaged or holds anything else.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a file. Give another `vocab`.")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > _MOST_BYTES:
        problem = f"{path} has over {_MOST_BYTES:,} bytes, too many for a vocabulary."
        raise DataError(f"{problem} Give another `vocab`.")
    try:
        _check(path, data)
        return _Plain(io.BytesIO(data), encoding=encoding).load()
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} holds Python 2 byte strings that are not ASCII. Save the vocabulary as Unicode strings, "
            "or give another `vocab`."
        ) from error
    except Exception as error:  # damaged files raise ValueError, EOFError, MemoryError, ...
        problem = f"{path} is not a pickle, or is damaged ({type(error).__name__}: {error})."
        raise DataError(f"{problem} Give another `vocab`.") from error


def _check(path: Path, data: bytes) -> None:
    """Check the opcodes before anything is built; `DataError` if not plain, `ValueError` if too large."""
    containers, before = 0, ""
    places: dict[int, bool] = {}  # by memo index: whether it holds a string or number
    # pickletools needs ASCII in Python 2 byte strings; the replacement keeps their length.
    for opcode, argument, _ in pickletools.genops(_ESCAPED.sub(rb"\\x3f", data)):
        name = opcode.name
        if name not in _PLAIN:
            called = str(argument).replace(" ", ".") if name in ("GLOBAL", "INST") else ""
            raise DataError(
                f"{path} is refused: its {name} instruction{called and f' ({called})'} could run code. "
                "Nothing was run. Save the vocabulary as a tuple, list or dict of characters."
            )
        if name in _PUTS:
            place = len(places) if argument is None else int(str(argument))
            if place > len(data):  # the unpickler would allocate memory for all places below
                raise ValueError(f"an object is put in place {place}")
            places[place] = before in _ATOMS
        elif name in _GETS and not places.get(int(str(argument))):
            raise ValueError("a container is used twice")
        containers += name in _CONTAINERS
        if containers > _MOST_CONTAINERS:
            raise ValueError(f"it has over {_MOST_CONTAINERS} containers")
        before = before if name == "FRAME" else name


def holds_bytes(path: Path) -> bool:
    """Whether `load` refuses a pickle only because of non-ASCII Python 2 byte strings."""
    try:
        load(path)
    except DataError as error:
        return isinstance(error.__cause__, UnicodeDecodeError)
    return False
