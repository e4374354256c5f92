"""Builds numeric kernels from LLVM instructions: loops, vectors and addresses.

A kernel takes a float32 array as the address of its first element; indices count elements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir


class _BFloat16(ir.Type):
    """LLVM's `bfloat`, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"


FLOAT = ir.FloatType()
DOUBLE = ir.DoubleType()
INT, INT32, INT8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
POINTER = ir.PointerType()
BFLOAT16 = _BFloat16()
FAST = ("nsz", "contract", "reassoc", "arcp")


@dataclass(frozen=True)
class Shape:
    """The use of a processor's registers."""

    width: int  # floats in a vector
    rows: int  # rows of a product's tile, whose sums take `2 * rows` vectors
    bfloat16: bool = False  # whether there are bfloat16 instructions (AVX512-BF16)

    @property
    def panel(self) -> int:
        """Columns of a tile: two vectors."""
        return 2 * self.width


class Code:
    """A function under construction and its integer operations; `Lanes` has those on floats, `finish` ends it.

    `arguments` are names separated by spaces: with `*` the address of an array (arrays may overlap), else a 64-bit
    integer. `arg` holds the arguments by name.
    """

    def __init__(self, module: ir.Module, name: str, arguments: str) -> None:
        names = arguments.split()
        kinds = [POINTER if name.startswith("*") else INT for name in names]
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        self.arg: dict[str, Any] = {}
        for argument, given in zip(self.function.args, names, strict=True):
            argument.name = given.lstrip("*")
            self.arg[argument.name] = argument
        self.entry = self.function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.entry)

    def integer(self, value: Any) -> Any:
        """An integer as an operand."""
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def add(self, *terms: Any) -> Any:
        return functools.reduce(self.b.add, map(self.integer, terms))

    def sub(self, a: Any, b: Any) -> Any:
        return self.b.sub(self.integer(a), self.integer(b))

    def mul(self, *factors: Any) -> Any:
        return functools.reduce(self.b.mul, map(self.integer, factors))

    def div(self, a: Any, b: Any, *, up: bool = False) -> Any:
        """Quotient of non-negative integers, rounded down or `up`."""
        return self.b.sdiv(self.add(a, self.sub(b, 1)) if up else self.integer(a), self.integer(b))

    def compare(self, operator: str, a: Any, b: Any) -> Any:
        """Compare two integers."""
        return self.b.icmp_signed(operator, self.integer(a), self.integer(b))

    def minimum(self, a: Any, b: Any) -> Any:
        return self.b.select(self.compare("<", a, b), self.integer(a), self.integer(b))

    def at(self, base: Any, *index: Any, of: ir.Type = FLOAT) -> Any:
        """Address of element `sum(index)` of an array of floats, or `of` another type."""
        return self.b.gep(base, [self.add(*index)], source_etype=of)

    def load(self, base: Any, *index: Any, of: ir.Type) -> Any:
        """Element `sum(index)` of an array `of` this type."""
        return self.b.load(self.at(base, *index, of=of), typ=of)

    def store(self, value: Any, base: Any, *index: Any) -> None:
        """Set element `sum(index)` of an array of this value's type."""
        self.b.store(value, self.at(base, *index, of=value.type))

    def buffer(self, floats: int) -> Any:
        """A buffer on the stack."""
        with self.b.goto_block(self.entry):
            array = self.b.alloca(ir.ArrayType(FLOAT, floats))
            array.align = 64
            # Via an integer, to make llvmlite forget the pointer's type.
            return self.b.inttoptr(self.b.ptrtoint(array, INT), POINTER)

    def is_given(self, array: str) -> Any:
        """Whether an array argument is not null."""
        return self.compare("!=", self.b.ptrtoint(self.arg[array], INT), 0)

    def symbol(self, ids: Any, *index: Any) -> Any:
        """Element `sum(index)` of an int32 array."""
        return self.b.sext(self.load(ids, *index, of=INT32), INT)

    def set_symbol(self, symbol: Any, ids: Any, index: Any) -> None:
        """Set an element of an int32 array."""
        self.store(self.b.trunc(symbol, INT32), ids, index)

    def call(self, other: Code, *operands: Any) -> None:
        """Call another function of the module."""
        self.b.call(other.function, [self.integer(o) for o in operands])

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1) -> Iterator[Any]:
        """Run the body for start, start + step, ... below stop."""
        with self.carried_loop(start, stop, step, []) as (index, _, _done):
            yield index

    @contextmanager
    def carried_loop(
        self, start: Any, stop: Any, step: Any, values: Sequence[Any]
    ) -> Iterator[tuple[Any, list[Any], Callable[[Sequence[Any]], None]]]:
        """Loop with loop-carried values: the body passes the next ones to `done`; `carried` holds the last."""
        b, before = self.b, self.b.block
        head, body, after = map(self.function.append_basic_block, ("head", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(INT)
        index.add_incoming(self.integer(start), before)
        phis = [b.phi(value.type) for value in values]
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(self.compare("<", index, stop), body, after)
        b.position_at_end(body)
        following: list[Any] = []
        yield index, phis, following.extend
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value, b.block)
        index.add_incoming(b.add(index, self.integer(step)), b.block)
        b.branch(head)
        b.position_at_end(after)
        self.carried = phis

    def each(self, count: Any, width: int, body: Callable[[Lanes, Any], None]) -> None:
        """Run `body(lanes, index)` for `count` elements, by vectors and the remainder one by one."""
        whole = self.b.and_(self.integer(count), self.integer(-width))
        with self.loop(0, whole, width) as index:
            body(Lanes(self, width), index)
        with self.loop(whole, count) as index:
            body(Lanes(self, 1), index)

    def copy(self, count: Any, width: int, source: Any, target: Any) -> None:
        """Copy `count` elements."""
        self.each(count, width, lambda v, j: v.store(v.load(source, j), target, j))

    def total(self, count: Any, width: int, term: Callable[[Lanes, Any], Any]) -> Any:
        """Sum of `term(lanes, index)` over `count` elements, as a scalar."""
        whole = self.b.and_(self.integer(count), self.integer(-width))
        many, one = Lanes(self, width), Lanes(self, 1)
        with self.carried_loop(0, whole, width, [many.constant(0.0)]) as (index, (sum_,), done):
            done([many.add(sum_, term(many, index))])
        (sums,) = self.carried
        sum_ = one.constant(0.0)
        for k in range(width):
            sum_ = one.add(sum_, self.b.extract_element(sums, self.integer(k)))
        with self.carried_loop(whole, count, 1, [sum_]) as (index, (sum_,), done):
            done([one.add(sum_, term(one, index))])
        return self.carried[0]


def finish(module: ir.Module) -> None:
    """Add the missing return to each function."""
    for function in module.functions:
        for block in function.blocks:
            if not block.is_terminated:
                ir.IRBuilder(block).ret_void()


class Lanes:
    """Arithmetic on vectors of `width` floats, or on scalars with `width` 1."""

    def __init__(self, code: Code, width: int) -> None:
        self.code, self.width, self.type = code, width, self._of(FLOAT, width)

    def _of(self, kind: ir.Type, width: int) -> ir.Type:
        return ir.VectorType(kind, width) if width > 1 else kind

    def constant(self, value: float, kind: ir.Type = FLOAT) -> Any:
        """The same number in every lane."""
        values = [value] * self.width if self.width > 1 else value
        return ir.Constant(self._of(kind, self.width), values)

    def operand(self, value: Any) -> Any:
        """A number broadcast to a vector; vectors unchanged."""
        return self.constant(float(value)) if isinstance(value, (int, float)) else value

    def load(self, base: Any, *index: Any) -> Any:
        """Load `width` floats from element `sum(index)` on."""
        return self.code.b.load(self.code.at(base, *index), align=4, typ=self.type)

    def store(self, value: Any, base: Any, *index: Any) -> None:
        """Store `width` floats from element `sum(index)` on."""
        self.code.b.store(value, self.code.at(base, *index), align=4)

    def load_scalar(self, base: Any, *index: Any) -> Any:
        """Load one float and broadcast it."""
        return self.broadcast(self.code.load(base, *index, of=FLOAT))

    def broadcast(self, scalar: Any) -> Any:
        """Broadcast a scalar to every lane."""
        if self.width == 1:
            return scalar
        b, undefined = self.code.b, ir.Constant(self.type, ir.Undefined)
        first = b.insert_element(undefined, scalar, self.code.integer(0))
        return b.shuffle_vector(first, undefined, self._order([0] * self.width))

    def _order(self, places: list[int]) -> Any:
        return ir.Constant(ir.VectorType(INT32, len(places)), places)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """`a * b + c`, rounded once only if the processor can: LLVM's `fma` would be a slow call elsewhere."""
        return self._intrinsic("fmuladd", a, b, c)

    def rounded(self, low: Any, high: Any) -> Any:
        """Two vectors rounded to bfloat16 and concatenated."""
        kind = ir.VectorType(BFLOAT16, 2 * self.width)
        name = f"llvm.x86.avx512bf16.cvtne2ps2bf16.{32 * self.width}"
        return self.code.b.bitcast(self._declared(name, kind, high, low), self.type)

    def pairs(self, low: Any, high: Any) -> Any:
        """Words of two bfloat16 each: lane k of `low` and lane k of `high`."""
        b, width = self.code.b, self.width
        if width == 1:
            four = Lanes(self.code, 4)
            both = four.constant(0)
            for k, value in enumerate((low, high)):
                both = b.insert_element(both, value, self.code.integer(k))
            return b.extract_element(four.rounded(both, both), self.code.integer(0))
        both = b.bitcast(self.rounded(low, high), ir.VectorType(ir.IntType(16), 2 * width))
        order = self._order([k // 2 + k % 2 * width for k in range(2 * width)])
        return b.bitcast(b.shuffle_vector(both, both, order), self.type)

    def load_pairs(self, base: Any, *index: Any) -> Any:
        """Words of two bfloat16 each, from the `2 * width` floats from element `sum(index)` on."""
        low, high = self.load(base, *index), self.load(base, *index, self.width)
        return self.pairs(low, high) if self.width == 1 else self.rounded(low, high)

    def dot(self, a: Any, b: Any, c: Any) -> Any:
        """Dot product of the two bfloat16 in each word of a and b, plus c."""
        kind = ir.VectorType(BFLOAT16, 2 * self.width)
        pairs = [self.code.b.bitcast(x, kind) for x in (a, b)]
        return self._declared(
            f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.width}", self.type, c, *pairs
        )

    def _intrinsic(self, name: str, *operands: Any) -> Any:
        name = f"llvm.{name}.v{self.width}f32" if self.width > 1 else f"llvm.{name}.f32"
        return self._declared(name, self.type, *[self.operand(operand) for operand in operands])

    def _declared(self, name: str, result: ir.Type, *operands: Any) -> Any:
        module = self.code.function.module
        kind = ir.FunctionType(result, [operand.type for operand in operands])
        return self.code.b.call(
            module.globals.get(name) or ir.Function(module, kind, name), operands
        )

    def add(self, a: Any, b: Any) -> Any:
        return self.code.b.fadd(self.operand(a), self.operand(b), flags=FAST)

    def sub(self, a: Any, b: Any) -> Any:
        return self.code.b.fsub(self.operand(a), self.operand(b), flags=FAST)

    def mul(self, a: Any, *others: Any) -> Any:
        multiply = functools.partial(self.code.b.fmul, flags=FAST)
        return functools.reduce(multiply, map(self.operand, (a, *others)))

    def sqrt(self, x: Any) -> Any:
        return self._intrinsic("sqrt", x)

    def clamp(self, x: Any, limit: float) -> Any:
        """Clip x to +-limit; NaN stays NaN."""
        b = self.code.b
        for test, bound in (("<", limit), (">", -limit)):
            # An unordered comparison is true for NaN, which keeps x.
            x = b.select(b.fcmp_unordered(test, x, self.constant(bound)), x, self.constant(bound))
        return x

    def polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        """A polynomial by its coefficients, highest power first."""
        return functools.reduce(lambda total, c: self.fma(total, x, c), coefficients)

    def exp(self, x: Any) -> Any:
        """Exponential of x <= 0, clipped at -87: Cephes' polynomial, relative error below 2e-7."""
        b = self.code.b
        x = b.select(b.fcmp_unordered(">", x, self.constant(-87.0)), x, self.constant(-87.0))
        power = self._intrinsic("floor", self.fma(x, 1.44269504088896341, 0.5))
        rest = self.fma(power, 2.12194440e-4, self.fma(power, -0.693359375, x))
        sum_ = self.polynomial(_EXP, rest)
        found = self.fma(self.mul(rest, rest), sum_, self.add(rest, 1.0))
        exponent = b.add(b.fptosi(power, self._of(INT32, self.width)), self.constant(127, INT32))
        exponent = b.shl(exponent, self.constant(23, INT32))
        return self.mul(found, b.bitcast(exponent, self.type))

    def tanh(self, x: Any) -> Any:
        """Hyperbolic tangent: the rational approximation of Eigen and XLA, error below 4e-7."""
        x = self.clamp(x, 7.90531110763549805)
        square = self.mul(x, x)
        above, below = (self.polynomial(c, square) for c in (_TANH_ABOVE, _TANH_BELOW))
        return self.code.b.fdiv(self.mul(x, above), below)

    def sigmoid(self, x: Any) -> Any:
        """Logistic function as (1 + tanh(x / 2)) / 2, which never overflows."""
        return self.fma(self.tanh(self.mul(x, 0.5)), 0.5, 0.5)


_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
_TANH_ABOVE = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_BELOW = 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03
