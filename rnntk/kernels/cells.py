"""Forward and backward kernels over time for each cell in `rnntk.cells`.

Arrays are time-major, `(T, B, ...)`; states h and c are `(T + 1, B, H)`. In `reverse`, the last step comes first and
step t leads from state t + 1 to state t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir

from rnntk.cells import CELLS, Cell
from rnntk.kernels.code import INT8, POINTER, Code, Lanes, Shape
from rnntk.kernels.product import Products

SIZES = "tile_rows steps batch units reverse block features"
"""steps, batch, units, features: T, B, H and F; tile_rows: rows per tile of a step's products.
reverse: 1 to start at the last step, else 0. block: steps whose input projections, or in `<cell>_gradients` gradients,
are computed together, so that they stay in cache.
"""
FORWARD = (
    "*x *input_kernel *input_bias *table *ids *mask *kernel *bias"
    " *gates *recurrent *h *c *outputs *scratch *words"
)
"""Arrays of `<cell>_forward`; unused ones are null.

x, input_kernel, input_bias: inputs `(T, B, F)`, packed input kernel and input bias; or
ids, table: symbols, int32 `(T, B)`, and each symbol's input projection, `(V, gates * H)`.
mask: bytes `(T, B)`, see `LIVE`.
kernel, bias: packed recurrent kernel; recurrent bias, if the cell has gates apart.
gates, recurrent: outputs: the gates that are not states `(T, B, gates * H)`, and the recurrent projection of
    the gate in `Cell.apart` `(T, B, H)`.
outputs: output `(T, B, H)`, only with `mask`.
scratch: `(B, gates * H)`, for a cell with gates apart.
words: with bfloat16 products, a buffer for h `(B, H)` and x, see `product.buffer_size`; else null.
"""
BACKWARD = "*d_outputs *dh *dc *mask *kernel *gates *recurrent *h *c *dz *du *words"
"""Arrays of `<cell>_backward`.

d_outputs: `(T, B, H)`. dh, dc: `(B, H)`, gradients of the final states, replaced by those of the initial states.
kernel: the recurrent kernel, transposed and packed.
dz, du: outputs `(T, B, gates * H)`: gradients of the input projections and, with gates apart, of the recurrent ones.
"""
GRADIENTS = (
    f"{BACKWARD} *ids *x *transposed *zeros *packed *strips"
    " *d_kernel *d_recurrent_bias *d_table *d_input_kernel *d_input_bias *d_inputs"
)
"""Arrays of `<cell>_gradients`: those of `BACKWARD`, but with dz and du `(block, B, gates * H)`, and:

ids, x: int32 `(T, B)` or null; without ids, the inputs `(T, B, F)`.
transposed, zeros: with d_inputs, the input kernel, transposed and packed, and F zeros.
packed, strips: buffers for `block * B` packed rows of dz, and for strips of x or h.
d_kernel to d_input_bias: gradients of weights are added to these; d_table with ids, the last two without.
d_inputs: output `(T, B, F)`, or null.
"""

LIVE, KEPT = 1, 2
"""Values of `mask`. LIVE: the row takes this step; KEPT: it keeps its state and outputs it; 0: it outputs 0 instead."""


def emit(module: ir.Module, shape: Shape, products: list[Products]) -> None:
    """Add `<cell>_forward`, `<cell>_backward` and `<cell>_gradients` of each cell to a module.

    Products are in bfloat16 if the argument `words` is not null, else in float32.
    """
    scatter, sums = _scatter(module, shape), _column_sums(module, shape)
    for cell in CELLS.values():
        _forward(_Loop(module, cell, "forward", FORWARD, shape, products))
        backward = _Loop(module, cell, "backward", BACKWARD, shape, products)
        _backward(backward, _BACKWARD[cell.name])
        layer = _Gradients(module, cell, "gradients", GRADIENTS, shape, products)
        layer.fill(backward, scatter, sums)


class _CellCode(Code):
    """The kernel `<cell>_<name>`, with arguments `SIZES` and `arrays`."""

    def __init__(
        self, module: ir.Module, cell: Cell, name: str, arrays: str, shape: Shape, products: list[Products]
    ) -> None:  # fmt: skip
        super().__init__(module, f"{cell.name}_{name}", f"{SIZES} {arrays}")
        # Inlining could reorder sums and so change the rounding.
        self.function.attributes.add("noinline")
        self.cell, self.shape, self.products = cell, shape, products
        self.units, self.batch = self.arg["units"], self.arg["batch"]
        self.width = self.mul(len(cell.gates), self.units)
        self.reverse = self.compare("!=", self.arg["reverse"], 0)

    def at_step(self, array: str, t: Any, width: Any) -> Any:
        """Address of step t of an array `(T, B, width)`."""
        return self.at(self.arg[array], self.mul(t, self.batch, width))

    def by_precision(self, body: Callable[[Products], None]) -> None:
        """Emit `body` for the products of each precision, chosen at run time by `words`."""
        floats, *words = self.products
        if not words:
            body(floats)
            return
        with self.b.if_else(self.is_given("words")) as (in_words, in_floats):
            with in_words:
                body(words[0])
            with in_floats:
                body(floats)

    def product(self, tile_rows: Any, m: Any, n: Any, k: Any, a: Any, *rest: Any) -> None:
        """Call `product` with a contiguous left factor."""

        def call(use: Products) -> None:
            left = (k, k, 1) if use is self.products[0] else (self.arg["words"],)
            self.call(use.product, tile_rows, m, n, k, a, *left, *rest)

        self.by_precision(call)

    def affine(self, m: Any, n: Any, k: Any, x: Any, factor: str, bias: str, c: Any) -> None:
        """Set c `(m, n)` to x `(m, k)` times a packed factor plus a bias, in tiles of about equal height."""
        tiles = self.div(m, self.shape.rows, up=True)
        tile_rows = self.div(m, tiles, up=True)
        self.product(tile_rows, m, n, k, x, self.arg[factor], self.arg[bias], 0, c, n)


class _Loop(_CellCode):
    """A kernel over time."""

    def places(self, *index: Any) -> dict[str, Any]:
        """Index of each gate of a unit in an array of gates."""
        return {g: self.add(self.mul(k, self.units), *index) for k, g in enumerate(self.cell.gates)}

    @contextmanager
    def over_time(self, *, back: bool) -> Iterator[tuple[Any, Any, dict[str, Any], dict[str, Any]]]:
        """Loop over the steps t, or `back` from the last one, with the states before and after each by letter."""
        steps, reverse = self.arg["steps"], self.arg["reverse"]
        with self.loop(0, steps) as k:
            mirrored = self.sub(self.sub(steps, 1), k)
            t = self.b.select(self.reverse, *((k, mirrored) if back else (mirrored, k)))
            before, after = (
                {s: self.at_step(s, row, self.units) for s in self.cell.states}
                for row in (self.add(t, reverse), self.sub(self.add(t, 1), reverse))
            )
            yield k, t, before, after

    @contextmanager
    def each_row(
        self, t: Any, masked: Callable[[Any, Any, Any], None]
    ) -> Iterator[tuple[Any, Any]]:
        """Loop over the batch rows, yielding offsets in arrays of gates and of units for those that take step t.

        `masked(kept, gates_at, units_at)` emits the code for the others; a `kept` row outputs its state.
        """
        b = self.b
        with self.loop(0, self.batch) as row:
            at, own = self.mul(row, self.width), self.mul(row, self.units)
            without_mask = b.block
            with b.if_then(self.is_given("mask")):
                found = self.load(self.arg["mask"], self.mul(t, self.batch), row, of=INT8)
                with_mask = b.block
            value = b.phi(INT8)
            value.add_incoming(INT8(LIVE), without_mask)
            value.add_incoming(found, with_mask)
            with b.if_else(b.icmp_signed("==", value, INT8(LIVE))) as (yes, no):
                with no:
                    masked(b.icmp_signed("==", value, INT8(KEPT)), at, own)
                with yes:
                    yield at, own

    def projections(self, t: Any) -> Any:
        """Address of step t's input projections, which its gates, or without saved gates its state, overwrite later."""
        if self.cell.saved:
            return self.at_step("gates", t, self.width)
        return self.at_step("h", self.sub(self.add(t, 1), self.arg["reverse"]), self.units)

    def project_inputs(self, t: Any, done: Any) -> None:
        """Compute the input projections of the next block of steps, from step t on, after `done` steps of others.

        Nothing to do for symbols, or inside a block.
        """
        b, block, steps = self.b, self.arg["block"], self.arg["steps"]
        begins = self.compare("==", b.srem(done, block), 0)
        with b.if_then(b.and_(self.is_given("x"), begins)):
            count = self.minimum(block, self.sub(steps, done))
            first = b.select(self.reverse, self.sub(self.add(t, 1), count), t)
            rows, features = self.mul(count, self.batch), self.arg["features"]
            x, onto = self.at_step("x", first, features), self.projections(first)
            self.affine(rows, self.width, features, x, "input_kernel", "input_bias", onto)

    def input_projection(self, t: Any, row: Any, otherwise: Any) -> Any:
        """Address of a batch row's input projection at step t: in the table, or without ids `otherwise`."""
        b, elsewhere = self.b, self.b.block
        with b.if_then(self.is_given("ids")):
            symbol = self.symbol(self.arg["ids"], self.mul(t, self.batch), row)
            entry, in_table = self.at(self.arg["table"], self.mul(symbol, self.width)), b.block
        found = b.phi(POINTER)
        found.add_incoming(otherwise, elsewhere)
        found.add_incoming(entry, in_table)
        return found

    def multiply(self, a: Any, k: Any, n: Any, c: Any, d: Any = None) -> None:
        """Set c `(B, n)` to d + a `(B, k)` times the kernel; d is a row, by default c itself."""
        sums = (c, n) if d is None else (d, 0)
        self.product(self.arg["tile_rows"], self.batch, n, k, a, self.arg["kernel"], *sums, c, n)


@dataclass
class VectorOperands:
    """One vector of a step's operands (`rnntk.cells.Operands`), loaded on request."""

    v: Lanes
    cell: Cell
    before: Callable[[str], Any]  # by state
    # "input", "recurrent" or (unless apart) "both", of a gate.
    projection: Callable[[str, str], Any]
    factor: Any = None  # multiplied with the recurrent kernel in place of h

    def input(self, gate: str) -> Any:
        return self.projection("input", gate)

    def recurrent(self, gate: str) -> Any:
        return self.projection("recurrent", gate)

    def total(self, gate: str, of: Any = None) -> Any:
        self.factor = self.factor if of is None else of
        if self.cell.apart:
            return self.v.add(self.input(gate), self.recurrent(gate))
        return self.projection("both", gate)


def _forward(code: _Loop) -> None:
    cell, width, arg = code.cell, code.shape.width, code.arg
    H, G = code.units, code.width
    with code.over_time(back=False) as (k, t, before, after):
        code.project_inputs(t, k)
        z = code.projections(t)
        outputs, recurrent = code.at_step("outputs", t, H), code.at_step("recurrent", t, H)
        if cell.apart:
            code.multiply(before["h"], H, G, arg["scratch"], arg["bias"])
        else:
            with code.b.if_then(code.is_given("ids")), code.loop(0, code.batch) as row:
                target = code.at(z, code.mul(row, G))
                code.copy(G, width, code.input_projection(t, row, target), target)
            code.multiply(before["h"], H, G, z)

        def masked(kept: Any, _at: Any, own: Any) -> None:
            def unit(v: Lanes, j: Any) -> None:
                for state in cell.states:
                    v.store(v.load(before[state], own, j), after[state], own, j)
                h = v.load(before["h"], own, j)
                v.store(code.b.select(kept, h, v.constant(0)), outputs, own, j)

            code.each(H, width, unit)

        with code.each_row(t, masked) as (at, own):
            sources = {"both": code.at(z, at)}
            if cell.apart:
                sources["input"] = code.input_projection(t, code.div(own, H), sources["both"])
                sources["recurrent"] = code.at(arg["scratch"], at)

            def unit(v: Lanes, j: Any) -> None:
                places = code.places(j)

                def load(kind: str, gate: str) -> Any:
                    return v.load(sources[kind], places[gate])

                x = VectorOperands(v, cell, lambda state: v.load(before[state], own, j), load)
                found = cell.step(v, x)
                assert x.factor is None, "only h is multiplied with the recurrent kernel here"
                for gate in cell.saved:
                    v.store(found[gate], z, at, places[gate])
                for gate in cell.apart:
                    v.store(x.recurrent(gate), recurrent, own, j)
                for state in cell.states:
                    v.store(found[state], after[state], own, j)

            code.each(H, width, unit)
            with code.b.if_then(code.is_given("mask")):
                code.copy(H, width, code.at(after["h"], own), code.at(outputs, own))


class _Saved(NamedTuple):
    """One vector of each operand of a backward step, by letter."""

    gates: Mapping[str, Any]  # saved gates
    before: Mapping[str, Any]  # states before the step
    after: Mapping[str, Any]  # states after it
    d: Mapping[str, Any]  # gradients of the states after it
    recurrent: Any  # recurrent projection of the gate in `Cell.apart`


Gradients = Mapping[str, Any]
"""Gradients of the pre-activations by gate; `u<gate>` of its recurrent projection, if different; `d<state>` of a state
before the step without the part through the recurrent kernel, if not 0.
"""


def _lstm_backward(v: Lanes, x: _Saved) -> Gradients:
    i, f, g, o = (x.gates[gate] for gate in "ifgo")
    dh, tanh_c = x.d["h"], v.tanh(x.after["c"])
    flow = v.fma(v.mul(dh, o), v.sub(1, v.mul(tanh_c, tanh_c)), x.d["c"])
    return {
        "i": v.mul(flow, g, i, v.sub(1, i)),
        "f": v.mul(flow, x.before["c"], f, v.sub(1, f)),
        "g": v.mul(flow, i, v.sub(1, v.mul(g, g))),
        "o": v.mul(dh, tanh_c, o, v.sub(1, o)),
        "dc": v.mul(flow, f),
    }


def _gru_backward(v: Lanes, x: _Saved) -> Gradients:
    z, r, g = (x.gates[gate] for gate in "zrg")
    dh = x.d["h"]
    dz = v.mul(dh, v.sub(x.before["h"], g), z, v.sub(1, z))
    dg = v.mul(dh, v.sub(1, z), v.sub(1, v.mul(g, g)))
    dr = v.mul(dg, x.recurrent, r, v.sub(1, r))
    return {"z": dz, "r": dr, "g": dg, "ug": v.mul(dg, r), "dh": v.mul(dh, z)}


def _rnn_backward(v: Lanes, x: _Saved) -> Gradients:
    h = x.after["h"]
    return {"h": v.mul(x.d["h"], v.sub(1, v.mul(h, h)))}


_BACKWARD = {"lstm": _lstm_backward, "gru": _gru_backward, "rnn": _rnn_backward}


def _backward(code: _Loop, gradients: Callable[[Lanes, _Saved], Gradients]) -> None:
    cell, width, arg = code.cell, code.shape.width, code.arg
    H, G = code.units, code.width
    with code.over_time(back=True) as (_, t, before, after):
        dz, du, gates = (code.at_step(name, t, G) for name in ("dz", "du", "gates"))
        d_outputs, recurrent = code.at_step("d_outputs", t, H), code.at_step("recurrent", t, H)

        def masked(kept: Any, at: Any, own: Any) -> None:
            def zero(v: Lanes, j: Any) -> None:
                for target in (dz, du)[: 1 + bool(cell.apart)]:
                    v.store(v.constant(0), target, at, j)

            def unit(v: Lanes, j: Any) -> None:
                d_output = code.b.select(kept, v.load(d_outputs, own, j), v.constant(0))
                v.store(v.add(v.load(arg["dh"], own, j), d_output), arg["dh"], own, j)

            code.each(G, width, zero)
            code.each(H, width, unit)

        with code.each_row(t, masked) as (at, own):

            def unit(v: Lanes, j: Any) -> None:
                places = code.places(at, j)
                d = {state: v.load(arg[f"d{state}"], own, j) for state in cell.states}
                saved = _Saved(
                    gates={gate: v.load(gates, places[gate]) for gate in cell.saved},
                    before={state: v.load(before[state], own, j) for state in cell.states},
                    after={state: v.load(after[state], own, j) for state in cell.states},
                    d={**d, "h": v.add(d["h"], v.load(d_outputs, own, j))},
                    recurrent=v.load(recurrent, own, j) if cell.apart else None,
                )
                found = gradients(v, saved)
                for gate, place in places.items():
                    v.store(found[gate], dz, place)
                    if cell.apart:
                        v.store(found.get(f"u{gate}", found[gate]), du, place)
                for state in cell.states:
                    v.store(found.get(f"d{state}", v.constant(0)), arg[f"d{state}"], own, j)

            code.each(H, width, unit)
        code.multiply(du if cell.apart else dz, G, H, arg["dh"])


class _Gradients(_CellCode):
    """The kernel of a layer's gradients, in blocks of steps whose intermediate results stay in cache."""

    def fill(self, loop: _Loop, scatter: Code, sums: Code) -> None:
        """Emit the kernel, given the cell's backward loop, `scatter` and `column_sums`."""
        b, arg, units, width = self.b, self.arg, self.units, self.width
        features = arg["features"]
        with self.loop(0, arg["steps"], arg["block"]) as done:
            left = self.sub(arg["steps"], done)
            steps = self.minimum(arg["block"], left)
            first = b.select(self.reverse, done, self.sub(left, steps))
            self.row, self.rows = self.mul(first, self.batch), self.mul(steps, self.batch)
            given = arg | {"steps": steps, "gates": self.part("gates", width)}
            given |= {name: self.part(name, units) for name in ("d_outputs", "recurrent", "h", "c")}
            mask = self.at(arg["mask"], self.row, of=INT8)
            given["mask"] = b.select(self.is_given("mask"), mask, arg["mask"])
            self.call(loop, *(given[name] for name in loop.arg))
            dz, du = arg["dz"], arg["du"] if self.cell.apart else arg["dz"]
            before = self.at_step("h", self.add(first, arg["reverse"]), units)
            self.pack(du)
            self.gradient(before, units, "d_kernel")
            if self.cell.apart:
                self.call(sums, self.rows, width, du, arg["d_recurrent_bias"])
            with b.if_else(self.is_given("ids")) as (by_symbol, by_feature):
                with by_symbol:
                    ids = self.part("ids", 1)  # int32 is as wide as float32
                    self.call(scatter, self.rows, width, dz, ids, arg["d_table"])
                with by_feature:
                    if self.cell.apart:
                        self.pack(dz)
                    self.gradient(self.part("x", features), features, "d_input_kernel")
                    self.call(sums, self.rows, width, dz, arg["d_input_bias"])
                    with b.if_then(self.is_given("d_inputs")):
                        onto = self.part("d_inputs", features)
                        self.affine(self.rows, features, width, dz, "transposed", "zeros", onto)

    def part(self, array: str, width: Any) -> Any:
        """Address of the block's first step in an array `(T, B, width)`."""
        return self.at(self.arg[array], self.mul(self.row, width))

    def pack(self, dz: Any) -> None:
        """Pack the block's rows of dz."""
        given = self.rows, self.width, dz, self.width, 1, self.shape.panel, self.arg["packed"]
        self.by_precision(lambda use: self.call(use.pack, *given))

    def gradient(self, x: Any, features: Any, onto: str) -> None:
        """Add the gradient of the kernel that multiplied x to `onto`, from the packed rows."""
        arrays = x, self.arg["strips"], self.arg["packed"], self.arg[onto]
        sizes = self.rows, features, self.width
        self.by_precision(lambda use: self.call(use.gradient, *sizes, *arrays))


def _column_sums(module: ir.Module, shape: Shape) -> Code:
    """`column_sums`: adds the sum of all rows of x to `onto`."""
    code = Code(module, "column_sums", "rows columns *x *onto")
    rows, columns, x, onto = code.arg.values()

    def column(v: Lanes, j: Any) -> None:
        with code.carried_loop(0, rows, 1, [v.constant(0)]) as (row, (total,), done):
            done([v.add(total, v.load(x, code.mul(row, columns), j))])
        v.store(v.add(v.load(onto, j), code.carried[0]), onto, j)

    code.each(columns, shape.width, column)
    return code


def _scatter(module: ir.Module, shape: Shape) -> Code:
    """`scatter`: adds each row to its symbol's row of the table."""
    code = Code(module, "scatter", "count width *rows *ids *table")
    count, width, rows, ids, table = code.arg.values()
    with code.loop(0, count) as k:
        row = code.at(rows, code.mul(k, width))
        target = code.at(table, code.mul(code.symbol(ids, k), width))

        def add(v: Lanes, j: Any) -> None:
            v.store(v.add(v.load(target, j), v.load(row, j)), target, j)

        code.each(width, shape.width, add)
    return code
