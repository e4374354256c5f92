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
        self._before, self._after = states[:, 0], states[:, 1]
        self.logits: Floats = np.ascontiguousarray(source.logits[rows])
        self._symbols = np.zeros(n, np.int32)

        sizes = (kernels.high(n), 1, n, H)
        z, x, scratch, inner = (native.empty(n, width) for width in (gates, gates, gates, H))
        per_layer = 2 if network.cell == "lstm" else 1
        # Each call with all its addresses, which would cost as much to find as the work of a small layer.
        self._calls = []
        below = None
        for i, recurrent in enumerate(network.recurrent):
            rows_, symbols = network.table, self._symbols
            if below is not None:
                packed, bias = network.inputs[i]
                self._calls.append(kernels.bound_product(below, packed, bias, x))
                rows_, symbols = x, None
            hs = states[i * per_layer]
            room: tuple[Floats, ...]
            if network.cell == "lstm":
                room = (z, states[i * per_layer + 1], hs)
            elif network.cell == "gru":
                room = (network.inner_biases[i], z, inner, hs, scratch)
            else:
                room = (hs,)
            self._calls.append(
                kernels.bound(f"{network.cell}_forward", *sizes, rows_, symbols, recurrent, *room)
            )
            below = hs[1]
        assert below is not None
        self._calls.append(
            kernels.bound_product(below, network.output, network.output_bias, self.logits)
        )

    def step(self, ids: NDArray[np.intp]) -> Floats:
        """Feed one symbol to each stream.

        Args:
            ids: `(n,)`.

        Returns:
            Logits `(n, V)`, in a buffer that the next step overwrites.
        """
        self._symbols[:] = ids
        for call in self._calls:
            call()
        np.copyto(self._before, self._after)
        return self.logits


class Softmax:
    """Draws from the model's own softmax; `Sampler` does where there are strategies.

    Args:
        logits: `(n, V)`, in a buffer that is read at each draw.
    """

    def __init__(self, logits: Floats) -> None:
        n, V = logits.shape
        self.ids = np.zeros(n, np.intp)
        self._chances = np.zeros(n)
        room = native.empty(V)
        self._run = native.kernels().bound("draw", n, V, logits, room, self._chances, self.ids)

    def draw(self, logits: Floats, chances: NDArray[np.float64]) -> NDArray[np.intp]:
        """One symbol for each stream; as `Sampler.draw`, of the logits that it was made with."""
        self._chances[:] = chances
        self._run()
        return self.ids


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
        streams = Streams(network, states, rows)
        sampler = (
            Sampler(copy.deepcopy(list(strategies)), rng, len(rows), V)
            if strategies
            else Softmax(streams.logits)
        )
        parts.append((slice(rows[0], rows[-1] + 1), streams, sampler))
    first = True

    def work(part: tuple[slice, Streams, Sampler | Softmax], uniform: NDArray[np.float64]) -> None:
        rows, streams, sampler = part
        for t, chances in enumerate(uniform):
            logits = streams.logits if first and t == 0 else streams.step(sampler.ids)
            chosen = sampler.draw(logits, chances[rows])
            ids[t, rows] = chosen
            if costs:
                nats[t, rows] = surprise(logits, chosen)

    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        run_all = pool.map if len(parts) > 1 else map
        for start in range(0, length, BLOCK):
            steps = min(BLOCK, length - start)
            ids = np.empty((steps, n), np.intp)
            nats = np.empty((steps, n if costs else 0))
            uniform = rng.random((steps, n))
            for _ in run_all(work, parts, [uniform] * len(parts)):
                pass
            first = False
            yield ids, nats
