"""Steps of a network, and symbols sampled from it, in one call that does not hold Python's lock.

A network is a table of calls: a kernel and its operands each. So the kernels here run every architecture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from rnntk.cells import CELLS, GRU_RESET_BEFORE, Cell
from rnntk.kernels.cells import Operands
from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape
from rnntk.kernels.product import DEPTH

DOUBLE = ir.DoubleType()
I32 = ir.IntType(32)


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `sample`, `advance`, `generate` and `read` into a module, and the kernels of their tables.

    The module must hold `product` and `standardize` already.
    """
    advance = _advance(module)
    _generate(module, _sample(module, shape), advance)
    _read(module, shape, advance)
    in_tables = ["product", "standardize"]
    in_tables += [_barrier(module), _gather(module, shape), _multiply_row(module, shape)]
    for name, cell in {**CELLS, "gru_reset_before": GRU_RESET_BEFORE}.items():
        in_tables.append(_update(module, shape, f"{name}_update", cell, cell.states))
    in_tables.append(
        _update(module, shape, "gru_reset_before_factor", GRU_RESET_BEFORE, ["factor"])
    )
    for kernel in in_tables:
        _table_entry(module, kernel)


def _table_entry(module: ir.Module, kernel: str) -> None:
    """`<kernel>_entry(operands)`: the kernel, with its operands in an array of 64 bits each."""
    function = module.get_global(kernel)
    code = Code(module, f"{kernel}_entry", {"operands": POINTER})
    b = code.b
    values = []
    for k, kind in enumerate(function.ftype.args):
        value = b.load(b.gep(code.arg["operands"], [code.whole(k)], source_etype=INT), typ=INT)
        values.append(value if kind == INT else b.inttoptr(value, POINTER))
    b.call(function, values)
    code.end()


def _sample(module: ir.Module, shape: Shape) -> Code:
    """`sample(count, symbols, logits, scale, room, uniforms, ids, margins, totals)`.

    For each row of logits `(count, symbols)`, multiplied by `scale[0]`: the first symbol whose cumulative softmax
    passes the row's uniform number (float64 in [0, 1)), as int64. Its loss under the softmax of the logits themselves
    is `margin + log(total)`, both float64. `room` holds a row.
    """
    names = {"count": INT, "symbols": INT}
    pointers = ["logits", "scale", "room", "uniforms", "ids", "margins", "totals"]
    names |= dict.fromkeys(pointers, POINTER)
    code = Code(module, "sample", names, may_be_one=tuple(names))
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    scale = one.load(arg["scale"], 0)
    with code.loop(0, arg["count"]) as row:
        logits = code.at(arg["logits"], code.mul(row, arg["symbols"]))
        with code.carried_loop(0, arg["symbols"], 1, [one.load(logits, 0)]) as (j, (most,), done):
            x = one.load(logits, j)
            done([b.select(b.fcmp_ordered(">", x, most), x, most)])
        (top,) = code.carried

        def below(v: Lanes, j: Any) -> Any:
            return v.sub(v.load(logits, j), v.filled(top))

        def scaled(v: Lanes, j: Any) -> None:
            v.store(v.exp(v.mul(below(v, j), v.filled(scale))), arg["room"], j)

        code.each(arg["symbols"], shape.width, scaled)

        def likelihood(j: Any) -> Any:
            return b.fpext(one.load(arg["room"], j), DOUBLE)

        nothing = ir.Constant(DOUBLE, 0.0)
        with code.carried_loop(0, arg["symbols"], 1, [nothing]) as (j, (sum_,), done):
            done([b.fadd(sum_, likelihood(j))])
        total = b.gep(arg["totals"], [row], source_etype=DOUBLE)
        b.store(code.carried[0], total)
        uniform = b.load(b.gep(arg["uniforms"], [row], source_etype=DOUBLE), typ=DOUBLE)
        reach = b.fmul(uniform, code.carried[0])
        start = [nothing, code.whole(0)]
        with code.carried_loop(0, arg["symbols"], 1, start) as (j, (sum_, passed), done):
            sum_ = b.fadd(sum_, likelihood(j))
            short = b.fcmp_ordered("<=", sum_, reach)
            done([sum_, b.add(passed, b.zext(short, INT))])
        # The product may round up to the total, which the cumulative sum never exceeds.
        chosen = code.minimum(code.carried[1], b.sub(arg["symbols"], code.whole(1)))
        b.store(chosen, b.gep(arg["ids"], [row], source_etype=INT))
        margin = one.sub(top, one.load(logits, chosen))
        b.store(b.fpext(margin, DOUBLE), b.gep(arg["margins"], [row], source_etype=DOUBLE))
        with b.if_then(b.fcmp_ordered("!=", scale, one.constant(1.0))):
            unscaled = code.total(arg["symbols"], shape.width, lambda v, j: v.exp(below(v, j)))
            b.store(b.fpext(unscaled, DOUBLE), total)
    code.end()
    return code


def _advance(module: ir.Module) -> Code:
    """`advance(calls, table)`: one step of a network.

    `table` has `calls` pairs of 64 bits: the address of a kernel's entry (see `_table_entry`) and of its operands.
    """
    code = Code(module, "advance", {"calls": INT, "table": POINTER})
    arg, b = code.arg, code.b
    entry = ir.FunctionType(ir.VoidType(), [POINTER])
    with code.loop(0, arg["calls"]) as k:
        pair = [
            b.load(b.gep(arg["table"], [code.add(code.mul(k, 2), i)], source_etype=INT), typ=INT)
            for i in (0, 1)
        ]
        # llvmlite must be told what stands at the address; all pointers are alike to LLVM.
        function = b.inttoptr(pair[0], ir.PointerType(entry))
        b.call(function, [b.inttoptr(pair[1], POINTER)])
    code.end()
    return code


def _generate(module: ir.Module, sample: Code, advance: Code) -> None:
    """`generate(steps, calls, table, count, symbols, logits, scale, room, fed, stride, <rows>)`: sample, feed what was
    sampled, and so on.

    The rows, uniforms, ids, margins and totals as in `sample`, are `(steps, stride)`, of which this uses the first
    `count` columns; `fed` is int32 `(count,)`, where the network reads its symbols.
    """
    names = {"steps": INT, "calls": INT, "table": POINTER, "count": INT, "symbols": INT}
    names |= dict.fromkeys(["logits", "scale", "room", "fed"], POINTER) | {"stride": INT}
    in_rows = ["uniforms", "ids", "margins", "totals"]
    names |= dict.fromkeys(in_rows, POINTER)
    code = Code(module, "generate", names, may_be_one=tuple(names))
    arg, b = code.arg, code.b
    with code.loop(0, arg["steps"]) as t:
        at = code.mul(t, arg["stride"])
        rows = {name: b.gep(arg[name], [at], source_etype=INT) for name in in_rows}
        given = [arg[name] for name in ("count", "symbols", "logits", "scale", "room")]
        code.call(sample, *given, *rows.values())
        with code.loop(0, arg["count"]) as k:
            chosen = b.load(b.gep(rows["ids"], [k], source_etype=INT), typ=INT)
            b.store(b.trunc(chosen, I32), b.gep(arg["fed"], [k], source_etype=I32))
        code.call(advance, arg["calls"], arg["table"])
    code.end()


def _read(module: ir.Module, shape: Shape, advance: Code) -> None:
    """`read(steps, calls, table, count, fed, ids, size, source, outputs)`: feed given symbols.

    `ids` is int32 `(steps, count)`. After each step `source` `(size,)` is copied to a row of `outputs`.
    """
    names = {"steps": INT, "calls": INT, "table": POINTER, "count": INT}
    names |= {"fed": POINTER, "ids": POINTER, "size": INT, "source": POINTER, "outputs": POINTER}
    code = Code(module, "read", names, may_be_one=tuple(names))
    arg, b = code.arg, code.b
    with code.loop(0, arg["steps"]) as t:
        with code.loop(0, arg["count"]) as k:
            symbol = code.symbol(arg["ids"], code.add(code.mul(t, arg["count"]), k))
            b.store(b.trunc(symbol, I32), b.gep(arg["fed"], [k], source_etype=I32))
        code.call(advance, arg["calls"], arg["table"])
        row = code.at(arg["outputs"], code.mul(t, arg["size"]))
        code.each(arg["size"], shape.width, _copy(arg["source"], row))
    code.end()


def _barrier(module: ir.Module) -> str:
    """`barrier(parties, arrived)`: returns when each of so many threads has called it as often as this one.

    `arrived` counts the calls, from 0. A thread that waits looks a thousand times before it lets others run: the
    wait is mostly shorter than a change of threads.
    """
    code = Code(module, "barrier", {"parties": INT, "arrived": POINTER}, may_be_one=("arrived",))
    b, parties, arrived = code.b, *code.arg.values()
    counter = b.bitcast(arrived, ir.PointerType(INT))
    own = b.atomic_rmw("add", counter, code.whole(1), "seq_cst")
    wanted = b.mul(b.add(b.sdiv(own, parties), code.whole(1)), parties)
    start = b.block
    look, again, end = (code.function.append_basic_block(n) for n in ("look", "again", "end"))
    b.branch(look)
    b.position_at_end(look)
    turns = b.phi(INT)
    turns.add_incoming(code.whole(1), start)
    seen = b.load_atomic(counter, "seq_cst", 8, typ=INT)
    b.cbranch(b.icmp_signed(">=", seen, wanted), end, again)
    b.position_at_end(again)
    if sys.platform != "win32":
        let_run = ir.Function(module, ir.FunctionType(I32, []), "sched_yield")
        with b.if_then(b.icmp_signed("==", b.srem(turns, code.whole(1000)), code.whole(0))):
            b.call(let_run, [])
    turns.add_incoming(b.add(turns, code.whole(1)), b.block)
    b.branch(look)
    b.position_at_end(end)
    code.end()
    return "barrier"


def _gather(module: ir.Module, shape: Shape) -> str:
    """`gather(count, width, height, rows, ids, out)`: row `ids[k]` of `rows` `(height, width)` for each k; an id out of
    range is clipped.
    """
    names = {"count": INT, "width": INT, "height": INT}
    code = Code(module, "gather", names | dict.fromkeys(["rows", "ids", "out"], POINTER))
    arg, b = code.arg, code.b
    with code.loop(0, arg["count"]) as k:
        symbol = code.minimum(code.symbol(arg["ids"], k), b.sub(arg["height"], code.whole(1)))
        symbol = b.select(b.icmp_signed("<", symbol, code.whole(0)), code.whole(0), symbol)
        row = code.at(arg["rows"], code.mul(symbol, arg["width"]))
        out = code.at(arg["out"], code.mul(k, arg["width"]))
        code.each(arg["width"], shape.width, _copy(row, out))
    code.end()
    return "gather"


def _copy(source: Any, target: Any) -> Callable[[Lanes, Any], None]:
    """A body for `Code.each`."""
    return lambda v, j: v.store(v.load(source, j), target, j)


def _multiply_row(module: ir.Module, shape: Shape) -> str:
    """`multiply_row(columns, terms, a, packed, d, c)`: c = d + `a @ b`, as `product` with one row, to the last bit.

    All that one row does with a factor is read it. Four panels side by side keep eight sums in flight, where
    the tile of `product` has two: enough to wait neither for a sum nor for memory. Reads d and writes c in whole
    panels; c may be d.
    """
    names = {"columns": INT, "terms": INT} | dict.fromkeys(["a", "packed", "d", "c"], POINTER)
    code = Code(module, "multiply_row", names, may_be_one=("d", "c"))
    arg, b, v = code.arg, code.b, Lanes(code, shape.width)
    terms, panel = arg["terms"], shape.panel

    def panels(first: Any, count: int) -> None:
        """Columns of `count` panels from column `first` on."""
        starts = [
            code.at(arg["packed"], code.mul(code.add(first, p * panel), terms))
            for p in range(count)
        ]
        halves = [(p, half) for p in range(count) for half in (0, shape.width)]
        with code.loop(0, terms, DEPTH) as k0:
            k1 = code.minimum(code.add(k0, DEPTH), terms)
            zeros = [v.constant(0)] * len(halves)
            with code.carried_loop(k0, k1, 1, zeros) as (k, sums, done):
                a, row = v.spread(arg["a"], k), code.mul(k, panel)
                factors = [v.load(starts[p], row, half) for p, half in halves]
                done([v.fma(a, x, total) for x, total in zip(factors, sums, strict=True)])
            onto = b.select(b.icmp_signed("==", k0, code.whole(0)), arg["d"], arg["c"])
            for (p, half), total in zip(halves, code.carried, strict=True):
                place = code.add(first, p * panel + half)
                v.store(v.add(total, v.load(onto, place)), arg["c"], place)

    whole = b.and_(arg["columns"], code.whole(-4 * panel))
    with code.loop(0, whole, 4 * panel) as first:
        panels(first, 4)
    with code.loop(whole, arg["columns"], panel) as first:
        panels(first, 1)
    code.end()
    return "multiply_row"


@dataclass(frozen=True)
class _Operands(Operands):
    """Operands whose products are done, all of them.

    Attributes:
        found: under "factor", what a cell multiplies with the recurrent kernel in place of h.
    """

    found: dict[str, Any] = field(default_factory=dict)

    def total(self, gate: str, of: Any = None) -> Any:
        if of is not None:
            self.found["factor"] = of
        return super().total(gate)


def _update(module: ir.Module, shape: Shape, name: str, cell: Cell, results: Sequence[str]) -> str:
    """A kernel `(count, units, z, inner, factor, <states>)` that stores results of a cell's step, states in place.

    `z` `(count, gates * units)` holds the pre-activations; with `cell.apart` only the input shares, and `inner` the
    recurrent ones. `factor` is what the cell multiplies with the recurrent kernel in place of h; as a result it needs
    only the other gates. It and the states are `(count, units)`.
    """
    names = {"count": INT, "units": INT}
    names |= dict.fromkeys(["z", "inner", "factor", *cell.states], POINTER)
    code = Code(module, name, names)
    arg, H = code.arg, code.arg["units"]
    with code.loop(0, arg["count"]) as row:
        at, own = code.mul(row, len(cell.gates), H), code.mul(row, H)

        def unit(v: Lanes, j: Any) -> None:
            def share(kind: str, gate: str) -> Any:
                source = arg["inner" if kind == "recurrent" else "z"]
                return v.load(source, at, code.mul(cell.gates.index(gate), H), j)

            x = _Operands(v, cell, lambda state: v.load(arg[state], own, j), share)
            found = {**cell.step(v, x), **x.found}
            for result in results:
                v.store(found[result], arg[result], own, j)

        code.each(H, shape.width, unit)
    code.end()
    return name
