"""The compiled kernels against NumPy, for every register shape, even those this machine lacks."""

from __future__ import annotations

import errno
import functools
import os
import re
import threading
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding as llvm

from rnntk.cells import CELLS, LSTM, Cell
from rnntk.kernels import native, run
from rnntk.kernels.code import Shape
from rnntk.kernels.native import Kernels
from rnntk.kernels.product import buffer_size
from rnntk.layer_norm import standardized

SHAPES = [Shape(4, 6), Shape(4, 12), Shape(8, 6), Shape(16, 12)]
needs_bfloat16 = pytest.mark.skipif(not native.kernels().shape.bfloat16, reason="needs AVX512-BF16")


@functools.cache
def compiled(shape: Shape) -> Kernels:
    return Kernels(shape)


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


sizes = st.integers(1, 70)


def add_gradient(kernels: Kernels, x: np.ndarray, dz: np.ndarray, onto: np.ndarray) -> None:
    """Add `x.T @ dz`, in bfloat16 if the kernels have it."""
    suffix, (n, features) = "_bf16" if kernels.shape.bfloat16 else "", x.shape
    packed = kernels.packed(dz, bfloat16=bool(suffix))
    strips = native.packing_buffer(n, features, kernels.shape.rows)
    kernels(f"gradient{suffix}", n, features, dz.shape[1], x, strips, packed, onto)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(m=sizes, k=st.one_of(sizes, st.integers(380, 800)), n=sizes, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_product_matches_numpy(shape: Shape, m: int, k: int, n: int, seed: int) -> None:
    kernels, rng = compiled(shape), np.random.default_rng(seed)
    a, b, bias = floats(rng, m, k), floats(rng, k, n), floats(rng, n)
    c = native.empty(m, n)
    kernels.product(a, kernels.packed(b), bias, c)
    exact = a.astype(np.float64) @ b + bias
    np.testing.assert_allclose(c, exact, atol=1e-6 * k + 1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(n=st.integers(1, 400), f=sizes, g=sizes, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_weight_gradient_is_added(shape: Shape, n: int, f: int, g: int, seed: int) -> None:
    kernels, rng = compiled(shape), np.random.default_rng(seed)
    x, dz, onto = floats(rng, n, f), floats(rng, n, g), floats(rng, f, g)
    exact = onto + x.astype(np.float64).T @ dz
    add_gradient(kernels, x, dz, onto)
    np.testing.assert_allclose(onto, exact, atol=1e-6 * n + 1e-5)


def rounded(x: np.ndarray) -> np.ndarray:
    """Round to the nearest bfloat16, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    bits = bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


@needs_bfloat16
@given(
    m=st.one_of(sizes, st.integers(190, 400)),
    k=st.one_of(sizes, st.integers(760, 1600)),
    n=sizes,
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_bfloat16_product_rounds_its_factors(m: int, k: int, n: int, seed: int) -> None:
    kernels, rng = native.kernels(), np.random.default_rng(seed)
    a, b, bias = floats(rng, m, k), floats(rng, k, n), floats(rng, n)
    c, exact = native.empty(m, n), rounded(a).astype(np.float64) @ rounded(b) + bias
    c.fill(np.nan)
    packed, words = kernels.packed(b, bfloat16=True), native.empty(buffer_size(m, k))
    kernels("product_bf16", kernels.tile_rows(m), m, n, k, a, words, packed, bias, 0, c, n)
    np.testing.assert_allclose(c, exact, atol=1e-6 * k + 1e-5)


@needs_bfloat16
@given(n=st.integers(1, 900), f=sizes, g=sizes, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_bfloat16_weight_gradient_rounds_its_factors(n: int, f: int, g: int, seed: int) -> None:
    kernels, rng = native.kernels(), np.random.default_rng(seed)
    x, dz, onto = floats(rng, n, f), floats(rng, n, g), floats(rng, f, g)
    exact = onto + rounded(x).astype(np.float64).T @ rounded(dz)
    add_gradient(kernels, x, dz, onto)
    np.testing.assert_allclose(onto, exact, atol=1e-6 * n + 1e-5)


@pytest.mark.parametrize(
    ("triple", "features", "shape"),
    [
        ("x86_64-pc-linux-gnu", {}, Shape(4, 6)),
        ("x86_64-pc-windows-msvc", {"avx": True}, Shape(8, 6)),
        ("x86_64-apple-darwin", {"avx": True, "avx512f": True}, Shape(16, 12)),
        ("x86_64-unknown-linux-gnu", {"avx512f": True, "avx512bf16": True}, Shape(16, 12, True)),
        ("arm64-apple-darwin23.1.0", {}, Shape(4, 12)),
        ("aarch64-unknown-linux-gnu", {"neon": True, "bf16": True}, Shape(4, 12)),
    ],
)
def test_the_registers_of_the_processor_are_used(
    triple: str, features: dict[str, bool], shape: Shape
) -> None:
    assert native.best_shape(triple, features) == shape


def assembly(monkeypatch: pytest.MonkeyPatch, triple: str, cpu: str, features: str) -> str:
    """Assembly of the kernels for another processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(cpu=cpu, features=features, opt=2)
    monkeypatch.setattr(machine, "emit_object", machine.emit_assembly)
    known = {name.removeprefix("+"): True for name in features.split(",")}
    return native._compile(machine, native.best_shape(triple, known))  # type: ignore[return-value]


@pytest.mark.parametrize("features", ["+avx", "+avx,+avx2,+fma"])
def test_without_fma_no_function_is_called_per_float(
    features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = assembly(monkeypatch, "x86_64-unknown-linux-gnu", "x86-64", features)
    assert "fmaf" not in code
    assert ("vfmadd231ps" in code) == ("fma" in features)
    assert "%ymm15" in code  # all registers, of eight floats
    assert "%zmm" not in code


@pytest.mark.parametrize(
    ("triple", "cpu"), [("arm64-apple-darwin23.1.0", "apple-m1"), ("aarch64-linux-gnu", "generic")]
)
def test_arm_keeps_a_whole_tile_in_registers(
    triple: str, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = assembly(monkeypatch, triple, cpu, "")
    assert "fmaf" not in code
    tile = re.search(r"^_?tile_12:.*?\n\s*ret\b", code, re.DOTALL | re.MULTILINE)
    assert tile
    assert len(re.findall(r"\bfmla[.\s]", tile[0])) == 24
    (loop,) = re.findall(r"\n\S+:[^:]*?fmla.*?\n\s+(?:b\.|cb|tb)\S*\s", tile[0], re.DOTALL)
    assert not re.search(r"\b(?:str|stp)\s", loop), "a sum is stored at each step"


def test_on_windows_a_waiting_thread_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    code = assembly(monkeypatch, "x86_64-pc-windows-msvc", "x86-64", "+avx")
    assert "SwitchToThread" in code
    assert "sched_yield" not in code


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 7, 16, 40, 64])
@pytest.mark.parametrize("columns", [1, 16, 29, 33, 64])
def test_packing_lays_out_panels(shape: Shape, rows: int, columns: int) -> None:
    kernels = compiled(shape)
    b = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns) + 1
    wide = shape.panel
    padded = np.zeros((rows, -(-columns // wide) * wide), np.float32)
    padded[:, :columns] = b
    panels = [padded[:, j : j + wide].ravel() for j in range(0, padded.shape[1], wide)]
    np.testing.assert_array_equal(kernels.packed(b), np.concatenate(panels))
    by_column = np.asfortranarray(b)
    np.testing.assert_array_equal(kernels.packed(by_column), np.concatenate(panels))


@needs_bfloat16
@given(rows=st.integers(1, 300), columns=sizes)
@settings(max_examples=25, deadline=None)
def test_packing_in_bfloat16_reads_any_strides(rows: int, columns: int) -> None:
    kernels, wide = native.kernels(), floats(np.random.default_rng(rows), rows, 2 * columns)
    packed = kernels.packed(np.ascontiguousarray(wide[:, ::2]), bfloat16=True)
    again = kernels.packed(wide[:, ::2], bfloat16=True)
    np.testing.assert_array_equal(again.view(np.int32), packed.view(np.int32))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))
def test_blocks_of_steps_change_nothing(
    cell: Cell, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, kernels = np.random.default_rng(0), native.kernels()
    steps, batch, features, units = 23, 30, 9, 20
    width = len(cell.gates) * units
    layer = run.Layer(cell, reverse)
    ids, mask = np.zeros(0, np.int32), np.zeros(0, np.uint8)
    x, d_outputs = floats(rng, steps, batch, features), floats(rng, steps, batch, units)
    kernel, recurrent = floats(rng, features, width), floats(rng, units, width)
    biases = [floats(rng, width) for _ in range(1 + bool(cell.apart))]
    states = [floats(rng, batch, units) for _ in cell.states]
    found = []
    for small in (0, run.SMALL):  # one block of all steps, and blocks of six
        monkeypatch.setattr(run, "SMALL", small)
        packed = kernels.packed(kernel), biases[0], kernels.packed(recurrent), *biases[1:]
        saved = run.forward(layer, x, ids, mask, *packed, *states)
        transposed = kernels.packed(kernel.T), kernels.packed(recurrent.T)
        gradients = run.backward(layer, ids, mask, x, *transposed, d_outputs, *states, *saved)
        found.append((saved, gradients))
    (whole, exact), (blocks, summed) = found
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(exact, summed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert run._steps_per_block(batch, units * width, steps * batch) == 6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(count=st.integers(1, 40), units=st.integers(1, 150), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_rows_are_standardised(shape: Shape, count: int, units: int, seed: int) -> None:
    kernels, rng = compiled(shape), np.random.default_rng(seed)
    x, y = floats(rng, count, units) + 3, native.empty(count, units)
    kernels("standardize", count, units, x, y)
    np.testing.assert_allclose(y, standardized(x.astype(np.float64)), atol=2e-5)


def lstm(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch, rows: np.ndarray, kernel: np.ndarray
) -> list[np.ndarray]:
    monkeypatch.setattr(run, "kernels", lambda: kernels)
    units = len(kernel)
    steps, batch, width = rows.shape
    nothing = np.zeros((batch, units), np.float32)
    # Each position has its own symbol, so that the gates are made of the rows.
    ids = np.arange(steps * batch, dtype=np.int32).reshape(steps, batch)
    table, none = rows.reshape(-1, width), np.zeros(0, np.float32)
    live = np.zeros(0, np.uint8)
    states = nothing, nothing
    return run.forward(
        run.Layer(LSTM), table, ids, live, none, none, kernels.packed(kernel), *states
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("units", [1, 5, 8, 19])
def test_a_cell_computes_its_formula(
    shape: Shape, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(units)
    rows, kernel = floats(rng, 4, 3, 4 * units), floats(rng, units, 4 * units)
    hs, cs, gates = lstm(compiled(shape), monkeypatch, rows, kernel)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    h = c = np.zeros((3, units))
    for t in range(4):
        i, f, g, o = np.split(rows[t] + h @ kernel.astype(np.float64), 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        np.testing.assert_allclose(gates[t], np.concatenate([i, f, g, o], 1), atol=2e-6)
        np.testing.assert_allclose(cs[t + 1], c, atol=2e-6)
        np.testing.assert_allclose(hs[t + 1], h, atol=2e-6)


def test_tanh_and_sigmoid_are_accurate_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    units = 512
    x = np.concatenate([np.linspace(-100, 100, units // 2), np.linspace(-9, 9, units // 2)])
    rows = np.tile(x, 4).astype(np.float32).reshape(1, 1, -1)
    # With zero states and no recurrent kernel, the gates depend only on the rows.
    kernel = np.zeros((units, 4 * units), np.float32)
    gates = lstm(native.kernels(), monkeypatch, rows, kernel)[2][0, 0]
    i, f, g, o = np.split(gates, 4)
    exact = rows[0, 0, :units].astype(np.float64)
    np.testing.assert_allclose(g, np.tanh(exact), atol=4e-7)
    for gate in (i, f, o):
        np.testing.assert_allclose(gate, 1 / (1 + np.exp(-exact)), atol=3e-7)


def test_nan_stays_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.full((1, 2, 4 * 8), np.nan, np.float32)
    hs, cs, _ = lstm(native.kernels(), monkeypatch, rows, np.zeros((8, 32), np.float32))
    assert np.isnan(hs[1]).all()
    assert np.isnan(cs[1]).all()


def test_memory_is_reused_only_when_released() -> None:
    first = native.empty(300, 1000)
    address = first.ctypes.data
    assert address % 64 == 0
    first[:] = 1
    part = first[10:]
    second = native.empty(300, 1000)
    assert second.ctypes.data != address
    del first
    third = native.empty(300, 1000)
    assert third.ctypes.data != address, "part of it is in use"
    del part, second, third
    again = [native.empty(300, 1000) for _ in range(3)]
    assert address in {a.ctypes.data for a in again}
    assert len({a.ctypes.data for a in again}) == 3


def test_threads_never_share_memory() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            mine = native.empty(20, 1000)
            mine[:] = number
            if not (mine == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_compiled_code_is_cached_and_a_damaged_file_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = []

    def counted(*operands: object) -> bytes:
        times.append(1)
        return compile_(*operands)

    compile_ = native._compile
    monkeypatch.setattr(native, "_compile", counted)

    def product() -> np.ndarray:
        kernels, c = Kernels(cache=tmp_path), native.empty(2, 3)
        a, b = np.ones((2, 5), np.float32), np.ones((5, 3), np.float32)
        kernels.product(a, kernels.packed(b), np.zeros(3, np.float32), c)
        return c

    np.testing.assert_array_equal(product(), np.full((2, 3), 5))
    (file,) = tmp_path.iterdir()
    np.testing.assert_array_equal(product(), np.full((2, 3), 5))
    assert len(times) == 1
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:-5] + b"wrong"):
        file.write_bytes(broken)
        np.testing.assert_array_equal(product(), np.full((2, 3), 5))
        assert file.read_bytes() == whole
    assert len(times) == 3


def test_every_flipped_bit_of_a_cached_file_is_detected(tmp_path: Path) -> None:
    made = b"code" * 20
    assert native.cached(tmp_path, [], lambda: made) == made
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for bit in range(8 * len(whole)):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        assert native.cached(tmp_path, [], lambda: made) is made, "compiled again"
        assert file.read_bytes() == whole


def test_a_full_cache_leaves_no_unfinished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert native.cached(tmp_path, [], lambda: b"code") == b"code"
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_cache_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert Kernels(cache=file / "kernels").packed(np.ones((2, 2), np.float32)).size


def test_the_cache_is_in_its_folder_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path))
    native.kernels.__wrapped__()
    assert [file.suffix for file in (tmp_path / "kernels").iterdir()] == [".bin"]

    def homeless(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("RNNTK_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_dir", homeless)
    assert native.kernels.__wrapped__().packed(np.ones((2, 2), np.float32)).size


def test_memory_for_many_lengths_is_little_more_than_for_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks: dict[int, list[np.ndarray]] = {}
    monkeypatch.setattr(native, "_blocks", blocks)
    for steps in range(100, 600):
        held = [native.empty(steps, 16, 64) for _ in range(3)]
        assert len({array.ctypes.data for array in held}) == 3
        del held
    kept = sum(block.nbytes for same in blocks.values() for block in same)
    assert kept < 6 * 3 * 4 * (600 * 16 * 64)
