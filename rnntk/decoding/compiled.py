"""The decoder on compiled kernels: computes the same as `decoding.reference`.

A stream's results do not depend, to the last bit, on other streams or the number of cores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import GRU_RESET_BEFORE
from rnntk.cores import available_cores
from rnntk.decoding.reference import Doubles, Floats, LayerWeights, States
from rnntk.kernels import native

if TYPE_CHECKING:
    from rnntk.decoding.decoder import Decoder

Call: TypeAlias = "tuple[str, tuple[native.Operand, ...]]"

CACHED = 1 << 22
"""Bytes of weights that fit one core's caches. The cores share one stream of a larger network."""

_CHUNK = 1 << 19
"""Floats of a layer's input projections per chunk of a text: large enough for fast products, small enough for cache."""


class PackedNetwork:
    """A decoder's weights packed for the kernels, in any number of parts."""

    def __init__(self) -> None:
        self._made: dict[int, list[_Part]] = {}

    def parts(self, decoder: Decoder, count: int) -> list[_Part]:
        """The weights in `count` parts of whole panels of units and symbols."""
        if count not in self._made:
            cuts = (_cut(size, count) for size in (decoder.units, decoder.vocabulary_size))
            self._made[count] = [_part(decoder, *cut) for cut in zip(*cuts, strict=True)]
        return self._made[count]


@dataclass(frozen=True)
class _Part:
    """The packed weights of some units of each layer and some output symbols."""

    units: slice
    symbols: slice
    layers: list[_PackedLayer]
    table: Floats  # the first layer's input projection of each symbol, `(V, gates * units)`
    output: Floats
    output_bias: Floats


def _part(decoder: Decoder, units: slice, symbols: slice) -> _Part:
    kernels, embedding = native.kernels(), np.ascontiguousarray(decoder.embedding)
    layers = [_PackedLayer(layer, units) for layer in decoder.layers]
    table = native.empty(decoder.vocabulary_size, layers[0].bias.size)
    kernels.product(embedding, layers[0].kernel, layers[0].bias, table)
    output = kernels.packed(decoder.output_kernel[:, symbols])
    return _Part(units, symbols, layers, table, output, _vector(decoder.output_bias[symbols]))


class _PackedLayer:
    """The packed weights of some units of a layer.

    `name` is the prefix of the cell's kernels. `recurrent` pairs packed recurrent kernels with their columns of the
    pre-activations: one pair, or two if the candidate has to wait for the reset gate.
    """

    def __init__(self, layer: LayerWeights, units: slice) -> None:
        kernels, self.cell, H = native.kernels(), layer.cell, layer.units
        count = len(self.cell.gates)

        def columns(weights: Floats, gates: slice = slice(None)) -> Floats:
            by_gate = weights.reshape(-1, count, H)[:, gates, units]
            return by_gate.reshape(len(by_gate), -1)

        self.kernel = kernels.packed(columns(layer.kernel))
        biases = layer.bias, layer.recurrent_bias
        self.bias, self.recurrent_bias = (_vector(columns(bias)[0]) for bias in biases)
        reset_before = self.cell is GRU_RESET_BEFORE
        self.name = "gru_reset_before" if reset_before else self.cell.name
        size = units.stop - units.start
        self.recurrent = [
            (
                kernels.packed(columns(layer.recurrent_kernel, g)),
                slice(g.start * size, g.stop * size),
            )
            for g in ([slice(0, 2), slice(2, 3)] if reset_before else [slice(0, count)])
        ]


class CompiledStates(States):
    """The recurrent states of `n` streams with the buffers of a step; see `States`."""

    def __init__(self, network: PackedNetwork, decoder: Decoder, n: int) -> None:
        super().__init__(decoder, n)
        self._network, (self._weights,) = network, network.parts(decoder, 1)
        V, G = self._weights.table.shape
        self.logits = _with_panel(n, V)
        self.logits[:] = 0
        self.fed = np.zeros(n, np.int32)
        self.projections = _with_panel(max(n, _CHUNK // G), G)
        self.factor = native.empty(n, self.decoder.units)
        self._scores = native.empty(V)
        self._whole = self._own = _Calls(self, self._weights)
        self._parts: list[_Calls] = []
        self._left = 0  # steps that the other threads still expect

    def step(self, ids: NDArray[np.integer]) -> Floats:
        self.fed[:] = ids
        native.kernels()("advance", *self._own.step)
        self._left -= 1
        return self.logits

    def generate(
        self, uniforms: Doubles, ids: NDArray[np.intp], losses: Doubles, temperature: float
    ) -> bool:
        stride = uniforms.strides[0] // uniforms.itemsize
        totals = np.empty((len(uniforms), stride))
        native.kernels()(
            "generate", len(uniforms), *self._own.step, *self.logits.shape, self.logits,
            np.full(1, 1 / temperature, np.float32), self._scores, self.fed, stride,
            uniforms, ids, losses, totals,
        )  # fmt: skip
        losses += np.log(totals[:, : self.n])
        self._left -= len(uniforms)
        return True

    @contextmanager
    def helped(self, steps: int) -> Iterator[None]:
        count = min(available_cores(), self.decoder.units // native.kernels().shape.panel)
        if self.n > 1 or count < 2 or self.decoder.weight_bytes < CACHED:
            yield
            return
        if not self._parts:
            barrier: Call = ("barrier", (count, np.zeros(1, np.int64)))
            parts = self._network.parts(self.decoder, count)
            self._parts = [_Calls(self, part, barrier) for part in parts]
            self._pool = ThreadPoolExecutor(count - 1)
        self._own, *others = self._parts
        self._left, helpers = steps, []
        try:
            helpers += [self._pool.submit(calls.follow, steps) for calls in others]
            yield
        finally:
            for _ in range(self._left):  # after an exception: the other threads wait for this one
                native.kernels()("advance", *self._own.step)
            wait(helpers)
            self._own = self._whole

    def read(self, ids: NDArray[np.integer]) -> Iterator[Floats]:
        """Feed a text layer by layer, so that one product computes the input projections of many symbols."""
        kernels, n = native.kernels(), self.n
        chunk = len(self.projections) // n
        for start in range(0, len(ids), chunk):
            fed = np.repeat(np.asarray(ids[start : start + chunk], np.int32), n)
            steps = len(fed) // n
            outputs: Floats | None = None
            layers = zip(self._weights.layers, self._whole.layers, strict=True)
            for weights, (table, source) in layers:
                if outputs is not None:
                    flat, projections = outputs.reshape(len(fed), -1), self.projections[: len(fed)]
                    kernels.product(flat, weights.kernel, weights.bias, projections)
                    fed = np.arange(len(fed), dtype=np.int32)
                outputs = native.empty(steps, *source.shape)
                arrays = (n, self.fed, fed, source.size, source, outputs)
                kernels("read", steps, len(table.pairs), table.pairs, *arrays)
            assert outputs is not None
            yield outputs

    def output(self, outputs: Floats) -> Floats:
        weights, flat = self._weights, outputs.reshape(-1, outputs.shape[-1])
        logits = native.empty(len(flat), self.logits.shape[1])
        native.kernels().product(flat, weights.output, weights.output_bias, logits)
        return logits.reshape(*outputs.shape[:-1], -1)


class _Calls:
    """One thread's kernel calls for a step, for its units of each layer and its symbols.

    Several threads share one stream, since a step mostly reads weights, which is faster from several caches. Each layer
    needs two barriers: before h is overwritten, and before it is read.

    `step` is the number and the address of the calls. `layers` has for each layer its calls for reading a text (with
    input projections from `states.projections` above the first layer), and its outputs after a step.
    """

    def __init__(self, states: CompiledStates, weights: _Part, barrier: Call | None = None) -> None:
        self._states, self._barrier = states, [barrier] if barrier else []
        self.layers: list[tuple[native.CallTable, Floats]] = []
        calls, below, rows = list(self._barrier), states.logits, weights.table
        for k, (layer, arrays) in enumerate(zip(weights.layers, states.layers, strict=True)):
            z = _with_panel(states.n, layer.bias.size)
            gather: Call = ("gather", (*z.shape, len(rows), rows, states.fed, z))
            calls.append(_multiply(below, layer.kernel, z, layer.bias) if k else gather)
            rest, below = self._after_inputs(layer, arrays, weights.units, z)
            calls += rest
            self.layers.append((native.kernels().table([gather, *rest]), below))
            rows = states.projections
        logits = states.logits[:, weights.symbols]
        calls += [_multiply(below, weights.output, logits, weights.output_bias), *self._barrier]
        self._table = native.kernels().table(calls)
        self.step = len(calls), self._table.pairs.ctypes.data

    def follow(self, steps: int) -> None:
        """Run this thread's part of `steps` steps; another thread feeds the symbols."""
        native.kernels()("read", steps, *self.step, 0, None, None, 0, None, None)

    def _after_inputs(
        self, weights: _PackedLayer, arrays: dict[str, Floats], units: slice, z: Floats
    ) -> tuple[list[Call], Floats]:
        """A layer's calls after the input projections `z`, and the array of its outputs."""
        h, factor, (n, H) = arrays["h"], self._states.factor, arrays["h"].shape
        onto, bias = (
            (_with_panel(*z.shape), weights.recurrent_bias) if weights.cell.apart else (z, None)
        )
        columns = [array[:, units] for array in (factor, *arrays.values())]
        operands: tuple[native.Operand, ...] = (n, columns[0].shape[1], z, onto, *columns)
        (packed, at), *later = weights.recurrent
        calls = [_multiply(h, packed, onto[:, at], bias)]
        calls += [(f"{weights.name}_factor", operands)] if later else []
        calls += self._barrier
        calls += [_multiply(factor, packed, onto[:, at], bias) for packed, at in later]
        calls += [(f"{weights.name}_update", operands), *self._barrier]
        if not self._states.decoder.layer_norm:
            return calls, h
        normalised = native.empty(n, H)  # per thread: faster than waiting at a barrier
        return [*calls, ("standardize", (n, H, h, normalised))], normalised


def _cut(count: int, parts: int) -> list[slice]:
    """Slices of `count` columns that start at whole panels."""
    panel = native.kernels().shape.panel
    bounds = [min(count, part * -(-count // panel) // parts * panel) for part in range(parts + 1)]
    return list(itertools.starmap(slice, itertools.pairwise(bounds)))


def _vector(values: Floats) -> Floats:
    """A copy of a bias, padded to whole panels in memory."""
    found = _with_panel(1, len(values))[0]
    found[:] = values
    return found


def _with_panel(rows: int, columns: int) -> Floats:
    """An uninitialised array with a spare panel behind it, which `multiply_row` may overwrite."""
    size = rows * columns
    return native.empty(size + native.kernels().shape.panel)[:size].reshape(rows, columns)


def _multiply(a: Floats, packed: Floats, c: Floats, bias: Floats | None) -> Call:
    """The call for `c = a @ b + bias`, or without bias `c += a @ b`; c may be columns of a larger array."""
    (n, terms), columns, row = a.shape, c.shape[1], c.strides[0] // c.itemsize
    d, d_row = (c, row) if bias is None else (bias, 0)
    if n == 1:
        return "multiply_row", (columns, terms, a, packed, d, c)
    tile_rows = native.kernels().tile_rows(n)
    return "product", (tile_rows, n, columns, terms, a, terms, terms, 1, packed, d, d_row, c, row)
