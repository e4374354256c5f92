"""The decoder in plain NumPy: what the compiled one (`decoding.compiled`) computes, to be read and compared with.

It samples text too, where kernels cannot run.
"""

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

_CHUNK = 256
"""Symbols of a text whose outputs are held at once."""


NUMPY: Any = SimpleNamespace(
    add=np.add,
    sub=np.subtract,
    mul=np.multiply,
    fma=lambda a, b, c: a * b + c,
    tanh=np.tanh,
    sigmoid=lambda x: 0.5 * np.tanh(0.5 * x) + 0.5,  # which never overflows
)
"""The operations that cells are made of (`rnntk.cells.Arithmetic`), on arrays."""


class LayerWeights:
    """The weights of a recurrent layer of H `units`.

    Args:
        cell: its kind.
        kernel: `(inputs, gates * H)`, gates in the order of `cell.gates`.
        recurrent_kernel: `(H, gates * H)`.
        bias: `(gates * H,)`; where the cell has a bias of its recurrent share, which else is zero, `(2, gates * H)`.
    """

    def __init__(self, cell: Cell, kernel: Floats, recurrent_kernel: Floats, bias: Floats) -> None:
        self.cell, self.kernel, self.recurrent_kernel = cell, kernel, recurrent_kernel
        self.bias = bias[0] if cell.apart else bias
        self.recurrent_bias = bias[1] if cell.apart else np.zeros_like(bias)
        self.units = len(recurrent_kernel)

    def step(self, inputs: Floats, before: Mapping[str, Floats]) -> dict[str, Floats]:
        """All gates and the states after the step, by letter (see `rnntk.cells.Cell`), `(..., H)` each.

        Args:
            inputs: `(..., inputs)`.
            before: the states before the step by letter, `(..., H)` each.
        """

        def share(gate: str, x: Floats, kernel: Floats, bias: Floats) -> Floats:
            k = self.cell.gates.index(gate)
            at = slice(k * self.units, (k + 1) * self.units)
            return x @ kernel[:, at] + bias[at]

        def input_share(gate: str) -> Floats:
            return share(gate, inputs, self.kernel, self.bias)

        def recurrent_share(gate: str, of: Floats | None = None) -> Floats:
            factor = before["h"] if of is None else of
            return share(gate, factor, self.recurrent_kernel, self.recurrent_bias)

        operands: Any = SimpleNamespace(
            before=before.__getitem__,
            input=input_share,
            recurrent=recurrent_share,
            total=lambda gate, of=None: input_share(gate) + recurrent_share(gate, of),
        )
        return self.cell.step(NUMPY, operands)


class States:
    """The recurrent states of `n` streams of a decoder, which each step changes in place.

    Attributes:
        layers: the states of each layer, bottom first: by letter, `(n, H)` each.
        logits: `(n, V)`, from the last step.
    """

    def __init__(self, decoder: Decoder, n: int) -> None:
        self.n, self.decoder = n, decoder
        self.layers: list[dict[str, Floats]] = [
            {state: np.zeros((n, layer.units), np.float32) for state in layer.cell.states}
            for layer in decoder.layers
        ]
        self.logits: Floats = np.zeros((n, decoder.vocabulary_size), np.float32)

    def arrays(self) -> list[Floats]:
        """The states as `(n, H)` arrays, in CharRNN's order: h, c of each layer for LSTM, else h."""
        return [array for layer in self.layers for array in layer.values()]

    def assign(self, source: States, rows: NDArray[np.integer] | slice | None = None) -> None:
        """Copy states and logits of `source`, whose stream `rows[k]` becomes stream k.

        With one stream in `source` and no `rows`, every stream becomes a copy of it. `source` may
        be this object itself (beam search reorders its streams so).
        """
        for mine, theirs in zip(
            [*self.arrays(), self.logits], [*source.arrays(), source.logits], strict=True
        ):
            mine[:] = theirs if rows is None else theirs[rows]

    def step(self, ids: NDArray[np.integer]) -> Floats:
        """Feed one symbol to each stream, `ids` `(n,)`.

        Returns:
            Logits `(n, V)` of what comes next, in a buffer that the next step overwrites.
        """
        self.logits[:] = self.output(self._top(ids))
        return self.logits

    def generate(
        self,
        uniforms: NDArray[np.float64],
        ids: NDArray[np.intp],
        losses: NDArray[np.float64],
        temperature: float,
    ) -> bool:
        """Sample symbols from the softmax in one call, each from the logits that the one before leads to.

        Args:
            uniforms: in [0, 1), which decide, `(steps, n)`; all three arrays may be columns of larger ones.
            ids, losses: filled with the symbols and their losses in nats at temperature 1, the same shape.
            temperature: divides the logits.

        Returns:
            whether that was possible; it is not here.
        """
        return False

    def helped(self, steps: int) -> AbstractContextManager[None]:
        """Let the other cores take part in the next `steps` steps, where that pays; it does not here."""
        return nullcontext()

    def read(self, ids: NDArray[np.integer]) -> Iterator[Floats]:
        """Feed a text, `ids` `(T,)`, to every stream; yields the top layer's outputs in chunks `(t, n, H)`.

        The logits stay as they were.
        """
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
