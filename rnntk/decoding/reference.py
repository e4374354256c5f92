"""The decoder in plain NumPy: the reference for `decoding.compiled`, and the fallback where kernels cannot run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import Cell
from rnntk.layer_norm import standardized

if TYPE_CHECKING:
    from rnntk.decoding.decoder import Decoder

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_CHUNK = 256  # symbols of a text

NUMPY: Any = SimpleNamespace(
    add=np.add,
    sub=np.subtract,
    mul=np.multiply,
    fma=lambda a, b, c: a * b + c,
    tanh=np.tanh,
    sigmoid=lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,  # which never overflows
)
"""`rnntk.cells.Arithmetic` on NumPy arrays."""


class LayerWeights:
    """The weights of a recurrent layer of H `units`.

    `kernel` `(inputs, gates * H)` and `recurrent_kernel` `(H, gates * H)` have the gates in the order of `cell.gates`;
    `bias` is `(gates * H,)`, or `(2, gates * H)`, input then recurrent bias, for a cell with gates apart.
    """

    def __init__(self, cell: Cell, kernel: Floats, recurrent_kernel: Floats, bias: Floats) -> None:
        self.cell, self.kernel, self.recurrent_kernel = cell, kernel, recurrent_kernel
        self.bias = bias[0] if cell.apart else bias
        self.recurrent_bias = bias[1] if cell.apart else np.zeros_like(bias)
        self.units = len(recurrent_kernel)

    def step(self, inputs: Floats, before: Mapping[str, Floats]) -> dict[str, Floats]:
        """All gates and new states by letter, `(..., H)` each, from inputs `(..., inputs)` and the states before."""

        def project(gate: str, x: Floats, kernel: Floats, bias: Floats) -> Floats:
            k = self.cell.gates.index(gate)
            at = slice(k * self.units, (k + 1) * self.units)
            return x @ kernel[:, at] + bias[at]

        def input_projection(gate: str) -> Floats:
            return project(gate, inputs, self.kernel, self.bias)

        def recurrent_projection(gate: str, of: Floats | None = None) -> Floats:
            return project(
                gate, before["h"] if of is None else of, self.recurrent_kernel, self.recurrent_bias
            )

        operands: Any = SimpleNamespace(
            before=before.__getitem__,
            input=input_projection,
            recurrent=recurrent_projection,
            total=lambda gate, of=None: input_projection(gate) + recurrent_projection(gate, of),
        )
        return self.cell.step(NUMPY, operands)


class States:
    """The recurrent states of `n` streams of a decoder, changed in place by each step.

    `layers` holds the states of each layer by letter, bottom layer first, `(n, H)` each; `logits` `(n, V)` those of the
    last step.
    """

    def __init__(self, decoder: Decoder, n: int) -> None:
        self.n, self.decoder = n, decoder
        self.layers: list[dict[str, Floats]] = [
            {state: np.zeros((n, layer.units), np.float32) for state in layer.cell.states}
            for layer in decoder.layers
        ]
        self.logits: Floats = np.zeros((n, decoder.vocabulary_size), np.float32)

    def arrays(self) -> list[Floats]:
        """The states as `(n, H)` arrays in CharRNN's order: h and c of each layer for an LSTM, else h."""
        return [array for layer in self.layers for array in layer.values()]

    def assign(self, source: States, rows: NDArray[np.integer] | slice | None = None) -> None:
        """Copy stream `rows[k]` of `source` (which may be this object) to stream k, states and logits.

        Without `rows`, copy all streams, or a single one to every stream.
        """
        for mine, theirs in zip(
            [*self.arrays(), self.logits], [*source.arrays(), source.logits], strict=True
        ):
            mine[:] = theirs if rows is None else theirs[rows]

    def step(self, ids: NDArray[np.integer]) -> Floats:
        """Feed one symbol to each stream, `ids` `(n,)`; logits `(n, V)` in a buffer that the next step overwrites."""
        self.logits[:] = self.output(self._top(ids))
        return self.logits

    def generate(
        self, uniforms: Doubles, ids: NDArray[np.intp], losses: Doubles, temperature: float
    ) -> bool:
        """Sample symbols from the softmax in one call; returns whether that is supported, here False.

        Args:
            uniforms: `(steps, n)` in [0, 1), the random numbers; all three arrays may be columns of larger ones.
            ids, losses: outputs of the same shape: symbols, and their losses in nats at temperature 1.
            temperature: divides the logits.
        """
        return False

    def helped(self, steps: int) -> AbstractContextManager[None]:
        """Context in which other cores help with the next `steps` steps if that is faster; not here."""
        return nullcontext()

    def read(self, ids: NDArray[np.integer]) -> Iterator[Floats]:
        """Feed a text, `ids` `(T,)`, to every stream; yield the top layer's outputs `(t, n, H)`, without logits."""
        for start in range(0, len(ids), _CHUNK):
            yield np.stack([self._top(np.full(self.n, k)) for k in ids[start : start + _CHUNK]])

    def output(self, outputs: Floats) -> Floats:
        """Logits `(..., V)` of the top layer's outputs `(..., H)`."""
        return outputs @ self.decoder.output_kernel + self.decoder.output_bias

    def _top(self, ids: NDArray[np.integer]) -> Floats:
        x = self.decoder.embedding[ids]
        for layer, states in zip(self.decoder.layers, self.layers, strict=True):
            found = layer.step(x, states)
            for state, array in states.items():
                array[:] = found[state]
            x = standardized(found["h"]) if self.decoder.layer_norm else found["h"]
        return x
