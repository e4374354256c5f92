"""What the kernels do for a layer: NumPy arrays in, NumPy arrays out.

Each function is called by TensorFlow in the middle of a step, from any of its threads. An array that is not given is
an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import Cell
from rnntk.kernels.native import Floats, Ids, empty, kernels, zeros
from rnntk.kernels.product import DEPTH, room


@dataclass(frozen=True)
class Layer:
    """How a layer runs over time.

    Attributes:
        cell: a cell that has kernels; a GRU resets after the product.
        backwards: whether from the last step to the first.
        bfloat16: whether products are of factors rounded to bfloat16.
    """

    cell: Cell
    backwards: bool = False
    bfloat16: bool = False

    @property
    def has_gates(self) -> bool:
        """Whether gates are kept for the backward pass beside the states."""
        return any(gate not in self.cell.states for gate in self.cell.gates)


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
        layer: how.
        inputs: `(T, B, F)`; or, with `ids`, what kernel and bias make of each symbol, `(V, gates * H)`.
        ids: the symbols `(T, B)`, or empty.
        live: which rows take which steps, `(T, B)`, see `cells.LIVE`; or empty: all do.
        kernel: packed; unused with `ids`.
        bias: `(gates * H,)`; unused with `ids`.
        recurrent: the recurrent kernel, packed.
        others: the bias of the recurrent share `(gates * H,)`, for a cell with gates apart; the states before,
            `(B, H)` each.

    Returns:
        with `live`, the outputs `(T, B, H)`, which without it are the states h; for each state `(T + 1, B, H)`,
        between the steps; the gates `(T, B, gates * H)`, but for a cell whose gates are states; for a cell with
        gates apart their recurrent share `(T, B, H)`.

    Raises:
        ValueError: an id is not that of a symbol, or a state has another shape.
    """
    cell, run = layer.cell, kernels()
    first = others[-len(cell.states) :]
    steps, lanes = (ids if ids.ndim == 2 else inputs).shape[:2]
    units = first[0].shape[-1]
    width = units * len(cell.gates)
    states = [empty(steps + 1, lanes, units) for _ in first]
    for state, before in zip(states, first, strict=True):
        state[-1 if layer.backwards else 0] = before
    gates = empty(steps, lanes, width) if layer.has_gates else None
    inner = empty(steps, lanes, units) if cell.apart else None
    outputs = empty(steps, lanes, units) if live.ndim == 2 else None
    found = [x for x in (outputs, *states, gates, inner) if x is not None]
    if not steps * lanes:
        return found
    rows, symbols = (inputs, ids) if ids.size else (None, None)
    if symbols is not None:
        _check_ids(symbols, len(inputs))
    else:
        after = slice(0, -1) if layer.backwards else slice(1, None)
        target = states[0][after] if gates is None else gates
        run.product(_flat(inputs), kernel, bias, _flat(target), bfloat16=layer.bfloat16)
    run(
        f"{cell.name}_forward", run.high(lanes), steps, lanes, units, layer.backwards,
        rows, symbols, live if live.size else None, recurrent, others[0] if cell.apart else None, gates, inner,
        *_both(states), outputs, empty(lanes, width) if cell.apart else None,
        empty(room(lanes, units)) if layer.bfloat16 else None,
    )  # fmt: skip
    return found


def backward(
    layer: Layer,
    wanted: bool,
    ids: Ids,
    live: NDArray[np.uint8],
    inputs: Floats,
    transposed: Floats,
    recurrent: Floats,
    *others: Floats,
) -> list[Floats]:
    """The gradients of `forward`.

    The layer is read backwards some steps at a time, so that what one kernel makes is still in a cache when
    the next one reads it, and is never kept.

    Args:
        layer: how.
        wanted: whether the gradient of inputs that are no symbols is.
        ids: as in `forward`.
        live: as in `forward`.
        inputs: as in `forward`.
        transposed: the kernel transposed, packed; unused with `ids`, or if not `wanted`.
        recurrent: the recurrent kernel transposed, packed.
        others: the gradients of the outputs `(T, B, H)` and of the last states, `(B, H)` each; then what `forward` gave
            but for the outputs.

    Returns:
        with `ids` of the table; else, if wanted, of the inputs, and of kernel and bias; then of the recurrent kernel,
        the bias of the recurrent share, for a cell with gates apart, and the states before.
    """
    cell, run, bfloat16 = layer.cell, kernels(), layer.bfloat16
    count = len(cell.states)
    d_outputs, d_states = others[0], [d.copy() for d in others[1 : 1 + count]]
    states, saved = others[1 + count : 1 + 2 * count], others[1 + 2 * count :]
    steps, lanes, units = d_outputs.shape
    width = units * len(cell.gates)
    few = max(1, min(steps, DEPTH // max(1, lanes)))
    dz = empty(few, lanes, width)
    # What reaches the recurrent product need not be what reaches the inputs.
    du = empty(few, lanes, width) if cell.apart else dz
    d_recurrent, d_inner_bias = zeros(units, width), zeros(width)
    by_symbol = ids.ndim == 2
    d_table = zeros(*inputs.shape) if by_symbol else None
    features = 0 if by_symbol else inputs.shape[2]
    d_kernel, d_bias, nothing = zeros(features, width), zeros(width), zeros(features)
    d_inputs = empty(*inputs.shape) if wanted and not by_symbol else None
    words = empty(room(lanes, width)) if bfloat16 else None
    for part, between in _parts(steps if lanes else 0, few, layer.backwards):
        here = part.stop - part.start
        kept = [x[part] for x in saved] + [None] * (2 - len(saved))
        run(
            f"{cell.name}_backward", run.high(lanes), here, lanes, units, layer.backwards,
            d_outputs[part], *_both(d_states), live[part] if live.size else None, recurrent, *kept,
            *_both([state[between] for state in states]), dz, du, words,
        )  # fmt: skip
        own, inner = _flat(dz[:here]), _flat(du[:here])
        before = between.start + layer.backwards
        packed = run.packed(inner, bfloat16=bfloat16)
        run.add_weight_gradient(
            _flat(states[0][before : before + here]), packed, d_recurrent, bfloat16=bfloat16
        )
        if cell.apart:
            d_inner_bias += inner.sum(0)
        if d_table is not None:
            run("scatter", here * lanes, width, own, ids[part], d_table)
            continue
        if cell.apart:
            packed = run.packed(own, bfloat16=bfloat16)
        run.add_weight_gradient(_flat(inputs[part]), packed, d_kernel, bfloat16=bfloat16)
        d_bias += own.sum(0)
        if d_inputs is not None:
            run.product(own, transposed, nothing, _flat(d_inputs[part]), bfloat16=bfloat16)
    of_inputs = [d_kernel, d_bias] if d_table is None else [d_table]
    if d_inputs is not None:
        of_inputs.insert(0, d_inputs)
    return [*of_inputs, d_recurrent, *([d_inner_bias] if cell.apart else []), *d_states]


def _both(states: list[Any]) -> list[Any]:
    """The states as kernels take them: h, and c or nothing."""
    return states + [None] * (2 - len(states))


def _check_states(states: tuple[Floats, ...], lanes: int, units: int) -> None:
    """The kernels themselves read whatever lies behind a smaller state."""
    for state in states:
        if state.shape != (lanes, units):
            raise ValueError(
                f"A state has the shape {state.shape} where {lanes} sequences and {units} units need {(lanes, units)}."
            )


def _check_ids(ids: Ids, symbols: int) -> None:
    """The kernels themselves read and write wherever an id leads. Read as unsigned, a negative one is too large."""
    if ids.view(np.uint32).max() >= symbols:
        raise ValueError(
            f"Ids from {ids.min()} to {ids.max()} where there are {symbols} symbols:"
            f" they must be from 0 to {symbols - 1}."
        )


def _parts(steps: int, few: int, backwards: bool) -> Iterator[tuple[slice, slice]]:
    """The steps from the last that was taken to the first, a few at a time, and the states between them."""
    for done in range(0, steps, few):
        more = min(few, steps - done)
        start = done if backwards else steps - done - more
        yield slice(start, start + more), slice(start, start + more + 1)


def _flat(x: Floats) -> Floats:
    return x.reshape(-1, x.shape[-1])


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
