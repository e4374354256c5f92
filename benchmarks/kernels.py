"""Time one layer forward and backward on one core, and its matrix products alone.

    python benchmarks/kernels.py

This is one shard of a training step: the batch rows of one core. Figures are medians of alternating rounds. The rate
counts only the floating-point operations of the products, so time spent on the gates lowers it.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import numpy as np

from rnntk.cells import LSTM
from rnntk.kernels import native, run
from rnntk.kernels.product import DEPTH, buffer_size

SHAPES = [(200, 25, 128), (100, 5, 512), (50, 25, 512)]
ROUNDS = 15
PRECISIONS = ("float32", "bfloat16")[: 1 + native.kernels().shape.bfloat16]


def cases(
    steps: int, rows: int, units: int, precision: str
) -> dict[str, tuple[int, Callable[[], object]]]:
    """Times of an LSTM layer's step and of its matrix products alone."""
    kernels, rng = native.kernels(), np.random.default_rng(0)
    gates, bfloat16 = 4 * units, precision == "bfloat16"
    layer = run.Layer(LSTM, bfloat16=bfloat16)

    def floats(*shape: int) -> np.ndarray:
        made = native.empty(*shape)
        made[:] = rng.normal(0, units**-0.5, shape)
        return made

    kernel, x, bias = floats(units, gates), floats(steps, rows, units), floats(gates)
    packed = kernels.packed(kernel, bfloat16=bfloat16)
    transposed = kernels.packed(kernel.T, bfloat16=bfloat16)
    states, d_outputs = [floats(rows, units)] * 2, floats(steps, rows, units)
    none, no_ids = np.zeros(0, np.uint8), np.zeros(0, np.int32)
    saved = run.forward(layer, x, no_ids, none, packed, bias, packed, *states)
    flat, dz, onto = x.reshape(-1, units), floats(steps * rows, gates), floats(units, gates)
    out, suffix = native.empty(steps * rows, gates), "_bf16" if bfloat16 else ""
    words = native.empty(buffer_size(steps * rows, units))
    strips = native.packing_buffer(DEPTH, units, kernels.shape.rows)

    def product() -> None:
        left = (flat, words) if bfloat16 else (flat, units, units, 1)
        sizes = kernels.tile_rows(steps * rows), steps * rows, gates, units
        kernels(f"product{suffix}", *sizes, *left, packed, bias, 0, out, gates)

    def gradient() -> None:
        for start in range(0, steps * rows, DEPTH):
            part = flat[start : start + DEPTH]
            again = kernels.packed(dz[start : start + DEPTH], bfloat16=bfloat16)
            kernels(f"gradient{suffix}", len(part), units, gates, part, strips, again, onto)

    return {
        "forward": (2, lambda: run.forward(layer, x, no_ids, none, packed, bias, packed, *states)),
        "backward": (
            4,
            lambda: run.backward(
                layer, no_ids, none, x, transposed, transposed, d_outputs, *states, *saved
            ),
        ),
        "one product": (1, product),
        "one weight gradient": (1, gradient),
        "NumPy: one product in float32": (1, lambda: np.dot(flat, kernel, out)),
    }


def main() -> None:
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    for steps, rows, units in SHAPES:
        found = {
            (name, precision): case
            for precision in PRECISIONS
            for name, case in cases(steps, rows, units, precision).items()
        }
        times: dict[tuple[str, str], list[float]] = {key: [] for key in found}
        for _ in range(ROUNDS):
            for key, (_, work) in found.items():
                begin = time.perf_counter()
                work()
                times[key].append(time.perf_counter() - begin)
        print(f"| LSTM, {rows} rows, {steps} steps, {units} units | precision | ms | GFLOP/s |")
        print("|---|---|---:|---:|")
        for (name, precision), taken in times.items():
            seconds = statistics.median(taken)
            operations = found[name, precision][0] * 2.0 * steps * rows * units * 4 * units
            rate = operations / seconds / 1e9
            print(f"| {name} | {precision} | {seconds * 1e3:.1f} | {rate:.0f} |")
        print()


if __name__ == "__main__":
    main()
