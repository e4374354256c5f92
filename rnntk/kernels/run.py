"""What the kernels do for a layer: NumPy arrays in, NumPy arrays out.

Each function is called by TensorFlow in the middle of a step, from any of its threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnntk.cells import CELLS
from rnntk.kernels.native import Floats, Ids, empty, kernels, zeros
from rnntk.kernels.product import DEPTH

GATES = {name: len(cell.gates) for name, cell in CELLS.items()}
STATES = {name: len(cell.states) for name, cell in CELLS.items()}


def forward(
    inputs: Floats,
    ids: Ids,
    kernel: Floats,
    bias: Floats,
    recurrent: Floats,
    *others: Floats,
    cell: str,
) -> list[Floats]:
    """Run a layer over time, a GRU with its reset gate after the product.

    Args:
        inputs: `(T, B, F)`; or, with `ids`, what kernel and bias make of each symbol, `(V, gates * H)`.
        ids: the symbols `(T, B)`, or empty.
        kernel: packed; unused with `ids`.
        bias: `(gates * H,)`; unused with `ids`.
        recurrent: the recurrent kernel, packed.
        others: a GRU's bias of the recurrent product, `(3H,)`; the states before, `(B, H)` each.
        cell: `lstm`, `gru` or `rnn`.

    Returns:
        for each state `(T + 1, B, H)`, before the first step and after each; but for a vanilla layer the gates
        `(T, B, gates * H)`; for a GRU also the candidate's recurrent half `(T, B, H)`.

    Raises:
        ValueError: an id is not that of a symbol.
    """
    first = others[-STATES[cell] :]
    steps, lanes = (ids if ids.size else inputs).shape[:2]
    units = first[0].shape[1]
    width = GATES[cell] * units
    states = []
    for before in first:
        states.append(empty(steps + 1, *before.shape))
        states[-1][0] = before
    gates = states[0][1:] if cell == "rnn" else empty(steps, lanes, width)
    run = kernels()
    rows, symbols = (inputs, ids) if ids.size else (None, None)
    if symbols is not None:
        _check(symbols, len(inputs))
    if rows is None:
        run.product(_flat(inputs), kernel, bias, _flat(gates))
    sizes = (run.high(lanes), steps, lanes, units, rows, symbols, recurrent)
    if cell == "lstm":
        run("lstm_forward", *sizes, gates, states[1], states[0])
        return [*states, gates]
    if cell == "gru":
        inner = empty(steps, lanes, units)
        run("gru_forward", *sizes, others[0], gates, inner, states[0], empty(lanes, width))
        return [*states, gates, inner]
    run("rnn_forward", *sizes, states[0])
    return states


def backward(
    ids: Ids,
    inputs: Floats,
    transposed: Floats,
    recurrent: Floats,
    d_hs: Floats,
    *others: Floats,
    cell: str,
    symbols: int,
    input_gradient: bool,
) -> list[Floats]:
    """The gradients of `forward`.

    The layer is read backwards some steps at a time, so that what one kernel makes is still in a cache when
    the next one reads it, and is never kept.

    Args:
        ids: as in `forward`.
        inputs: as in `forward`; unused with `ids`.
        transposed: the kernel transposed, packed; unused without `input_gradient`.
        recurrent: the recurrent kernel transposed, packed.
        d_hs: of the states h after each step, `(T, B, H)`.
        others: of the last states, `(B, H)` each; then what `forward` gave.
        cell: as in `forward`.
        symbols: V with `ids`, else 0.
        input_gradient: whether that of the inputs is wanted.

    Returns:
        with `ids` of the table; else, if wanted, of the inputs, and of kernel and bias; then of the recurrent kernel,
        a GRU's second bias, and the states before.
    """
    count = STATES[cell]
    d_states, saved = [d.copy() for d in others[:count]], others[count:]
    steps, lanes, units = d_hs.shape
    width = GATES[cell] * units
    few = min(steps, max(1, DEPTH // lanes))
    dz = empty(few, lanes, width)
    # What reaches a GRU's recurrent product is not what reaches its inputs.
    dz_inner = empty(few, lanes, width) if cell == "gru" else dz
    d_recurrent, d_inner_bias = zeros(units, width), zeros(width)
    d_table = zeros(symbols, width)
    features = 0 if symbols else inputs.shape[2]
    d_kernel, d_bias, nothing = zeros(features, width), zeros(width), zeros(features)
    d_inputs = empty(*inputs.shape) if input_gradient else None
    hs = saved[0]
    run = kernels()
    for part, here, after in _parts(steps, few):
        sizes = (run.high(lanes), here, lanes, units, d_hs[part], *d_states, recurrent)
        if cell == "lstm":
            run("lstm_backward", *sizes, saved[2][part], saved[1][after], dz)
        elif cell == "gru":
            run(
                "gru_backward", *sizes, saved[1][part], saved[2][part], hs[after], dz, dz_inner
            )  # fmt: skip
        else:
            run("rnn_backward", *sizes, hs[after], dz)
        own, inner = _flat(dz[:here]), _flat(dz_inner[:here])
        packed = run.packed(inner)
        run.add_weight_gradient(_flat(hs[part]), packed, d_recurrent)
        if cell == "gru":
            d_inner_bias += inner.sum(0)
        if symbols:
            run("scatter", here * lanes, width, own, ids[part], d_table)
            continue
        if cell == "gru":
            packed = run.packed(own)
        run.add_weight_gradient(_flat(inputs[part]), packed, d_kernel)
        d_bias += own.sum(0)
        if d_inputs is not None:
            run.product(own, transposed, nothing, _flat(d_inputs[part]))
    of_inputs = [d_table] if symbols else [d_kernel, d_bias]
    if d_inputs is not None:
        of_inputs.insert(0, d_inputs)
    return [*of_inputs, d_recurrent, *([d_inner_bias] if cell == "gru" else []), *d_states]


def _check(ids: Ids, symbols: int) -> None:
    """The kernels themselves read and write wherever an id leads. Read as unsigned, a negative one is too large."""
    if ids.view(np.uint32).max() >= symbols:
        raise ValueError(
            f"Ids from {ids.min()} to {ids.max()} where there are {symbols} symbols:"
            f" they must be from 0 to {symbols - 1}."
        )


def _parts(steps: int, few: int) -> Iterator[tuple[slice, int, slice]]:
    """The steps from the last to the first, a few at a time: their slice, their number, their slice of states."""
    for stop in range(steps, 0, -few):
        start = max(0, stop - few)
        yield slice(start, stop), stop - start, slice(start, stop + 1)


def _flat(x: Floats) -> Floats:
    return x.reshape(-1, x.shape[-1])


def affine(x: Floats, packed: Floats, bias: Floats) -> list[Floats]:
    """`x @ kernel + bias`: x `(N, F)`, bias `(G,)`."""
    c = empty(len(x), len(bias))
    kernels().product(x, packed, bias, c)
    return [c]


def affine_backward(upstream: Floats, x: Floats, transposed: Floats) -> list[Floats]:
    """The gradients of `affine`: of x `(N, F)`, the kernel `(F, G)` and the bias `(G,)`."""
    features, columns = x.shape[1], upstream.shape[1]
    dx, d_kernel = empty(*x.shape), zeros(features, columns)
    d_bias, nothing = zeros(columns), zeros(features)
    run = kernels()
    for start in range(0, len(x), DEPTH):
        part = slice(start, start + DEPTH)
        run.product(upstream[part], transposed, nothing, dx[part])
        run.add_weight_gradient(x[part], run.packed(upstream[part]), d_kernel)
        d_bias += upstream[part].sum(0)
    return [dx, d_kernel, d_bias]


def standardize(x: Floats) -> list[Floats]:
    """Layer normalisation of `(..., H)`: the same with mean 0 and variance 1, and its scales `(...,)`."""
    y, scales = empty(*x.shape), empty(*x.shape[:-1])
    kernels()("standardize", scales.size, x.shape[-1], x, y, scales)
    return [y, scales]


def standardize_backward(upstream: Floats, y: Floats, scales: Floats) -> list[Floats]:
    """The gradient of `standardize`, from what it gave."""
    dx = empty(*y.shape)
    kernels()("standardize_backward", scales.size, y.shape[-1], upstream, y, scales, dx)
    return [dx]
