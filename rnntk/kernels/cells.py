"""The time loops of each cell, forward and backward, as kernels.

The forward arithmetic is that of `rnntk.cells`; the backward arithmetic is here. All arrays are time-major,
`(T, B, ...)`; `h` and `c` are `(T + 1, B, H)`, the states between the steps. With `down` a loop reads from the last
step to the first, so that step t leads from state t + 1 to state t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from rnntk.cells import CELLS, Cell
from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape
from rnntk.kernels.product import Products

SIZES = dict.fromkeys(["high", "steps", "lanes", "units", "down"], INT)
FORWARD = "rows ids live kernel bias gates inner h c outputs scratch words"
"""Arrays of `<cell>_forward`; what a cell or a call does without is null.

rows: the steps' input shares: row `t * B + b` of it, or, with `ids`, the row that the symbol there chooses. Without
    `rows` the input shares stand already where the gates will be (a vanilla cell's: the states).
ids: int32 `(T, B)`.
live: bytes `(T, B)`, see `LIVE`.
kernel: the recurrent kernel, packed.
bias: of the recurrent share, for a cell with gates apart.
gates: `(T, B, gates * H)`; gets the gates, but for a gate that is a state.
inner: `(T, B, H)`; gets the recurrent share of a gate that is needed apart.
outputs: `(T, B, H)`, with `live` alone.
scratch: `(B, gates * H)`, for a cell with gates apart.
words: for products in bfloat16, `product.room(B, H)` floats.
"""
BACKWARD = "d_outputs dh dc live kernel gates inner h c dz du words"
"""Arrays of `<cell>_backward`.

d_outputs: `(T, B, H)`.
dh, dc: `(B, H)`, the gradients of the last states, which become those of the first.
kernel: the recurrent kernel transposed, packed.
dz: `(T, B, gates * H)`; gets the gradients of the input shares.
du: the same for the recurrent shares, for a cell with gates apart.
words: `product.room(B, gates * H)` floats.
"""


LIVE, KEPT = 1, 2
"""Bytes of `live`: the row takes this step; the row keeps its state, which is also its output. With 0 it keeps its
state and its output is 0.
"""


class Loop(Code):
    """A kernel over time.

    Args:
        module: where it goes.
        cell: whose loop it is.
        name: `forward` or `backward`.
        shape: how registers are used.
        products: the kernels of matrix products.
    """

    def __init__(
        self, module: ir.Module, cell: Cell, name: str, shape: Shape, products: Products
    ) -> None:
        arrays = FORWARD if name == "forward" else BACKWARD
        arguments = SIZES | dict.fromkeys(arrays.split(), POINTER)
        super().__init__(module, f"{cell.name}_{name}", arguments)
        self.cell, self.shape, self.products = cell, shape, products
        self.units, self.lanes = self.arg["units"], self.arg["lanes"]
        self.width = self.mul(len(cell.gates), self.units)
        self.saved = [gate for gate in cell.gates if gate not in cell.states]
        """Gates that are kept for the backward loop; a gate that is a state is kept as that."""

    @contextmanager
    def over_time(self, *, back: bool) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any]]]:
        """Each step in the order of reading, or `back`: t, and the states before and after it, by letter."""
        b, steps, down = self.b, self.arg["steps"], self.arg["down"]
        with self.loop(0, steps) as k:
            mirrored = b.sub(b.sub(steps, self.whole(1)), k)
            is_down = b.icmp_signed("!=", down, self.whole(0))
            t = b.select(is_down, *((k, mirrored) if back else (mirrored, k)))
            places = self.add(t, down), b.sub(self.add(t, 1), down)
            before, after = (
                {s: self.step(s, place, self.units) for s in self.cell.states} for place in places
            )
            yield t, before, after

    def step(self, array: str, t: Any, width: Any) -> Any:
        """Step t of an array `(T, B, width)`."""
        return self.at(self.arg[array], self.mul(t, self.lanes, width))

    @contextmanager
    def each_row(self, t: Any, dead: Callable[[Any, Any, Any], None]) -> Iterator[tuple[Any, Any]]:
        """What is done for each row of the batch that is live at step t: its offset in arrays of gates and of units.

        Args:
            t: the step.
            dead: `dead(code, at, own)` does the rest; `code` is what `live` says of the row.
        """
        b = self.b
        with self.loop(0, self.lanes) as lane:
            at, own = self.mul(lane, self.width), self.mul(lane, self.units)
            all_live = b.block
            with b.if_then(self.is_given("live")):
                place = self.add(self.mul(t, self.lanes), lane)
                i8 = ir.IntType(8)
                found = b.load(b.gep(self.arg["live"], [place], source_etype=i8), typ=i8)
                from_array = b.block
            code = b.phi(ir.IntType(8))
            code.add_incoming(ir.Constant(ir.IntType(8), LIVE), all_live)
            code.add_incoming(found, from_array)
            with b.if_else(b.icmp_signed("==", code, ir.Constant(code.type, LIVE))) as (yes, no):
                with no:
                    dead(code, at, own)
                with yes:
                    yield at, own

    def input_row(self, t: Any, lane: Any) -> Any:
        """Address of a batch row's input share at step t."""
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

    def multiply(self, a: Any, inner: Any, columns: Any, onto: Any, d: Any = None) -> None:
        """Make `onto` d + a times the kernel; d is `(address, row length)`, by default `onto`."""
        d, d_row = d or (onto, columns)
        arg, b = self.arg, self.b
        rest = (arg["kernel"], d, d_row, onto, columns)
        sizes = (arg["high"], self.lanes, columns, inner, a)
        if self.products.pairs is None:
            self.call(self.products.floats, *sizes, inner, inner, 1, *rest)
            return
        with b.if_else(self.is_given("words")) as (pairs, floats):
            with pairs:
                self.call(self.products.pairs, *sizes, arg["words"], *rest)
            with floats:
                self.call(self.products.floats, *sizes, inner, inner, 1, *rest)


def emit(module: ir.Module, shape: Shape, products: Products) -> None:
    """Put `<cell>_forward` and `<cell>_backward` of each cell into a module, and `scatter`."""
    for cell in CELLS.values():
        _forward(Loop(module, cell, "forward", shape, products))
        _backward(Loop(module, cell, "backward", shape, products), _BACKWARD[cell.name])
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


def _forward(code: Loop) -> None:
    cell, shape, b, arg = code.cell, code.shape, code.b, code.arg
    H, G = code.units, code.width
    with code.over_time(back=False) as (t, before, after):
        z = code.step("gates", t, G) if code.saved else after["h"]
        outputs, inner = code.step("outputs", t, H), code.step("inner", t, H)
        if cell.apart:
            code.multiply(before["h"], H, G, arg["scratch"], (arg["bias"], code.whole(0)))
        else:
            with b.if_then(code.is_given("rows")), code.loop(0, code.lanes) as lane:
                source, target = code.input_row(t, lane), code.at(z, code.mul(lane, G))
                code.each(G, shape.width, lambda v, j: v.store(v.load(source, j), target, j))
            code.multiply(before["h"], H, G, z)

        def dead(kind: Any, _at: Any, own: Any) -> None:
            kept = b.icmp_signed("==", kind, ir.Constant(kind.type, KEPT))

            def unit(v: Lanes, j: Any) -> None:
                for state in cell.states:
                    v.store(v.load(before[state], own, j), after[state], own, j)
                h = v.load(before["h"], own, j)
                v.store(b.select(kept, h, v.constant(0)), outputs, own, j)

            code.each(H, shape.width, unit)

        with code.each_row(t, dead) as (at, own):
            shares = {"both": code.at(z, at)}
            if cell.apart:
                lane = b.sdiv(own, H)
                shares["input"] = b.select(
                    code.is_given("rows"), code.input_row(t, lane), code.at(z, at)
                )
                shares["recurrent"] = code.at(arg["scratch"], at)

            def unit(v: Lanes, j: Any) -> None:
                places = {gate: code.add(code.mul(k, H), j) for k, gate in enumerate(cell.gates)}
                x = Operands(
                    v,
                    cell,
                    before=lambda state: v.load(before[state], own, j),
                    share=lambda kind, gate: v.load(shares[kind], places[gate]),
                )
                found = cell.step(v, x)
                for gate in code.saved:
                    v.store(found[gate], z, at, places[gate])
                for gate in cell.apart:
                    v.store(x.recurrent(gate), inner, own, j)
                for state in cell.states:
                    v.store(found[state], after[state], own, j)

            code.each(H, shape.width, unit)
            with b.if_then(code.is_given("live")):
                h = after["h"]
                code.each(H, shape.width, lambda v, j: v.store(v.load(h, own, j), outputs, own, j))
    code.end()


@dataclass(frozen=True)
class _Past:
    """What a backward step reads, one vector of it: each is a function of a letter.

    Attributes:
        gate: a gate's value.
        before, after: a state's value.
        d: the gradient of a state after the step.
        inner: the recurrent share of a gate that is needed apart.
    """

    gate: Callable[[str], Any]
    before: Callable[[str], Any]
    after: Callable[[str], Any]
    d: Callable[[str], Any]
    inner: Callable[[str], Any]


Gradients = Mapping[str, Any]
"""Of a gate's pre-activation by the gate's letter; `u<gate>` of its recurrent share, where that is another; `d<state>`
of a state before the step, without what comes through the recurrent kernel, where that is not 0.
"""


def _lstm_backward(v: Lanes, x: _Past) -> Gradients:
    i, f, g, o = (x.gate(gate) for gate in "ifgo")
    dh, tanh_c = x.d("h"), v.tanh(x.after("c"))
    flow = v.fma(v.mul(dh, o), v.sub(1, v.mul(tanh_c, tanh_c)), x.d("c"))
    return {
        "i": v.mul(flow, g, i, v.sub(1, i)),
        "f": v.mul(flow, x.before("c"), f, v.sub(1, f)),
        "g": v.mul(flow, i, v.sub(1, v.mul(g, g))),
        "o": v.mul(dh, tanh_c, o, v.sub(1, o)),
        "dc": v.mul(flow, f),
    }


def _gru_backward(v: Lanes, x: _Past) -> Gradients:
    z, r, g = (x.gate(gate) for gate in "zrg")
    dh = x.d("h")
    dz = v.mul(dh, v.sub(x.before("h"), g), z, v.sub(1, z))
    dg = v.mul(dh, v.sub(1, z), v.sub(1, v.mul(g, g)))
    dr = v.mul(dg, x.inner("g"), r, v.sub(1, r))
    return {"z": dz, "r": dr, "g": dg, "ug": v.mul(dg, r), "dh": v.mul(dh, z)}


def _rnn_backward(v: Lanes, x: _Past) -> Gradients:
    h = x.after("h")
    return {"h": v.mul(x.d("h"), v.sub(1, v.mul(h, h)))}


_BACKWARD = {"lstm": _lstm_backward, "gru": _gru_backward, "rnn": _rnn_backward}


def _backward(code: Loop, gradients: Callable[[Lanes, _Past], Gradients]) -> None:
    cell, shape, b, arg = code.cell, code.shape, code.b, code.arg
    H, G = code.units, code.width
    with code.over_time(back=True) as (t, before, after):
        d_outputs, dz, du = (
            code.step("d_outputs", t, H),
            code.step("dz", t, G),
            code.step("du", t, G),
        )
        gates, inner = code.step("gates", t, G), code.step("inner", t, H)

        def dead(kind: Any, at: Any, own: Any) -> None:
            kept = b.icmp_signed("==", kind, ir.Constant(kind.type, KEPT))

            def nothing(v: Lanes, j: Any) -> None:
                for target in (dz, du)[: 1 + bool(cell.apart)]:
                    v.store(v.constant(0), target, at, j)

            def unit(v: Lanes, j: Any) -> None:
                d_output = b.select(kept, v.load(d_outputs, own, j), v.constant(0))
                v.store(v.add(v.load(arg["dh"], own, j), d_output), arg["dh"], own, j)

            code.each(G, shape.width, nothing)
            code.each(H, shape.width, unit)

        with code.each_row(t, dead) as (at, own):

            def unit(v: Lanes, j: Any) -> None:
                places = {
                    gate: code.add(at, code.mul(k, H), j) for k, gate in enumerate(cell.gates)
                }

                def d(state: str) -> Any:
                    found = v.load(arg[f"d{state}"], own, j)
                    return v.add(found, v.load(d_outputs, own, j)) if state == "h" else found

                past = _Past(
                    gate=lambda gate: v.load(gates, places[gate]),
                    before=lambda state: v.load(before[state], own, j),
                    after=lambda state: v.load(after[state], own, j),
                    d=d,
                    inner=lambda _gate: v.load(inner, own, j),
                )
                found = gradients(v, past)
                for gate, place in places.items():
                    v.store(found[gate], dz, place)
                    if cell.apart:
                        v.store(found.get(f"u{gate}", found[gate]), du, place)
                for state in cell.states:
                    v.store(found.get(f"d{state}", v.constant(0)), arg[f"d{state}"], own, j)

            code.each(H, shape.width, unit)
        code.multiply(du if cell.apart else dz, G, H, arg["dh"])
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
