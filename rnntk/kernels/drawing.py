"""Many steps of a network and draws from it in one call, which needs no lock of Python's.

A network is a table of kernels with their operands, so one kernel runs every architecture.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir

from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape

DOUBLE = ir.DoubleType()
I32 = ir.IntType(32)


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `draw`, `advance`, `generate` and `meet` into a module."""
    _meet(module)
    advance = _advance(module, shape)
    _generate(module, _draw(module, shape), advance)


def table_entry(module: ir.Module, kernel: str) -> None:
    """Put `<kernel>_entry(operands)` into a module: the kernel, its operands in an array of 64 bits each."""
    function = module.get_global(kernel)
    code = Code(module, f"{kernel}_entry", {"operands": POINTER})
    b = code.b
    values = []
    for k, kind in enumerate(function.ftype.args):
        value = b.load(b.gep(code.arg["operands"], [code.whole(k)], source_etype=INT), typ=INT)
        values.append(value if kind == INT else b.inttoptr(value, POINTER))
    b.call(function, values)
    code.end()


def _draw(module: ir.Module, shape: Shape) -> Code:
    """`draw(count, symbols, logits, scale, room, chances, ids, shares)`.

    For each row of logits `(count, symbols)`, multiplied by `scale[0]`: the first symbol whose cumulative softmax
    passes the row's chance (float64 in [0, 1)), as int64, and its probability (float64). `room` holds a row.
    """
    names = {"count": INT, "symbols": INT}
    names |= dict.fromkeys(["logits", "scale", "room", "chances", "ids", "shares"], POINTER)
    code = Code(module, "draw", names, may_be_one=tuple(names))
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    scale = one.load(arg["scale"], 0)
    with code.loop(0, arg["count"]) as row:
        start = code.mul(row, arg["symbols"])
        with code.carried_loop(0, arg["symbols"], 1, [one.load(arg["logits"], start)]) as (
            j,
            (most,),
            done,
        ):
            x = one.load(arg["logits"], start, j)
            done([b.select(b.fcmp_ordered(">", x, most), x, most)])
        (top,) = code.carried

        def likelihood(v: Lanes, j: Any, start: Any = start, top: Any = top) -> None:
            below = v.sub(v.load(arg["logits"], start, j), v.filled(top))
            v.store(v.exp(v.mul(below, v.filled(scale))), arg["room"], j)

        code.each(arg["symbols"], shape.width, likelihood)

        def share(j: Any) -> Any:
            return b.fpext(one.load(arg["room"], j), DOUBLE)

        with code.carried_loop(0, arg["symbols"], 1, [ir.Constant(DOUBLE, 0.0)]) as (
            j,
            (sum_,),
            done,
        ):
            done([b.fadd(sum_, share(j))])
        (total,) = code.carried
        chance = b.load(b.gep(arg["chances"], [row], source_etype=DOUBLE), typ=DOUBLE)
        reach = b.fmul(chance, total)
        zero = [ir.Constant(DOUBLE, 0.0), code.whole(0)]
        with code.carried_loop(0, arg["symbols"], 1, zero) as (j, (sum_, passed), done):
            sum_ = b.fadd(sum_, share(j))
            short = b.fcmp_ordered("<=", sum_, reach)
            done([sum_, b.add(passed, b.zext(short, INT))])
        # The product may round up to the total, which no symbol's share reaches past.
        last = b.sub(arg["symbols"], code.whole(1))
        drawn = code.minimum(code.carried[1], last)
        b.store(drawn, b.gep(arg["ids"], [row], source_etype=INT))
        b.store(b.fdiv(share(drawn), total), b.gep(arg["shares"], [row], source_etype=DOUBLE))
    code.end()
    return code


def _advance(module: ir.Module, shape: Shape) -> Code:
    """`advance(calls, table, states, arrays, size)`: one step of a network.

    `table` has `calls` pairs of 64 bits: the address of a kernel's entry (see `table_entry`) and of its operands.
    `states` is `(arrays, 2, size)`: each state before the step and, once the kernels have run, after it, which
    becomes the next step's before.
    """
    names = {"calls": INT, "table": POINTER, "states": POINTER, "arrays": INT, "size": INT}
    code = Code(module, "advance", names, may_be_one=tuple(names))
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
    with code.loop(0, arg["arrays"]) as k:
        before = code.mul(k, 2, arg["size"])
        after = code.add(before, arg["size"])
        code.each(
            arg["size"],
            shape.width,
            lambda v, j: v.store(v.load(arg["states"], after, j), arg["states"], before, j),
        )
    code.end()
    return code


def _generate(module: ir.Module, draw: Code, advance: Code) -> None:
    """`generate(steps, first, tables, calls, table, states, arrays, size, count, symbols, logits, scale, room, fed,
    stride, chances, ids, shares)`: draw from the logits, feed what was drawn, and so on.

    There are one or two tables of `calls` calls, one behind the other, which take turns: step t uses table
    `(first + t) % tables`. Chances, ids and shares are `(steps, stride)`, of which this writes the first `count` of
    each row; `fed` is int32 `(count,)`, where the network reads its symbols.
    """
    names = dict.fromkeys(["steps", "first", "tables", "calls"], INT)
    names |= {"table": POINTER, "states": POINTER}
    names |= dict.fromkeys(["arrays", "size", "count", "symbols"], INT)
    names |= dict.fromkeys(["logits", "scale", "room", "fed"], POINTER) | {"stride": INT}
    names |= dict.fromkeys(["chances", "ids", "shares"], POINTER)
    code = Code(module, "generate", names, may_be_one=tuple(names))
    arg, b = code.arg, code.b
    with code.loop(0, arg["steps"]) as t:
        at = code.mul(t, arg["stride"])
        chances, ids, shares = (
            b.gep(arg[name], [at], source_etype=INT) for name in ("chances", "ids", "shares")
        )
        drawn_from = [arg[name] for name in ("count", "symbols", "logits", "scale", "room")]
        code.call(draw, *drawn_from, chances, ids, shares)
        with code.loop(0, arg["count"]) as k:
            drawn = b.trunc(b.load(b.gep(ids, [k], source_etype=INT), typ=INT), I32)
            b.store(drawn, b.gep(arg["fed"], [k], source_etype=I32))
        turn = b.srem(code.add(arg["first"], t), arg["tables"])
        table = b.gep(arg["table"], [code.mul(turn, 2, arg["calls"])], source_etype=INT)
        code.call(advance, arg["calls"], table, arg["states"], arg["arrays"], arg["size"])
    code.end()


def _meet(module: ir.Module) -> None:
    """`meet(parties, arrived)`: returns when as many threads as there are parties have called it as often as this one.

    `arrived` counts the calls, from 0. A thread that waits looks again a thousand times before it lets others run:
    the wait is mostly shorter than a change of threads.
    """
    code = Code(module, "meet", {"parties": INT, "arrived": POINTER}, may_be_one=("arrived",))
    b, parties, arrived = code.b, *code.arg.values()
    counter = b.bitcast(arrived, ir.PointerType(INT))
    own = b.atomic_rmw("add", counter, code.whole(1), "seq_cst")
    wanted = b.mul(b.add(b.sdiv(own, parties), code.whole(1)), parties)
    start = b.block
    look = code.function.append_basic_block("look")
    again = code.function.append_basic_block("again")
    end = code.function.append_basic_block("end")
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
