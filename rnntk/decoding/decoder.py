"""A NumPy decoder for trained character models: starts at once, never imports TensorFlow.

It computes what `models.char_rnn.CharRNN` computes, logits within 1e-5 in float32 (tests/decoding).
At batch 1 a framework spends most of a step on its own bookkeeping; here a step is a handful of
BLAS and ufunc calls on buffers made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnntk.decoding.cells import CELLS, Floats, GRUResetBefore, Layer, Norm, Slot
from rnntk.errors import RunError, UsageError
from rnntk.layer_norm import standardized

_CHUNK_BYTES = (
    1 << 23
)  # of hoisted projections: large enough for a good product, small enough for a cache


WORTH_LOADING = 4e9
"""Floating-point operations from which on compiled kernels (`compiled.py`) are quicker, although they must
be loaded first."""

CACHED = 1 << 22
"""Bytes of weights that a core's caches hold. Beyond, one stream is as fast as memory is read, which takes
several cores: BLAS has them at once, the kernels if they draw too."""


class States:
    """The recurrent state of `n` streams, with the buffers a step works in.

    It belongs to the decoder that made it, and each step changes it in place.

    Attributes:
        n: streams.
        hidden: the hidden vectors of all layers side by side, `(n, layers * H)`; with layer normalisation each is
            followed by itself normalised, `(n, layers * 2H)`.
        logits: `(n, V)`, what the last step returned.
        upper: what a step does after the first layer, and on what.
        outputs: `(n, H)`, what the output layer reads.
    """

    def __init__(
        self, layers: list[Layer], vocabulary_size: int, n: int, *, layer_norm: bool
    ) -> None:
        units, each = layers[0].units, 2 if layer_norm else 1
        self.n = n
        self.hidden: Floats = np.zeros((n, each * len(layers) * units), np.float32)
        self.logits: Floats = np.zeros((n, vocabulary_size), np.float32)
        self.slots: list[Slot] = []
        self.upper: list[tuple[Callable[[Any], None], Slot | Norm]] = []
        for k, layer in enumerate(layers):
            view = self.hidden[:, max(0, each * k - 1) * units : (each * k + 1) * units]
            self.slots.append(layer.slot(view))
            if k:
                self.upper.append((layer.step, self.slots[k]))
            if layer_norm:
                start = (2 * k + 1) * units
                norm = Norm(self.slots[k].hidden, self.hidden[:, start : start + units])
                self.upper.append((norm.step, norm))
        self.outputs = self.hidden[:, -units:]

    def arrays(self) -> list[Floats]:
        """The state as views `(n, H)`, in CharRNN's order: h, c of each layer for LSTM, else h."""
        found = []
        for slot in self.slots:
            found.append(slot.hidden)
            if slot.cell.size:
                found.append(slot.cell)
        return found

    def assign(self, source: States, rows: NDArray[np.integer] | None = None) -> None:
        """Takes the state and logits of `source`, whose stream `rows[k]` becomes stream k.

        With one stream in `source` and no `rows`, every stream becomes a copy of it. `source` may
        be this state itself (beam search reorders its streams so).
        """
        for mine, theirs in zip(
            [*self.arrays(), self.logits], [*source.arrays(), source.logits], strict=True
        ):
            mine[:] = theirs if rows is None else theirs[rows]


class Decoder:
    """Runs a character model from its weights.

    Args:
        weights: float32 arrays by name in Keras' layout, memory-mapped or not:
            `embedding/embeddings` `(V, E)`; `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`,
            `rnn_<i>/bias` for each layer; `output/kernel` `(H, V)`, `output/bias` `(V,)`. A GRU's
            bias tells its form: `(2, 3H)` with the reset gate after the product, `(3H,)` before.
        cell: `lstm`, `gru` or `rnn`.
        layer_norm: whether each layer's outputs are normalised (`rnntk.layer_norm`).

    Attributes:
        vocabulary_size: V.
        units: H.
        layers: the cells, bottom first.
        weights: as given.
        layer_norm: as given.

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
        >>> decoder.step(np.array([0, 4]), states).shape
        (2, 5)
    """

    def __init__(
        self, weights: Mapping[str, NDArray[np.float32]], cell: str, *, layer_norm: bool = False
    ) -> None:
        if cell not in CELLS:
            raise UsageError(f"There is no cell {cell!r}; it can be {', '.join(CELLS)}.")
        embedding = _take(weights, "embedding/embeddings", (None, None))
        self.vocabulary_size = embedding.shape[0]
        self.cell = cell
        self.weights = weights
        self.layer_norm = layer_norm
        self.layers: list[Layer] = []
        inputs = embedding.shape[1]
        while not self.layers or f"rnn_{len(self.layers)}/kernel" in weights:
            name = f"rnn_{len(self.layers)}"
            H = _take(weights, f"{name}/recurrent_kernel", (None, None)).shape[0]
            gates = {"lstm": 4 * H, "gru": 3 * H, "rnn": H}[cell]
            kind = CELLS[cell]
            bias_shape: tuple[int, ...] = (gates,)
            if cell == "gru" and np.ndim(weights.get(f"{name}/bias", 0)) == 1:
                kind = GRUResetBefore
            elif cell == "gru":
                bias_shape = (2, gates)
            self.layers.append(
                kind(
                    _take(weights, f"{name}/kernel", (inputs, gates)),
                    _take(weights, f"{name}/recurrent_kernel", (H, gates)),
                    _take(weights, f"{name}/bias", bias_shape),
                    embedding if not self.layers else None,
                )
            )
            if self.layers[0].units != H:
                raise RunError(
                    f"Layer {name} has {H} units and the first {self.layers[0].units}: "
                    "the decoder needs layers of one width. Sample it with Keras instead."
                )
            inputs = H
        self.units = inputs
        self.output_kernel = np.array(
            _take(weights, "output/kernel", (self.units, self.vocabulary_size))
        )
        self.output_bias = np.array(_take(weights, "output/bias", (self.vocabulary_size,)))

    def initial_states(self, n: int = 1) -> States:
        """Zero states for `n` streams."""
        return States(self.layers, self.vocabulary_size, n, layer_norm=self.layer_norm)

    @property
    def weight_bytes(self) -> int:
        """Of all that a step reads."""
        sizes = (np.size(w) for name, w in self.weights.items() if not name.startswith("embedding"))
        return 4 * sum(sizes)

    def is_worth_compiling(self, num: int, length: int, *, by_strategies: bool) -> bool:
        """Whether `num` streams of `length` symbols are enough work for `compiled.draw`.

        Args:
            num: streams.
            length: symbols that each draws.
            by_strategies: whether Python has a say in each draw.
        """
        if isinstance(self.layers[0], GRUResetBefore):
            return False
        if num == 1 and self.weight_bytes > CACHED and (by_strategies or self.units % 32):
            return False
        return self.weight_bytes / 2 * num * length >= WORTH_LOADING

    def step(self, ids: NDArray[np.integer], states: States) -> Floats:
        """Feeds one symbol to each stream.

        Args:
            ids: `(n,)`.
            states: changed in place.

        Returns:
            Logits `(n, V)` of what comes next, in a buffer that the next step overwrites.
        """
        first = self.layers[0]
        slots = states.slots
        table = first.table
        assert table is not None
        if states.n == 1:
            first.advance(slots[0], table[ids[0]])
        else:
            # mode="clip" because NumPy copies the whole output when it has to check the indices.
            np.take(table, ids, axis=0, out=slots[0].x, mode="clip")
            first.advance(slots[0], slots[0].x)
        for step, slot in states.upper:
            step(slot)
        logits = states.logits
        states.outputs.dot(self.output_kernel, logits)
        np.add(logits, self.output_bias, logits)
        return logits

    def prime(self, ids: ArrayLike, states: States) -> Floats:
        """Feeds a whole text in one pass; each layer's input products are one product over time.

        Args:
            ids: `(T,)`, fed to every stream.
            states: changed in place.

        Returns:
            Logits `(n, V)` after the last symbol, in the buffer that `step` uses. With no symbols,
            the logits as they were.
        """
        ids = self._checked(ids)
        if ids.size:
            for outputs in self._outputs(ids, states):
                last = outputs[-1]
            states.logits[:] = last @ self.output_kernel + self.output_bias
        return states.logits

    def forward(self, ids: ArrayLike, states: States) -> Iterator[Floats]:
        """Logits after every symbol of a text, in chunks: a text of any length in bounded memory.

        Args:
            ids: `(T,)`.
            states: of one stream, changed in place.

        Yields:
            `(t, V)` arrays, in all T rows.
        """
        for outputs in self._outputs(self._checked(ids), states):
            yield outputs[:, 0] @ self.output_kernel + self.output_bias

    def costs(
        self,
        ids: ArrayLike,
        states: States | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float64]:
        """What each symbol of a text costs, the state carried through.

        Args:
            ids: `(T,)`.
            states: of one stream; from zero when None. After the call it has seen all but the last
                symbol, so that a text can be costed in parts that overlap by one symbol.
            progress: called with the symbols costed so far, and how many there are.

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

    def _outputs(self, ids: NDArray[np.integer], states: States) -> Iterator[Floats]:
        """The last layer's outputs `(t, n, H)` for each chunk of `ids`."""
        n, H = states.n, self.units
        row = max(self.layers[0].gates, self.vocabulary_size)
        chunk = max(1, _CHUNK_BYTES // (4 * n * row))
        for start in range(0, len(ids), chunk):
            part = ids[start : start + chunk]
            outputs = np.empty((len(part), n, H), np.float32)
            table = self.layers[0].table
            assert table is not None
            projected = table[part][:, None]  # (t, 1, gates), broadcast over the streams
            for k, (layer, slot) in enumerate(zip(self.layers, states.slots, strict=True)):
                if k:
                    projected = layer.project(outputs)
                for t in range(len(part)):
                    layer.advance(slot, projected[t])
                    outputs[t] = slot.hidden
                if self.layer_norm:
                    outputs = standardized(outputs)
            yield outputs

    def _checked(self, ids: ArrayLike) -> NDArray[np.integer]:
        found = np.asarray(ids)
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < self.vocabulary_size:
            raise UsageError(
                f"The text has symbols outside the model's vocabulary of {self.vocabulary_size}: "
                "it was prepared with another vocabulary."
            )
        return found


def _take(
    weights: Mapping[str, NDArray[np.float32]], name: str, shape: tuple[int | None, ...]
) -> NDArray[np.float32]:
    """The weight of that name as float32, checked against a shape where None fits any size."""
    if name not in weights:
        raise RunError(f"The weights lack {name!r}: the run is damaged or of another kind.")
    found = np.asarray(weights[name], np.float32)
    fits = len(found.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, found.shape, strict=True)
    )
    if not fits:
        raise RunError(
            f"The weight {name!r} has shape {found.shape}, where the run's settings ask for "
            f"{tuple('any' if s is None else s for s in shape)}."
        )
    return found
