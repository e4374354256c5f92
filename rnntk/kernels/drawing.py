"""Symbols drawn from the softmax of logits, as a kernel: it needs no lock of Python's."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape

DOUBLE = ir.DoubleType()


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `draw(count, symbols, logits, room, chances, ids)` into a module.

    For each row of logits `(count, symbols)`: the first symbol whose cumulative softmax passes the row's
    chance (float64 in [0, 1)), as int64. `room` holds a row.
    """
    names = {"count": INT, "symbols": INT}
    names |= dict.fromkeys(["logits", "room", "chances", "ids"], POINTER)
    code = Code(module, "draw", names)
    arg, b, one = code.arg, code.b, Lanes(code, 1)
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
            v.store(v.exp(v.sub(v.load(arg["logits"], start, j), v.filled(top))), arg["room"], j)

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
    code.end()
