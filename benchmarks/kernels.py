"""Where a training step's time goes: each kernel by itself, on one core, beside NumPy's product.

    python benchmarks/kernels.py

One shard of a step: the lanes of one core. A figure is the median of alternating rounds; the rate counts the
product's floating-point operations alone, so what the gates cost shows as a lower rate.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import numpy as np

from rnntk.kernels import native
from rnntk.kernels.product import DEPTH

SHAPES = [(200, 25, 128), (100, 5, 512), (50, 25, 512)]
ROUNDS = 15


def cases(steps: int, lanes: int, units: int) -> dict[str, Callable[[], object]]:
    """What a layer of an LSTM does in a step."""
    kernels, rng = native.kernels(), np.random.default_rng(0)
    rows, gates = steps * lanes, 4 * units

    def floats(*shape: int) -> np.ndarray:
        made = native.empty(*shape)
        made[:] = rng.normal(0, units**-0.5, shape)
        return made

    kernel, zx, dz = floats(units, gates), floats(rows, gates), floats(steps, lanes, gates)
    hs, cs, d_hs = (floats(n, lanes, units) for n in (steps + 1, steps + 1, steps))
    z, dh, dc = floats(steps, lanes, gates), floats(lanes, units), floats(lanes, units)
    packed, transposed = kernels.packed(kernel), kernels.packed(kernel, transposed=True)
    x, dx, onto = floats(rows, units), floats(rows, units), floats(units, gates)
    one, step_z = floats(lanes, units), floats(lanes, gates)
    sizes = (kernels.high(lanes), steps, lanes, units)
    nothing, bias = np.zeros(units, np.float32), np.zeros(gates, np.float32)
    flat = dz.reshape(rows, gates)

    def gradient() -> None:
        for start in range(0, rows, DEPTH):
            part = slice(start, start + DEPTH)
            kernels.add_weight_gradient(x[part], kernels.packed(flat[part]), onto)

    def step_by_step() -> None:
        for _ in range(steps):
            np.dot(one, kernel, step_z)

    return {
        "loop forward": lambda: kernels("lstm_forward", *sizes, zx, None, packed, z, cs, hs),
        "loop backward": lambda: kernels(
            "lstm_backward", *sizes, d_hs, dh, dc, transposed, z, cs, dz
        ),
        "weight gradient": gradient,
        "inputs times kernel": lambda: kernels.product(x, packed, bias, zx),
        "gradient times kernel": lambda: kernels.product(flat, transposed, nothing, dx),
        "NumPy: the loop's products alone": step_by_step,
        "NumPy: inputs times kernel": lambda: np.dot(x, kernel, zx),
    }


def main() -> None:
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    for steps, lanes, units in SHAPES:
        found = cases(steps, lanes, units)
        times: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, run in found.items():
                begin = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - begin)
        operations = 2.0 * steps * lanes * units * 4 * units
        print(
            f"| LSTM, {lanes} lanes, {steps} steps, {units} units | ms | GFLOP/s |\n|---|---:|---:|"
        )
        for name, taken in times.items():
            seconds = statistics.median(taken)
            print(f"| {name} | {seconds * 1e3:.1f} | {operations / seconds / 1e9:.0f} |")
        print()


if __name__ == "__main__":
    main()
