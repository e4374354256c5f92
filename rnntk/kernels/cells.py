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

SIZES = dict.fromkeys(["high", "steps", "lanes", "units", "down", "few", "features"], INT)
"""high: rows of a tile of a step's products.
steps, lanes, units: T, B and H.
down: 1 to read from the last step to the first, else 0.
few: steps whose input shares are made at once, so that they are still in a cache when they are needed.
features: F.
"""
FORWARD = (
    "x input_kernel input_bias table ids live kernel bias gates inner h c outputs scratch words"
)
"""Arrays of `<cell>_forward`; what a cell or a call does without is null.

x: the inputs `(T, B, F)`; null where they are symbols.
input_kernel, input_bias: the kernel, packed, and the bias that make input shares of x.
table: each symbol's input share, `(V, gates * H)`.
ids: the symbols, int32 `(T, B)`.
live: bytes `(T, B)`, see `LIVE`.
kernel: the recurrent kernel, packed.
bias: of the recurrent share, for a cell with gates apart.
gates: `(T, B, gates * H)`; gets the gates, but for a gate that is a state.
inner: `(T, B, H)`; gets the recurrent share of a gate that is needed apart.
outputs: `(T, B, H)`, with `live` alone.
scratch: `(B, gates * H)`, for a cell with gates apart.
words: for products in bfloat16, room for the words of h `(B, H)` and of `few` steps of x, see `product.room`.
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


class Multiplying(Code):
    """A kernel that multiplies in float32, or in bfloat16 where its argument `words` is given."""

    shape: Shape
    products: list[Products]

    def even(self, rows: Any) -> Any:
        """Rows of a tile, such that all tiles of so many rows are about alike."""
        tiles = self.b.sdiv(self.add(rows, self.shape.rows - 1), self.whole(self.shape.rows))
        return self.b.sdiv(self.add(rows, self.b.sub(tiles, self.whole(1))), tiles)

    def by_precision(self, body: Callable[[Products], None]) -> None:
        """Run `body` with the products that are wanted."""
        floats, *words = self.products
        if not words:
            body(floats)
            return
        with self.b.if_else(self.is_given("words")) as (in_words, in_floats):
            with in_words:
                body(words[0])
            with in_floats:
                body(floats)

    def product(self, high: Any, sizes: tuple[Any, Any, Any], a: Any, *rest: Any) -> None:
        """`product`, with its sizes m, n and k, of a left factor without gaps."""
        _, _, k = sizes

        def call(use: Products) -> None:
            left = (k, k, 1) if use is self.products[0] else (self.arg["words"],)
            self.call(use.product, high, *sizes, a, *left, *rest)

        self.by_precision(call)


class Loop(Multiplying):
    """A kernel over time.

    Args:
        module: where it goes.
        cell: whose loop it is.
        name: `forward` or `backward`.
        shape: how registers are used.
        products: the kernels of matrix products.
    """

    def __init__(
        self, module: ir.Module, cell: Cell, name: str, shape: Shape, products: list[Products]
    ) -> None:
        arrays = FORWARD if name == "forward" else BACKWARD
        arguments = SIZES | dict.fromkeys(arrays.split(), POINTER)
        super().__init__(module, f"{cell.name}_{name}", arguments)
        # Inside of another function its sums and products might be rearranged, and rounded otherwise.
        self.function.attributes.add("noinline")
        self.cell, self.shape, self.products = cell, shape, products
        self.units, self.lanes = self.arg["units"], self.arg["lanes"]
        self.width = self.mul(len(cell.gates), self.units)
        self.saved = [gate for gate in cell.gates if gate not in cell.states]
        """Gates that are kept for the backward loop; a gate that is a state is kept as that."""

    @contextmanager
    def over_time(self, *, back: bool) -> Iterator[tuple[Any, Any, dict[str, Any], dict[str, Any]]]:
        """Each step in the order of reading, or `back`: its number in that order, t, and the states before and after
        it, by letter.
        """
        b, steps, down = self.b, self.arg["steps"], self.arg["down"]
        with self.loop(0, steps) as k:
            mirrored = b.sub(b.sub(steps, self.whole(1)), k)
            is_down = b.icmp_signed("!=", down, self.whole(0))
            t = b.select(is_down, *((k, mirrored) if back else (mirrored, k)))
            places = self.add(t, down), b.sub(self.add(t, 1), down)
            before, after = (
                {s: self.step(s, place, self.units) for s in self.cell.states} for place in places
            )
            yield k, t, before, after

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

    def shares(self, t: Any) -> Any:
        """Where the input shares of step t are made: in the place of the gates, or, without these, of the state."""
        if self.saved:
            return self.step("gates", t, self.width)
        return self.step("h", self.b.sub(self.add(t, 1), self.arg["down"]), self.units)

    def project_inputs(self, k: Any, t: Any) -> None:
        """Every `few` steps, make the input shares of as many, from step t on, the k-th that is read."""
        b, arg, features = self.b, self.arg, self.arg["features"]
        due = b.icmp_signed("==", b.srem(k, arg["few"]), self.whole(0))
        with b.if_then(b.and_(self.is_given("x"), due)):
            here = self.minimum(arg["few"], b.sub(arg["steps"], k))
            down = b.icmp_signed("!=", arg["down"], self.whole(0))
            first = b.select(down, b.sub(self.add(t, 1), here), t)
            rows, x = self.mul(here, self.lanes), self.step("x", first, features)
            self.product(
                self.even(rows), (rows, self.width, features), x, arg["input_kernel"],
                arg["input_bias"], 0, self.shares(first), self.width,
            )  # fmt: skip

    def input_share(self, t: Any, lane: Any, otherwise: Any) -> Any:
        """Address of a batch row's input share at step t: in the table, or, without ids, `otherwise`."""
        b, elsewhere = self.b, self.b.block
        with b.if_then(self.is_given("ids")):
            symbol = self.symbol(self.arg["ids"], self.add(self.mul(t, self.lanes), lane))
            row, in_table = self.at(self.arg["table"], self.mul(symbol, self.width)), b.block
        found = b.phi(POINTER)
        found.add_incoming(otherwise, elsewhere)
        found.add_incoming(row, in_table)
        return found

    def multiply(self, a: Any, inner: Any, columns: Any, onto: Any, d: Any = None) -> None:
        """Make `onto` d + a times the kernel; d is `(address, row length)`, by default `onto`."""
        d, d_row = d or (onto, columns)
        sizes = self.lanes, columns, inner
        self.product(self.arg["high"], sizes, a, self.arg["kernel"], d, d_row, onto, columns)


def emit(module: ir.Module, shape: Shape, products: list[Products]) -> None:
    """Put `<cell>_forward`, `<cell>_backward` and `<cell>_gradients` of each cell into a module."""
    scatter, sums = _scatter(module, shape), _column_sums(module, shape)
    for cell in CELLS.values():
        _forward(Loop(module, cell, "forward", shape, products))
        backward = Loop(module, cell, "backward", shape, products)
        _backward(backward, _BACKWARD[cell.name])
        _Gradients(module, backward, scatter, sums)


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
    with code.over_time(back=False) as (k, t, before, after):
        code.project_inputs(k, t)
        z = code.shares(t)
        outputs, inner = code.step("outputs", t, H), code.step("inner", t, H)
        if cell.apart:
            code.multiply(before["h"], H, G, arg["scratch"], (arg["bias"], code.whole(0)))
        else:
            with b.if_then(code.is_given("ids")), code.loop(0, code.lanes) as lane:
                target = code.at(z, code.mul(lane, G))
                source = code.input_share(t, lane, target)
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
                shares["input"] = code.input_share(t, b.sdiv(own, H), shares["both"])
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
    with code.over_time(back=True) as (_, t, before, after):
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


class _Gradients(Multiplying):
    """`<cell>_gradients(..., few, features, ...)`: the gradients of a layer.

    The layer is read backwards `few` steps at a time, so that what one kernel makes is still in a cache when the next
    one reads it, and is never kept. What is summed up must hold zeros, or what is to be added to.

    The arrays beside those of `BACKWARD`, of which dz and du are `(few, B, gates * H)`:

    ids: int32 `(T, B)`, or null.
    x: without ids, the inputs `(T, B, F)`.
    transposed: the kernel transposed, packed; with d_inputs.
    nothing: F zeros; with d_inputs.
    packed, strips: room for `few * B` packed rows of dz, and of x or h in strips.
    d_recurrent, d_inner_bias, d_table or d_kernel and d_bias: summed up.
    d_inputs: `(T, B, F)`, or null.
    """

    def __init__(self, module: ir.Module, loop: Loop, scatter: Code, sums: Code) -> None:
        arrays = f"{BACKWARD} ids x transposed nothing packed strips"
        arrays += " d_recurrent d_inner_bias d_table d_kernel d_bias d_inputs"
        arguments = SIZES | dict.fromkeys(arrays.split(), POINTER)
        super().__init__(module, f"{loop.cell.name}_gradients", arguments)
        self.products, self.shape = loop.products, loop.shape
        b, arg = self.b, self.arg
        high, steps, lanes, units, down, few, features = list(arg.values())[:7]
        self.width = width = self.mul(len(loop.cell.gates), units)
        with self.loop(0, steps, few) as done:
            here = self.minimum(few, b.sub(steps, done))
            first = b.sub(b.sub(steps, done), here)
            first = b.select(b.icmp_signed("!=", down, self.whole(0)), done, first)
            self.row, self.rows = self.mul(first, lanes), self.mul(here, lanes)
            places = {name: arg[name] for name in BACKWARD.split()}
            places |= {name: self.part(name, units) for name in ("d_outputs", "inner", "h", "c")}
            places["gates"] = self.part("gates", width)
            live = b.gep(arg["live"], [self.row], source_etype=ir.IntType(8))
            places["live"] = b.select(self.is_given("live"), live, arg["live"])
            self.call(loop, high, here, lanes, units, down, few, features, *places.values())
            dz, du = arg["dz"], arg["du"] if loop.cell.apart else arg["dz"]
            before = self.at(arg["h"], self.mul(self.add(first, down), lanes, units))
            self.pack(du)
            self.gradient(before, units, "d_recurrent")
            if loop.cell.apart:
                self.call(sums, self.rows, width, du, arg["d_inner_bias"])
            with b.if_else(self.is_given("ids")) as (by_symbol, by_feature):
                with by_symbol:
                    ids = self.part("ids", 1)  # which are as wide as floats
                    self.call(scatter, self.rows, width, dz, ids, arg["d_table"])
                with by_feature:
                    if loop.cell.apart:
                        self.pack(dz)
                    self.gradient(self.part("x", features), features, "d_kernel")
                    self.call(sums, self.rows, width, dz, arg["d_bias"])
                    with b.if_then(self.is_given("d_inputs")):
                        self.product(
                            self.even(self.rows), (self.rows, features, width), dz, arg["transposed"],
                            arg["nothing"], 0, self.part("d_inputs", features), features,
                        )  # fmt: skip
        self.end()

    def part(self, array: str, width: Any) -> Any:
        """An array `(T, B, width)` from the part's first step on."""
        return self.at(self.arg[array], self.mul(self.row, width))

    def pack(self, dz: Any) -> None:
        """Pack the part's rows."""
        sizes, packed = (self.rows, self.width), self.arg["packed"]
        self.by_precision(
            lambda use: self.call(use.pack, *sizes, dz, self.width, 1, self.shape.panel, packed)
        )

    def gradient(self, x: Any, features: Any, onto: str) -> None:
        """Add the gradient of a kernel that x was multiplied with, from what is packed."""
        arrays = x, self.arg["strips"], self.arg["packed"], self.arg[onto]
        sizes = self.rows, features, self.width
        self.by_precision(lambda use: self.call(use.gradient, *sizes, *arrays))


def _column_sums(module: ir.Module, shape: Shape) -> Code:
    """`column_sums(rows, columns, x, onto)`: the sum of all rows is added to `onto`."""
    names = {"rows": INT, "columns": INT, "x": POINTER, "onto": POINTER}
    code = Code(module, "column_sums", names)
    arg = code.arg

    def column(v: Lanes, j: Any) -> None:
        with code.carried_loop(0, arg["rows"], 1, [v.constant(0)]) as (row, (total,), done):
            done([v.add(total, v.load(arg["x"], code.mul(row, arg["columns"]), j))])
        v.store(v.add(v.load(arg["onto"], j), code.carried[0]), arg["onto"], j)

    code.each(arg["columns"], shape.width, column)
    code.end()
    return code


def _scatter(module: ir.Module, shape: Shape) -> Code:
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
    return code
