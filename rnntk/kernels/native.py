"""The kernels compiled for this processor, called with NumPy arrays.

A call gives up Python's lock, so two of them run side by side.
"""

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
    """A network as a table of kernels."""

    pairs: NDArray[np.int64]  # `(calls, 2)`: where a kernel is, and where its operands are
    alive: Any  # what these addresses point to


def _number(operand: Operand) -> int:
    """An operand in 64 bits: the address of an array, 0 for none."""
    return operand.ctypes.data if isinstance(operand, np.ndarray) else operand or 0


class Kernels:
    """All kernels for one shape of registers, compiled once for a processor and then kept in a folder.

    Args:
        shape: by default what suits this processor.
        cache: folder of compiled kernels, or None to keep none.
    """

    def __init__(self, shape: Shape | None = None, cache: Path | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.shape = shape or best_shape(triple, features)
        described = features.flatten()
        if _is_x86(triple):
            # Whole vectors also where a processor's makers advise halves.
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
        """Kernels with their operands, to be run in this order as often as one likes (see `sampling`)."""
        operands = [np.array([_number(o) for o in given], np.int64) for _, given in calls]
        entries = [self._engine.get_function_address(f"{name}_entry") for name, _ in calls]
        addresses = [values.ctypes.data for values in operands]
        return CallTable(np.array([entries, addresses], np.int64).T.copy(), (self, operands, calls))

    def high(self, rows: int) -> int:
        """Rows of a tile, such that all tiles are about alike: 25 rows are five tiles of 5."""
        tiles = -(-rows // self.shape.rows)
        return -(-rows // max(1, tiles))

    def room(self, rows: int, columns: int, wide: int) -> Floats:
        """Memory for a matrix packed `wide` columns at a time."""
        return empty(-(-columns // wide) * wide * rows)

    def packed(self, b: Floats, *, bfloat16: bool = False) -> Floats:
        """The right factor `b` as products want it; in bfloat16, each word holds two rows."""
        (rows, columns), wide = b.shape, self.shape.panel
        found = self.room(-(-rows // 2) if bfloat16 else rows, columns, wide)
        self("pack_bf16" if bfloat16 else "pack", rows, columns, b, wide, found)
        return found

    def product(
        self, a: Floats, packed: Floats, bias: Floats, c: Floats, *, bfloat16: bool = False
    ) -> None:
        """Make `c = a @ b + bias`: a `(M, K)`, b `(K, N)` packed, bias `(N,)`, c `(M, N)`.

        In bfloat16, `a` is rounded and `b` was packed so.
        """
        (m, k), columns = a.shape, c.shape[1]
        rest = packed, bias, 0, c, columns
        if bfloat16:
            from rnntk.kernels.product import room  # see `_compile`

            self("product_bf16", self.high(m), m, columns, k, a, empty(room(m, k)), *rest)
        else:
            self("product", self.high(m), m, columns, k, a, k, k, 1, *rest)

    def add_weight_gradient(
        self, x: Floats, packed: Floats, onto: Floats, *, bfloat16: bool = False
    ) -> None:
        """Add `x.T @ dz` to `onto`: x `(N, F)`, dz `(N, G)` packed, onto `(F, G)`."""
        (n, features), wide = x.shape, self.shape.rows
        room = self.room(-(-n // 2) if bfloat16 else n, features, wide)
        name = "gradient_bf16" if bfloat16 else "gradient"
        self(name, n, features, onto.shape[1], x, room, packed, onto)


def cached(cache: Path | None, facts: Sequence[str], make: Callable[[], bytes]) -> bytes:
    """An object file from the folder `cache`, after its SHA-256, if it is there and whole; else compiled, and kept.

    Args:
        cache: None for no cache. Where it cannot be written, nothing is kept.
        facts: all that the code depends on beside the sources of the kernels.
        make: compiles.
    """
    if cache is None:
        return make()
    path = cache / f"{_key(facts)}.bin"
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data[32:]).digest() == data[:32]:
            return data[32:]
    code = make()
    # Others may read or write the same file at this moment; a rename shows them all or nothing.
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(path) as made:
            made.write_bytes(hashlib.sha256(code).digest() + code)
    return code


_ALSO = ("cells.py", "layer_norm.py")
"""Sources outside of this folder that kernels are made of."""


def _key(facts: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(facts).encode())
    package = Path(__file__).parent.parent
    for source in (*sorted(package.glob("kernels/*.py")), *map(package.joinpath, _ALSO)):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _compile(machine: Any, shape: Shape) -> bytes:
    # Imported here because a program that finds its kernels in the cache starts 10 ms sooner without.
    from rnntk.kernels import cells, code, product, sampling

    module = ir.Module("rnntk")
    cells.emit(module, shape, product.emit(module, shape))
    sampling.emit(module, shape)
    code.finish(module)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # The kernels say themselves what goes into vectors.
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return machine.emit_object(parsed)


def best_shape(triple: str, features: Mapping[str, bool]) -> Shape:
    """How to use the registers of a processor, by its architecture and features as LLVM names them."""
    if not _is_x86(triple):  # 32 registers of four floats
        return Shape(width=4, rows=12)
    if features.get("avx512f"):
        return Shape(width=16, rows=12, bfloat16=features.get("avx512bf16", False))
    return Shape(width=8 if features.get("avx") else 4, rows=6)


def _is_x86(triple: str) -> bool:
    return triple.startswith(("x86_64", "i386", "i686"))


_blocks: dict[int, list[Floats]] = {}
_taking = threading.Lock()


_FREE = next(sys.getrefcount(block) for block in [np.empty(0)])
"""References to a block that nobody but `_blocks` holds, as `empty` sees them."""


def empty(*shape: int) -> Floats:
    """A float32 array, not initialised, that TensorFlow can take over without a copy.

    Large ones lie in blocks that are used again once nobody holds an array in them: new memory from the
    system costs more than most of what is computed in it. Blocks come in few sizes, a quarter of an octave
    apart, so that sequences of any number of lengths share them; what is never touched of a block costs nothing.
    """
    size = math.prod(shape)
    if size < 1 << 14:
        return _aligned(np.empty(size + 16, np.float32), size).reshape(shape)
    step = 1 << (size - 1).bit_length() - 3
    room = -(-size // step) * step
    with _taking:
        blocks = _blocks.setdefault(room, [])
        for block in blocks:
            if sys.getrefcount(block) == _FREE:
                break
        else:
            block = np.empty(room + 16, np.float32)
            blocks.append(block)
        return _aligned(block, size).reshape(shape)


def zeros(*shape: int) -> Floats:
    """The same, filled with zeros."""
    found = empty(*shape)
    found.fill(0)
    return found


def _aligned(room: Floats, size: int) -> Floats:
    skip = -room.ctypes.data % 64 // 4
    return room[skip : skip + size]


@functools.cache
def kernels() -> Kernels:
    """Those of this processor; compiled anew by each process where there is no cache."""
    try:
        tidy("kernels")
        return Kernels(cache=cache_dir() / "kernels")
    except UsageError:
        return Kernels()
