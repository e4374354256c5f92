"""What the kernels do for a layer: NumPy arrays in, NumPy arrays out.

Each function is called by TensorFlow in the middle of a step, from any of its threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from rnntk.kernels.native import Floats, Ids, empty, kernels, zeros
from rnntk.kernels.product import DEPTH


def _rows(rows: Floats, ids: Ids) -> tuple[int, int, Ids | None]:
    """Steps, lanes, and the symbols if `rows` is a table that they choose from."""
    if ids.size:
        return *ids.shape, ids
    return *rows.shape[:2], None


def _states(first: Floats, steps: int) -> Floats:
    """Room for the states before the first step and after each."""
    states = empty(steps + 1, *first.shape)
    states[0] = first
    return states


def lstm_forward(rows: Floats, ids: Ids, kernel: Floats, h: Floats, c: Floats) -> list[Floats]:
    """Run an LSTM over time.

    Args:
        rows: the inputs times the kernel plus the bias, `(T, B, 4H)`; or for each symbol `(V, 4H)`.
        ids: the symbols `(T, B)`; empty where `rows` has a row for each step.
        kernel: the recurrent kernel, packed.
        h, c: the states before, `(B, H)`.

    Returns:
        hs and cs `(T + 1, B, H)`, the states before the first step and after each; the gates `(T, B, 4H)`.
    """
    steps, lanes, symbols = _rows(rows, ids)
    units = h.shape[1]
    hs, cs, gates = _states(h, steps), _states(c, steps), empty(steps, lanes, 4 * units)
    run = kernels()
    run("lstm_forward", run.high(lanes), steps, lanes, units, rows, symbols, kernel, gates, cs, hs)
    return [hs, cs, gates]


def lstm_backward(
    d_hs: Floats, dh: Floats, dc: Floats, transposed: Floats, hs: Floats, cs: Floats, gates: Floats
) -> list[Floats]:
    """The gradients of `lstm_forward`.

    Args:
        d_hs: of the states after each step, `(T, B, H)`.
        dh, dc: of the last states, `(B, H)`.
        transposed: the recurrent kernel transposed, packed.
        hs, cs, gates: what `lstm_forward` gave.

    Returns:
        of the pre-activations `(T, B, 4H)`, the recurrent kernel `(H, 4H)`, and the states before, `(B, H)` each.
    """
    steps, lanes, units = d_hs.shape
    dh, dc, dz = dh.copy(), dc.copy(), empty(*gates.shape)
    d_kernel = zeros(units, 4 * units)
    run = kernels()
    for part, count, after in _parts(steps, lanes):
        run(
            "lstm_backward", run.high(lanes), count, lanes, units,
            d_hs[part], dh, dc, transposed, gates[part], cs[after], dz[part],
        )  # fmt: skip
        run.add_weight_gradient(_flat(hs[part]), _flat(dz[part]), d_kernel)
    return [dz, d_kernel, dh, dc]


def gru_forward(rows: Floats, ids: Ids, kernel: Floats, bias: Floats, h: Floats) -> list[Floats]:
    """Run a GRU over time, the reset gate after the product.

    Args:
        rows, ids, kernel, h: as for an LSTM, with 3H gates.
        bias: of the recurrent product, `(3H,)`.

    Returns:
        hs `(T + 1, B, H)`, the gates `(T, B, 3H)` and the candidate's recurrent half `(T, B, H)`.
    """
    steps, lanes, symbols = _rows(rows, ids)
    units = h.shape[1]
    hs, gates, inner = _states(h, steps), empty(steps, lanes, 3 * units), empty(steps, lanes, units)
    scratch = empty(lanes, 3 * units)
    run = kernels()
    run(
        "gru_forward", run.high(lanes), steps, lanes, units, rows, symbols, kernel, bias, gates, inner, hs, scratch
    )  # fmt: skip
    return [hs, gates, inner]


def gru_backward(
    d_hs: Floats, dh: Floats, transposed: Floats, hs: Floats, gates: Floats, inner: Floats
) -> list[Floats]:
    """The gradients of `gru_forward`, see `lstm_backward`.

    Returns:
        of the inputs' projection `(T, B, 3H)`, the recurrent kernel, its bias `(3H,)`, and the state before.
    """
    steps, lanes, units = d_hs.shape
    dh, from_x, from_h = dh.copy(), empty(*gates.shape), empty(*gates.shape)
    d_kernel, d_bias = zeros(units, 3 * units), zeros(3 * units)
    run = kernels()
    for part, count, after in _parts(steps, lanes):
        run(
            "gru_backward", run.high(lanes), count, lanes, units,
            d_hs[part], dh, transposed, gates[part], inner[part], hs[after], from_x[part], from_h[part],
        )  # fmt: skip
        run.add_weight_gradient(_flat(hs[part]), _flat(from_h[part]), d_kernel)
        d_bias += _flat(from_h[part]).sum(0)
    return [from_x, d_kernel, d_bias, dh]


def rnn_forward(rows: Floats, ids: Ids, kernel: Floats, h: Floats) -> list[Floats]:
    """Run a vanilla layer over time: hs `(T + 1, B, H)`. Arguments as for an LSTM, with H columns."""
    steps, lanes, symbols = _rows(rows, ids)
    hs = _states(h, steps)
    run = kernels()
    run("rnn_forward", run.high(lanes), steps, lanes, h.shape[1], rows, symbols, kernel, hs)
    return [hs]


def rnn_backward(d_hs: Floats, dh: Floats, transposed: Floats, hs: Floats) -> list[Floats]:
    """The gradients of `rnn_forward`: of the pre-activations, the recurrent kernel, the state before."""
    steps, lanes, units = d_hs.shape
    dh, dz = dh.copy(), empty(*d_hs.shape)
    d_kernel = zeros(units, units)
    run = kernels()
    for part, count, after in _parts(steps, lanes):
        run(
            "rnn_backward", run.high(lanes), count, lanes, units, d_hs[part], dh, transposed, hs[after], dz[part]
        )  # fmt: skip
        run.add_weight_gradient(_flat(hs[part]), _flat(dz[part]), d_kernel)
    return [dz, d_kernel, dh]


def _parts(steps: int, lanes: int) -> Iterator[tuple[slice, int, slice]]:
    """The steps from the last to the first: their slice, their number, their slice of `hs` or `cs`.

    A few at a time, so that what one kernel makes is still in a cache when the next one reads it.
    """
    few = max(1, DEPTH // lanes)
    for stop in range(steps, 0, -few):
        start = max(0, stop - few)
        yield slice(start, stop), stop - start, slice(start, stop + 1)


def _flat(x: Floats) -> Floats:
    return x.reshape(-1, x.shape[-1])


def of_table(dz: Floats, ids: Ids, *, symbols: int) -> list[Floats]:
    """The gradient of a table `(symbols, G)` that `ids` chose the rows of `dz` from."""
    width = dz.shape[-1]
    table = zeros(symbols, width)
    kernels()("scatter", ids.size, width, dz, ids, table)
    return [table]


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
        run.add_weight_gradient(x[part], upstream[part], d_kernel)
        d_bias += upstream[part].sum(0)
    return [dx, d_kernel, d_bias]
