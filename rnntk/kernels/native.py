"""The compiled kernels of this processor, called with NumPy arrays; calls release Python's lock."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import llvmlite
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numpy.typing import NDArray

from rnntk.cache import cache_dir, tidy
from rnntk.errors import UsageError
from rnntk.files import replacing
from rnntk.kernels.code import Shape

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Operand: TypeAlias = "int | NDArray[Any] | None"


@dataclass(frozen=True)
class CallTable:
    """Kernel calls that run one step of a network."""

    pairs: NDArray[np.int64]  # `(calls, 2)`: addresses of a kernel and of its operands
    alive: Any  # keeps the memory at these addresses


def _number(operand: Operand) -> int:
    """An operand as a 64-bit integer: an array's address, 0 for None."""
    return operand.ctypes.data if isinstance(operand, np.ndarray) else operand or 0


class Kernels:
    """All kernels, compiled for this processor.

    Args:
        shape: the use of the registers; by default the best for this processor.
        cache: folder of compiled kernels, or None for no cache.
    """

    def __init__(self, shape: Shape | None = None, cache: Path | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.shape = shape or best_shape(triple, features)
        described = features.flatten()
        if _is_x86(triple):
            # Use 512-bit vectors even where LLVM's tuning prefers 256.
            described = f"{described},-prefer-256-bit".lstrip(",")
        target = llvm.Target.from_triple(triple)
        machine = target.create_target_machine(cpu=cpu, features=described, opt=2)
        facts = [llvmlite.__version__, triple, cpu, described, str(self.shape)]
        code = cached(cache, facts, lambda: _compile(machine, self.shape))
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self._functions: dict[str, Any] = {}

    def __call__(self, name: str, *operands: Operand) -> None:
        """Run a kernel; arrays must be contiguous."""
        if name not in self._functions:
            kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(operands))
            self._functions[name] = kind(self._engine.get_function_address(name))
        self._functions[name](*[_number(o) for o in operands])

    def table(self, calls: Sequence[tuple[str, Sequence[Operand]]]) -> CallTable:
        """Kernels and their operands as a table, to run repeatedly in this order (see `sampling`)."""
        operands = [np.array([_number(o) for o in given], np.int64) for _, given in calls]
        entries = [self._engine.get_function_address(f"{name}_entry") for name, _ in calls]
        addresses = [values.ctypes.data for values in operands]
        return CallTable(np.array([entries, addresses], np.int64).T.copy(), (self, operands, calls))

    def tile_rows(self, rows: int) -> int:
        """Rows per tile that make tiles about equal: 25 rows give five tiles of 5 where 6 fit."""
        tiles = -(-rows // self.shape.rows)
        return -(-rows // max(1, tiles))

    def packed(self, b: Floats, *, bfloat16: bool = False) -> Floats:
        """The right factor `b` packed for products; in bfloat16, each word holds two rows.

        `b` may be a view with other strides, such as a transposed matrix.
        """
        (rows, columns), panel = b.shape, self.shape.panel
        steps = [stride // b.itemsize for stride in b.strides]
        found = packing_buffer(-(-rows // 2) if bfloat16 else rows, columns, panel)
        self("pack_bf16" if bfloat16 else "pack", rows, columns, b, *steps, panel, found)
        return found

    def product(self, a: Floats, packed: Floats, bias: Floats, c: Floats) -> None:
        """Set `c = a @ b + bias`: a `(M, K)`, b `(K, N)` packed, bias `(N,)`, c `(M, N)`."""
        (m, k), n = a.shape, c.shape[1]
        self("product", self.tile_rows(m), m, n, k, a, k, k, 1, packed, bias, 0, c, n)


def cached(cache: Path | None, facts: Sequence[str], make: Callable[[], bytes]) -> bytes:
    """An object file from the cache if its SHA-256 matches, else compiled by `make` and cached if possible.

    `facts` is everything that the code depends on besides the kernels' sources; without a `cache`, it is always
    compiled.
    """
    if cache is None:
        return make()
    path = cache / f"{_key(facts)}.bin"
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() == data[:32]:
            return data[32:]
    code = make()
    # Other processes may use the same file; renaming is atomic.
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as made:
            made.write_bytes(hashlib.sha256(code).digest() + code)
    return code


def _key(facts: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(facts).encode())
    package = Path(__file__).parent.parent
    others = package / "cells.py", package / "layer_norm.py"  # kernels depend on them
    for source in (*sorted(package.glob("kernels/*.py")), *others):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _compile(machine: Any, shape: Shape) -> bytes:
    # Imported here because cached kernels do without: saves 10 ms at startup.
    from rnntk.kernels import cells, code, product, sampling

    module = ir.Module("rnntk")
    module.triple = machine.triple
    cells.emit(module, shape, product.emit(module, shape))
    sampling.emit(module, shape)
    code.finish(module)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # The kernels are vectorised already.
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return machine.emit_object(parsed)


def best_shape(triple: str, features: Mapping[str, bool]) -> Shape:
    """The best use of a processor's registers, by LLVM's names of its architecture and features."""
    if not _is_x86(triple):  # 32 registers of four floats
        return Shape(width=4, rows=12)
    if features.get("avx512f"):
        return Shape(width=16, rows=12, bfloat16=features.get("avx512bf16", False))
    return Shape(width=8 if features.get("avx") else 4, rows=6)


def _is_x86(triple: str) -> bool:
    return triple.startswith(("x86_64", "i386", "i686"))


_blocks: dict[int, list[Floats]] = {}
_lock = threading.Lock()

_FREE = next(sys.getrefcount(block) for block in [np.empty(0)])
"""Reference count that `empty` sees for a block held only by `_blocks`."""


def empty(*shape: int) -> Floats:
    """An uninitialised float32 array that TensorFlow can take over without a copy.

    Large arrays reuse blocks that nobody else holds, since new memory from the system is slow. There are four block
    sizes per power of two, so that sequences of similar lengths share them.
    """
    size = math.prod(shape)
    if size < 1 << 14:
        return _aligned(np.empty(size + 16, np.float32), size).reshape(shape)
    step = 1 << (size - 1).bit_length() - 3
    rounded = -(-size // step) * step
    with _lock:
        blocks = _blocks.setdefault(rounded, [])
        for block in blocks:
            if sys.getrefcount(block) == _FREE:
                break
        else:
            block = np.empty(rounded + 16, np.float32)
            blocks.append(block)
        return _aligned(block, size).reshape(shape)


def zeros(*shape: int) -> Floats:
    """As `empty`, filled with zeros."""
    found = empty(*shape)
    found.fill(0)
    return found


def _aligned(block: Floats, size: int) -> Floats:
    skip = -block.ctypes.data % 64 // 4
    return block[skip : skip + size]


def packing_buffer(rows: int, columns: int, panel: int) -> Floats:
    """A buffer for a matrix packed `panel` columns at a time."""
    return empty(-(-columns // panel) * panel * rows)


@functools.cache
def kernels() -> Kernels:
    """The kernels of this processor; without a cache, each process compiles them."""
    try:
        tidy("kernels")
        return Kernels(cache=cache_dir() / "kernels")
    except UsageError:
        return Kernels()
