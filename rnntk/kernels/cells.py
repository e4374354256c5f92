"""The time loops of each cell, forward and backward, as kernels.

The forward arithmetic is that of `rnntk.cells`. All arrays are
time-major, `(T, B, ...)`; `hs` and `cs` are `(T + 1, B, H)`, the states before the first step and after
each. A forward loop takes each step's share of the input from `rows`: row `t * B + b` of it, or, with `ids`,
the row that the symbol there chooses. Without `rows` the shares stand already where the gates will be (for a
vanilla layer, where the states will be).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from rnntk.cells import CELLS, Cell
from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape

SIZES = {"high": INT, "steps": INT, "lanes": INT, "units": INT}


class Loop(Code):
    """A kernel over time: what all cells share.

    Args:
        module: where it goes.
        name: of the kernel.
        arrays: names of its arrays, in the order of its arguments, after the `SIZES`.
        gates: columns of a step's pre-activations in units.
        shape: how registers are used.
        product: the kernel of that name.
    """

    def __init__(
        self, module: ir.Module, name: str, arrays: str, gates: int, shape: Shape, product: Code
    ) -> None:
        super().__init__(module, name, SIZES | dict.fromkeys(arrays.split(), POINTER))
        self.product = product
        self.units, self.lanes = self.arg["units"], self.arg["lanes"]
        self.width = self.mul(gates, self.units)

    def step(self, array: str, t: Any, width: Any) -> Any:
        """Step t of an array `(T, B, width)`."""
        return self.at(self.arg[array], self.mul(t, self.lanes, width))

    def input_row(self, t: Any, lane: Any) -> Any:
        """Address of a lane's share of the input at step t."""
        b = self.b
        place = self.add(self.mul(t, self.lanes), lane)
        with b.if_else(self.is_given("ids")) as (by_symbol, in_turn):
            with by_symbol:
                symbol = self.symbol(self.arg["ids"], place)
                from_symbol = b.block
            with in_turn:
                from_place = b.block
        row = b.phi(INT)
        row.add_incoming(symbol, from_symbol)
        row.add_incoming(place, from_place)
        return self.at(self.arg["rows"], self.mul(row, self.width))

    @contextmanager
    def rows_given(self) -> Iterator[None]:
        """What is done only if there are `rows`."""
        with self.b.if_then(self.is_given("rows")):
            yield

    def multiply(
        self, a: Any, inner: Any, packed: str, columns: Any, onto: Any, d: Any = None
    ) -> None:
        """Make `onto` d + a times a packed factor; d is `(address, row length)`, by default `onto`."""
        d, d_row = d or (onto, columns)
        self.call(
            self.product, self.arg["high"], self.lanes, columns, inner, a, inner, inner, 1,
            self.arg[packed], d, d_row, onto, columns,
        )  # fmt: skip


def emit(module: ir.Module, shape: Shape, product: Code) -> None:
    """Put `<cell>_forward` and `<cell>_backward` of each cell into a module, and `scatter`."""
    for cell in CELLS.values():
        _forward(module, shape, product, cell)
    for backward in (_lstm_backward, _gru_backward, _rnn_backward):
        backward(module, shape, product)
    _scatter(module, shape)


@dataclass(frozen=True)
class Operands:
    """One vector of a step's operands, loaded when the cell asks for them.

    Attributes:
        v: the arithmetic.
        cell: whose step it is.
        before: the vector of a state before the step.
        share: that of a gate's `input` share, its `recurrent` share, or, unless the cell needs them apart, `both`.
    """

    v: Lanes
    cell: Cell
    before: Callable[[str], Any]
    share: Callable[[str, str], Any]

    def input(self, gate: str) -> Any:
        return self.share("input", gate)

    def recurrent(self, gate: str) -> Any:
        return self.share("recurrent", gate)

    def total(self, gate: str, of: Any = None) -> Any:
        assert of is None, "no kernel multiplies anything but the state"
        if self.cell.apart:
            return self.v.add(self.input(gate), self.recurrent(gate))
        return self.share("both", gate)


def _forward(module: ir.Module, shape: Shape, product: Code, cell: Cell) -> None:
    """`<cell>_forward(..., rows, ids, kernel, bias, gates, inner, <states>, scratch)`; the module's docstring says what
    they are. Without `cell.apart` there are no `bias`, `inner` and `scratch`; without gates that are no
    states, no `gates`.
    """
    gates, states = cell.gates, cell.states[::-1]
    saved = [gate for gate in gates if gate not in states]
    apart = cell.apart
    arrays = ["rows", "ids", "kernel"] + ["bias"] * bool(apart) + ["gates"] * bool(saved)
    arrays += (
        ["inner"] * bool(apart) + [f"{state}s" for state in states] + ["scratch"] * bool(apart)
    )
    code = Loop(module, f"{cell.name}_forward", " ".join(arrays), len(gates), shape, product)
    H, G, arg = code.units, code.width, code.arg
    with code.loop(0, arg["steps"]) as t:
        before = {s: code.step(f"{s}s", t, H) for s in states}
        after = {s: code.step(f"{s}s", code.add(t, 1), H) for s in states}
        # A vanilla cell's one gate is its state.
        z = code.step("gates", t, G) if saved else after["h"]
        inner = code.step("inner", t, H) if apart else None
        if apart:
            code.multiply(before["h"], H, "kernel", G, arg["scratch"], (arg["bias"], code.whole(0)))
        else:
            with code.rows_given(), code.loop(0, code.lanes) as lane:
                source = code.input_row(t, lane)
                code.each(
                    G, shape.width, lambda v, j: v.store(v.load(source, j), z, code.mul(lane, G), j)
                )
            code.multiply(before["h"], H, "kernel", G, z)
        with code.loop(0, code.lanes) as lane:
            at, own = code.mul(lane, G), code.mul(lane, H)
            shares = {"both": code.at(z, at)}
            if apart:
                shares["input"] = code.b.select(
                    code.is_given("rows"), code.input_row(t, lane), code.at(z, at)
                )
                shares["recurrent"] = code.at(arg["scratch"], at)

            def unit(v: Lanes, j: Any) -> None:
                places = {gate: code.add(code.mul(k, H), j) for k, gate in enumerate(gates)}
                x = Operands(
                    v,
                    cell,
                    before=lambda state: v.load(before[state], own, j),
                    share=lambda kind, gate: v.load(shares[kind], places[gate]),
                )
                found = cell.step(v, x)
                for gate in saved:
                    v.store(found[gate], z, at, places[gate])
                for gate in apart:
                    v.store(x.recurrent(gate), inner, own, j)
                for state in states:
                    v.store(found[state], after[state], own, j)

            code.each(H, shape.width, unit)
    code.end()


def _lstm_backward(module: ir.Module, shape: Shape, product: Code) -> None:
    code = Loop(module, "lstm_backward", "d_hs dh dc transposed gates cs dz", 4, shape, product)
    H, G, arg = code.units, code.width, code.arg
    with code.loop(0, arg["steps"], down=True) as t:
        d_hs, dz, z = code.step("d_hs", t, H), code.step("dz", t, G), code.step("gates", t, G)
        c_before, cs = code.step("cs", t, H), code.step("cs", code.add(t, 1), H)
        with code.loop(0, code.lanes) as lane:
            at, own = code.mul(lane, G), code.mul(lane, H)

            def unit(v: Lanes, j: Any) -> None:
                places = [code.add(at, code.mul(k, H), j) for k in range(4)]
                i, f, g, o = (v.load(z, place) for place in places)
                dh = v.add(v.load(arg["dh"], own, j), v.load(d_hs, own, j))
                tanh_c = v.tanh(v.load(cs, own, j))
                flow = v.fma(
                    v.mul(dh, o), v.sub(1, v.mul(tanh_c, tanh_c)), v.load(arg["dc"], own, j)
                )
                found = (
                    v.mul(flow, g, i, v.sub(1, i)),
                    v.mul(flow, v.load(c_before, own, j), f, v.sub(1, f)),
                    v.mul(flow, i, v.sub(1, v.mul(g, g))),
                    v.mul(dh, tanh_c, o, v.sub(1, o)),
                )
                for value, place in zip(found, places, strict=True):
                    v.store(value, dz, place)
                v.store(v.mul(flow, f), arg["dc"], own, j)
                v.store(v.constant(0), arg["dh"], own, j)

            code.each(H, shape.width, unit)
        code.multiply(dz, G, "transposed", H, arg["dh"])
    code.end()


def _gru_backward(module: ir.Module, shape: Shape, product: Code) -> None:
    arrays = "d_hs dh transposed gates inner hs from_x from_h"
    code = Loop(module, "gru_backward", arrays, 3, shape, product)
    H, G, arg = code.units, code.width, code.arg
    with code.loop(0, arg["steps"], down=True) as t:
        d_hs, gates, inner = (
            code.step("d_hs", t, H),
            code.step("gates", t, G),
            code.step("inner", t, H),
        )
        from_x, from_h = code.step("from_x", t, G), code.step("from_h", t, G)
        before = code.step("hs", t, H)
        with code.loop(0, code.lanes) as lane:
            at, own = code.mul(lane, G), code.mul(lane, H)

            def unit(v: Lanes, j: Any) -> None:
                places = [code.add(at, code.mul(k, H), j) for k in range(3)]
                z, r, g = (v.load(gates, place) for place in places)
                dh = v.add(v.load(arg["dh"], own, j), v.load(d_hs, own, j))
                dz = v.mul(dh, v.sub(v.load(before, own, j), g), z, v.sub(1, z))
                dg = v.mul(dh, v.sub(1, z), v.sub(1, v.mul(g, g)))
                dr = v.mul(dg, v.load(inner, own, j), r, v.sub(1, r))
                for value, place in zip((dz, dr, dg), places, strict=True):
                    v.store(value, from_x, place)
                for value, place in zip((dz, dr, v.mul(dg, r)), places, strict=True):
                    v.store(value, from_h, place)
                v.store(v.mul(dh, z), arg["dh"], own, j)

            code.each(H, shape.width, unit)
        code.multiply(from_h, G, "transposed", H, arg["dh"])
    code.end()


def _rnn_backward(module: ir.Module, shape: Shape, product: Code) -> None:
    code = Loop(module, "rnn_backward", "d_hs dh transposed hs dz", 1, shape, product)
    H, arg = code.units, code.arg
    with code.loop(0, arg["steps"], down=True) as t:
        d_hs, hs, dz = (
            code.step("d_hs", t, H),
            code.step("hs", code.add(t, 1), H),
            code.step("dz", t, H),
        )

        def unit(v: Lanes, j: Any) -> None:
            h = v.load(hs, j)
            dh = v.add(v.load(arg["dh"], j), v.load(d_hs, j))
            v.store(v.mul(dh, v.sub(1, v.mul(h, h))), dz, j)
            v.store(v.constant(0), arg["dh"], j)

        code.each(code.mul(code.lanes, H), shape.width, unit)
        code.multiply(dz, H, "transposed", H, arg["dh"])
    code.end()


def _scatter(module: ir.Module, shape: Shape) -> None:
    """`scatter(count, width, rows, ids, table)`: each row is added to the table's row of its symbol."""
    names = {"count": INT, "width": INT, "rows": POINTER, "ids": POINTER, "table": POINTER}
    code = Code(module, "scatter", names)
    arg = code.arg
    with code.loop(0, arg["count"]) as row:
        symbol = code.symbol(arg["ids"], row)
        source, target = code.mul(row, arg["width"]), code.mul(symbol, arg["width"])

        def add(v: Lanes, j: Any) -> None:
            v.store(
                v.add(v.load(arg["table"], target, j), v.load(arg["rows"], source, j)),
                arg["table"],
                target,
                j,
            )

        code.each(arg["width"], shape.width, add)
    code.end()
