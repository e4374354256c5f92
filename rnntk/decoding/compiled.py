"""Long texts and many of them on compiled kernels, a part of the streams on each core.

A step is a matrix product and a pass over its results; the kernels of training do just that, where NumPy
makes a dozen passes and BLAS packs the weights anew for each product. Compiled code is loaded in a fifth
of a second, so small jobs are better off with `decoder.Decoder`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from rnntk.cores import available_cores
from rnntk.decoding.cells import Floats
from rnntk.decoding.decoder import Decoder, States
from rnntk.decoding.strategies import Sampler, Strategy, surprise
from rnntk.kernels import native

BLOCK = 32
"""Symbols that each stream draws before the parts meet again."""

WIDEST = 64
"""Streams of a part at most: with more, a layer's activations leave the second-level cache."""


class Network:
    """A character model's weights as the kernels want them.

    Args:
        weights: as for `Decoder`.
        cell: `lstm`, `gru` or `rnn`.
    """

    def __init__(self, weights: Mapping[str, Floats], cell: str) -> None:
        kernels = native.kernels()
        self.cell = cell
        self.recurrent: list[Floats] = []
        self.inner_biases: list[Floats] = []
        self.inputs: list[tuple[Floats, Floats]] = []  # kernel (packed but for the first), bias
        while (name := f"rnn_{len(self.recurrent)}") + "/kernel" in weights:
            kernel, recurrent, bias = (
                np.ascontiguousarray(weights[f"{name}/{part}"], np.float32)
                for part in ("kernel", "recurrent_kernel", "bias")
            )
            inner = bias[1] if bias.ndim == 2 else bias[:0]
            bias = bias[0] if bias.ndim == 2 else bias
            self.inner_biases.append(inner)
            self.recurrent.append(kernels.packed(recurrent))
            self.inputs.append((kernels.packed(kernel) if self.inputs else kernel, bias))
            self.units = len(recurrent)
        kernel, bias = self.inputs[0]
        self.table = np.asarray(weights["embedding/embeddings"], np.float32) @ kernel + bias
        self.output = kernels.packed(np.ascontiguousarray(weights["output/kernel"], np.float32))
        self.output_bias = np.ascontiguousarray(weights["output/bias"], np.float32)


class Streams:
    """Some streams of a network, and the room their step works in.

    Args:
        network: the model.
        source: the states and logits to begin with.
        rows: which streams of `source`.

    Attributes:
        n: streams.
        logits: `(n, V)`, what the last step returned.
    """

    def __init__(self, network: Network, source: States, rows: NDArray[np.intp]) -> None:
        kernels = native.kernels()
        n, H, gates = len(rows), network.units, network.table.shape[1]
        self.n = n
        arrays = source.arrays()
        # As the kernels hold them: before and after the step.
        states = native.empty(len(arrays), 2, n, H)
        for state, array in zip(states, arrays, strict=True):
            state[0] = array[rows]
        self.logits: Floats = np.ascontiguousarray(source.logits[rows])
        self._symbols = np.zeros(n, np.int32)
        self._room = native.empty(self.logits.shape[1])
        sizes = (kernels.high(n), 1, n, H)
        z, x, scratch, inner = (native.empty(n, width) for width in (gates, gates, gates, H))
        per_layer = 2 if network.cell == "lstm" else 1
        calls: list[tuple[str, tuple[native.Operand, ...]]] = []
        below = None
        for i, recurrent in enumerate(network.recurrent):
            rows_, symbols = network.table, self._symbols
            if below is not None:
                packed, bias = network.inputs[i]
                calls.append(("product", kernels.product_operands(below, packed, bias, x)))
                rows_, symbols = x, None
            hs = states[i * per_layer]
            room: tuple[Floats, ...]
            if network.cell == "lstm":
                room = (z, states[i * per_layer + 1], hs)
            elif network.cell == "gru":
                room = (network.inner_biases[i], z, inner, hs, scratch)
            else:
                room = (hs,)
            calls.append((f"{network.cell}_forward", (*sizes, rows_, symbols, recurrent, *room)))
            below = hs[1]
        assert below is not None
        output = kernels.product_operands(below, network.output, network.output_bias, self.logits)
        calls.append(("product", output))
        self._table = kernels.table(calls)
        self._step = (len(calls), self._table.pairs, states, len(states), n * H)

    def step(self, ids: NDArray[np.intp]) -> Floats:
        """Feed one symbol to each stream.

        Args:
            ids: `(n,)`.

        Returns:
            Logits `(n, V)`, in a buffer that the next step overwrites.
        """
        self._symbols[:] = ids
        native.kernels()("advance", *self._step)
        return self.logits

    def generate(
        self, chances: NDArray[np.float64], ids: NDArray[np.intp], shares: NDArray[np.float64]
    ) -> None:
        """Draw symbols from the softmax, each from the logits that the one before leads to.

        Args:
            chances: in [0, 1), by which each draw is decided, `(steps, n)`; it and the others may be columns of
                larger arrays.
            ids: room for what is drawn, the same shape.
            shares: room for its probabilities.
        """
        steps, stride = len(chances), chances.strides[0] // chances.itemsize
        starts = [array.ctypes.data for array in (chances, ids, shares)]
        drawn = (*self.logits.shape, self.logits, self._room, self._symbols, stride)
        native.kernels()("generate", steps, *self._step, *drawn, *starts)


def draw(
    decoder: Decoder,
    states: States,
    strategies: Sequence[Strategy],
    rng: np.random.Generator,
    length: int,
    costs: bool,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Draw all streams of `states`, which have seen the prime.

    A stream's draws do not depend on how many cores there are.

    Yields:
        Ids and what they cost in nats (empty without `costs`), `(t, n)` each, until `length` are drawn.
    """
    network = Network(decoder.weights, decoder.cell)
    cores = available_cores()
    n, V = states.n, decoder.vocabulary_size
    count = min(n, max(cores, -(-n // WIDEST)))
    parts = []
    for rows in np.array_split(np.arange(n), count):
        sampler = (
            Sampler(copy.deepcopy(list(strategies)), rng, len(rows), V) if strategies else None
        )
        parts.append((slice(rows[0], rows[-1] + 1), Streams(network, states, rows), sampler))

    def work(part: tuple[slice, Streams, Sampler | None]) -> None:
        rows, streams, sampler = part
        if sampler is None:
            streams.generate(uniform[:, rows], ids[:, rows], shares[:, rows])
            return
        for t, chances in enumerate(uniform):
            ids[t, rows] = chosen = sampler.draw(streams.logits, chances[rows])
            if costs:
                nats[t, rows] = surprise(streams.logits, chosen)
            streams.step(chosen)

    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        run_all = pool.map if len(parts) > 1 else map
        for start in range(0, length, BLOCK):
            steps = min(BLOCK, length - start)
            ids = np.empty((steps, n), np.intp)
            uniform = rng.random((steps, n))
            shares = np.empty((steps, n))
            nats = np.empty((steps, n if costs else 0))
            for _ in run_all(work, parts):
                pass
            if costs and not strategies:
                np.negative(np.log(shares), out=nats)
            yield ids, nats
