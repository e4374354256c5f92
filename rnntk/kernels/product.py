"""Matrix products: a tile that stays in registers, and the loops that feed it from the caches.

The scheme is Goto's and van de Geijn's ("Anatomy of high-performance matrix multiplication", 2008), with
one difference that a recurrent network asks for: the right factor is packed by the caller, once for all time
steps, where a library packs it anew at each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from rnntk.kernels.code import INT, POINTER, Code, Lanes, Shape

DEPTH = 384
"""Terms summed before a tile goes back to memory: a panel of so many rows stays in the first-level cache."""

HEIGHT = 192
"""Rows of the left factor that stay in the second-level cache meanwhile."""


class Products(NamedTuple):
    """The kernels that the loops call: `product`, `pack` and `gradient`, of floats or of words of two bfloat16."""

    product: Code
    pack: Code
    gradient: Code


def emit(module: ir.Module, shape: Shape) -> list[Products]:
    """Put `product`, `pack` and `gradient` into a module, and `product_bf16`, `pack_bf16` and `gradient_bf16`.

    `product(high, m, n, k, a, a_tile, a_row, a_column, packed, d, d_row, c, c_row)`: C = D + A B, where
    row i of a tile (`high` rows, at most the shape's) that begins at row t of A is at
    `a + t * a_tile + i * a_row`, B is packed, D and C have rows of `d_row` and `c_row` elements. D may
    be C; `d_row` 0 adds the same row everywhere.

    `product_bf16(high, m, n, k, a, words, packed, d, d_row, c, c_row)`: the same for A `(m, k)` without gaps, rounded
    to bfloat16 in `words`, room for `room(m, k)` floats. Sums are float32.

    `pack(rows, columns, b, row, column, wide, packed)`: columns `wide` at a time, padded with zeros. `pack_bf16`: the
    same, two rows at a time in words of two bfloat16 each.

    `gradient(n, features, columns, x, room, packed, onto)`: adds X^T B to `onto`; x is `(n, features)`, B
    `(n, columns)` packed, and `room` holds x in strips of the shape's rows. `gradient_bf16`: the same, B packed
    by `pack_bf16`.

    Returns:
        those of floats, and those of bfloat16 where there are instructions for it.
    """
    made = []
    for suffix in ("", "_bf16")[: 1 + shape.bfloat16]:
        tiles = [_tile(module, shape, rows, suffix) for rows in range(1, shape.rows + 1)]
        dispatch = _dispatch(module, shape, tiles, suffix)
        product = _product(module, shape, dispatch, "words_product" if suffix else "product")
        pack = _pack(module, shape, suffix)
        gradient = _gradient(module, shape, pack, product, suffix)
        whole = _rounding_product(module, shape, product) if suffix else product
        made.append(Products(whole, pack, gradient))
    return made


def room(rows: int, columns: int) -> int:
    """Floats that the words of `product_bf16` take."""
    return min(rows, HEIGHT) * -(-columns // 2)


_SUMS = ("d", "c")
_TILE_ARGUMENTS = {
    "k": INT, "a": POINTER, "a_row": INT, "a_column": INT, "packed": POINTER,
    "d": POINTER, "d_row": INT, "c": POINTER, "c_row": INT,
}  # fmt: skip


def _tile(module: ir.Module, shape: Shape, rows: int, suffix: str) -> Code:
    """A tile of floats; or of words of two bfloat16, which are moved about like floats."""
    code = Code(module, f"tile_{rows}{suffix}", _TILE_ARGUMENTS, private=True, may_be_one=_SUMS)
    arg, v = code.arg, Lanes(code, shape.width)
    multiply_add = v.dot if suffix else v.fma
    cells = [(i, j) for i in range(rows) for j in range(2)]
    # D is added last, and asked for first: it may be far away.
    for i in range(rows):
        v.prefetch(arg["d"], code.mul(i, arg["d_row"]))
    sums = [v.constant(0)] * len(cells)

    def term(k: Any, sums: list[Any]) -> list[Any]:
        b = [v.load(arg["packed"], code.mul(k, shape.panel), j * shape.width) for j in range(2)]
        at = code.mul(k, arg["a_column"])
        found = []
        for i in range(rows):
            a = v.spread(arg["a"], code.mul(i, arg["a_row"]), at)
            found += [multiply_add(a, b[j], sums[2 * i + j]) for j in range(2)]
        return found

    unroll = 4
    whole = code.b.and_(arg["k"], code.whole(-unroll))
    for start, stop, step in ((0, whole, unroll), (whole, arg["k"], 1)):
        with code.carried_loop(start, stop, step, sums) as (k, carried, done):
            for u in range(step):
                carried = term(code.add(k, u), carried)
            done(carried)
        sums = code.carried
    for (i, j), total in zip(cells, sums, strict=True):
        total = v.add(total, v.load(arg["d"], code.mul(i, arg["d_row"]), j * shape.width))
        v.store(total, arg["c"], code.mul(i, arg["c_row"]), j * shape.width)
    code.end()
    return code


def _dispatch(module: ir.Module, shape: Shape, tiles: list[Code], suffix: str) -> Code:
    """The tile of `m` rows and `n` columns; where columns are missing, by way of a buffer."""
    arguments = {"m": INT, "n": INT, **_TILE_ARGUMENTS}
    code = Code(module, f"tile{suffix}", arguments, private=True, may_be_one=_SUMS)
    arg = code.arg
    own = [arg[name] for name in _TILE_ARGUMENTS]

    def choose(operands: list[Any]) -> None:
        end = code.function.append_basic_block("end")
        choice = code.b.switch(arg["m"], end)
        for rows, tile in enumerate(tiles, 1):
            block = code.function.append_basic_block(f"rows_{rows}")
            choice.add_case(code.whole(rows), block)
            code.b.position_at_end(block)
            code.call(tile, *operands)
            code.b.branch(end)
        code.b.position_at_end(end)

    room = code.buffer(shape.rows * shape.panel)
    one = Lanes(code, 1)
    with code.b.if_else(code.b.icmp_signed("==", arg["n"], code.whole(shape.panel))) as (
        full,
        part,
    ):
        with full:
            choose(own)
        with part:
            with code.loop(0, arg["m"]) as i, code.loop(0, arg["n"]) as j:
                place = code.add(code.mul(i, shape.panel), j)
                one.store(one.load(arg["d"], code.mul(i, arg["d_row"]), j), room, place)
            choose([*own[:5], room, code.whole(shape.panel), room, code.whole(shape.panel)])
            with code.loop(0, arg["m"]) as i, code.loop(0, arg["n"]) as j:
                place = code.add(code.mul(i, shape.panel), j)
                one.store(one.load(room, place), arg["c"], code.mul(i, arg["c_row"]), j)
    code.end()
    return code


def _product(module: ir.Module, shape: Shape, tile: Code, name: str) -> Code:
    names = {"high": INT, "m": INT, "n": INT, "k": INT, "a": POINTER, "a_tile": INT, "a_row": INT, "a_column": INT,
             "packed": POINTER, "d": POINTER, "d_row": INT, "c": POINTER, "c_row": INT}  # fmt: skip
    code = Code(module, name, names, private=name != "product", may_be_one=_SUMS)
    arg, b = code.arg, code.b
    high = arg["high"]
    step = code.mul(b.sdiv(code.whole(HEIGHT), high), high)
    with code.loop(0, arg["k"], DEPTH) as k0:
        depth = code.minimum(DEPTH, b.sub(arg["k"], k0))
        first = b.icmp_signed("==", k0, code.whole(0))
        d = b.select(first, arg["d"], arg["c"])
        d_row = b.select(first, arg["d_row"], arg["c_row"])
        with code.loop(0, arg["m"], step) as m0:
            m1 = code.minimum(code.add(m0, step), arg["m"])
            with code.loop(0, arg["n"], shape.panel) as n0:
                columns = code.minimum(shape.panel, b.sub(arg["n"], n0))
                panel = code.at(arg["packed"], code.mul(n0, arg["k"]), code.mul(k0, shape.panel))
                with code.loop(m0, m1, high) as m:
                    rows = code.minimum(high, b.sub(m1, m))
                    code.call(
                        tile, rows, columns, depth,
                        code.at(arg["a"], code.mul(m, arg["a_tile"]), code.mul(k0, arg["a_column"])),
                        arg["a_row"], arg["a_column"], panel,
                        code.at(d, code.mul(m, d_row), n0), d_row,
                        code.at(arg["c"], code.mul(m, arg["c_row"]), n0), arg["c_row"],
                    )  # fmt: skip
    code.end()
    return code


def _rounding_product(module: ir.Module, shape: Shape, product: Code) -> Code:
    names = {"high": INT, "m": INT, "n": INT, "k": INT, "a": POINTER, "words": POINTER,
             "packed": POINTER, "d": POINTER, "d_row": INT, "c": POINTER, "c_row": INT}  # fmt: skip
    code = Code(module, "product_bf16", names, may_be_one=_SUMS)
    arg, b = code.arg, code.b
    high, k, words = arg["high"], arg["k"], arg["words"]
    whole = b.sdiv(k, code.whole(2))
    width = b.sdiv(code.add(k, 1), code.whole(2))
    one = Lanes(code, 1)
    # As many rows at a time as the product keeps in the second-level cache.
    step = code.mul(b.sdiv(code.whole(HEIGHT), high), high)
    with code.loop(0, arg["m"], step) as m0:
        rows = code.minimum(step, b.sub(arg["m"], m0))
        with code.loop(0, rows) as i:
            source, target = (
                code.at(arg["a"], code.mul(code.add(m0, i), k)),
                code.at(words, code.mul(i, width)),
            )
            code.each(
                whole,
                shape.width,
                lambda v, j: v.store(v.neighbours(source, code.mul(j, 2)), target, j),
            )
            with b.if_then(b.icmp_signed("<", whole, width)):
                last = one.load(source, code.mul(whole, 2))
                one.store(one.pairs(last, one.constant(0)), target, whole)
        code.call(
            product, high, rows, arg["n"], width, words, width, width, 1, arg["packed"],
            code.at(arg["d"], code.mul(m0, arg["d_row"])), arg["d_row"],
            code.at(arg["c"], code.mul(m0, arg["c_row"])), arg["c_row"],
        )  # fmt: skip
    code.end()
    return code


def _gradient(module: ir.Module, shape: Shape, pack: Code, product: Code, suffix: str) -> Code:
    names = {"n": INT, "features": INT, "columns": INT}
    names |= dict.fromkeys(["x", "room", "packed", "onto"], POINTER)
    code = Code(module, f"gradient{suffix}", names)
    n, features, columns, x, room, packed, onto = code.arg.values()
    code.call(pack, n, features, x, features, 1, shape.rows, room)
    if suffix:
        n = code.b.sdiv(code.add(n, 1), code.whole(2))
    code.call(
        product, shape.rows, features, columns, n, room, n, 1, shape.rows, packed, onto, columns, onto, columns
    )  # fmt: skip
    code.end()
    return code


def _pack(module: ir.Module, shape: Shape, suffix: str) -> Code:
    names = {
        "rows": INT, "columns": INT, "b": POINTER, "row": INT, "column": INT, "wide": INT, "packed": POINTER
    }  # fmt: skip
    code = Code(module, f"pack{suffix}", names)
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    # A row of what is packed holds so many rows of B.
    terms = 2 if suffix else 1
    rows = b.sdiv(code.add(arg["rows"], terms - 1), code.whole(terms))

    def equal(a: Any, b_: Any) -> Any:
        return b.icmp_signed("==", code.whole(a), code.whole(b_))

    def packed_row(v: Lanes, source: Any, *index: Any) -> Any:
        """`width` elements of a row of what is packed; all of its rows of B are there."""
        first = v.load(arg["b"], source, *index)
        return v.pairs(first, v.load(arg["b"], source, *index, arg["row"])) if suffix else first

    def row_of(wide: int) -> None:
        # The last vector may be wider than what is left: the next row writes over the rest. (The last
        # row has none, and what stands behind it belongs to another strip.)
        v = Lanes(code, shape.width)
        for j in range(0, wide, shape.width):
            v.store(packed_row(v, source, j), arg["packed"], to, j)

    def element(place: Any) -> Any:
        """One element; the last row of an odd number has no neighbour."""
        if not suffix:
            return packed_row(one, source, place)
        last = b.icmp_signed("<", left_of_rows, code.whole(2))
        # What is not there is not read either.
        beside = b.select(last, code.whole(0), arg["row"])
        low, high = (one.load(arg["b"], source, place, off) for off in (code.whole(0), beside))
        return one.pairs(low, b.select(last, one.constant(0), high))

    strip = -(-shape.rows // shape.width) * shape.width
    # A few rows at a time, so that each is read from end to end.
    with code.loop(0, rows, shape.panel) as k0:
        k1 = code.minimum(code.add(k0, shape.panel), rows)
        with code.loop(0, arg["columns"], arg["wide"]) as n0:
            left = b.sub(arg["columns"], n0)
            there = code.minimum(arg["wide"], left)
            target = code.mul(n0, rows)
            full = equal(there, shape.panel)
            inside = b.icmp_signed("<=", code.mul(terms, code.add(k0, shape.panel)), arg["rows"])
            square = b.and_(equal(arg["row"], 1), inside)
            by_rows = equal(arg["column"], 1)
            panel = b.and_(full, by_rows)
            fits = b.icmp_signed(">=", left, code.whole(strip))
            narrow = b.and_(b.and_(equal(arg["wide"], shape.rows), fits), by_rows)
            with b.if_else(b.and_(full, square)) as (squares, others):
                with squares:
                    _transposed(code, shape, (k0, n0), code.at(arg["packed"], target), terms)
                with others, code.loop(k0, k1) as k:
                    to = code.add(target, code.mul(k, arg["wide"]))
                    source = code.add(code.mul(n0, arg["column"]), code.mul(terms, k, arg["row"]))
                    left_of_rows = b.sub(arg["rows"], code.mul(terms, k))
                    whole = b.icmp_signed(">=", left_of_rows, code.whole(terms))
                    inner = b.and_(whole, b.icmp_signed("<", code.add(k, 1), rows))
                    with b.if_else(b.and_(panel, whole)) as (panels, parts):
                        with panels:
                            row_of(shape.panel)
                        with parts, b.if_else(b.and_(narrow, inner)) as (strips, numbers):
                            with strips:
                                row_of(shape.rows)
                            with numbers:
                                with code.loop(0, there) as j:
                                    one.store(
                                        element(code.mul(j, arg["column"])), arg["packed"], to, j
                                    )
                                with code.loop(there, arg["wide"]) as j:
                                    one.store(one.constant(0), arg["packed"], to, j)
    code.end()
    return code


def _transposed(code: Code, shape: Shape, start: tuple[Any, Any], panel: Any, terms: int) -> None:
    """Pack a square from row and column `start` on, where a column of B is a row of memory."""
    (k0, n0), v, b = start, Lanes(code, shape.width), code.arg["b"]
    load = v.load if terms == 1 else v.neighbours
    for k in (0, shape.width):
        for j in (0, shape.width):
            block = [
                load(
                    b,
                    code.mul(code.add(n0, j + i), code.arg["column"]),
                    code.mul(terms, code.add(k0, k)),
                )
                for i in range(shape.width)
            ]
            for i, column in enumerate(v.transpose(block)):
                v.store(column, panel, code.mul(code.add(k0, k + i), code.arg["wide"]), j)
