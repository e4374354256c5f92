"""Long texts and many of them on compiled kernels, a part of the streams or of the units on each core.

A step is a matrix product and a pass over its results; the kernels of training do just that, where NumPy
makes a dozen passes and BLAS packs the weights anew for each product. Where nothing but a temperature shapes
the draws, a block of steps and draws is one call of compiled code (`kernels/drawing.py`). Compiled code is
loaded in a fifth of a second, so small jobs are better off with `decoder.Decoder`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from rnntk.cores import available_cores
from rnntk.decoding.cells import Floats
from rnntk.decoding.decoder import CACHED, Decoder, States
from rnntk.decoding.strategies import Sampler, Strategy, by_softmax, surprise
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
        layer_norm: whether each layer's outputs are normalised (`rnntk.layer_norm`).
    """

    def __init__(self, weights: Mapping[str, Floats], cell: str, *, layer_norm: bool) -> None:
        kernels = native.kernels()
        self.cell, self.layer_norm = cell, layer_norm
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
        sizes = (kernels.high(n), 1, n, H, 0)
        z, x, scratch, inner, normalised = (
            native.empty(n, width) for width in (gates, gates, gates, H, H)
        )
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
            cs = states[i * per_layer + 1] if per_layer == 2 else None
            room = (network.inner_biases[i], z, inner, hs, cs, None, scratch, None)
            calls.append(
                (f"{network.cell}_forward", (*sizes, rows_, symbols, None, recurrent, *room))
            )
            below = hs[1]
            if network.layer_norm:
                calls.append(_normalising(hs[1], normalised))
                below = normalised
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
        self,
        chances: NDArray[np.float64],
        ids: NDArray[np.intp],
        shares: NDArray[np.float64],
        scale: Floats,
    ) -> None:
        """Draw symbols from the softmax, each from the logits that the one before leads to.

        Args:
            chances: in [0, 1), by which each draw is decided, `(steps, n)`; it and the next two may be columns of
                larger arrays.
            ids: room for what is drawn, the same shape.
            shares: room for its probabilities.
            scale: by which logits are multiplied, `(1,)`.
        """
        steps, stride = len(chances), chances.strides[0] // chances.itemsize
        starts = [array.ctypes.data for array in (chances, ids, shares)]
        drawn = (*self.logits.shape, self.logits, scale, self._room, self._symbols, stride)
        native.kernels()("generate", steps, 0, 1, *self._step, *drawn, *starts)


class Alone:
    """One stream, its layers' units shared among threads that meet after each layer.

    For a network that no cache holds, so that all that matters is how fast its weights are read.

    Args:
        network: the model; its units are whole panels.
        source: the state and logits to begin with.
        threads: how many.
    """

    def __init__(self, network: Network, source: States, threads: int) -> None:
        kernels = native.kernels()
        H, V, panel = network.units, len(network.output_bias), kernels.shape.panel
        arrays = source.arrays()
        # Read at one step and written at the next, in turns.
        states = native.empty(2, len(arrays), H)
        states[0] = [array[0] for array in arrays]
        self._logits = source.logits[0].copy()
        self.threads = min(threads, H // panel)
        arrived = np.zeros(1, np.int64)
        per_layer = len(arrays) // len(network.recurrent)
        meet = ("meet", (self.threads, arrived))
        nothing = np.zeros(1, np.float32)
        self._parts = []
        bounds = [part * (H // panel) // self.threads * panel for part in range(self.threads + 1)]
        columns = -(-V // panel)
        for part in range(self.threads):
            fed, room = np.zeros(1, np.int32), native.empty(V)
            normalised = native.empty(H)
            first, last = bounds[part : part + 2]
            left = part * columns // self.threads * panel
            right = min(V, (part + 1) * columns // self.threads * panel)
            calls: list[tuple[str, tuple[native.Operand, ...]]] = []
            for turn in (0, 1):
                before, after = states[turn], states[1 - turn]
                below: Floats | None = None
                for i, recurrent in enumerate(network.recurrent):
                    kernel, bias = network.inputs[i]
                    own = [a[i * per_layer + k] for k in range(per_layer) for a in (before, after)]
                    own += [nothing] * (4 - len(own))
                    inputs = (
                        (0, H, None, None, network.table, fed)
                        if below is None
                        else (H, H, below, kernel, bias, None)
                    )
                    inner = network.inner_biases[i]
                    calls.append(
                        (f"{network.cell}_alone", (first, last, *inputs, recurrent, inner, *own))
                    )
                    calls.append(meet)
                    below = own[1]
                    if network.layer_norm:  # by each thread for itself: that is sooner than to meet
                        calls.append(_normalising(below, normalised))
                        below = normalised
                assert below is not None
                output = network.output[left * H :], network.output_bias[left:]
                logits = self._logits[np.newaxis, left:right]
                calls.append(
                    ("product", kernels.product_operands(below[np.newaxis], *output, logits))
                )
                calls.append(meet)
            table = kernels.table(calls)
            step = (2, len(calls) // 2, table.pairs, None, 0, 0)
            self._parts.append((table, step, fed, room))

    def generate(
        self, part: int, start: int, chances: NDArray[np.float64], scale: Floats
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """What one of the threads does; all must do it at once, and all find the same.

        Args:
            part: which of the threads.
            start: symbols drawn before.
            chances: as for `Streams.generate`, `(steps, 1)`.
            scale: as there.

        Returns:
            What is drawn, and its probabilities, `(steps, 1)` each.
        """
        _table, step, fed, room = self._parts[part]
        ids, shares = np.empty(chances.shape, np.intp), np.empty(chances.shape)
        drawn = (1, len(self._logits), self._logits, scale, room, fed, 1, chances, ids, shares)
        native.kernels()("generate", len(chances), start % 2, *step, *drawn)
        return ids, shares


def _normalising(x: Floats, y: Floats) -> tuple[str, tuple[native.Operand, ...]]:
    """The call that makes `y` of `x`, `(..., H)` both."""
    units = x.shape[-1]
    count = x.size // units
    return "standardize", (count, units, x, y, native.empty(count))


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
    network = _networks.get(decoder)
    if network is None:
        network = _networks[decoder] = Network(
            decoder.weights, decoder.cell, layer_norm=decoder.layer_norm
        )
    cores = available_cores()
    temperature = by_softmax(strategies, costs)
    scale = None if temperature is None else np.full(1, 1 / temperature, np.float32)
    jobs: list[Job]
    if states.n == 1 and scale is not None and decoder.units % native.kernels().shape.panel == 0:
        threads = cores if decoder.weight_bytes > CACHED else 1
        jobs = _alone(Alone(network, states, threads), scale)
    else:
        jobs = _side_by_side(network, states, strategies, rng, cores, scale)
    with ThreadPoolExecutor(min(cores, len(jobs))) as pool:
        run_all = pool.map if len(jobs) > 1 else map
        for start in range(0, length, BLOCK):
            block = Block(start, rng.random((min(BLOCK, length - start), states.n)), costs)
            for _ in run_all(block.passed_to, jobs):
                pass
            yield block.ids, block.nats(scale)


_networks: WeakKeyDictionary[Decoder, Network] = WeakKeyDictionary()


class Block:
    """Some steps of all streams.

    Args:
        start: symbols that each stream has drawn before.
        chances: by which the draws are decided, `(t, n)`.
        costs: whether what the symbols cost is wanted.

    Attributes:
        ids: what is drawn.
        shares: its probabilities, where the softmax itself is drawn from.
        surprises: its costs in nats, elsewhere.
    """

    def __init__(self, start: int, chances: NDArray[np.float64], costs: bool) -> None:
        self.start, self.chances, self.costs = start, chances, costs
        self.ids = np.empty(chances.shape, np.intp)
        self.shares = np.empty(chances.shape)
        self.surprises = np.empty((len(chances), chances.shape[1] if costs else 0))

    def passed_to(self, job: Job) -> None:
        """Let a job do its part."""
        job(self)

    def nats(self, scale: Floats | None) -> NDArray[np.float64]:
        """What each symbol cost; empty if that is not wanted."""
        return self.surprises if scale is None or not self.costs else -np.log(self.shares)


Job: TypeAlias = "Callable[[Block], None]"


def _alone(stream: Alone, scale: Floats) -> list[Job]:
    def work(part: int, block: Block) -> None:
        ids, shares = stream.generate(part, block.start, block.chances, scale)
        if part == 0:
            block.ids, block.shares = ids, shares

    return [functools.partial(work, part) for part in range(stream.threads)]


def _side_by_side(
    network: Network,
    states: States,
    strategies: Sequence[Strategy],
    rng: np.random.Generator,
    cores: int,
    scale: Floats | None,
) -> list[Job]:
    n, V = states.logits.shape

    def work(rows: slice, streams: Streams, sampler: Sampler, block: Block) -> None:
        if scale is not None:
            streams.generate(
                block.chances[:, rows], block.ids[:, rows], block.shares[:, rows], scale
            )
            return
        for t, chances in enumerate(block.chances):
            block.ids[t, rows] = chosen = sampler.draw(streams.logits, chances[rows])
            if block.costs:
                block.surprises[t, rows] = surprise(streams.logits, chosen)
            streams.step(chosen)

    jobs: list[Job] = []
    for rows in np.array_split(np.arange(n), min(n, max(cores, -(-n // WIDEST)))):
        sampler = Sampler(copy.deepcopy(list(strategies)), rng, len(rows), V)
        streams = Streams(network, states, rows)
        jobs.append(functools.partial(work, slice(rows[0], rows[-1] + 1), streams, sampler))
    return jobs
