"""Runs a trained character model symbol by symbol, without TensorFlow.

Logits agree with `models.char_rnn.CharRNN` within 1e-5. It uses compiled kernels (`decoding.compiled`) if they run on
this machine, else NumPy (`decoding.reference`).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnntk.cells import CELLS, GRU_RESET_BEFORE
from rnntk.cores import available_cores
from rnntk.decoding.reference import Floats, LayerWeights, States
from rnntk.decoding.strategies import Sampler, Strategy, by_softmax, surprisal
from rnntk.errors import RunError, UsageError

WIDEST = 64
"""Maximum number of streams that step together: the activations of more would not fit the L2 cache."""

LONGEST = 32
"""Maximum number of symbols per stream and block of sampled text."""

LARGEST = 1 << 30
"""Maximum of weight bytes x streams x symbols per block, about 50 ms of work; a block has at least one symbol."""

Progressed = Callable[[int, int], None]
"""Called with the number of symbols read so far and in total."""


class Decoder:
    """A character model, built from its weights.

    Args:
        weights: float32 arrays by name in Keras' layout: `embedding/embeddings` `(V, E)`; for each layer
            `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`, `rnn_<i>/bias`; `output/kernel` `(H, V)`, `output/bias`
            `(V,)`. A GRU's bias is `(2, 3H)` if it resets after the product, `(3H,)` if before.
        cell: `lstm`, `gru` or `rnn`.
        layer_norm: normalise each layer's outputs (`rnntk.layer_norm`).
        compiled: use compiled kernels if available.

    Attributes:
        vocabulary_size, units: V and H.
        layers: the recurrent layers, bottom first.
        embedding, output_kernel, output_bias: the other weights.
        weight_bytes: size of the weights that a step reads.

    Raises:
        UsageError: unknown cell.
        RunError: weights are missing or have the wrong shape.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shapes = {"embedding/embeddings": (5, 3), "rnn_0/kernel": (3, 4), "rnn_0/bias": (4,)}
        >>> shapes |= {"rnn_0/recurrent_kernel": (4, 4), "output/kernel": (4, 5), "output/bias": (5,)}
        >>> decoder = Decoder({k: rng.normal(size=s).astype("f") for k, s in shapes.items()}, "rnn")
        >>> decoder.initial_states(2).step(np.array([0, 4])).shape
        (2, 5)
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float32]],
        cell: str,
        *,
        layer_norm: bool = False,
        compiled: bool = True,
    ) -> None:
        if cell not in CELLS:
            raise UsageError(f"`cell` must be one of {', '.join(CELLS)}, got {cell!r}.")
        self.embedding = _take(weights, "embedding/embeddings", (None, None))
        self.vocabulary_size, inputs = self.embedding.shape
        self.cell, self.layer_norm = cell, layer_norm
        self.layers: list[LayerWeights] = []
        while not self.layers or f"rnn_{len(self.layers)}/kernel" in weights:
            name, kind = f"rnn_{len(self.layers)}", CELLS[cell]
            H = _take(weights, f"{name}/recurrent_kernel", (None, None)).shape[0]
            gates = len(kind.gates) * H
            if cell == "gru" and np.ndim(weights.get(f"{name}/bias", 0)) == 1:
                kind = GRU_RESET_BEFORE
            kernel = _take(weights, f"{name}/kernel", (inputs, gates))
            recurrent_kernel = _take(weights, f"{name}/recurrent_kernel", (H, gates))
            bias = _take(weights, f"{name}/bias", (2, gates) if kind.apart else (gates,))
            self.layers.append(LayerWeights(kind, kernel, recurrent_kernel, bias))
            if self.layers[0].units != H:
                raise RunError(
                    f"{name} has {H} units and rnn_0 {self.layers[0].units}; layers must have one width. "
                    "Sample with Keras instead."
                )
            inputs = H
        self.units = inputs
        self.output_kernel = _take(weights, "output/kernel", (self.units, self.vocabulary_size))
        self.output_bias = _take(weights, "output/bias", (self.vocabulary_size,))
        read = [w for layer in self.layers for w in (layer.kernel, layer.recurrent_kernel)]
        self.weight_bytes = sum(w.nbytes for w in [*read, self.output_kernel])
        self._new_states = (compiled and _compiled_states()) or States

    def initial_states(self, n: int = 1) -> States:
        """Zero states for `n` streams."""
        return self._new_states(self, n)

    def prime(self, ids: ArrayLike, states: States) -> Floats:
        """Feed a whole text, `ids` `(T,)`, to every stream.

        Returns the logits `(n, V)` after the last symbol, in the buffer of `States.step`; unchanged for an empty text.
        """
        for outputs in states.read(self._checked(ids)):
            states.logits[:] = states.output(outputs[-1])
        return states.logits

    def forward(self, ids: ArrayLike, states: States) -> Iterator[Floats]:
        """Logits after each symbol of a text, ids `(T,)`, in chunks `(t, V)`; changes the states of one stream."""
        for outputs in states.read(self._checked(ids)):
            yield states.output(outputs[:, 0])

    def costs(
        self, ids: ArrayLike, states: States | None = None, *, progress: Progressed | None = None
    ) -> NDArray[np.float64]:
        """Surprisal of each symbol of a text but the first, in nats: element t is `-log p(ids[t + 1] | ids[: t + 1])`.

        Args:
            ids: `(T,)`.
            states: states of one stream, by default zero. Afterwards they have read all symbols but the last, so a text
                can be read in parts that overlap by one symbol.
            progress: called after each chunk.

        Returns:
            `(T - 1,)` float64.
        """
        ids = self._checked(ids)
        found = np.empty(max(0, len(ids) - 1))
        done = 0
        for logits in self.forward(ids[:-1], states or self.initial_states()):
            targets = ids[done + 1 : done + 1 + len(logits)]
            logits -= logits.max(axis=1, keepdims=True)
            chosen = np.take_along_axis(logits, targets[:, None].astype(np.intp), axis=1)[:, 0]
            np.exp(logits, out=logits)
            total = logits.sum(axis=1, dtype=np.float64)
            found[done : done + len(logits)] = np.log(total) - chosen
            done += len(logits)
            if progress is not None:
                progress(done, len(found))
        return found

    def sample(
        self,
        states: States,
        strategies: Sequence[Strategy],
        rng: np.random.Generator,
        length: int,
        losses: bool,
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Sample `length` symbols per stream, in blocks; the first block has one symbol, to start quickly.

        Results do not depend on the number of cores.

        Args:
            states: `n` streams that have read their prompt; not reusable afterwards.
            strategies: applied to the logits in this order.
            rng: source of the uniform numbers.
            length: number of symbols.
            losses: whether to compute losses.

        Yields:
            Ids, and losses in nats under the model's own softmax (empty if not asked for), `(t, n)` each.
        """
        n, cores, temperature = states.n, available_cores(), by_softmax(strategies)
        parts = []  # one per thread: its streams, their states and its sampler
        for rows in np.array_split(np.arange(n), min(n, max(cores, -(-n // WIDEST)))):
            own, at = states, slice(rows[0], rows[-1] + 1)
            if len(rows) < n:
                own = self.initial_states(len(rows))
                own.assign(states, at)
            sampler = Sampler(copy.deepcopy(list(strategies)), len(rows), self.vocabulary_size)
            parts.append((at, own, sampler))

        def fill(part: tuple[slice, States, Sampler], block: tuple[NDArray, ...]) -> None:
            """Sample one thread's columns of a block."""
            at, own, sampler = part
            uniforms, ids, nats = (array[:, at] for array in block)
            with own.helped(len(uniforms)):
                if temperature and own.generate(uniforms, ids, nats, temperature):
                    return
                for t, row in enumerate(uniforms):
                    ids[t] = chosen = sampler.draw(own.logits, row)
                    if losses:
                        nats[t] = surprisal(own.logits, chosen)
                    own.step(chosen)

        longest = max(1, min(LONGEST, LARGEST // (self.weight_bytes * n)))
        done = 0
        with ThreadPoolExecutor(min(cores, len(parts))) as pool:
            run_all = pool.map if len(parts) > 1 else map
            while done < length:
                steps = min(max(1, done), longest, length - done)
                block = rng.random((steps, n)), np.empty((steps, n), np.intp), np.empty((steps, n))
                for _ in run_all(fill, parts, [block] * len(parts)):
                    pass
                yield block[1], block[2][:, : n if losses else 0]
                done += steps

    def _checked(self, ids: ArrayLike) -> NDArray[np.integer]:
        found = np.asarray(ids)
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < self.vocabulary_size:
            raise UsageError(
                f"The text has symbols outside the model's vocabulary of {self.vocabulary_size}. Encode it "
                "with that vocabulary."
            )
        return found


def _compiled_states() -> Callable[[Decoder, int], States] | None:
    """The constructor of states on kernels, or None if kernels cannot run here."""
    try:
        from rnntk.decoding import compiled

        compiled.native.kernels()
    except (ImportError, OSError, RuntimeError):  # RuntimeError: LLVM refuses the processor
        return None
    return functools.partial(compiled.CompiledStates, compiled.PackedNetwork())


def _take(
    weights: Mapping[str, NDArray[np.float32]], name: str, shape: tuple[int | None, ...]
) -> NDArray[np.float32]:
    """A weight as float32, its shape checked; None in `shape` fits any size."""
    if name not in weights:
        raise RunError(f"The weights lack {name!r}: the run is damaged or of another kind.")
    found = np.asarray(weights[name], np.float32)
    fitting = [
        have if want is None else want for want, have in zip(shape, found.shape, strict=False)
    ]
    if list(found.shape) != fitting or found.ndim != len(shape):
        raise RunError(
            f"Weight {name!r} has shape {found.shape}, but the run's settings need "
            f"{tuple('any' if s is None else s for s in shape)}."
        )
    return found
