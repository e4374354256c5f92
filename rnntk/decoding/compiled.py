"""Many streams at once on compiled kernels, a part of them on each core.

A step of many streams is a matrix product and a pass over its results; the kernels of training do both at
once, where NumPy makes a dozen passes. Compiled code is loaded in a fifth of a second, so small
jobs are better off with `decoder.Decoder`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

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
    """

    def __init__(self, network: Network, source: States, rows: NDArray[np.intp]) -> None:
        n, H, gates = len(rows), network.units, network.table.shape[1]
        self.network, self.n = network, n
        found = [array[rows] for array in source.arrays()]
        # As the kernels hold them: before and after the step.
        states = [np.ascontiguousarray(np.stack([array, array])) for array in found]
        self.cs = states[1::2] if network.cell == "lstm" else []
        self.hs = states[::2] if network.cell == "lstm" else states
        self.logits: Floats = source.logits[rows]
        self._gates: Floats = native.empty(n, gates)
        self._x: Floats = native.empty(n, gates)
        self._scratch: Floats = native.empty(n, gates)
        self._inner: Floats = native.empty(n, H)
        self._high = native.kernels().high(n)

    def step(self, ids: NDArray[np.intp]) -> Floats:
        """Feed one symbol to each stream: ids `(n,)` to logits `(n, V)`, in a buffer that the next step overwrites."""
        run, net, n = native.kernels(), self.network, self.n
        sizes = (self._high, 1, n, net.units)
        rows, symbols = net.table, ids.astype(np.int32)
        for i, (kernel, hs) in enumerate(zip(net.recurrent, self.hs, strict=True)):
            chosen = symbols if i == 0 else None
            if i:
                packed, bias = net.inputs[i]
                run.product(self.hs[i - 1][1], packed, bias, self._x)
                rows = self._x
            if net.cell == "lstm":
                run("lstm_forward", *sizes, rows, chosen, kernel, self._gates, self.cs[i], hs)
            elif net.cell == "gru":
                bias = net.inner_biases[i]
                run(
                    "gru_forward", *sizes, rows, chosen, kernel, bias, self._gates, self._inner, hs, self._scratch
                )  # fmt: skip
            else:
                run("rnn_forward", *sizes, rows, chosen, kernel, hs)
        run.product(self.hs[-1][1], net.output, net.output_bias, self.logits)
        for states in (*self.hs, *self.cs):
            states[0] = states[1]
        return self.logits


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
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    n, V = states.n, decoder.vocabulary_size
    count = min(n, max(cores, -(-n // WIDEST)))
    parts = []
    for rows in np.array_split(np.arange(n), count):
        sampler = Sampler(copy.deepcopy(list(strategies)), rng, len(rows), V)
        parts.append((rows, Streams(network, states, rows), sampler))
    first = True

    def work(part: tuple[NDArray[np.intp], Streams, Sampler], uniform: NDArray[np.float64]) -> None:
        rows, streams, sampler = part
        for t, chances in enumerate(uniform):
            logits = streams.logits if first and t == 0 else streams.step(sampler.ids)
            chosen = sampler.draw(logits, chances[rows])
            ids[t, rows] = chosen
            if costs:
                nats[t, rows] = surprise(logits, chosen)

    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        for start in range(0, length, BLOCK):
            steps = min(BLOCK, length - start)
            ids = np.empty((steps, n), np.intp)
            nats = np.empty((steps, n if costs else 0))
            uniform = rng.random((steps, n))
            for _ in pool.map(work, parts, [uniform] * len(parts)):
                pass
            first = False
            yield ids, nats
