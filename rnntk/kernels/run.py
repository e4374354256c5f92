"""Forward and backward passes of layers on the kernels: NumPy arrays in and out.

TensorFlow calls these from any of its threads. Omitted arrays are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import Cell
from rnntk.kernels.native import Floats, Ids, empty, kernels, zeros
from rnntk.kernels.product import DEPTH, room


@dataclass(frozen=True)
class Layer:
    """Options of a layer over time."""

    cell: Cell  # from `rnntk.cells.CELLS`
    backwards: bool = False  # run from the last step to the first
    bfloat16: bool = False  # round products' factors to bfloat16
    input_gradient: bool = True  # compute the gradient of the inputs; of a table always


def forward(
    layer: Layer,
    inputs: Floats,
    ids: Ids,
    live: NDArray[np.uint8],
    kernel: Floats,
    bias: Floats,
    recurrent: Floats,
    *others: Floats,
) -> list[Floats]:
    """Run a layer over time.

    Args:
        layer: its options.
        inputs: `(T, B, F)`; with `ids`, the table of each symbol's input projection, `(V, gates * H)`.
        ids: symbols `(T, B)`, or empty.
        live: mask `(T, B)`, see `cells.LIVE`, or empty.
        kernel, bias: packed input kernel and input bias `(gates * H,)`; unused with `ids`.
        recurrent: packed recurrent kernel.
        others: the recurrent bias `(gates * H,)`, for a cell with gates apart; the initial states, `(B, H)` each.

    Returns:
        With `live`, the outputs `(T, B, H)`; each state `(T + 1, B, H)`; the gates `(T, B, gates * H)`, unless they are
        states; for a cell with gates apart their recurrent projection `(T, B, H)`.

    Raises:
        ValueError: an id is out of range, or a state has the wrong shape.
    """
    cell, run = layer.cell, kernels()
    first = others[-len(cell.states) :]
    by_symbol = ids.ndim == 2
    steps, batch = (ids if by_symbol else inputs).shape[:2]
    units = first[0].shape[-1]
    width = units * len(cell.gates)
    states = [empty(steps + 1, batch, units) for _ in first]
    for state, before in zip(states, first, strict=True):
        state[-1 if layer.backwards else 0] = before
    gates = empty(steps, batch, width) if cell.saved else None
    inner = empty(steps, batch, units) if cell.apart else None
    outputs = empty(steps, batch, units) if live.ndim == 2 else None
    found = [x for x in (outputs, *states, gates, inner) if x is not None]
    if not steps * batch:
        return found
    if by_symbol:
        _check_ids(ids, len(inputs))
    features = inputs.shape[-1]
    words = max(room(batch, units), room(steps * batch, features)) if layer.bfloat16 else 0
    run(
        f"{cell.name}_forward", run.high(batch), steps, batch, units, layer.backwards, steps, features,
        *((None, None, None, inputs, ids) if by_symbol else (inputs, kernel, bias, None, None)),
        live if live.ndim == 2 else None, recurrent, others[0] if cell.apart else None, gates, inner, *_both(states),
        outputs, empty(batch, width) if cell.apart else None, empty(words) if words else None,
    )  # fmt: skip
    return found


def backward(
    layer: Layer,
    ids: Ids,
    live: NDArray[np.uint8],
    inputs: Floats,
    transposed: Floats,
    recurrent: Floats,
    *others: Floats,
) -> list[Floats]:
    """The gradients of `forward`.

    Args:
        layer, ids, live, inputs: as in `forward`.
        transposed: the input kernel, transposed and packed; unused with `ids` or without a gradient of the inputs.
        recurrent: the recurrent kernel, transposed and packed.
        others: gradients of the outputs `(T, B, H)` and of the final states, `(B, H)` each; then the results of
            `forward` except the outputs.

    Returns:
        Gradients of the table with `ids`, else of the inputs (if wanted), kernel and bias; then of the recurrent
        kernel, the recurrent bias (for a cell with gates apart) and the initial states.
    """
    cell, run = layer.cell, kernels()
    count = len(cell.states)
    d_outputs, d_states = others[0], [d.copy() for d in others[1 : 1 + count]]
    states, saved = others[1 + count : 1 + 2 * count], others[1 + 2 * count :]
    steps, batch, units = d_outputs.shape
    width = units * len(cell.gates)
    by_symbol = ids.ndim == 2
    features = 0 if by_symbol else inputs.shape[2]
    few = max(1, min(steps, DEPTH // max(1, batch)))
    # With gates apart, input and recurrent projections have different gradients.
    dz, *du = (empty(few, batch, width) for _ in range(1 + bool(cell.apart)))
    d_recurrent, d_inner_bias = zeros(units, width), zeros(width)
    d_table = zeros(*inputs.shape) if by_symbol else None
    d_kernel, d_bias = zeros(features, width), zeros(width)
    d_inputs = empty(*inputs.shape) if layer.input_gradient and not by_symbol else None
    if steps * batch:
        run(
            f"{cell.name}_gradients", run.high(batch), steps, batch, units, layer.backwards, few, features,
            d_outputs, *_both(d_states), live if live.ndim == 2 else None, recurrent, *_both(saved),
            *_both(states), dz, du[0] if du else None,
            empty(room(few * batch, width)) if layer.bfloat16 else None,
            ids if by_symbol else None, inputs, transposed, zeros(features),
            run.room(few * batch, width, run.shape.panel),
            run.room(few * batch, max(units, features), run.shape.rows),
            d_recurrent, d_inner_bias, d_table, d_kernel, d_bias, d_inputs,
        )  # fmt: skip
    of_inputs = [d_table] if by_symbol else [d_inputs, d_kernel, d_bias]
    found = [*of_inputs, d_recurrent, d_inner_bias if cell.apart else None, *d_states]
    return [gradient for gradient in found if gradient is not None]


def _both(arrays: Sequence[Floats]) -> list[Any]:
    """One or two arrays, such as h and c, padded with None to two."""
    return [*arrays, None, None][:2]


def _check_ids(ids: Ids, symbols: int) -> None:
    """Check ids, since kernels do not. As unsigned integers, negative ids are too large."""
    if ids.view(np.uint32).max() >= symbols:
        raise ValueError(
            f"Ids from {ids.min()} to {ids.max()} where there are {symbols} symbols:"
            f" they must be from 0 to {symbols - 1}."
        )


def affine(bfloat16: bool, x: Floats, packed: Floats, bias: Floats) -> list[Floats]:
    """`x @ kernel + bias`: x `(N, F)`, bias `(G,)`."""
    c = empty(len(x), len(bias))
    kernels().product(x, packed, bias, c, bfloat16=bfloat16)
    return [c]


def affine_backward(
    bfloat16: bool, upstream: Floats, x: Floats, transposed: Floats
) -> list[Floats]:
    """The gradients of `affine`: of x `(N, F)`, the kernel `(F, G)` and the bias `(G,)`."""
    features, columns = x.shape[1], upstream.shape[1]
    dx, d_kernel = empty(*x.shape), zeros(features, columns)
    d_bias, nothing = zeros(columns), zeros(features)
    run = kernels()
    for start in range(0, len(x), DEPTH):
        part = slice(start, start + DEPTH)
        run.product(upstream[part], transposed, nothing, dx[part], bfloat16=bfloat16)
        packed = run.packed(upstream[part], bfloat16=bfloat16)
        run.add_weight_gradient(x[part], packed, d_kernel, bfloat16=bfloat16)
        d_bias += upstream[part].sum(0)
    return [dx, d_kernel, d_bias]
