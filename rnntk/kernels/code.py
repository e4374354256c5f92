"""A little language for numeric kernels: loops, vectors and addresses over LLVM's instructions.

A kernel is written once in Python and compiled for the very processor it runs on, with the vectors
that processor has. It knows float32 arrays by the address of their first element; an index counts
elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir


class _BFloat16(ir.Type):
    """LLVM's `bfloat`, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat16)

    def __hash__(self) -> int:
        return hash(_BFloat16)


FLOAT = ir.FloatType()
INT = ir.IntType(64)
POINTER = ir.PointerType()
BFLOAT16 = _BFloat16()
FAST = ("nsz", "contract", "reassoc", "arcp")


@dataclass(frozen=True)
class Shape:
    """How a processor's registers are used.

    Attributes:
        width: floats in a vector.
        rows: rows of a tile of a product; `2 * rows` vectors hold its sums.
        bfloat16: whether there are instructions for products of bfloat16 (AVX512-BF16).
    """

    width: int
    rows: int
    bfloat16: bool = False

    @property
    def panel(self) -> int:
        """Columns of a tile: two vectors."""
        return 2 * self.width


class Code:
    """One function under construction.

    Args:
        module: where it goes.
        name: of the function.
        arguments: name and type of each; each becomes an attribute of this object's `arg`.
        private: whether only this module calls it.
        may_be_one: arrays that may overlap; all others do not.
    """

    def __init__(
        self,
        module: ir.Module,
        name: str,
        arguments: dict[str, ir.Type],
        *,
        private: bool = False,
        may_be_one: tuple[str, ...] = (),
    ) -> None:
        kind = ir.FunctionType(ir.VoidType(), list(arguments.values()))
        self.function = ir.Function(module, kind, name)
        if private:
            self.function.linkage = "internal"
        self.arg: dict[str, Any] = {}
        for given, key in zip(self.function.args, arguments, strict=True):
            given.name = key
            if arguments[key] is POINTER and key not in may_be_one:
                given.add_attribute("noalias")
            self.arg[key] = given
        self.entry = self.function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.entry)

    def whole(self, value: Any) -> Any:
        """A whole number as an operand."""
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def add(self, *terms: Any) -> Any:
        """Sum of whole numbers."""
        total = self.whole(terms[0])
        for term in terms[1:]:
            total = self.b.add(total, self.whole(term))
        return total

    def mul(self, *factors: Any) -> Any:
        """Product of whole numbers."""
        product = self.whole(factors[0])
        for factor in factors[1:]:
            product = self.b.mul(product, self.whole(factor))
        return product

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller of two whole numbers."""
        a, b = self.whole(a), self.whole(b)
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    def at(self, base: Any, *index: Any) -> Any:
        """Address of element `sum(index)`."""
        return self.b.gep(base, [self.add(*index)], source_etype=FLOAT)

    def buffer(self, floats: int) -> Any:
        """Room on the stack."""
        with self.b.goto_block(self.entry):
            room = self.b.alloca(ir.ArrayType(FLOAT, floats))
            room.align = 64
            # By way of a number, because only so does llvmlite forget what the pointer points to.
            return self.b.inttoptr(self.b.ptrtoint(room, INT), POINTER)

    def is_given(self, array: str) -> Any:
        """Whether an array among the arguments is not null."""
        return self.b.icmp_signed("!=", self.b.ptrtoint(self.arg[array], INT), self.whole(0))

    def symbol(self, ids: Any, place: Any) -> Any:
        """Element `place` of an int32 array."""
        i32 = ir.IntType(32)
        return self.b.sext(self.b.load(self.b.gep(ids, [place], source_etype=i32), typ=i32), INT)

    def call(self, other: Code, *operands: Any) -> None:
        """Call another function of the module."""
        self.b.call(other.function, [self.whole(o) if isinstance(o, int) else o for o in operands])

    @contextmanager
    def loop(self, start: Any, stop: Any, step: Any = 1, *, down: bool = False) -> Iterator[Any]:
        """Run the body for start, start + step, ... below stop, or the same in reverse (step 1)."""
        for_each = self.carried_loop(start, stop, step, [])
        with for_each as (index, _, _done):
            yield self.b.sub(self.b.sub(self.whole(stop), self.whole(1)), index) if down else index

    @contextmanager
    def carried_loop(
        self, start: Any, stop: Any, step: Any, values: Sequence[Any]
    ) -> Iterator[tuple[Any, list[Any], Callable[[Sequence[Any]], None]]]:
        """A loop that carries values; its body calls `done` with the next ones.

        After the loop `self.carried` holds what they came to.
        """
        b = self.b
        before = b.block
        head = self.function.append_basic_block("head")
        body = self.function.append_basic_block("body")
        after = self.function.append_basic_block("after")
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(INT)
        index.add_incoming(self.whole(start), before)
        phis = [b.phi(value.type) for value in values]
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, before)
        b.cbranch(b.icmp_signed("<", index, self.whole(stop)), body, after)
        b.position_at_end(body)
        following: list[Any] = []
        yield index, phis, following.extend
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value, b.block)
        index.add_incoming(b.add(index, self.whole(step)), b.block)
        b.branch(head)
        b.position_at_end(after)
        self.carried = phis

    def each(self, count: Any, width: int, body: Callable[[Lanes, Any], None]) -> None:
        """Run `body(lanes, index)` for `count` elements: in vectors, and the rest one by one."""
        whole = self.b.and_(self.whole(count), self.whole(-width))
        with self.loop(0, whole, width) as index:
            body(Lanes(self, width), index)
        with self.loop(whole, count) as index:
            body(Lanes(self, 1), index)

    def total(self, count: Any, width: int, term: Callable[[Lanes, Any], Any]) -> Any:
        """Sum of `term(lanes, index)` over `count` elements, as one number."""
        whole = self.b.and_(self.whole(count), self.whole(-width))
        many, one = Lanes(self, width), Lanes(self, 1)
        with self.carried_loop(0, whole, width, [many.constant(0.0)]) as (index, (sum_,), done):
            done([many.add(sum_, term(many, index))])
        (sums,) = self.carried
        sum_ = one.constant(0.0)
        for k in range(width):
            sum_ = one.add(sum_, self.b.extract_element(sums, self.whole(k)))
        with self.carried_loop(whole, count, 1, [sum_]) as (index, (sum_,), done):
            done([one.add(sum_, term(one, index))])
        return self.carried[0]

    def end(self) -> None:
        """Return to the caller."""
        self.b.ret_void()


class Lanes:
    """Arithmetic on `width` floats at once; on one, where `width` is 1."""

    def __init__(self, code: Code, width: int) -> None:
        self.code, self.width = code, width
        self.type = ir.VectorType(FLOAT, width) if width > 1 else FLOAT

    def constant(self, value: float) -> Any:
        """The same number in every lane."""
        return ir.Constant(self.type, [value] * self.width if self.width > 1 else value)

    def operand(self, value: Any) -> Any:
        """A number or a vector as a vector."""
        return self.constant(float(value)) if isinstance(value, (int, float)) else value

    def load(self, base: Any, *index: Any) -> Any:
        """`width` floats from element `sum(index)` on."""
        found = self.code.b.load(self.code.at(base, *index), typ=self.type)
        found.align = 4
        return found

    def store(self, value: Any, base: Any, *index: Any) -> None:
        """Put `width` floats from element `sum(index)` on."""
        self.code.b.store(value, self.code.at(base, *index), align=4)

    def spread(self, base: Any, *index: Any) -> Any:
        """One float in every lane."""
        b = self.code.b
        return self.filled(b.load(self.code.at(base, *index), typ=FLOAT))

    def filled(self, one: Any) -> Any:
        """A number in every lane."""
        b = self.code.b
        if self.width == 1:
            return one
        first = b.insert_element(ir.Constant(self.type, ir.Undefined), one, self.code.whole(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return b.shuffle_vector(first, ir.Constant(self.type, ir.Undefined), order)

    def prefetch(self, base: Any, *index: Any) -> None:
        """Ask for the cache line of element `sum(index)` early."""
        module = self.code.function.module
        name, i32 = "llvm.prefetch.p0", ir.IntType(32)
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(ir.VoidType(), [POINTER, i32, i32, i32]), name
        )
        hints = [ir.Constant(i32, hint) for hint in (0, 3, 1)]  # to read, keep, data
        self.code.b.call(function, [self.code.at(base, *index), *hints])

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Product plus c, rounded once where the processor can; elsewhere `fma` would be a slow call for each float."""
        return self._intrinsic("fmuladd", a, b, c)

    def rounded(self, low: Any, high: Any) -> Any:
        """Two vectors rounded to bfloat16, one behind the other in the place of one vector."""
        kind = ir.VectorType(BFLOAT16, 2 * self.width)
        name = f"llvm.x86.avx512bf16.cvtne2ps2bf16.{32 * self.width}"
        return self.code.b.bitcast(self._declared(name, kind, high, low), self.type)

    def pairs(self, low: Any, high: Any) -> Any:
        """Words of two bfloat16 each, of lane k of `low` and of lane k of `high`."""
        b, i32, width = self.code.b, ir.IntType(32), self.width
        if width == 1:
            four = Lanes(self.code, 4)
            both = four.constant(0)
            for k, value in enumerate((low, high)):
                both = b.insert_element(both, value, self.code.whole(k))
            return b.extract_element(four.rounded(both, both), self.code.whole(0))
        halves = b.bitcast(self.rounded(low, high), ir.VectorType(ir.IntType(16), 2 * width))
        order = [k // 2 + k % 2 * width for k in range(2 * width)]
        order = ir.Constant(ir.VectorType(i32, 2 * width), order)
        return b.bitcast(b.shuffle_vector(halves, halves, order), self.type)

    def neighbours(self, base: Any, *index: Any) -> Any:
        """Words of two bfloat16 each, of `2 * width` floats from element `sum(index)` on."""
        low, high = self.load(base, *index), self.load(base, *index, self.width)
        return self.pairs(low, high) if self.width == 1 else self.rounded(low, high)

    def dot(self, a: Any, b: Any, c: Any) -> Any:
        """For words of two bfloat16: the sum of both products plus c, a float."""
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
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self.code.b.call(function, operands)

    def add(self, a: Any, b: Any) -> Any:
        """Sum."""
        return self.code.b.fadd(self.operand(a), self.operand(b), flags=FAST)

    def sub(self, a: Any, b: Any) -> Any:
        """Difference."""
        return self.code.b.fsub(self.operand(a), self.operand(b), flags=FAST)

    def mul(self, a: Any, *others: Any) -> Any:
        """Product of all."""
        product = self.operand(a)
        for other in others:
            product = self.code.b.fmul(product, self.operand(other), flags=FAST)
        return product

    def sqrt(self, x: Any) -> Any:
        """Square root."""
        return self._intrinsic("sqrt", x)

    def clamp(self, x: Any, limit: float) -> Any:
        """x, kept within +-limit; not a number stays what it is."""
        b = self.code.b
        for test, bound in (("<", limit), (">", -limit)):
            # Unordered comparisons would let a NaN be replaced by the bound.
            x = b.select(b.fcmp_unordered(test, x, self.constant(bound)), x, self.constant(bound))
        return x

    def transpose(self, rows: list[Any]) -> list[Any]:
        """The columns of a square of `width` vectors: blocks are exchanged, then blocks in these, and so on."""
        shuffle, i32 = self.code.b.shuffle_vector, ir.IntType(32)
        kind = ir.VectorType(i32, self.width)
        distance = self.width // 2
        while distance:
            lower = [
                k if not k & distance else self.width + k - distance for k in range(self.width)
            ]
            upper = [k + distance for k in lower]
            for i in range(self.width):
                if not i & distance:
                    a, b = rows[i], rows[i + distance]
                    rows[i] = shuffle(a, b, ir.Constant(kind, lower))
                    rows[i + distance] = shuffle(a, b, ir.Constant(kind, upper))
            distance //= 2
        return rows

    def exp(self, x: Any) -> Any:
        """Exponential of a number from -87 to 0, below which it stays: Cephes' polynomial, within 2e-7 of itself."""
        b, ints = self.code.b, ir.IntType(32)
        kind = ir.VectorType(ints, self.width) if self.width > 1 else ints

        def whole(value: int) -> Any:
            return ir.Constant(kind, [value] * self.width if self.width > 1 else value)

        x = b.select(b.fcmp_unordered(">", x, self.constant(-87.0)), x, self.constant(-87.0))
        power = self._intrinsic("floor", self.fma(x, 1.44269504088896341, 0.5))
        rest = self.fma(power, 2.12194440e-4, self.fma(power, -0.693359375, x))
        sum_: Any = _EXP[0]
        for coefficient in _EXP[1:]:
            sum_ = self.fma(sum_, rest, coefficient)
        found = self.fma(self.mul(rest, rest), sum_, self.add(rest, 1.0))
        exponent = b.shl(b.add(b.fptosi(power, kind), whole(127)), whole(23))
        return self.mul(found, b.bitcast(exponent, self.type))

    def tanh(self, x: Any) -> Any:
        """Hyperbolic tangent: the quotient of polynomials that Eigen and XLA use, within 4e-7."""
        x = self.clamp(x, 7.90531110763549805)
        square = self.mul(x, x)
        above: Any = _TANH_ABOVE[0]
        for coefficient in _TANH_ABOVE[1:]:
            above = self.fma(square, above, coefficient)
        below: Any = _TANH_BELOW[0]
        for coefficient in _TANH_BELOW[1:]:
            below = self.fma(square, below, coefficient)
        return self.code.b.fdiv(self.mul(x, above), below)

    def sigmoid(self, x: Any) -> Any:
        """Logistic function, as (1 + tanh(x / 2)) / 2, which never overflows."""
        return self.fma(self.tanh(self.mul(x, 0.5)), 0.5, 0.5)


_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
_TANH_ABOVE = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_BELOW = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)
