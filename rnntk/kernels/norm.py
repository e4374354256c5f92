"""Layer normalisation as a kernel; see `rnntk.layer_norm`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from rnntk.kernels.code import FLOAT, Code, Lanes, Shape
from rnntk.layer_norm import EPSILON


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `standardize` into a module: y is x `(count, units)` with mean 0 and variance 1 over each row."""
    code = Code(module, "standardize", "count units *x *y")
    (count, units, *_), b, one = code.arg.values(), code.b, Lanes(code, 1)

    def mean(term: Any) -> Any:
        return b.fdiv(code.total(units, shape.width, term), b.sitofp(units, FLOAT))

    with code.loop(0, count) as row:
        x, y = (code.at(code.arg[name], code.mul(row, units)) for name in "xy")
        middle = mean(lambda v, j: v.load(x, j))

        def centred(v: Lanes, j: Any) -> Any:
            return v.sub(v.load(x, j), v.filled(middle))

        def squared(v: Lanes, j: Any) -> Any:
            found = centred(v, j)
            return v.mul(found, found)

        deviation = one.sqrt(one.add(mean(squared), EPSILON))
        scale = b.fdiv(one.constant(1.0), deviation)

        def unit(v: Lanes, j: Any) -> None:
            v.store(v.mul(centred(v, j), v.filled(scale)), y, j)

        code.each(units, shape.width, unit)
