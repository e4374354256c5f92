"""Kernels that run steps of a network and sample symbols from it in one call.

A network of any architecture is a table of calls, each a kernel and its operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from rnntk.cells import CELLS, GRU_RESET_BEFORE, Cell
from rnntk.kernels.cells import VectorOperands
from rnntk.kernels.code import DOUBLE, FLOAT, INT, INT32, POINTER, Code, Lanes, Shape
from rnntk.kernels.product import DEPTH
from rnntk.layer_norm import EPSILON


def emit(module: ir.Module, shape: Shape) -> None:
    """Add `sample`, `advance`, `generate`, `read` and the kernels of tables to a module that has `product`."""
    advance = _advance(module)
    _generate(module, _sample(module, shape), advance)
    _read(module, shape, advance)
    _barrier(module)
    _gather(module, shape)
    _multiply_row(module, shape)
    _standardize(module, shape)
    updates: dict[str, tuple[Cell, Sequence[str]]] = {
        f"{name}_update": (cell, cell.states) for name, cell in CELLS.items()
    }
    updates["gru_reset_before_update"] = GRU_RESET_BEFORE, GRU_RESET_BEFORE.states
    updates["gru_reset_before_factor"] = GRU_RESET_BEFORE, ["factor"]
    for name, (cell, results) in updates.items():
        _update(module, shape, name, cell, results)
    for name in ("product", "standardize", "barrier", "gather", "multiply_row", *updates):
        _table_entry(module, name)


def _table_entry(module: ir.Module, kernel: str) -> None:
    """`<kernel>_entry`: calls the kernel with operands from an array of 64-bit values."""
    function = module.get_global(kernel)
    code = Code(module, f"{kernel}_entry", "*operands")
    values = [code.load(code.arg["operands"], k, of=INT) for k in range(len(function.args))]
    typed = zip(values, function.ftype.args, strict=True)
    code.b.call(function, [v if k == INT else code.b.inttoptr(v, POINTER) for v, k in typed])


def _sample(module: ir.Module, shape: Shape) -> Code:
    """`sample`: one int64 symbol per row of logits `(count, symbols)`, by inverse CDF of the softmax of logits times
    `scale[0]` at the row's uniform number (float64 in [0, 1)).

    Its loss under the softmax of the unscaled logits is `margin + log(total)`, both float64. `scores` holds a row.
    """
    names = "count symbols *logits *scale *scores *uniforms *ids *margins *totals"
    code = Code(module, "sample", names)
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    symbols, scores = arg["symbols"], arg["scores"]
    scale = one.load(arg["scale"], 0)
    with code.loop(0, arg["count"]) as row:
        logits = code.at(arg["logits"], code.mul(row, symbols))
        with code.carried_loop(0, symbols, 1, [one.load(logits, 0)]) as (j, (most,), done):
            x = one.load(logits, j)
            done([b.select(b.fcmp_ordered(">", x, most), x, most)])
        (top,) = code.carried

        def below(v: Lanes, j: Any) -> Any:
            return v.sub(v.load(logits, j), v.broadcast(top))

        def scaled(v: Lanes, j: Any) -> None:
            v.store(v.exp(v.mul(below(v, j), v.broadcast(scale))), scores, j)

        code.each(symbols, shape.width, scaled)

        def score(j: Any) -> Any:
            return b.fpext(one.load(scores, j), DOUBLE)

        with code.carried_loop(0, symbols, 1, [DOUBLE(0.0)]) as (j, (sum_,), done):
            done([b.fadd(sum_, score(j))])
        (total,) = code.carried
        code.store(total, arg["totals"], row)
        reach = b.fmul(code.load(arg["uniforms"], row, of=DOUBLE), total)
        with code.carried_loop(0, symbols, 1, [DOUBLE(0.0), INT(0)]) as (j, (sum_, passed), done):
            sum_ = b.fadd(sum_, score(j))
            done([sum_, b.add(passed, b.zext(b.fcmp_ordered("<=", sum_, reach), INT))])
        # `reach` may round up to the total, so that all symbols count as passed.
        chosen = code.minimum(code.carried[1], code.sub(symbols, 1))
        code.store(chosen, arg["ids"], row)
        margin = one.sub(top, one.load(logits, chosen))
        code.store(b.fpext(margin, DOUBLE), arg["margins"], row)
        with b.if_then(b.fcmp_ordered("!=", scale, one.constant(1.0))):
            unscaled = code.total(symbols, shape.width, lambda v, j: v.exp(below(v, j)))
            code.store(b.fpext(unscaled, DOUBLE), arg["totals"], row)
    return code


def _advance(module: ir.Module) -> Code:
    """`advance`: runs one step of a network.

    `table` has `calls` pairs of addresses: of a kernel's entry (see `_table_entry`) and of its operands.
    """
    code = Code(module, "advance", "calls *table")
    with code.loop(0, code.arg["calls"]) as k:
        entry, operands = (code.load(code.arg["table"], code.mul(k, 2), i, of=INT) for i in (0, 1))
        # llvmlite needs the function's type; LLVM's pointers are untyped.
        kind = ir.PointerType(ir.FunctionType(ir.VoidType(), [POINTER]))
        code.b.call(code.b.inttoptr(entry, kind), [code.b.inttoptr(operands, POINTER)])
    return code


def _generate(module: ir.Module, sample: Code, advance: Code) -> None:
    """`generate`: samples a symbol, feeds it, and repeats for `steps` steps.

    Uniforms, ids, margins and totals are as in `sample`, `(steps, stride)`, of which the first `count` columns are
    used; the network reads its symbols from `fed`, int32 `(count,)`.
    """
    in_rows = ["uniforms", "ids", "margins", "totals"]
    names = "steps calls *table count symbols *logits *scale *scores *fed stride"
    code = Code(module, "generate", f"{names} *{' *'.join(in_rows)}")
    arg = code.arg
    with code.loop(0, arg["steps"]) as t:
        at = code.mul(t, arg["stride"])
        rows = {name: code.at(arg[name], at, of=INT) for name in in_rows}
        given = [arg[name] for name in ("count", "symbols", "logits", "scale", "scores")]
        code.call(sample, *given, *rows.values())
        with code.loop(0, arg["count"]) as k:
            code.set_symbol(code.load(rows["ids"], k, of=INT), arg["fed"], k)
        code.call(advance, arg["calls"], arg["table"])


def _read(module: ir.Module, shape: Shape, advance: Code) -> None:
    """`read`: feeds symbols, int32 `(steps, count)`, and copies `source` `(size,)` to `outputs` after each step."""
    code = Code(module, "read", "steps calls *table count *fed *ids size *source *outputs")
    steps, calls, table, count, fed, ids, size, source, outputs = code.arg.values()
    with code.loop(0, steps) as t:
        with code.loop(0, count) as k:
            code.set_symbol(code.symbol(ids, code.mul(t, count), k), fed, k)
        code.call(advance, calls, table)
        code.copy(size, shape.width, source, code.at(outputs, code.mul(t, size)))


def _barrier(module: ir.Module) -> None:
    """`barrier`: waits until `parties` threads have called it as often as this one; `arrived` counts the calls, from 0.

    Waits are usually shorter than a context switch, so a thread yields only every 1000 checks.
    """
    code = Code(module, "barrier", "parties *arrived")
    b, parties, arrived = code.b, *code.arg.values()
    counter = b.bitcast(arrived, ir.PointerType(INT))
    own = b.atomic_rmw("add", counter, code.integer(1), "seq_cst")
    wanted = code.mul(code.add(code.div(own, parties), 1), parties)
    start = b.block
    look, again, end = map(code.function.append_basic_block, ("look", "again", "end"))
    b.branch(look)
    b.position_at_end(look)
    turns = b.phi(INT)
    turns.add_incoming(code.integer(1), start)
    seen = b.load_atomic(counter, "seq_cst", 8, typ=INT)
    b.cbranch(code.compare(">=", seen, wanted), end, again)
    b.position_at_end(again)
    name = "SwitchToThread" if "windows" in module.triple else "sched_yield"
    yield_ = ir.Function(module, ir.FunctionType(INT32, []), name)
    with b.if_then(code.compare("==", b.srem(turns, code.integer(1000)), 0)):
        b.call(yield_, [])
    turns.add_incoming(code.add(turns, 1), b.block)
    b.branch(look)


def _gather(module: ir.Module, shape: Shape) -> None:
    """`gather`: copies row `ids[k]` of `rows` `(height, width)` for each k; ids are clipped to the range."""
    code = Code(module, "gather", "count width height *rows *ids *out")
    count, width, height, rows, ids, out = code.arg.values()
    with code.loop(0, count) as k:
        symbol = code.minimum(code.symbol(ids, k), code.sub(height, 1))
        symbol = code.b.select(code.compare("<", symbol, 0), code.integer(0), symbol)
        row = code.at(rows, code.mul(symbol, width))
        code.copy(width, shape.width, row, code.at(out, code.mul(k, width)))


def _multiply_row(module: ir.Module, shape: Shape) -> None:
    """`multiply_row`: c = d + `a @ b`, bit for bit as `product` with one row, but faster; c may be d.

    Four panels at once keep eight sums in flight, where `product` has two, which hides the latency of additions and
    memory. It reads d and writes c in whole panels.
    """
    code = Code(module, "multiply_row", "columns terms *a *packed *d *c")
    arg, v, panel = code.arg, Lanes(code, shape.width), shape.panel
    columns, terms = arg["columns"], arg["terms"]

    def panels(first: Any, count: int) -> None:
        """Compute `count` panels from column `first` on."""
        offsets = [code.mul(code.add(first, p * panel), terms) for p in range(count)]
        starts = [code.at(arg["packed"], offset) for offset in offsets]
        halves = [(p, half) for p in range(count) for half in (0, shape.width)]
        with code.loop(0, terms, DEPTH) as k0:
            k1 = code.minimum(code.add(k0, DEPTH), terms)
            zeros = [v.constant(0)] * len(halves)
            with code.carried_loop(k0, k1, 1, zeros) as (k, sums, done):
                a, row = v.load_scalar(arg["a"], k), code.mul(k, panel)
                factors = [v.load(starts[p], row, half) for p, half in halves]
                done([v.fma(a, x, total) for x, total in zip(factors, sums, strict=True)])
            onto = code.b.select(code.compare("==", k0, 0), arg["d"], arg["c"])
            for (p, half), total in zip(halves, code.carried, strict=True):
                place = code.add(first, p * panel + half)
                v.store(v.add(total, v.load(onto, place)), arg["c"], place)

    whole = code.b.and_(columns, code.integer(-4 * panel))
    for start, stop, count in ((0, whole, 4), (whole, columns, 1)):
        with code.loop(start, stop, count * panel) as first:
            panels(first, count)


def _update(module: ir.Module, shape: Shape, name: str, cell: Cell, results: Sequence[str]) -> None:
    """A kernel that stores `results` of a cell's step, states in place.

    `z` `(count, gates * units)` holds the pre-activations, or with `cell.apart` the input projections and `recurrent`
    the recurrent ones. `factor` replaces h as the recurrent kernel's left factor.
    """
    code = Code(module, name, f"count units *z *recurrent *factor *{' *'.join(cell.states)}")
    arg, H = code.arg, code.arg["units"]
    with code.loop(0, arg["count"]) as row:
        at, own = code.mul(row, len(cell.gates), H), code.mul(row, H)

        def unit(v: Lanes, j: Any) -> None:
            def load(kind: str, gate: str) -> Any:
                source = arg["recurrent" if kind == "recurrent" else "z"]
                return v.load(source, at, code.mul(cell.gates.index(gate), H), j)

            x = VectorOperands(v, cell, lambda state: v.load(arg[state], own, j), load)
            found = {**cell.step(v, x), "factor": x.factor}
            for result in results:
                v.store(found[result], arg[result], own, j)

        code.each(H, shape.width, unit)


def _standardize(module: ir.Module, shape: Shape) -> None:
    """`standardize`: y is x `(count, units)` normalised over each row as in `rnntk.layer_norm`."""
    code = Code(module, "standardize", "count units *x *y")
    (count, units, *_), b, one = code.arg.values(), code.b, Lanes(code, 1)

    def mean(term: Any) -> Any:
        return b.fdiv(code.total(units, shape.width, term), b.sitofp(units, FLOAT))

    with code.loop(0, count) as row:
        x, y = (code.at(code.arg[name], code.mul(row, units)) for name in "xy")
        middle = mean(lambda v, j: v.load(x, j))

        def centred(v: Lanes, j: Any) -> Any:
            return v.sub(v.load(x, j), v.broadcast(middle))

        def squared(v: Lanes, j: Any) -> Any:
            found = centred(v, j)
            return v.mul(found, found)

        deviation = one.sqrt(one.add(mean(squared), EPSILON))
        scale = b.fdiv(one.constant(1.0), deviation)

        def unit(v: Lanes, j: Any) -> None:
            v.store(v.mul(centred(v, j), v.broadcast(scale)), y, j)

        code.each(units, shape.width, unit)
