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
from rnntk.kernels.native import Floats, Ids, empty, kernels, packing_buffer, zeros
from rnntk.kernels.product import DEPTH, HEIGHT, buffer_size

Mask = NDArray[np.uint8]

SMALL = 1 << 18
"""Floats of a recurrent kernel too large to stay in the L2 cache beside a block of steps."""


@dataclass(frozen=True)
class Layer:
    """Options of a layer over time."""

    cell: Cell  # from `rnntk.cells.CELLS`
    reverse: bool = False  # run from the last step to the first
    bfloat16: bool = False  # round products' factors to bfloat16
    input_gradient: bool = True  # compute the gradient of the inputs; of a table always


def forward(
    layer: Layer, inputs: Floats, ids: Ids, mask: Mask, kernel: Floats, bias: Floats, *others: Floats
) -> list[Floats]:  # fmt: skip
    """Run a layer over time.

    Args:
        layer: its options.
        inputs: `(T, B, F)`; with `ids`, the table of each symbol's input projection, `(V, gates * H)`.
        ids: symbols `(T, B)`, or empty.
        mask: `(T, B)`, see `cells.LIVE`, or empty.
        kernel, bias: packed input kernel and input bias `(gates * H,)`; unused with `ids`.
        others: packed recurrent kernel; recurrent bias `(gates * H,)`, if the cell has gates apart; initial states,
            `(B, H)` each.

    Returns:
        With `mask`, the outputs `(T, B, H)`; each state `(T + 1, B, H)`; the gates that are not states
        `(T, B, gates * H)`; the recurrent projection `(T, B, H)` of a gate apart.

    Raises:
        ValueError: an id is out of range, or a state has the wrong shape.
    """
    cell, run, by_symbol = layer.cell, kernels(), ids.ndim == 2
    recurrent_kernel, *biases = others[: -len(cell.states)]
    first = others[-len(cell.states) :]
    (steps, batch), units = (ids if by_symbol else inputs).shape[:2], first[0].shape[-1]
    width, features = units * len(cell.gates), inputs.shape[-1]
    states = [empty(steps + 1, batch, units) for _ in first]
    for state, before in zip(states, first, strict=True):
        state[-1 if layer.reverse else 0] = before
    gates = empty(steps, batch, width) if cell.saved else None
    recurrent = empty(steps, batch, units) if cell.apart else None
    outputs = empty(steps, batch, units) if mask.ndim == 2 else None
    found = [x for x in (outputs, *states, gates, recurrent) if x is not None]
    if not steps * batch:
        return found
    if by_symbol:
        _check_ids(ids, len(inputs))
    block = _steps_per_block(batch, units * width, steps * batch)
    words = max(buffer_size(batch, units), buffer_size(steps * batch, features))
    run(
        f"{cell.name}_forward", run.tile_rows(batch), steps, batch, units, layer.reverse, block, features,
        *((None, None, None, inputs, ids) if by_symbol else (inputs, kernel, bias, None, None)),
        mask if mask.ndim == 2 else None, recurrent_kernel, *_padded(biases, 1), gates, recurrent,
        *_padded(states, 2), outputs, empty(batch, width) if cell.apart else None,
        empty(words) if layer.bfloat16 else None,
    )  # fmt: skip
    return found


def backward(
    layer: Layer, ids: Ids, mask: Mask, inputs: Floats, transposed: Floats, recurrent_kernel: Floats,
    d_outputs: Floats, *others: Floats,
) -> list[Floats]:  # fmt: skip
    """The gradients of `forward`.

    Args:
        layer, ids, mask, inputs: as in `forward`.
        transposed: the input kernel, transposed and packed; unused with `ids` or without a gradient of the inputs.
        recurrent_kernel: transposed and packed.
        d_outputs: gradients of the outputs, `(T, B, H)`.
        others: gradients of the final states, `(B, H)` each; then the results of `forward` except the outputs.

    Returns:
        Gradients of the table with `ids`, else of the inputs (if wanted), kernel and bias; then of the recurrent
        kernel, the recurrent bias (for a cell with gates apart) and the initial states.
    """
    cell, run, count = layer.cell, kernels(), len(layer.cell.states)
    d_states = [d.copy() for d in others[:count]]
    states, saved = others[count : 2 * count], others[2 * count :]
    (steps, batch, units), by_symbol = d_outputs.shape, ids.ndim == 2
    width, features = units * len(cell.gates), 0 if by_symbol else inputs.shape[2]
    block = min(max(1, steps), _steps_per_block(batch, units * width, DEPTH))
    # With gates apart, input and recurrent projections have different gradients.
    dz, *du = (empty(block, batch, width) for _ in range(1 + bool(cell.apart)))
    d_kernel, d_recurrent_bias = zeros(units, width), zeros(width)
    d_table = zeros(*inputs.shape) if by_symbol else None
    d_input_kernel, d_input_bias = zeros(features, width), zeros(width)
    d_inputs = empty(*inputs.shape) if layer.input_gradient and not by_symbol else None
    if steps * batch:
        run(
            f"{cell.name}_gradients", run.tile_rows(batch), steps, batch, units, layer.reverse, block, features,
            d_outputs, *_padded(d_states, 2), mask if mask.ndim == 2 else None, recurrent_kernel,
            *_padded(saved, 2), *_padded(states, 2), dz, *_padded(du, 1),
            empty(buffer_size(block * batch, width)) if layer.bfloat16 else None,
            ids if by_symbol else None, inputs, transposed, zeros(features),
            packing_buffer(block * batch, width, run.shape.panel),
            packing_buffer(block * batch, max(units, features), run.shape.rows),
            d_kernel, d_recurrent_bias, d_table, d_input_kernel, d_input_bias, d_inputs,
        )  # fmt: skip
    d_x = [d_table] if by_symbol else [d_inputs, d_input_kernel, d_input_bias]
    found = [*d_x, d_kernel, d_recurrent_bias if cell.apart else None, *d_states]
    return [gradient for gradient in found if gradient is not None]


def _steps_per_block(batch: int, kernel: int, most: int) -> int:
    """Time steps whose projections or gradients are computed together: of `most` batch rows, or of as many as stay in
    the L2 cache beside a recurrent kernel that is small enough, given its number of floats.
    """
    return max(1, (HEIGHT if kernel < SMALL else most) // max(1, batch))


def _padded(arrays: Sequence[Floats], count: int) -> list[Any]:
    """The arrays, such as h and c, padded with None to `count`."""
    return [*arrays, None, None][:count]


def _check_ids(ids: Ids, symbols: int) -> None:
    """Check ids, since the kernels do not. As unsigned integers, negative ids are too large."""
    if ids.view(np.uint32).max() >= symbols:
        raise ValueError(
            f"The ids are from {ids.min()} to {ids.max()}; they must be from 0 to {symbols - 1}."
        )
