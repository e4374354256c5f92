"""The forward step of each recurrent cell, written once for SIMD kernels, NumPy arrays and plain numbers.

Weights have Keras' layout: kernel `(inputs, gates * H)`, recurrent kernel `(H, gates * H)`, bias; columns are in the
order of `Cell.gates`. See docs/cells.md for how to add a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Arithmetic(Protocol):
    """Elementwise operations that cells are built from."""

    def add(self, a: Any, b: Any, /) -> Any:
        """`a + b`."""

    def sub(self, a: Any, b: Any, /) -> Any:
        """`a - b`."""

    def mul(self, a: Any, b: Any, /) -> Any:
        """`a * b`."""

    def fma(self, a: Any, b: Any, c: Any, /) -> Any:
        """`a * b + c`, rounded once where the processor can."""

    def tanh(self, x: Any, /) -> Any:
        """Hyperbolic tangent."""

    def sigmoid(self, x: Any, /) -> Any:
        """Logistic function."""


class Operands(Protocol):
    """Operands of one step. Input and recurrent projections include their biases."""

    def before(self, state: str) -> Any:
        """A state before the step."""

    def total(self, gate: str, of: Any = None) -> Any:
        """A gate's pre-activation: input plus recurrent projection, the latter of `of` (default: the state h)."""

    def input(self, gate: str) -> Any:
        """A gate's input projection: inputs times kernel plus input bias."""

    def recurrent(self, gate: str) -> Any:
        """A gate's recurrent projection: h times recurrent kernel plus recurrent bias. Only for `Cell.apart`."""


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent cell.

    Attributes:
        name: the value of the setting `cell`, and the prefix of its kernels' names.
        gates: one letter per gate, in the order of the weights' columns. A gate named like a state is that state.
        states: one letter per state, in the order in which layers take and return them.
        step: `step(v, x)` returns the values of all gates and new states by letter.
        apart: gates that need their recurrent projection separately. If any, the bias is `(2, gates * H)`: the input
            bias, then the recurrent bias.
    """

    name: str
    gates: str
    states: str
    step: Callable[[Arithmetic, Operands], dict[str, Any]]
    apart: str = ""

    @property
    def saved(self) -> str:
        """Gates that the backward pass needs besides the states: all gates that are not states."""
        return "".join(gate for gate in self.gates if gate not in self.states)


def _lstm(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; with a forget gate, Gers et al., 2000)."""
    i, f, o = (v.sigmoid(x.total(gate)) for gate in "ifo")
    g = v.tanh(x.total("g"))
    c = v.fma(f, x.before("c"), v.mul(i, g))
    h = v.mul(o, v.tanh(c))
    return {"i": i, "f": f, "g": g, "o": o, "h": h, "c": c}


def _gru(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """Gated recurrent unit, reset after the recurrent product (cuDNN's form, Keras' `reset_after=True`)."""
    z, r = (v.sigmoid(x.total(gate)) for gate in "zr")
    g = v.tanh(v.fma(r, x.recurrent("g"), x.input("g")))
    return {"z": z, "r": r, "g": g, "h": _interpolated(v, z, x.before("h"), g)}


def _gru_reset_before(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """Gated recurrent unit, reset before the recurrent product (Cho et al., 2014)."""
    z, r = (v.sigmoid(x.total(gate)) for gate in "zr")
    before = x.before("h")
    g = v.tanh(x.total("g", of=v.mul(r, before)))
    return {"z": z, "r": r, "g": g, "h": _interpolated(v, z, before, g)}


def _interpolated(v: Arithmetic, z: Any, before: Any, candidate: Any) -> Any:
    """`z * before + (1 - z) * candidate`."""
    return v.fma(z, v.sub(before, candidate), candidate)


def _rnn(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """Vanilla cell (Elman, 1990)."""
    return {"h": v.tanh(x.total("h"))}


LSTM = Cell("lstm", "ifgo", "hc", _lstm)
GRU = Cell("gru", "zrg", "h", _gru, apart="g")
GRU_RESET_BEFORE = Cell("gru", "zrg", "h", _gru_reset_before)
RNN = Cell("rnn", "h", "h", _rnn)

CELLS = {cell.name: cell for cell in (LSTM, GRU, RNN)}
"""Trainable cells by name. `GRU_RESET_BEFORE` has no training kernels."""
