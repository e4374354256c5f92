"""Safe reading of files that may be damaged or hostile: size limits, declared types, checksums.

Raises only `OSError` and `ValueError`; callers add the file name to the message.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import json
import os
import reprlib
import signal
import stat
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
from numpy.typing import NDArray

MANIFEST = "manifest.json"
LARGEST_JSON = 1 << 28  # bytes
_BLOCK = 1 << 20
_COPIED = 1 << 24  # bytes; larger files are memory-mapped
MANIFEST_TYPE = {"files": {...: {"sha256": str, "bytes": int}}}


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises `OSError` for a pipe or device, which could hang."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_json(path: Path, kind: Any) -> Any:
    """Read a JSON file and check it against the type `kind` (see `conform`)."""
    with opened(path) as file:
        data = file.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise ValueError(f"{path.name} has more than {LARGEST_JSON:,} bytes")
    value = parse(data, path.name)
    conform(value, kind)
    return value


def parse(text: bytes | str, name: str = "it") -> Any:
    """Parse JSON. Raises `ValueError`, also for too deep nesting."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error


_WORDS = {
    int: "a whole number of 64 bits", float: "a finite number", str: "text", bool: "true or false", dict: "an object",
    list: "a list",
}  # fmt: skip


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite float, or an int that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def conform(value: Any, kind: Any, name: str = "it") -> None:
    """Check that a JSON value has the type `kind`. Raises `ValueError` with the path to the wrong value.

    Types: `int`, `float` (or a whole number), `str`, `bool`, `Any`, `[T]` (list), `(T, U)` (list of that length),
    `{...: T}` (object with any keys), `{"key": T, "key?": U}` (`key?` may be missing or null; other keys are allowed).
    """
    if isinstance(kind, dict):
        _of_type(value, dict, name)
        if missing := [k for k in kind if k is not ... and k[-1] != "?" and k not in value]:
            raise ValueError(f"{name} lacks {', '.join(missing)}")
        for key, entry in value.items():
            optional = f"{key}?" in kind
            if not (optional and entry is None):
                part = kind[f"{key}?"] if optional else kind.get(key, kind.get(..., Any))
                conform(entry, part, key if name == "it" else f"{name}.{key}")
    elif isinstance(kind, (list, tuple)):
        _of_type(value, list, name)
        kinds = kind * len(value) if isinstance(kind, list) else kind
        if len(value) != len(kinds):
            raise ValueError(f"{name} must have {len(kinds)} entries, got {len(value)}")
        for place, (entry, part) in enumerate(zip(value, kinds, strict=True)):
            conform(entry, part, f"{name}.{place}")
    elif kind is not Any:
        _of_type(value, kind, name)


def _of_type(value: Any, kind: type, name: str) -> None:
    good = type(value) is kind
    if kind is int:
        good = good and abs(value) < 1 << 63
    elif kind is float:
        good = is_number(value)
    if not good:
        raise ValueError(f"{name} must be {_WORDS[kind]}, got {reprlib.repr(value)}")


def sums(contents: Mapping[str, Iterable[bytes]]) -> dict[str, Any]:
    """Manifest of files, given as pieces of bytes."""
    return {"files": {name: _sum(pieces) for name, pieces in contents.items()}}


def file_sums(paths: Iterable[Path]) -> dict[str, Any]:
    """Manifest of files on disk."""
    return sums({path.name: _pieces(path) for path in paths})


def check_manifest(
    folder: Path, required: Collection[str], only: Collection[str] | None = None
) -> None:
    """Check the files of a folder against its `manifest.json`, in constant memory.

    The manifest must list the `required` files. If `only` is given, only these files are checked.
    """
    recorded = read_json(folder / MANIFEST, MANIFEST_TYPE)["files"]
    if missing := sorted({*required, *(only or ())} - set(recorded)):
        raise ValueError(f"its manifest lacks {', '.join(missing)}")
    for name in recorded if only is None else only:
        if Path(name).name != name:
            raise ValueError(f"its manifest names {name!r}")
        found, expected = _sum(_pieces(folder / name)), recorded[name]
        if found["bytes"] != expected["bytes"]:
            raise ValueError(f"{name} has {found['bytes']} bytes instead of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise ValueError(f"the content of {name} has changed")


def _sum(pieces: Iterable[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return {"sha256": digest.hexdigest(), "bytes": size}


def _pieces(path: Path) -> Iterable[bytes]:
    with opened(path) as file:
        while piece := file.read(_BLOCK):
            yield piece


_mapped: dict[Path, os.stat_result] = {}


def array(path: Path, dtype: Any, offset: int = 0) -> NDArray[Any]:
    """Read-only array `(n,)` of a file from byte `offset` on; files above 16 MiB are memory-mapped.

    If a mapped file is truncated later, the next access ends the program with a message.
    """
    with opened(path) as file:
        now = os.fstat(file.fileno())
        if now.st_size <= _COPIED:
            return np.frombuffer(file.read()[offset:], dtype)
        _handle_bus_error()
        _mapped[path] = now
        return np.asarray(np.memmap(file, dtype, "r", offset))  # slices of np.memmap are slow


@functools.cache
def _handle_bus_error() -> Any:
    """Handle SIGBUS in C; a Python handler would run only after the access, so never."""
    if os.name != "posix":
        return None
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    if before:
        set_handler(signal.SIGBUS, before)
    return handler


def cut_short() -> list[str]:
    """List the mapped files that were truncated; the rest of their last page reads as zeros."""
    found = []
    for path, then in _mapped.items():
        with suppress(OSError):
            now = path.stat()
            if os.path.samestat(now, then) and now.st_size < then.st_size:
                found.append(str(path))
    return found


def _end(_number: int) -> None:
    names = ", ".join(cut_short()) or "A mapped file"
    message = f"Error: {names} was cut short while it was read. Start again.\n"
    os.write(2, message.encode("utf-8", "backslashreplace"))
    os._exit(1)
