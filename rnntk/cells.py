"""Forward pass of each recurrent cell, shared by NumPy arrays, numbers and the registers of the kernels.

Weights are in Keras' layout: kernel `(inputs, gates * H)`, recurrent kernel `(H, gates * H)` and bias, with columns in
the order of `Cell.gates`. docs/cells.md shows how to add a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Arithmetic(Protocol):
    """Elementwise operations of a cell; `fma` is `a * b + c`, rounded once where the processor can."""

    def add(self, a: Any, b: Any, /) -> Any: ...
    def sub(self, a: Any, b: Any, /) -> Any: ...
    def mul(self, a: Any, b: Any, /) -> Any: ...
    def fma(self, a: Any, b: Any, c: Any, /) -> Any: ...
    def tanh(self, x: Any, /) -> Any: ...
    def sigmoid(self, x: Any, /) -> Any: ...


class Operands(Protocol):
    """Operands of one time step, by the letter of a state or gate."""

    def before(self, state: str) -> Any:
        """The state before the step."""

    def total(self, gate: str, of: Any = None) -> Any:
        """Pre-activation of a gate: inputs @ kernel + `of` (by default h) @ recurrent kernel + bias."""

    def input(self, gate: str) -> Any:
        """The input part of a pre-activation: inputs @ kernel + input bias."""

    def recurrent(self, gate: str) -> Any:
        """The recurrent part: h @ recurrent kernel + recurrent bias; only for gates in `Cell.apart`."""


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent cell.

    Attributes:
        name: as in the setting `cell`.
        gates: one letter per gate, in the order of the weights' columns. A gate named like a state is that state.
        states: one letter per state, in the order of the layers' states.
        step: `step(v, x)` gives the gates and the new states, by letter; `v` is the arithmetic, `x` the operands.
        apart: gates that need their recurrent part alone. With any, the bias is `(2, gates * H)`: input, recurrent.
    """

    name: str
    gates: str
    states: str
    step: Callable[[Arithmetic, Operands], dict[str, Any]]
    apart: str = ""

    @property
    def saved(self) -> str:
        """Gates that a backward pass needs beside the states."""
        return "".join(gate for gate in self.gates if gate not in self.states)


def _lstm(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """LSTM (Hochreiter and Schmidhuber, 1997) with a forget gate (Gers et al., 2000)."""
    i, f, o = (v.sigmoid(x.total(gate)) for gate in "ifo")
    g = v.tanh(x.total("g"))
    c = v.fma(f, x.before("c"), v.mul(i, g))
    h = v.mul(o, v.tanh(c))
    return {"i": i, "f": f, "g": g, "o": o, "h": h, "c": c}


def _gru(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """GRU, reset after the recurrent product (cuDNN, and Keras with `reset_after=True`)."""
    z, r = (v.sigmoid(x.total(gate)) for gate in "zr")
    g = v.tanh(v.fma(r, x.recurrent("g"), x.input("g")))
    return {"z": z, "r": r, "g": g, "h": _interpolated(v, z, x.before("h"), g)}


def _gru_reset_before(v: Arithmetic, x: Operands) -> dict[str, Any]:
    """GRU, reset before the recurrent product (Cho et al., 2014)."""
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

CELLS = {cell.name: cell for cell in (LSTM, GRU, RNN)}  # without GRU_RESET_BEFORE, a "gru" too
