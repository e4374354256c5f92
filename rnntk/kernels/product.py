"""Matrix products after Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008).

The caller packs the right factor, once for all time steps.
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

_PACKED = 128
"""Rows packed at a time: few enough to stay in cache, enough to read a column quickly."""


class Products(NamedTuple):
    """Kernels for products of floats, or of words of two bfloat16."""

    product: Code
    pack: Code
    gradient: Code


def emit(module: ir.Module, shape: Shape) -> list[Products]:
    """Add `product`, `pack` and `gradient` to a module, and their `_bf16` variants if the processor supports bfloat16.

    `product`: C = D + A B. Row i of a tile (`tile_rows` rows, at most the shape's) that starts at row t of A is at `a +
    t * a_tile + i * a_row`; B is packed; rows of D and C are `d_row` and `c_row` elements apart. D may be C; `d_row` 0
    adds one row everywhere. `product_bf16` takes a contiguous A `(m, k)` and rounds it into the buffer `words`. Sums
    are float32.

    `pack`: copies columns `panel` at a time, padded with zeros; in bfloat16, a word holds two rows. Neighbours in a
    column of B are `b_row` elements apart, in a row `b_column`.

    `gradient`: adds X^T B to C: x `(n, features)`, B `(n, columns)` packed; `strips` holds x packed in strips of the
    shape's rows.

    Returns the kernels for floats and, if supported, for bfloat16.
    """
    made = []
    for suffix in ("", "_bf16")[: 1 + shape.bfloat16]:
        tiles = [_tile(module, shape, rows, suffix) for rows in range(1, shape.rows + 1)]
        dispatch = _dispatch(module, shape, tiles, suffix)
        product = _product(module, shape, dispatch, "words_product" if suffix else "product")
        pack = _pack(module, shape, suffix)
        gradient = _gradient(module, shape, pack, product, suffix)
        if suffix:
            product = _rounding_product(module, shape, product)
        made.append(Products(product, pack, gradient))
    return made


def buffer_size(rows: int, columns: int) -> int:
    """Floats in the buffer `words` of `product_bf16` for A `(rows, columns)`."""
    return min(rows, HEIGHT) * -(-columns // 2)


_TILE = "k *a a_row a_column *packed *d d_row *c c_row"


def _tile(module: ir.Module, shape: Shape, rows: int, suffix: str) -> Code:
    """One tile; words of two bfloat16 load and store like floats."""
    code = Code(module, f"tile_{rows}{suffix}", _TILE)
    arg, v = code.arg, Lanes(code, shape.width)
    multiply_add, halves = v.dot if suffix else v.fma, (0, shape.width)
    zeros = [v.constant(0)] * (2 * rows)
    with code.carried_loop(0, arg["k"], 1, zeros) as (k, sums, done):
        at, panel = code.mul(k, arg["a_column"]), code.mul(k, shape.panel)
        b = [v.load(arg["packed"], panel, half) for half in halves]
        a = [v.load_scalar(arg["a"], code.mul(i, arg["a_row"]), at) for i in range(rows)]
        pairs = itertools.product(a, b)
        done([multiply_add(*pair, sum_) for pair, sum_ in zip(pairs, sums, strict=True)])
    for (i, half), total in zip(itertools.product(range(rows), halves), code.carried, strict=True):
        total = v.add(total, v.load(arg["d"], code.mul(i, arg["d_row"]), half))
        v.store(total, arg["c"], code.mul(i, arg["c_row"]), half)
    return code


def _dispatch(module: ir.Module, shape: Shape, tiles: list[Code], suffix: str) -> Code:
    """Call the tile of `m` rows, through a buffer if there are fewer columns than in a panel."""
    code = Code(module, f"tile{suffix}", f"m n {_TILE}")
    b, arg, one = code.b, code.arg, Lanes(code, 1)
    _, _, k, a, a_row, a_column, packed, d, d_row, c, c_row = arg.values()

    def call_tile(*sums: Any) -> None:
        end = code.function.append_basic_block("end")
        switch = b.switch(arg["m"], end)
        for rows, tile in enumerate(tiles, 1):
            block = code.function.append_basic_block(f"rows_{rows}")
            switch.add_case(code.integer(rows), block)
            b.position_at_end(block)
            code.call(tile, k, a, a_row, a_column, packed, *sums)
            b.branch(end)
        b.position_at_end(end)

    def copy(source: Any, row: Any, target: Any, target_row: Any) -> None:
        with code.loop(0, arg["m"]) as i, code.loop(0, arg["n"]) as j:
            one.store(one.load(source, code.mul(i, row), j), target, code.mul(i, target_row), j)

    buffer = code.buffer(shape.rows * shape.panel)
    with b.if_else(code.compare("==", arg["n"], shape.panel)) as (full, part):
        with full:
            call_tile(d, d_row, c, c_row)
        with part:
            copy(d, d_row, buffer, shape.panel)
            call_tile(buffer, shape.panel, buffer, shape.panel)
            copy(buffer, shape.panel, c, c_row)
    return code


def _product(module: ir.Module, shape: Shape, tile: Code, name: str) -> Code:
    names = "tile_rows m n k *a a_tile a_row a_column *packed *d d_row *c c_row"
    code = Code(module, name, names)
    arg, b = code.arg, code.b
    tile_rows, step = arg["tile_rows"], _rows_at_once(code)
    with code.loop(0, arg["k"], DEPTH) as k0:
        depth = code.minimum(DEPTH, code.sub(arg["k"], k0))
        first = code.compare("==", k0, 0)
        d, d_row = (b.select(first, arg[f"d{part}"], arg[f"c{part}"]) for part in ("", "_row"))
        with code.loop(0, arg["m"], step) as m0:
            m1 = code.minimum(code.add(m0, step), arg["m"])
            with code.loop(0, arg["n"], shape.panel) as n0:
                columns = code.minimum(shape.panel, code.sub(arg["n"], n0))
                panel = code.at(arg["packed"], code.mul(n0, arg["k"]), code.mul(k0, shape.panel))
                with code.loop(m0, m1, tile_rows) as m:
                    code.call(
                        tile, code.minimum(tile_rows, code.sub(m1, m)), columns, depth,
                        code.at(arg["a"], code.mul(m, arg["a_tile"]), code.mul(k0, arg["a_column"])),
                        arg["a_row"], arg["a_column"], panel,
                        code.at(d, code.mul(m, d_row), n0), d_row,
                        code.at(arg["c"], code.mul(m, arg["c_row"]), n0), arg["c_row"],
                    )  # fmt: skip
    return code


def _rows_at_once(code: Code) -> Any:
    """Rows of whole tiles that fit the L2 cache."""
    return code.mul(code.div(HEIGHT, code.arg["tile_rows"]), code.arg["tile_rows"])


def _rounding_product(module: ir.Module, shape: Shape, product: Code) -> Code:
    code = Code(module, "product_bf16", "tile_rows m n k *a *words *packed *d d_row *c c_row")
    arg, b, one = code.arg, code.b, Lanes(code, 1)
    k, words = arg["k"], arg["words"]
    pairs, width = code.div(k, 2), code.div(k, 2, up=True)
    step = _rows_at_once(code)
    with code.loop(0, arg["m"], step) as m0:
        rows = code.minimum(step, code.sub(arg["m"], m0))
        with code.loop(0, rows) as i:
            source = code.at(arg["a"], code.mul(code.add(m0, i), k))
            target = code.at(words, code.mul(i, width))

            def pair(v: Lanes, j: Any) -> None:
                v.store(v.load_pairs(source, code.mul(j, 2)), target, j)

            code.each(pairs, shape.width, pair)
            with b.if_then(code.compare("<", pairs, width)):
                last = one.load(source, code.mul(pairs, 2))
                one.store(one.pairs(last, one.constant(0)), target, pairs)
        code.call(
            product, arg["tile_rows"], rows, arg["n"], width, words, width, width, 1, arg["packed"],
            code.at(arg["d"], code.mul(m0, arg["d_row"])), arg["d_row"],
            code.at(arg["c"], code.mul(m0, arg["c_row"])), arg["c_row"],
        )  # fmt: skip
    return code


def _gradient(module: ir.Module, shape: Shape, pack: Code, product: Code, suffix: str) -> Code:
    code = Code(module, f"gradient{suffix}", "n features columns *x *strips *packed *c")
    n, features, columns, x, strips, packed, c = code.arg.values()
    code.call(pack, n, features, x, features, 1, shape.rows, strips)
    k = code.div(n, 2, up=True) if suffix else n
    a, sums = (strips, k, 1, shape.rows), (c, columns, c, columns)
    code.call(product, shape.rows, features, columns, k, *a, packed, *sums)
    return code


def _pack(module: ir.Module, shape: Shape, suffix: str) -> Code:
    names = "rows columns *b b_row b_column panel *packed"
    code = Code(module, f"pack{suffix}", names)
    (rows, columns, b, b_row, b_column, panel, packed), select = code.arg.values(), code.b.select
    terms = 2 if suffix else 1  # rows of B per packed row
    height = code.div(rows, terms, up=True)

    one, of_right = Lanes(code, 1), code.compare("==", panel, shape.panel)
    with code.loop(0, height, _PACKED) as k0, code.loop(0, columns, panel) as n0:
        k1 = code.minimum(code.add(k0, _PACKED), height)
        here = code.minimum(panel, code.sub(columns, n0))
        onto = code.mul(n0, height)

        def element(v: Lanes, k: Any, j: Any) -> None:
            """Pack elements of a row; in bfloat16 with those of the next, or zeros after an odd last row."""
            row, column = code.mul(terms, k, b_row), code.mul(code.add(n0, j), b_column)
            found = v.load(b, row, column)
            if suffix:
                last = code.compare(">", code.mul(terms, code.add(k, 1)), rows)
                # After the last row, read that row again, not past the end.
                beside = v.load(b, row, column, select(last, code.integer(0), b_row))
                found = v.pairs(found, select(last, v.constant(0), beside))
            v.store(found, packed, onto, code.mul(k, panel), j)

        with code.b.if_else(code.compare("==", b_column, 1)) as (by_row, by_column):
            with by_row, code.loop(k0, k1) as k, code.b.if_else(of_right) as (right, left):
                with right:
                    code.each(here, shape.width, lambda v, j: element(v, k, j))
                with left:
                    code.each(here, 4, lambda v, j: element(v, k, j))
            with by_column, code.loop(0, here) as j, code.loop(k0, k1) as k:
                element(one, k, j)
        with code.loop(k0, k1) as k, code.loop(here, panel) as j:
            one.store(one.constant(0), packed, onto, code.mul(k, panel), j)
    return code
