"""Layer normalisation as kernels; see `rnntk.layer_norm`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from rnntk.kernels.code import FLOAT, INT, POINTER, Code, Lanes, Shape
from rnntk.layer_norm import EPSILON


def emit(module: ir.Module, shape: Shape) -> None:
    """Put `standardize` and `standardize_backward` into a module."""
    _forward(module, shape)
    _backward(module, shape)


class _Rows(Code):
    """A kernel over rows `(count, units)`."""

    def __init__(self, module: ir.Module, name: str, arrays: str, shape: Shape) -> None:
        names = {"count": INT, "units": INT} | dict.fromkeys(arrays.split(), POINTER)
        super().__init__(module, name, names)
        self.shape = shape

    def mean(self, term: Any) -> Any:
        """The mean of `term(lanes, j)` over a row's units."""
        units = self.arg["units"]
        total = self.total(units, self.shape.width, term)
        return self.b.fdiv(total, self.b.sitofp(units, FLOAT))


def _forward(module: ir.Module, shape: Shape) -> None:
    """`standardize(count, units, x, y, scales)`: y is x with mean 0 and variance 1 over each row; `scales` `(count,)`
    gets what it was multiplied with.
    """
    code = _Rows(module, "standardize", "x y scales", shape)
    b, arg, one = code.b, code.arg, Lanes(code, 1)
    with code.loop(0, arg["count"]) as row:
        x, y = (code.at(arg[name], code.mul(row, arg["units"])) for name in "xy")
        mean = code.mean(lambda v, j: v.load(x, j))

        def centred(v: Lanes, j: Any, x: Any = x, mean: Any = mean) -> Any:
            return v.sub(v.load(x, j), v.filled(mean))

        def squared(v: Lanes, j: Any, centred: Any = centred) -> Any:
            found = centred(v, j)
            return v.mul(found, found)

        deviation = one.sqrt(one.add(code.mean(squared), EPSILON))
        scale = b.fdiv(one.constant(1.0), deviation)
        one.store(scale, arg["scales"], row)

        def unit(v: Lanes, j: Any, y: Any = y, scale: Any = scale, centred: Any = centred) -> None:
            v.store(v.mul(centred(v, j), v.filled(scale)), y, j)

        code.each(arg["units"], shape.width, unit)
    code.end()


def _backward(module: ir.Module, shape: Shape) -> None:
    """`standardize_backward(count, units, dy, y, scales, dx)`: the gradient of x."""
    code = _Rows(module, "standardize_backward", "dy y scales dx", shape)
    arg, one = code.arg, Lanes(code, 1)
    with code.loop(0, arg["count"]) as row:
        dy, y, dx = (code.at(arg[name], code.mul(row, arg["units"])) for name in ("dy", "y", "dx"))
        scale = one.load(arg["scales"], row)
        mean = code.mean(lambda v, j: v.load(dy, j))
        along = code.mean(lambda v, j: v.mul(v.load(dy, j), v.load(y, j)))

        def unit(
            v: Lanes,
            j: Any,
            dy: Any = dy,
            y: Any = y,
            dx: Any = dx,
            parts: Any = (scale, mean, along),
        ) -> None:
            scale, mean, along = (v.filled(part) for part in parts)
            rest = v.sub(v.sub(v.load(dy, j), mean), v.mul(v.load(y, j), along))
            v.store(v.mul(rest, scale), dx, j)

        code.each(arg["units"], shape.width, unit)
    code.end()
