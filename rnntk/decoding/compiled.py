"""The decoder on compiled kernels: a step is a table of calls, run without Python.

It computes what `decoding.reference` does. A stream's results are the same to the last bit whatever streams are
beside it, and on any number of cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import GRU_RESET_BEFORE
from rnntk.cores import available_cores
from rnntk.decoding import reference
from rnntk.decoding.reference import Floats, Layer
from rnntk.kernels import native

Call: TypeAlias = "tuple[str, tuple[native.Operand, ...]]"

CACHED = 1 << 22
"""Bytes of weights that a core's own caches hold. One stream of a larger network is shared by the cores."""

_CHUNK = 1 << 19
"""Floats of a layer's input shares when a text is read: large enough for a good product, small enough for a cache."""


class Network:
    """A character model's weights as the kernels want them.

    Args:
        plain: the same in Keras' layout.

    Attributes:
        table: the first layer's input shares of each symbol, `(V, gates * H)`: embedding times kernel.
    """

    def __init__(self, plain: reference.Network) -> None:
        kernels = native.kernels()
        self.layers, self.layer_norm = plain.layers, plain.layer_norm
        self.weight_bytes = plain.weight_bytes
        self.weights = [_Weights(layer) for layer in plain.layers]
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
        recurrent: the recurrent kernel, packed, with the gates of its columns; the candidate's by itself where it
            has to wait for the reset gate.
    """

    def __init__(self, layer: Layer) -> None:
        kernels, H, count = native.kernels(), layer.units, len(layer.cell.gates)
        self.kernel = kernels.packed(_float32(layer.kernel))
        self.bias, self.recurrent_bias = _vector(layer.bias), _vector(layer.recurrent_bias)
        groups = [range(2), range(2, 3)] if layer.cell is GRU_RESET_BEFORE else [range(count)]
        self.recurrent = [
            (kernels.packed(_float32(layer.recurrent_kernel[:, g.start * H : g.stop * H])), g)
            for g in groups
        ]


class States(reference.States):
    """The recurrent states of `n` streams, and the room their step works in."""

    def __init__(self, network: Network, n: int) -> None:
        super().__init__(network, n)
        V, G = network.output_bias.size, network.table.shape[1]
        self.logits = _room(n, V)
        self.logits[:] = 0
        self.fed = np.zeros(n, np.int32)
        self.shares = _room(max(n, _CHUNK // G), G)
        self.factor = native.empty(n, network.layers[0].units)
        self._scores = native.empty(V)
        self._whole = self._own = _Part(self, slice(0, network.layers[0].units), slice(0, V))
        self._shared: list[_Part] = []
        self._left = 0

    def step(self, ids: NDArray[np.integer]) -> None:
        """Feed one symbol to each stream, `ids` `(n,)`."""
        self.fed[:] = ids
        native.kernels()("advance", *self._own.step)
        self._left -= 1

    def generate(
        self,
        uniforms: NDArray[np.float64],
        ids: NDArray[np.intp],
        losses: NDArray[np.float64],
        temperature: float,
    ) -> None:
        """Sample symbols from the softmax in one call; as in `reference`."""
        stride = uniforms.strides[0] // uniforms.itemsize
        totals = np.empty((len(uniforms), stride))
        native.kernels()(
            "generate", len(uniforms), *self._own.step, *self.logits.shape, self.logits,
            np.full(1, 1 / temperature, np.float32), self._scores, self.fed, stride,
            uniforms, ids, losses, totals,
        )  # fmt: skip
        losses += np.log(totals[:, : self.n])
        self._left -= len(uniforms)

    @contextmanager
    def helped(self, steps: int) -> Iterator[None]:
        """Let the other cores take part in the next `steps` steps, where that pays."""
        units, panel = self.network.layers[0].units, native.kernels().shape.panel
        parts = min(available_cores(), units // panel)
        if self.n > 1 or parts < 2 or units % panel or self.network.weight_bytes < CACHED:
            yield
            return
        if not self._shared:
            barrier: Call = ("barrier", (parts, np.zeros(1, np.int64)))
            cuts = zip(_cut(units, parts), _cut(self.logits.shape[1], parts), strict=True)
            self._shared = [_Part(self, *cut, barrier) for cut in cuts]
            self._pool = ThreadPoolExecutor(parts - 1)
        self._own, *others = self._shared
        self._left, helping = steps, []
        try:
            helping += [self._pool.submit(part.follow, steps) for part in others]
            yield
        finally:
            for _ in range(self._left):  # after an exception, since the others wait for this thread
                native.kernels()("advance", *self._own.step)
            wait(helping)
            self._own = self._whole

    def read(self, ids: NDArray[np.integer]) -> Iterator[Floats]:
        """Feed a text, layer by layer, so that the input shares of many symbols are one product; as in `reference`."""
        kernels, n = native.kernels(), self.n
        chunk = len(self.shares) // n
        for start in range(0, len(ids), chunk):
            fed = np.repeat(np.asarray(ids[start : start + chunk], np.int32), n)
            steps = len(fed) // n
            for k, (calls, outputs_of_step) in enumerate(self._whole.layers):
                if k:
                    weights = self.network.weights[k]
                    flat = outputs.reshape(steps * n, -1)
                    kernels.product(flat, weights.kernel, weights.bias, self.shares[: len(fed)])
                    fed = np.arange(len(fed), dtype=np.int32)
                size = outputs_of_step.size
                outputs = native.empty(steps, *outputs_of_step.shape)
                pairs = calls.pairs
                kernels("read", steps, len(pairs), pairs, n, self.fed, fed, size, outputs_of_step, outputs)
            yield outputs

    def output(self, outputs: Floats) -> Floats:
        """Logits `(..., V)` of the top layer's outputs `(..., H)`."""
        network = self.network
        flat = outputs.reshape(-1, outputs.shape[-1])
        logits = native.empty(len(flat), network.output_bias.size)
        native.kernels().product(flat, network.output_kernel, network.output_bias, logits)
        return logits.reshape(*outputs.shape[:-1], -1)


class _Part:
    """One thread's part of a step: some units of every layer, and some symbols of the output.

    All that a step of one stream does is read weights, which several cores do faster where no cache of one core
    holds them. h is overwritten when all have read it, and read when all have written: two barriers per layer.

    Args:
        states: of the streams.
        units: which; whole panels of one stream, or all.
        symbols: which; from a panel's beginning.
        barrier: the call that waits for the others, where there are any.

    Attributes:
        step: number and address of all calls.
        layers: each layer's calls when a text is read, which take the upper layers' input shares from `states.shares`;
            and where its outputs are after a step.
    """

    def __init__(
        self, states: States, units: slice, symbols: slice, barrier: Call | None = None
    ) -> None:
        network, kernels = states.network, native.kernels()
        H = network.layers[0].units
        self._states, self._units, self._barrier = states, units, [barrier] if barrier else []
        self._whole = barrier is None
        self.layers: list[tuple[native.Table, Floats]] = []
        calls, below, rows = list(self._barrier), None, network.table
        for weights, layer, own in zip(network.weights, network.layers, states.layers, strict=True):
            gates = range(len(layer.cell.gates))
            z = _room(states.n, len(gates) * (units.stop - units.start))
            gathered = [
                _gather(rows[:, source], states.fed, z[:, target])
                for source, target in self._columns(gates, H)
            ]
            if below is None:
                calls += gathered
            else:
                calls += self._multiply(below, weights.kernel, gates, z, weights.bias)
            rest, below = self._after_inputs(layer, weights, own, z)
            calls += rest
            self.layers.append((kernels.table([*gathered, *rest]), below))
            rows = states.shares
        assert below is not None
        packed, bias = network.output_kernel[symbols.start * H :], network.output_bias[symbols]
        calls += [_multiply(below, packed, states.logits[:, symbols], bias), *self._barrier]
        self._table = kernels.table(calls)
        self.step = len(calls), self._table.pairs.ctypes.data

    def follow(self, steps: int) -> None:
        """Take part in steps whose symbols another thread feeds."""
        native.kernels()("read", steps, *self.step, 0, None, None, 0, None, None)

    def _after_inputs(
        self, layer: Layer, weights: _Weights, states: dict[str, Floats], z: Floats
    ) -> tuple[list[Call], Floats]:
        """A layer's calls once `z` holds the input shares, and where its outputs are after them."""
        cell, h, factor, (n, H) = layer.cell, states["h"], self._states.factor, states["h"].shape
        onto, bias = (_room(*z.shape), weights.recurrent_bias) if cell.apart else (z, None)
        name = "gru_reset_before" if cell is GRU_RESET_BEFORE else cell.name
        own = [array[:, self._units] for array in (factor, *states.values())]
        operands = (n, own[0].shape[1], z, onto, *own)
        (packed, gates), *later = weights.recurrent
        calls = self._multiply(h, packed, gates, onto, bias)
        calls += [(f"{name}_factor", operands)] if later else []
        calls += self._barrier
        for packed, gates in later:
            calls += self._multiply(factor, packed, gates, onto, bias)
        calls += [(f"{name}_update", operands), *self._barrier]
        if not self._states.network.layer_norm:
            return calls, h
        normalised = native.empty(n, H)  # by each thread for itself: sooner done than waited for
        return [*calls, ("standardize", (n, H, h, normalised, native.empty(n)))], normalised

    def _multiply(
        self, a: Floats, packed: Floats, gates: range, c: Floats, bias: Floats | None
    ) -> list[Call]:
        """Calls that add to c, or to the bias, the own units' columns of `a @ b`, whose columns are those of `gates`."""
        return [
            _multiply(
                a,
                packed[(source.start - gates.start * a.shape[1]) * a.shape[1] :],
                c[:, target],
                None if bias is None else bias[source],
            )
            for source, target in self._columns(gates, a.shape[1])
        ]

    def _columns(self, gates: range, H: int) -> list[tuple[slice, slice]]:
        """Where the own units' pre-activations of these gates stand among all units', and among the own."""
        if self._whole:
            return [(slice(gates.start * H, gates.stop * H),) * 2]
        first, last = self._units.start, self._units.stop
        return [
            (slice(g * H + first, g * H + last), slice(g * (last - first), (g + 1) * (last - first)))
            for g in gates
        ]


def _cut(count: int, parts: int) -> list[slice]:
    """`count` columns in parts that begin with a panel."""
    panel = native.kernels().shape.panel
    bounds = [min(count, part * -(-count // panel) // parts * panel) for part in range(parts + 1)]
    return [slice(*pair) for pair in zip(bounds[:-1], bounds[1:], strict=True)]


def _float32(array: Floats) -> Floats:
    return np.ascontiguousarray(array, np.float32)


def _vector(values: Floats) -> Floats:
    """A bias, with room for whole panels."""
    found = _room(1, len(values))[0]
    found[:] = values
    return found


def _room(rows: int, columns: int) -> Floats:
    """An array not initialised, behind which `multiply_row` may use the rest of a panel."""
    size = rows * columns
    return native.empty(size + native.kernels().shape.panel)[:size].reshape(rows, columns)


def _gather(rows: Floats, ids: NDArray[np.int32], out: Floats) -> Call:
    """Row `ids[k]` of `rows` for each k; both may be columns of larger arrays."""
    strides = (array.strides[0] // array.itemsize for array in (rows, out))
    return "gather", (*out.shape, *strides, len(rows), rows, ids, out)


def _multiply(a: Floats, packed: Floats, c: Floats, bias: Floats | None) -> Call:
    """`c = a @ b + bias`, or adds `a @ b` to c where there is none; c may be columns of a larger array."""
    (n, terms), columns, row = a.shape, c.shape[1], c.strides[0] // c.itemsize
    d, d_row = (c, row) if bias is None else (bias, 0)
    if n == 1:
        return "multiply_row", (columns, terms, a, packed, d, c)
    high = native.kernels().high(n)
    return "product", (high, n, columns, terms, a, terms, terms, 1, packed, d, d_row, c, row)
