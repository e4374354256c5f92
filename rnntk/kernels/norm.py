"""Layer normalisation as kernels; see `rnntk.layer_norm`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from rnntk.kernels.code import FLOAT, Code, Lanes, Shape
from rnntk.layer_norm import EPSILON


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `standardize` and `standardize_backward` into a module."""
    _forward(module, shape)
    _backward(module, shape)


def _mean(code: Code, shape: Shape, term: Any) -> Any:
    """The mean of `term(lanes, j)` over a row's units."""
    units = code.arg["units"]
    return code.b.fdiv(code.total(units, shape.width, term), code.b.sitofp(units, FLOAT))


def _forward(module: ir.Module, shape: Shape) -> None:
    """`standardize(count, units, x, y, scales)`: y is x with mean 0 and variance 1 over each row; `scales` `(count,)`
    gets what it was multiplied with.
    """
    code = Code(module, "standardize", "count units *x *y *scales")
    arg, one = code.arg, Lanes(code, 1)
    with code.loop(0, arg["count"]) as row:
        x, y = (code.at(arg[name], code.mul(row, arg["units"])) for name in "xy")
        mean = _mean(code, shape, lambda v, j: v.load(x, j))

        def centred(v: Lanes, j: Any) -> Any:
            return v.sub(v.load(x, j), v.filled(mean))

        def squared(v: Lanes, j: Any) -> Any:
            found = centred(v, j)
            return v.mul(found, found)

        deviation = one.sqrt(one.add(_mean(code, shape, squared), EPSILON))
        scale = code.b.fdiv(one.constant(1.0), deviation)
        one.store(scale, arg["scales"], row)

        def unit(v: Lanes, j: Any) -> None:
            v.store(v.mul(centred(v, j), v.filled(scale)), y, j)

        code.each(arg["units"], shape.width, unit)


def _backward(module: ir.Module, shape: Shape) -> None:
    """`standardize_backward(count, units, dy, y, scales, dx)`: the gradient of x."""
    code = Code(module, "standardize_backward", "count units *dy *y *scales *dx")
    arg = code.arg
    with code.loop(0, arg["count"]) as row:
        dy, y, dx = (code.at(arg[name], code.mul(row, arg["units"])) for name in ("dy", "y", "dx"))
        scale = Lanes(code, 1).load(arg["scales"], row)
        mean = _mean(code, shape, lambda v, j: v.load(dy, j))
        along = _mean(code, shape, lambda v, j: v.mul(v.load(dy, j), v.load(y, j)))

        def unit(v: Lanes, j: Any) -> None:
            rest = v.sub(v.load(dy, j), v.filled(mean))
            rest = v.sub(rest, v.mul(v.load(y, j), v.filled(along)))
            v.store(v.mul(rest, v.filled(scale)), dx, j)

        code.each(arg["units"], shape.width, unit)
