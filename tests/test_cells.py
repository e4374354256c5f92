"""The cells' definitions on plain numbers against the formulas of the papers."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from rnntk.cells import CELLS, GRU, GRU_RESET_BEFORE, LSTM, RNN, Cell


class Numbers:
    """`rnntk.cells.Arithmetic` on Python's floats."""

    def add(self, a: float, b: float) -> float:
        return a + b

    def sub(self, a: float, b: float) -> float:
        return a - b

    def mul(self, a: float, b: float) -> float:
        return a * b

    def fma(self, a: float, b: float, c: float) -> float:
        return a * b + c

    def tanh(self, x: float) -> float:
        return math.tanh(x)

    def sigmoid(self, x: float) -> float:
        return 1 / (1 + math.exp(-x))


class Unit:
    """`rnntk.cells.Operands` of a layer of one unit."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.states = {"h": 0.3, "c": -0.8}
        self.inputs = dict(zip(cell.gates, (0.5, -1.2, 0.7, 0.1), strict=False))
        self.kernel = dict(zip(cell.gates, (0.9, 0.4, -0.6, 1.1), strict=False))

    def before(self, state: str) -> float:
        return self.states[state]

    def total(self, gate: str, of: float | None = None) -> float:
        return self.inputs[gate] + self.kernel[gate] * (self.states["h"] if of is None else of)

    def input(self, gate: str) -> float:
        return self.inputs[gate]

    def recurrent(self, gate: str) -> float:
        assert gate in self.cell.apart
        return self.kernel[gate] * self.states["h"]


def formula(cell: Cell) -> dict[str, Any]:
    x, u, h = Unit(cell).inputs, Unit(cell).kernel, 0.3

    def logistic(gate: str) -> float:
        return 1 / (1 + math.exp(-(x[gate] + u[gate] * h)))

    if cell is LSTM:
        i, f, o = (logistic(gate) for gate in "ifo")
        c = f * -0.8 + i * math.tanh(x["g"] + u["g"] * h)
        return {"c": c, "h": o * math.tanh(c)}
    if cell is RNN:
        return {"h": math.tanh(x["h"] + u["h"] * h)}
    z, r = logistic("z"), logistic("r")
    inner = r * (u["g"] * h) if cell is GRU else u["g"] * (r * h)
    return {"h": z * h + (1 - z) * math.tanh(x["g"] + inner)}


@pytest.mark.parametrize(
    "cell", [LSTM, GRU, GRU_RESET_BEFORE, RNN], ids=["lstm", "gru", "gru-before", "rnn"]
)
def test_a_step_follows_the_formula(cell: Cell) -> None:
    found = cell.step(Numbers(), Unit(cell))
    assert set(found) == set(cell.gates) | set(cell.states)
    for state, value in formula(cell).items():
        assert found[state] == pytest.approx(value, rel=1e-12)


def test_cells_with_kernels_are_those_of_the_option() -> None:
    assert list(CELLS) == ["lstm", "gru", "rnn"]


def test_the_module_imports_no_library() -> None:
    code = "import sys, rnntk.cells; sys.exit(bool({'numpy', 'tensorflow', 'llvmlite'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
