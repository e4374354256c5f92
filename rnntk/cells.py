"""The recurrent cells: the forward arithmetic of each, written once.

A cell is written over two objects: `v`, the arithmetic, and `x`, one step's operands. The kernels pass vectors of
a processor's registers (`rnntk.kernels.cells`), others NumPy arrays or plain numbers; the result is the same up to
rounding. Weights are in Keras' layout: a kernel `(inputs, gates * H)`, a recurrent kernel `(H, gates * H)` and a bias,
their columns in the order of `Cell.gates`.

docs/cells.md says how to add a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Arithmetic(Protocol):
    """The operations that cells are made of, element by element."""

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
    """Operands of one step. Each bias is part of the share it belongs to."""

    def before(self, state: str) -> Any:
        """A state before the step."""

    def total(self, gate: str, of: Any = None) -> Any:
        """A gate's pre-activation, input share plus recurrent share.

        Args:
            gate: one of `Cell.gates`.
            of: what the recurrent kernel multiplies; by default the state h.
        """

    def input(self, gate: str) -> Any:
        """The input share of a gate's pre-activation: inputs times kernel plus input bias."""

    def recurrent(self, gate: str) -> Any:
        """The recurrent share: h times recurrent kernel plus recurrent bias. Only of gates in `Cell.apart`."""


@dataclass(frozen=True)
class Cell:
    """A kind of recurrent cell.

    Attributes:
        name: as in the setting `cell`, and of its kernels.
        gates: one letter per gate, in the order of the weights' columns. A gate named like a state is that state.
        states: one letter per state, in the order in which layers take and return them.
        step: `step(v, x)`, the values of all gates and of the states after the step, by letter.
        apart: gates whose recurrent share is needed by itself. With any, the bias is `(2, gates * H)`: that of
            the input share, then that of the recurrent share.
    """

    name: str
    gates: str
    states: str
    step: Callable[[Arithmetic, Operands], dict[str, Any]]
    apart: str = ""

    @property
    def saved(self) -> str:
        """Gates that a backward pass needs beside the states: all that are no state themselves."""
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
"""The cells that can be trained, by name. `GRU_RESET_BEFORE` can only be imported."""
