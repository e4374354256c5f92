"""Compiled kernels kept on disk, so that only the first program on a machine waits for the compiler."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnntk.files import replacing


@dataclass(frozen=True)
class Compiled:
    """Machine code."""

    code: bytes  # an object file
    functions: Mapping[str, Sequence[str]]  # the types of each function's arguments, `i64` or `ptr`


def find(cache: Path | None, facts: Sequence[str], make: Callable[[], Compiled]) -> Compiled:
    """The result of `make`, which compiles, from the folder `cache` if it is there and whole.

    Args:
        cache: None for no cache. Where it cannot be written, nothing is kept.
        facts: all that the code depends on beside the sources of the kernels.
    """
    if cache is None:
        return make()
    path = cache / f"{_key(facts)}.bin"
    with contextlib.suppress(OSError, ValueError):
        return _parsed(path.read_bytes())
    compiled = make()
    # Others may read or write the same file at this moment; a rename shows them all or nothing.
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as made:
            made.write_bytes(_written(compiled))
    return compiled


_ALSO = ("cells.py", "layer_norm.py")
"""Sources outside of this folder that kernels are made of."""


def _key(facts: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(facts).encode())
    package = Path(__file__).parent.parent
    for source in (*sorted(package.glob("kernels/*.py")), *map(package.joinpath, _ALSO)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _written(compiled: Compiled) -> bytes:
    content = json.dumps(compiled.functions).encode() + b"\n" + compiled.code
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def _parsed(data: bytes) -> Compiled:
    digest, _, content = data.partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError("damaged")
    functions, _, code = content.partition(b"\n")
    return Compiled(code, json.loads(functions))
