"""Matrix products after Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008).

Unlike in a library, the caller packs the right factor, once for all time steps.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from llvmlite import ir

from rnntk.kernels.code import Code, Lanes, Shape

DEPTH = 384
"""Terms summed before a tile is written back; a panel of this many rows fits the L1 cache."""

HEIGHT = 192
"""Rows of the left factor that fit the L2 cache."""


class Products(NamedTuple):
    """The kernels of products, of floats or of words of two bfloat16."""

    product: Code
    pack: Code
    gradient: Code


def emit(module: ir.Module, shape: Shape) -> list[Products]:
    """Add `product`, `pack` and `gradient` to a module, and their `_bf16` variants if the processor supports bfloat16.

    `product`: C = D + A B. Row i of a tile (`high` rows, at most the shape's) that starts at row t of A is at
    `a + t * a_tile + i * a_row`; B is packed; rows of D and C are `d_row` and `c_row` elements apart. D may be C;
    `d_row` 0 adds one row everywhere. `product_bf16` takes a contiguous A `(m, k)` and rounds it into `words`, a buffer
    of `room(m, k)` floats. Sums are float32.

    `pack`: copies columns `wide` at a time, padded with zeros; in bfloat16, a word holds two rows.

    `gradient`: adds X^T B to `onto`: x `(n, features)`, B `(n, columns)` packed; `room` holds x in strips of the
    shape's rows.

    Returns the kernels of floats and, if supported, of bfloat16.
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
    """Floats in the buffer `words` of `product_bf16`."""
    return min(rows, HEIGHT) * -(-columns // 2)


_TILE = "k *a a_row a_column *packed *d d_row *c c_row"


def _tile(module: ir.Module, shape: Shape, rows: int, suffix: str) -> Code:
    """A tile of floats, or of words of two bfloat16, which load and store like floats."""
    code = Code(module, f"tile_{rows}{suffix}", _TILE)
    arg, v = code.arg, Lanes(code, shape.width)
    multiply_add, halves = v.dot if suffix else v.fma, (0, shape.width)
    zeros = [v.constant(0)] * (2 * rows)
    with code.carried_loop(0, arg["k"], 1, zeros) as (k, sums, done):
        at, panel = code.mul(k, arg["a_column"]), code.mul(k, shape.panel)
        b = [v.load(arg["packed"], panel, half) for half in halves]
        a = [v.spread(arg["a"], code.mul(i, arg["a_row"]), at) for i in range(rows)]
        pairs = itertools.product(a, b)
        done([multiply_add(*pair, sum_) for pair, sum_ in zip(pairs, sums, strict=True)])
    for (i, half), total in zip(itertools.product(range(rows), halves), code.carried, strict=True):
        total = v.add(total, v.load(arg["d"], code.mul(i, arg["d_row"]), half))
        v.store(total, arg["c"], code.mul(i, arg["c_row"]), half)
    return code


def _dispatch(module: ir.Module, shape: Shape, tiles: list[Code], suffix: str) -> Code:
    """Call the tile of `m` rows; with fewer columns than a panel, through a buffer."""
    code = Code(module, f"tile{suffix}", f"m n {_TILE}")
    b, arg, one = code.b, code.arg, Lanes(code, 1)
    _, _, k, a, a_row, a_column, packed, d, d_row, c, c_row = arg.values()

    def choose(*sums: Any) -> None:
        end = code.function.append_basic_block("end")
        choice = b.switch(arg["m"], end)
        for rows, tile in enumerate(tiles, 1):
            block = code.function.append_basic_block(f"rows_{rows}")
            choice.add_case(code.whole(rows), block)
            b.position_at_end(block)
            code.call(tile, k, a, a_row, a_column, packed, *sums)
            b.branch(end)
        b.position_at_end(end)

    def copy(source: Any, row: Any, target: Any, target_row: Any) -> None:
        with code.loop(0, arg["m"]) as i, code.loop(0, arg["n"]) as j:
            found = one.load(source, code.mul(i, row), j)
            one.store(found, target, code.mul(i, target_row), j)

    room = code.buffer(shape.rows * shape.panel)
    with b.if_else(code.compare("==", arg["n"], shape.panel)) as (full, part):
        with full:
            choose(d, d_row, c, c_row)
        with part:
            copy(d, d_row, room, shape.panel)
            choose(room, shape.panel, room, shape.panel)
            copy(room, shape.panel, c, c_row)
    return code


def _product(module: ir.Module, shape: Shape, tile: Code, name: str) -> Code:
    names = "high m n k *a a_tile a_row a_column *packed *d d_row *c c_row"
    code = Code(module, name, names)
    arg, b = code.arg, code.b
    high, step = arg["high"], _rows_at_once(code)
    with code.loop(0, arg["k"], DEPTH) as k0:
        depth = code.minimum(DEPTH, code.sub(arg["k"], k0))
        first = code.compare("==", k0, 0)
        d, d_row = (b.select(first, arg[f"d{part}"], arg[f"c{part}"]) for part in ("", "_row"))
        with code.loop(0, arg["m"], step) as m0:
            m1 = code.minimum(code.add(m0, step), arg["m"])
            with code.loop(0, arg["n"], shape.panel) as n0:
                columns = code.minimum(shape.panel, code.sub(arg["n"], n0))
                panel = code.at(arg["packed"], code.mul(n0, arg["k"]), code.mul(k0, shape.panel))
                with code.loop(m0, m1, high) as m:
                    code.call(
                        tile, code.minimum(high, code.sub(m1, m)), columns, depth,
                        code.at(arg["a"], code.mul(m, arg["a_tile"]), code.mul(k0, arg["a_column"])),
                        arg["a_row"], arg["a_column"], panel,
                        code.at(d, code.mul(m, d_row), n0), d_row,
                        code.at(arg["c"], code.mul(m, arg["c_row"]), n0), arg["c_row"],
                    )  # fmt: skip
    return code


def _rows_at_once(code: Code) -> Any:
    """Rows of the whole tiles that fit the L2 cache."""
    return code.mul(code.div(HEIGHT, code.arg["high"]), code.arg["high"])


def _rounding_product(module: ir.Module, shape: Shape, product: Code) -> Code:
    code = Code(module, "product_bf16", "high m n k *a *words *packed *d d_row *c c_row")
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    k, words = arg["k"], arg["words"]
    whole, width = code.div(k, 2), code.div(k, 2, up=True)
    step = _rows_at_once(code)
    with code.loop(0, arg["m"], step) as m0:
        rows = code.minimum(step, code.sub(arg["m"], m0))
        with code.loop(0, rows) as i:
            source = code.at(arg["a"], code.mul(code.add(m0, i), k))
            target = code.at(words, code.mul(i, width))

            def pair(v: Lanes, j: Any) -> None:
                v.store(v.neighbours(source, code.mul(j, 2)), target, j)

            code.each(whole, shape.width, pair)
            with b.if_then(code.compare("<", whole, width)):
                last = one.load(source, code.mul(whole, 2))
                one.store(one.pairs(last, one.constant(0)), target, whole)
        code.call(
            product, arg["high"], rows, arg["n"], width, words, width, width, 1, arg["packed"],
            code.at(arg["d"], code.mul(m0, arg["d_row"])), arg["d_row"],
            code.at(arg["c"], code.mul(m0, arg["c_row"])), arg["c_row"],
        )  # fmt: skip
    return code


def _gradient(module: ir.Module, shape: Shape, pack: Code, product: Code, suffix: str) -> Code:
    code = Code(module, f"gradient{suffix}", "n features columns *x *room *packed *onto")
    n, features, columns, x, room, packed, onto = code.arg.values()
    code.call(pack, n, features, x, shape.rows, room)
    terms = code.div(n, 2, up=True) if suffix else n
    left = room, terms, 1, shape.rows
    sums = onto, columns, onto, columns
    code.call(product, shape.rows, features, columns, terms, *left, packed, *sums)
    return code


def _pack(module: ir.Module, shape: Shape, suffix: str) -> Code:
    code = Code(module, f"pack{suffix}", "rows columns *b wide *packed")
    (rows, columns, b, wide, packed), select = code.arg.values(), code.b.select
    terms = 2 if suffix else 1  # rows of B per packed row
    height = code.div(rows, terms, up=True)

    def put(v: Lanes, source: Any, last: Any, target: Any) -> None:
        """Pack elements of a row; in bfloat16 with those of the next, or zeros after an odd last row."""
        found = v.load(b, source)
        if suffix:
            # After the last row, read that row again, not past the end.
            beside = v.load(b, source, select(last, code.whole(0), columns))
            found = v.pairs(found, select(last, v.constant(0), beside))
        v.store(found, packed, target)

    # A few rows at a time, so that each is read contiguously.
    with code.loop(0, height, shape.panel) as k0:
        k1 = code.minimum(code.add(k0, shape.panel), height)
        with code.loop(0, columns, wide) as n0, code.loop(k0, k1) as k:
            here = code.minimum(wide, code.sub(columns, n0))
            to = code.add(code.mul(n0, height), code.mul(k, wide))
            source = code.add(n0, code.mul(terms, k, columns))
            last = code.compare(">", code.mul(terms, code.add(k, 1)), rows)
            with code.b.if_else(code.compare("==", here, shape.panel)) as (panel, part):
                with panel:
                    for j in range(0, shape.panel, shape.width):
                        put(Lanes(code, shape.width), code.add(source, j), last, code.add(to, j))
                with part:
                    one = Lanes(code, 1)
                    with code.loop(0, here) as j:
                        put(one, code.add(source, j), last, code.add(to, j))
                    with code.loop(here, wide) as j:
                        one.store(one.constant(0), packed, to, j)
    return code
