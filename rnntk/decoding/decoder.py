"""The decoder: runs a trained character model one symbol at a time, without TensorFlow.

It computes what `models.char_rnn.CharRNN` computes, logits within 1e-5 in float32 (tests/decoding), on compiled
kernels (`decoding.compiled`); in plain NumPy (`decoding.reference`) where these cannot run.
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
"""Streams that step together at most: with more, a layer's activations leave the second-level cache."""

LONGEST = 32
"""Symbols that each stream samples before text is handed over."""

LARGEST = 1 << 30
"""Weight bytes times streams times symbols of such a block, some 50 ms of work; one symbol may be more."""


Progressed = Callable[[int, int], None]
"""Called with the symbols read so far, and how many there are."""


class Decoder:
    """A character model made of its weights.

    Args:
        weights: float32 arrays by name in Keras' layout, memory-mapped or not: `embedding/embeddings` `(V, E)`;
            `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`, `rnn_<i>/bias` for each layer; `output/kernel` `(H, V)`,
            `output/bias` `(V,)`. A GRU's bias tells its form: `(2, 3H)` with the reset gate after the product, `(3H,)`
            before.
        cell: `lstm`, `gru` or `rnn`.
        layer_norm: whether each layer's outputs are normalised (`rnntk.layer_norm`).
        compiled: run on kernels where they run; otherwise in plain NumPy.

    Attributes:
        vocabulary_size, units: V and H.
        layers: the recurrent layers, bottom first.
        embedding, output_kernel, output_bias: the other weights.
        weight_bytes: of the weights that a step reads.

    Raises:
        UsageError: if there is no such cell.
        RunError: if weights are missing or their shapes do not fit the cell.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shapes = {"embedding/embeddings": (5, 3), "rnn_0/kernel": (3, 4), "rnn_0/bias": (4,)}
        >>> shapes |= {"rnn_0/recurrent_kernel": (4, 4)}
        >>> shapes |= {"output/kernel": (4, 5), "output/bias": (5,)}
        >>> decoder = Decoder({k: rng.normal(size=s).astype("f") for k, s in shapes.items()}, "rnn")
        >>> states = decoder.initial_states(2)
        >>> states.step(np.array([0, 4])).shape
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
            raise UsageError(f"There is no cell {cell!r}; it can be {', '.join(CELLS)}.")
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
            kernels = (
                _take(weights, f"{name}/kernel", (inputs, gates)),
                _take(weights, f"{name}/recurrent_kernel", (H, gates)),
            )
            bias = _take(weights, f"{name}/bias", (2, gates) if kind.apart else (gates,))
            self.layers.append(LayerWeights(kind, *kernels, bias))
            if self.layers[0].units != H:
                raise RunError(
                    f"Layer {name} has {H} units and the first {self.layers[0].units}: "
                    "the decoder needs layers of one width. Sample it with Keras instead."
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

        Returns:
            Logits `(n, V)` after the last symbol, in the buffer that `States.step` uses. With no symbols, the logits
            as they were.
        """
        for outputs in states.read(self._checked(ids)):
            states.logits[:] = states.output(outputs[-1])
        return states.logits

    def forward(self, ids: ArrayLike, states: States) -> Iterator[Floats]:
        """Logits after every symbol of a text, ids `(T,)`, with the states of one stream, changed in place.

        Yields:
            `(t, V)` arrays, in all T rows.
        """
        for outputs in states.read(self._checked(ids)):
            yield states.output(outputs[:, 0])

    def costs(
        self, ids: ArrayLike, states: States | None = None, *, progress: Progressed | None = None
    ) -> NDArray[np.float64]:
        """Surprisal of each symbol of a text, the state carried through.

        Args:
            ids: `(T,)`.
            states: of one stream; from zero when None. After the call it has seen all but the last symbol, so that a
                text can be read in parts that overlap by one symbol.
            progress: is told how far it has come.

        Returns:
            Nats `(T - 1,)`: element t is `-log p(ids[t + 1] | ids[: t + 1])`.
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
        """Sample `length` symbols for each stream, in blocks; the first is of one symbol, so that it comes at once.

        The streams are shared by the cores; what a stream samples does not depend on how.

        Args:
            states: of streams that have seen their prompt; used up.
            strategies: shape the distribution, in this order.
            rng: where the uniform numbers come from.
            length: symbols.
            losses: whether these are wanted.

        Yields:
            Ids and their losses in nats under the model's own softmax (empty if not wanted), `(t, n)` each.
        """
        n, cores, temperature = states.n, available_cores(), by_softmax(strategies)
        parts = []
        for rows in np.array_split(np.arange(n), min(n, max(cores, -(-n // WIDEST)))):
            own, at = states, slice(rows[0], rows[-1] + 1)
            if len(rows) < n:
                own = self.initial_states(len(rows))
                own.assign(states, at)
            sampler = Sampler(copy.deepcopy(list(strategies)), len(rows), self.vocabulary_size)
            parts.append((at, own, sampler))

        def fill(part: tuple[slice, States, Sampler], block: tuple[NDArray, ...]) -> None:
            """Sample the columns of a block that belong to one thread's streams."""
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
                f"The text has symbols outside the model's vocabulary of {self.vocabulary_size}: "
                "it was prepared with another vocabulary."
            )
        return found


def _compiled_states() -> Callable[[Decoder, int], States] | None:
    """Makes states on kernels; None where these cannot run."""
    try:
        from rnntk.decoding import compiled

        compiled.native.kernels()
    except (ImportError, OSError, RuntimeError):  # RuntimeError: LLVM refuses the processor
        return None
    return functools.partial(compiled.CompiledStates, compiled.PackedNetwork())


def _take(
    weights: Mapping[str, NDArray[np.float32]], name: str, shape: tuple[int | None, ...]
) -> NDArray[np.float32]:
    """The weight of that name as float32, checked against a shape where None fits any size."""
    if name not in weights:
        raise RunError(f"The weights lack {name!r}: the run is damaged or of another kind.")
    found = np.asarray(weights[name], np.float32)
    fitting = [
        have if want is None else want for want, have in zip(shape, found.shape, strict=False)
    ]
    if list(found.shape) != fitting or found.ndim != len(shape):
        raise RunError(
            f"The weight {name!r} has shape {found.shape}, where the run's settings ask for "
            f"{tuple('any' if s is None else s for s in shape)}."
        )
    return found
