"""The recurrent cells, one step at a time, in NumPy and in place.

Keras' equations and weight layouts. Three rearrangements make a step cheap; none changes what is
computed beyond rounding in float32:

- sigmoid(x) = (1 + tanh(x / 2)) / 2, which never overflows. The halving is folded into the gates'
  columns (exact, being a power of two), so that one tanh serves all gates and the LSTM's candidate.
- A layer's kernel and recurrent kernel are one matrix, its rows in the order of the buffer that
  holds the hidden vectors of all layers side by side: `[h below, h]` is a slice, nothing is copied.
- In the first layer the embedding is folded: a symbol's row of `E @ W + b` is its input product.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rnntk.layer_norm import EPSILON

Floats = NDArray[np.float32]

# In the loop every call counts, each being half a microsecond of overhead: an operand of no axes is
# cheaper than a Python float, a positional out than a keyword, the method dot than the function.
_HALF = np.array(0.5, np.float32)
_EPSILON = np.array(EPSILON, np.float32)
_add, _multiply, _tanh = np.add, np.multiply, np.tanh


class Slot:
    """One layer's part of the state of `n` streams, and the scratch space its step works in.

    Args:
        below_and_hidden: view of the hidden buffer, `(n, inputs + H)`; in the first layer `(n, H)`.
        units: H.
        gates: columns of the gate buffer.

    Attributes:
        cell: an LSTM's cell state `(n, H)`; else empty.
        product: `product(a, b, out)`, the matrix product that suits the buffers.
    """

    product: Any = staticmethod(np.ndarray.dot)

    def __init__(self, below_and_hidden: Floats, units: int, gates: int) -> None:
        n, width = below_and_hidden.shape
        self.source = below_and_hidden
        self.below = below_and_hidden[:, : width - units]
        self.hidden = below_and_hidden[:, width - units :]
        self.cell: Floats = np.zeros((n, 0), np.float32)
        self.z: Floats = np.empty((n, gates), np.float32)
        self.x: Floats = np.empty((n, gates), np.float32)
        self.scratch: Floats = np.empty((n, units), np.float32)
        # Made once: slicing in the loop would cost as much as the arithmetic of a small layer.
        self.views: tuple[Floats, ...] = (
            self.z[:, : gates - units],
            *(self.z[:, k * units : (k + 1) * units] for k in range(gates // units)),
        )


class Layer(Protocol):
    """What the decoder asks of a layer."""

    units: int
    gates: int
    table: Floats | None  # (V, gates): the folded embedding, first layer only

    def slot(self, below_and_hidden: Floats) -> Slot:
        """Zero state and scratch space for the streams of `below_and_hidden`."""

    def project(self, inputs: Floats) -> Floats:
        """Input half of the gates, many steps at once: `(..., inputs)` to `(..., gates)`."""

    def advance(self, slot: Slot, projected: Floats) -> None:
        """One step in place from projected inputs that broadcast to `(n, gates)`."""

    def step(self, slot: Slot) -> None:
        """One step in place from the hidden vector of the layer below, already in the slot."""


class LSTM:
    """Long short-term memory, Keras' weights: gates i, f, c, o along the last axis.

    Args:
        kernel: `(inputs, 4H)`.
        recurrent_kernel: `(H, 4H)`.
        bias: `(4H,)`.
        embedding: `(V, inputs)` to fold into the kernel, for the first layer.
    """

    def __init__(
        self,
        kernel: Floats,
        recurrent_kernel: Floats,
        bias: Floats,
        embedding: Floats | None = None,
    ) -> None:
        H = self.units = recurrent_kernel.shape[0]
        stacked = np.concatenate([kernel, recurrent_kernel, bias[None]])
        i, f, c, o = np.split(stacked, 4, axis=1)
        # i, f, o side by side take the sigmoid's scale and shift in one go; c takes neither.
        stacked = np.concatenate([i * 0.5, f * 0.5, o * 0.5, c], axis=1, dtype=np.float32)
        self.bias = stacked[-1]
        self.matrix = stacked[:-1]
        self.table: Floats | None = None
        self.kernel = self.matrix[: kernel.shape[0]]
        self.recurrent = self.matrix[kernel.shape[0] :]
        if embedding is not None:
            self.table = embedding @ self.kernel + self.bias
        self.gates = 4 * H

    def slot(self, below_and_hidden: Floats) -> Slot:
        """Zero state and scratch space for the streams of `below_and_hidden`."""
        return _LSTMSlot(below_and_hidden, self.units, self.gates)

    def project(self, inputs: Floats) -> Floats:
        """Input half of the gates for many steps: `(..., inputs)` to `(..., 4H)`."""
        return _affine(inputs, self.kernel, self.bias)

    def advance(self, slot: Slot, projected: Floats) -> None:
        """One step in place from projected inputs."""
        slot.product(slot.hidden, self.recurrent, slot.z)
        self._activate(slot, projected)

    def step(self, slot: Slot) -> None:
        """One step in place from the layer below."""
        slot.product(slot.source, self.matrix, slot.z)
        self._activate(slot, self.bias)

    def _activate(self, slot: Slot, addend: Floats) -> None:
        z, sigmoids, i_f, candidate_c, o, products, i_candidate, f_c, c, scratch, hidden = (
            slot.views
        )
        _add(z, addend, z)
        _tanh(z, z)
        _multiply(sigmoids, _HALF, sigmoids)
        _add(sigmoids, _HALF, sigmoids)
        _multiply(i_f, candidate_c, products)
        _add(i_candidate, f_c, c)
        _tanh(c, scratch)
        _multiply(o, scratch, hidden)


class _LSTMSlot(Slot):
    """The cell state stands behind the gates, so that i * candidate and f * c are one product."""

    def __init__(self, below_and_hidden: Floats, units: int, gates: int) -> None:
        super().__init__(below_and_hidden, units, gates)
        n, H = len(below_and_hidden), units
        block: Floats = np.zeros((n, 5 * H), np.float32)
        products: Floats = np.empty((n, 2 * H), np.float32)
        self.z, self.cell = block[:, : 4 * H], block[:, 4 * H :]
        if n > 1:  # dot, the quicker one, writes only into whole arrays
            self.product = np.matmul
        self.views = (
            self.z,
            block[:, : 3 * H],
            block[:, : 2 * H],
            block[:, 3 * H :],
            block[:, 2 * H : 3 * H],
            products,
            products[:, :H],
            products[:, H:],
            self.cell,
            self.scratch,
            self.hidden,
        )


class GRU:
    """Gated recurrent unit in Keras' `reset_after=True` form: gates z, r, h.

    The reset gate multiplies the recurrent half of the candidate alone, so that half has to stay
    apart from the input half: two products a step, where one matrix would be a quarter zeros.

    Args:
        kernel: `(inputs, 3H)`.
        recurrent_kernel: `(H, 3H)`.
        bias: `(2, 3H)`: input bias, recurrent bias.
        embedding: `(V, inputs)` to fold into the kernel, for the first layer.
    """

    def __init__(
        self,
        kernel: Floats,
        recurrent_kernel: Floats,
        bias: Floats,
        embedding: Floats | None = None,
    ) -> None:
        H = self.units = recurrent_kernel.shape[0]
        scale = np.repeat(np.array([0.5, 0.5, 1.0], np.float32), H)
        self.kernel = kernel * scale
        self.recurrent = recurrent_kernel * scale
        self.bias = bias[0] * scale
        self.bias[: 2 * H] += bias[1, : 2 * H] * np.float32(0.5)
        self.candidate_bias = np.array(bias[1, 2 * H :])
        self.table = None if embedding is None else embedding @ self.kernel + self.bias
        self.gates = 3 * H

    def slot(self, below_and_hidden: Floats) -> Slot:
        """Zero state and scratch space for the streams of `below_and_hidden`."""
        return Slot(below_and_hidden, self.units, self.gates)

    def project(self, inputs: Floats) -> Floats:
        """Input half of the gates for many steps: `(..., inputs)` to `(..., 3H)`."""
        return _affine(inputs, self.kernel, self.bias)

    def step(self, slot: Slot) -> None:
        """One step in place from the layer below."""
        slot.below.dot(self.kernel, slot.x)
        np.add(slot.x, self.bias, slot.x)
        self.advance(slot, slot.x)

    def advance(self, slot: Slot, projected: Floats) -> None:
        """One step in place from projected inputs."""
        H, hidden = self.units, slot.hidden
        sigmoids, z, r, candidate = slot.views
        hidden.dot(self.recurrent, slot.z)
        np.add(sigmoids, projected[..., : 2 * H], sigmoids)
        np.tanh(sigmoids, sigmoids)
        np.multiply(sigmoids, _HALF, sigmoids)
        np.add(sigmoids, _HALF, sigmoids)
        np.add(candidate, self.candidate_bias, candidate)
        np.multiply(candidate, r, candidate)
        np.add(candidate, projected[..., 2 * H :], candidate)
        np.tanh(candidate, candidate)
        # h = z * h + (1 - z) * candidate, as candidate + z * (h - candidate): one product less.
        np.subtract(hidden, candidate, hidden)
        np.multiply(hidden, z, hidden)
        np.add(hidden, candidate, hidden)


class GRUResetBefore:
    """Gated recurrent unit in Keras' `reset_after=False` form: gates z, r, h.

    The reset gate multiplies the state before its product with the candidate's columns (Cho et al.,
    2014; TensorFlow 1's GRUCell), so the candidate has to wait for the gates: two products a step.

    Args:
        kernel: `(inputs, 3H)`.
        recurrent_kernel: `(H, 3H)`.
        bias: `(3H,)`.
        embedding: `(V, inputs)` to fold into the kernel, for the first layer.
    """

    def __init__(
        self,
        kernel: Floats,
        recurrent_kernel: Floats,
        bias: Floats,
        embedding: Floats | None = None,
    ) -> None:
        H = self.units = recurrent_kernel.shape[0]
        scale = np.repeat(np.array([0.5, 0.5, 1.0], np.float32), H)
        self.kernel = kernel * scale
        self.recurrent = recurrent_kernel[:, : 2 * H] * np.float32(0.5)
        self.recurrent_candidate = np.array(recurrent_kernel[:, 2 * H :])
        self.bias = bias * scale
        self.table = None if embedding is None else embedding @ self.kernel + self.bias
        self.gates = 3 * H

    def slot(self, below_and_hidden: Floats) -> Slot:
        """Zero state and scratch space for the streams of `below_and_hidden`."""
        return Slot(below_and_hidden, self.units, self.gates)

    def project(self, inputs: Floats) -> Floats:
        """Input half of the gates for many steps: `(..., inputs)` to `(..., 3H)`."""
        return _affine(inputs, self.kernel, self.bias)

    def step(self, slot: Slot) -> None:
        """One step in place from the layer below."""
        slot.below.dot(self.kernel, slot.x)
        np.add(slot.x, self.bias, slot.x)
        self.advance(slot, slot.x)

    def advance(self, slot: Slot, projected: Floats) -> None:
        """One step in place from projected inputs."""
        H, hidden, scratch = self.units, slot.hidden, slot.scratch
        sigmoids, z, r, candidate = slot.views
        np.matmul(hidden, self.recurrent, sigmoids)
        np.add(sigmoids, projected[..., : 2 * H], sigmoids)
        np.tanh(sigmoids, sigmoids)
        np.multiply(sigmoids, _HALF, sigmoids)
        np.add(sigmoids, _HALF, sigmoids)
        np.multiply(hidden, r, scratch)
        np.matmul(scratch, self.recurrent_candidate, candidate)
        np.add(candidate, projected[..., 2 * H :], candidate)
        np.tanh(candidate, candidate)
        np.subtract(hidden, candidate, hidden)
        np.multiply(hidden, z, hidden)
        np.add(hidden, candidate, hidden)


class SimpleRNN:
    """h = tanh(x W + h U + b).

    Args:
        kernel: `(inputs, H)`.
        recurrent_kernel: `(H, H)`.
        bias: `(H,)`.
        embedding: `(V, inputs)` to fold into the kernel, for the first layer.
    """

    def __init__(
        self,
        kernel: Floats,
        recurrent_kernel: Floats,
        bias: Floats,
        embedding: Floats | None = None,
    ) -> None:
        self.units = self.gates = recurrent_kernel.shape[0]
        self.matrix = np.concatenate([kernel, recurrent_kernel])
        self.kernel = self.matrix[: kernel.shape[0]]
        self.recurrent = self.matrix[kernel.shape[0] :]
        self.bias = np.array(bias)
        self.table: Floats | None = None
        if embedding is not None:
            self.table = embedding @ self.kernel + self.bias

    def slot(self, below_and_hidden: Floats) -> Slot:
        """Zero state and scratch space for the streams of `below_and_hidden`."""
        return Slot(below_and_hidden, self.units, self.gates)

    def project(self, inputs: Floats) -> Floats:
        """Input half of the sum for many steps: `(..., inputs)` to `(..., H)`."""
        return _affine(inputs, self.kernel, self.bias)

    def advance(self, slot: Slot, projected: Floats) -> None:
        """One step in place from projected inputs."""
        slot.hidden.dot(self.recurrent, slot.z)
        np.add(slot.z, projected, slot.z)
        np.tanh(slot.z, slot.hidden)

    def step(self, slot: Slot) -> None:
        """One step in place from the layer below."""
        slot.source.dot(self.matrix, slot.z)
        np.add(slot.z, self.bias, slot.z)
        np.tanh(slot.z, slot.hidden)


class Norm:
    """Layer normalisation of one layer's outputs, and the scratch space of its step.

    Args:
        source: the layer's hidden vectors, `(n, H)`.
        target: where they go with mean 0 and variance 1.
    """

    def __init__(self, source: Floats, target: Floats) -> None:
        n, H = source.shape
        self.source, self.target = source, target
        self.squares: Floats = np.empty((n, H), np.float32)
        self.mean, self.variance = (np.empty((n, 1), np.float32) for _ in range(2))
        self.average: Floats = np.full((H, 1), 1 / H, np.float32)

    @staticmethod
    def step(norm: Norm) -> None:
        """One step in place."""
        target, squares, mean, variance = norm.target, norm.squares, norm.mean, norm.variance
        norm.source.dot(norm.average, mean)
        np.subtract(norm.source, mean, target)
        _multiply(target, target, squares)
        squares.dot(norm.average, variance)
        _add(variance, _EPSILON, variance)
        np.sqrt(variance, variance)
        np.divide(target, variance, target)


def _affine(inputs: Floats, kernel: Floats, bias: Floats) -> Floats:
    """One product for all steps and streams; a stack of three axes would be a product a step."""
    flat = inputs.reshape(-1, inputs.shape[-1]) @ kernel
    flat += bias
    return flat.reshape(*inputs.shape[:-1], -1)


CELLS: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn": SimpleRNN}
