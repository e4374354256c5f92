"""The decoder on compiled kernels: a step is a table of calls, run without Python.

It computes what `decoding.reference` does. A stream's results are the same to the last bit whatever streams are
beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import GRU_RESET_BEFORE
from rnntk.decoding import reference
from rnntk.decoding.reference import Floats, Layer
from rnntk.kernels import native

Call: TypeAlias = "tuple[str, tuple[native.Operand, ...]]"

_CHUNK = 1 << 19
"""Floats of a layer's input shares when a text is read: large enough for a good product, small enough for a cache."""


class Network:
    """A character model's weights as the kernels want them.

    Args:
        plain: the same in Keras' layout.
    """

    def __init__(self, plain: reference.Network) -> None:
        kernels = native.kernels()
        self.layers, self.layer_norm = plain.layers, plain.layer_norm
        self.weights = [_Weights(layer) for layer in plain.layers]
        # The first layer's input share of each symbol: what its kernel makes of the embedding.
        first = self.weights[0]
        self.table = native.empty(len(plain.embedding), first.bias.size)
        kernels.product(_float32(plain.embedding), first.kernel, first.bias, self.table)
        self.output_kernel = kernels.packed(_float32(plain.output_kernel))
        self.output_bias = _vector(plain.output_bias)

    def initial_states(self, n: int) -> States:
        """Zero states of `n` streams."""
        return States(self, n)


class _Weights:
    """A layer's weights.

    Attributes:
        kernel: packed.
        bias, recurrent_bias: `(gates * H,)`.
        recurrent: parts of the recurrent kernel, packed, and the columns where each begins and ends.
    """

    def __init__(self, layer: Layer) -> None:
        kernels, H = native.kernels(), layer.units
        self.kernel = kernels.packed(_float32(layer.kernel))
        self.bias, self.recurrent_bias = _vector(layer.bias), _vector(layer.recurrent_bias)
        whole = (0, len(layer.cell.gates) * H)
        # A reset before the product is a factor that the candidate has to wait for.
        bounds = [(0, 2 * H), (2 * H, 3 * H)] if layer.cell is GRU_RESET_BEFORE else [whole]
        self.recurrent = [
            (kernels.packed(_float32(layer.recurrent_kernel[:, a:b])), a, b) for a, b in bounds
        ]


class States(reference.States):
    """The recurrent states of `n` streams, and the room their step works in."""

    def __init__(self, network: Network, n: int) -> None:
        super().__init__(network, n)
        kernels = native.kernels()
        V, G = network.output_bias.size, network.table.shape[1]
        self.logits = _room(n, V)
        self.logits[:] = 0
        self._fed = np.zeros(n, np.int32)
        self._shares = _room(max(n, _CHUNK // G), G)
        self._scores = native.empty(V)
        # Each layer's calls, when a text is read; and all of them, when a symbol is.
        self._reading: list[tuple[native.Table, Floats]] = []
        calls: list[Call] = []
        below, rows = None, network.table
        for weights, layer, states in zip(network.weights, network.layers, self.layers, strict=True):
            z = _room(n, G)
            if below is None:
                calls += [_gather(network.table, self._fed, z)]
            else:
                calls += [_multiply(below, weights.kernel, z, weights.bias)]
            rest, below = self._after_inputs(layer, weights, states, z)
            calls += rest
            self._reading.append((kernels.table([_gather(rows, self._fed, z), *rest]), below))
            rows = self._shares
        assert below is not None
        calls += [_multiply(below, network.output_kernel, self.logits, network.output_bias)]
        self._table = kernels.table(calls)
        self._step = len(calls), self._table.pairs.ctypes.data

    def _after_inputs(
        self, layer: Layer, weights: _Weights, states: dict[str, Floats], z: Floats
    ) -> tuple[list[Call], Floats]:
        """A layer's calls once `z` holds the input shares, and where its outputs then are."""
        n, H, cell, h = self.n, layer.units, layer.cell, states["h"]
        calls: list[Call] = []
        onto, factor, bias = z, h, None
        if cell.apart:
            onto, bias = _room(n, z.shape[1]), weights.recurrent_bias
        name = "gru_reset_before" if cell is GRU_RESET_BEFORE else cell.name
        sizes = (n, H, z, onto, native.empty(n, H) if len(weights.recurrent) > 1 else None)
        for packed, start, end in weights.recurrent:
            if start:
                factor = sizes[-1]
                calls += [(f"{name}_factor", (*sizes, *states.values()))]
            calls += [_multiply(factor, packed, onto[:, start:end], bias)]
        calls += [(f"{name}_update", (*sizes, *states.values()))]
        if not self.network.layer_norm:
            return calls, h
        normalised = native.empty(n, H)
        return [*calls, ("standardize", (n, H, h, normalised, native.empty(n)))], normalised

    def step(self, ids: NDArray[np.integer]) -> None:
        """Feed one symbol to each stream, `ids` `(n,)`."""
        self._fed[:] = ids
        native.kernels()("advance", *self._step)

    def read(self, ids: NDArray[np.integer]) -> Iterator[Floats]:
        """Feed a text, layer by layer, so that the input shares of many symbols are one product; as in `reference`."""
        kernels, n = native.kernels(), self.n
        chunk = len(self._shares) // n
        for start in range(0, len(ids), chunk):
            fed = np.repeat(np.asarray(ids[start : start + chunk], np.int32), n)
            steps = len(fed) // n
            for k, (table, source) in enumerate(self._reading):
                if k:
                    weights = self.network.weights[k]
                    flat = outputs.reshape(steps * n, -1)
                    kernels.product(flat, weights.kernel, weights.bias, self._shares[: len(fed)])
                    fed = np.arange(len(fed), dtype=np.int32)
                outputs = native.empty(steps, *source.shape)
                kernels(
                    "read", steps, len(table.pairs), table.pairs, n, self._fed, fed, source.size, source, outputs
                )  # fmt: skip
            yield outputs

    def output(self, outputs: Floats) -> Floats:
        """Logits `(..., V)` of the top layer's outputs `(..., H)`."""
        logits = native.empty(*outputs.shape[:-1], self.network.output_bias.size)
        native.kernels().product(
            outputs.reshape(-1, outputs.shape[-1]),
            self.network.output_kernel,
            self.network.output_bias,
            logits.reshape(-1, logits.shape[-1]),
        )
        return logits

    def generate(
        self,
        uniforms: NDArray[np.float64],
        ids: NDArray[np.intp],
        losses: NDArray[np.float64],
        temperature: float,
    ) -> None:
        """Sample symbols from the softmax, each from the logits that the one before leads to.

        Args:
            uniforms: in [0, 1), which decide, `(steps, n)`; all three arrays may be columns of larger ones.
            ids: filled with the symbols, the same shape.
            losses: filled with their losses in nats at temperature 1.
            temperature: divides the logits.
        """
        stride = uniforms.strides[0] // uniforms.itemsize
        totals = np.empty((len(uniforms), stride))
        native.kernels()(
            "generate", len(uniforms), *self._step, *self.logits.shape, self.logits,
            np.full(1, 1 / temperature, np.float32), self._scores, self._fed, stride,
            uniforms, ids, losses, totals,
        )  # fmt: skip
        losses += np.log(totals[:, : self.n])


def _float32(array: Floats) -> Floats:
    return np.ascontiguousarray(array, np.float32)


def _vector(values: Floats) -> Floats:
    """A bias in whole panels."""
    found = _room(1, len(values))[0]
    found[:] = values
    return found


def _room(rows: int, columns: int) -> Floats:
    """An array not initialised, behind which `multiply_row` may use the rest of a panel."""
    size = rows * columns
    return native.empty(size + native.kernels().shape.panel)[:size].reshape(rows, columns)


def _gather(rows: Floats, ids: NDArray[np.int32], out: Floats) -> Call:
    return "gather", (*out.shape, len(rows), rows, ids, out)


def _multiply(a: Floats, packed: Floats, c: Floats, bias: Floats | None = None) -> Call:
    """`c = a @ b + bias`, or adds `a @ b` to c; c may be columns of a larger array."""
    (n, terms), columns, row = a.shape, c.shape[1], c.strides[0] // c.itemsize
    d, d_row = (c, row) if bias is None else (bias, 0)
    if n == 1:
        return "multiply_row", (columns, terms, a, packed, d, c)
    high = native.kernels().high(n)
    return "product", (high, n, columns, terms, a, terms, terms, 1, packed, d, d_row, c, row)
