"""cuDNN's recurrent functions, called directly with any algorithm.

The kernel launches of a stack of layers are recorded once as a CUDA graph and then replayed. All functions need the
device's CUDA context; see `enter_context_of`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from ctypes import byref, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Any

STANDARD, PERSIST_SMALL = 0, 3
MODES = {"rnn": 1, "lstm": 2, "gru": 3}
_TYPES = {"float32": 0, "bfloat16": 9}
_FLOAT, _DOUBLE_BIAS, _TENSOR_OP_MATH, _FMA_MATH, _PACKED, _TRAINING, _ADD = 0, 2, 1, 3, 1, 1, 0
_RELAXED_CAPTURE, _NON_BLOCKING, _DEVICE_ORDINAL = 2, 1, 9


class Unsupported(Exception):
    """cuDNN or the CUDA driver is missing or refused the call."""


@functools.cache
def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise Unsupported(str(error)) from error


def _dnn(function: str, *arguments: Any) -> None:
    status = getattr(_load("libcudnn.so.9"), f"cudnn{function}")(*arguments)
    if status:
        raise Unsupported(f"cudnn{function}: status {status}")


def _cuda(function: str, *arguments: Any) -> None:
    status = getattr(_load("libcuda.so.1"), f"cu{function}")(*arguments)
    if status:
        raise Unsupported(f"cu{function}: status {status}")


def enter_context_of(pointer: int) -> None:
    """Make the device that owns this memory current for the calling thread."""
    device = c_int()
    _cuda("PointerGetAttribute", byref(device), _DEVICE_ORDINAL, c_void_p(pointer))
    _cuda("CtxSetCurrent", _primary_context(device.value))


@functools.cache
def _primary_context(device: int) -> c_void_p:
    """The device's context that TensorFlow and cuDNN also use."""
    context = c_void_p()
    _cuda("DevicePrimaryCtxRetain", byref(context), device)
    return context


def wait_for_device() -> None:
    """Wait for all work of the current context."""
    _cuda("CtxSynchronize")


@dataclass(frozen=True)
class Problem:
    """A stack of recurrent layers over time."""

    mode: str  # a key of `MODES`
    dtype: str  # "float32" or "bfloat16"; sums are float32
    layers: int
    steps: int
    batch: int
    features: int
    units: int
    tensor_cores: bool  # whether float32 products may use TF32


def _created(kind: str) -> c_void_p:
    descriptor = c_void_p()
    _dnn(f"Create{kind}", byref(descriptor))
    return descriptor


class Stack:
    """A problem with its algorithm, memory and recorded graphs, on the current device.

    `algorithm` is `STANDARD` or `PERSIST_SMALL`; `allocate` returns the address of this many bytes of device memory,
    and keeps them alive.

    `sizes` and `buffers` have the bytes and the address of each buffer by name. `forward` reads x, h, c, w and writes
    y, h_after, c_after; `backward` also reads d_y, d_h_after, d_c_after and writes d_x, d_h, d_c, d_w.

    Raises `Unsupported` if cuDNN cannot run this algorithm on this problem.
    """

    def __init__(self, problem: Problem, algorithm: int, allocate: Callable[[int], int]) -> None:
        p, dtype, none = problem, _TYPES[problem.dtype], c_void_p()
        self._graphs: dict[str, c_void_p] = {}
        self._stream = c_void_p()
        _cuda("StreamCreate", byref(self._stream), _NON_BLOCKING)
        self._handle = _created("")
        _dnn("SetStream", self._handle, self._stream)
        dropout = _created("DropoutDescriptor")
        no_dropout = ctypes.c_float(0), none, c_size_t(0), ctypes.c_ulonglong(0)
        _dnn("SetDropoutDescriptor", dropout, self._handle, *no_dropout)
        self._rnn = _created("RNNDescriptor")
        math = _TENSOR_OP_MATH if p.dtype != "float32" or p.tensor_cores else _FMA_MATH
        kinds = (algorithm, MODES[p.mode], _DOUBLE_BIAS, 0, 0, dtype, _FLOAT, math)
        widths = (p.features, p.units, p.units, p.layers)
        _dnn("SetRNNDescriptor_v8", self._rnn, *kinds, *widths, dropout, 0)
        lengths = (c_int * p.batch)(*[p.steps] * p.batch)
        self._x, self._y = _created("RNNDataDescriptor"), _created("RNNDataDescriptor")
        for descriptor, width in ((self._x, p.features), (self._y, p.units)):
            layout = (dtype, _PACKED, p.steps, p.batch, width)
            _dnn("SetRNNDataDescriptor", descriptor, *layout, lengths, none)
        self._state = _created("TensorDescriptor")
        shape = (c_int * 3)(p.layers, p.batch, p.units)
        strides = (c_int * 3)(p.batch * p.units, p.units, 1)
        _dnn("SetTensorNdDescriptor", self._state, dtype, 3, shape, strides)
        weights, work, reserve = c_size_t(), c_size_t(), c_size_t()
        rnn = (self._handle, self._rnn)
        _dnn("GetRNNWeightSpaceSize", *rnn, byref(weights))
        _dnn("GetRNNTempSpaceSizes", *rnn, _TRAINING, self._x, byref(work), byref(reserve))
        item = 4 if p.dtype == "float32" else 2
        state = p.layers * p.batch * p.units * item
        rows = p.steps * p.batch * item
        sizes = {"x": rows * p.features, "y": rows * p.units, "w": weights.value}
        sizes |= dict.fromkeys(("h", "c", "h_after", "c_after"), state)
        self.sizes = {"lengths": 4 * p.batch, "work": work.value, "reserve": reserve.value}
        self.sizes |= sizes | {f"d_{name}": size for name, size in sizes.items()}
        self.buffers = {name: allocate(max(size, 1)) for name, size in self.sizes.items()}
        wait_for_device()  # for earlier users of that memory
        _cuda("MemcpyHtoD_v2", c_void_p(self.buffers["lengths"]), lengths, c_size_t(4 * p.batch))

    def forward(self) -> None:
        """Queue the forward pass."""
        self._play("forward", self._forward)

    def backward(self) -> None:
        """Queue the backward pass of the last `forward`."""
        self._play("backward", self._backward)

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy of memory."""
        _cuda("MemcpyAsync", c_void_p(target), c_void_p(source), c_size_t(size), self._stream)

    def wait(self) -> None:
        """Wait for all queued work."""
        _cuda("StreamSynchronize", self._stream)

    def _play(self, name: str, launch: Callable[[], None]) -> None:
        if name not in self._graphs:
            launch()  # cuDNN loads and allocates at its first call, which cannot be recorded
            self.wait()
            if name == "backward":  # it has overwritten its inputs
                self.forward()
                self.wait()
            graph, recorded = c_void_p(), c_void_p()
            _cuda("StreamBeginCapture_v2", self._stream, _RELAXED_CAPTURE)
            try:
                launch()
            finally:
                _cuda("StreamEndCapture", self._stream, byref(graph))
            _cuda("GraphInstantiateWithFlags", byref(recorded), graph, ctypes.c_ulonglong(0))
            self._graphs[name] = recorded
        _cuda("GraphLaunch", self._graphs[name], self._stream)

    def _at(self, *names: str) -> list[c_void_p]:
        return [c_void_p(self.buffers[name]) for name in names]

    def _spaces(self, weights: str) -> list[Any]:
        found: list[Any] = []
        for name in (weights, "work", "reserve"):
            found += [c_size_t(self.sizes[name]), *self._at(name)]
        return found

    def _forward(self) -> None:
        sequences = (self._x, *self._at("x"), self._y, *self._at("y"))
        states = (self._state, *self._at("h", "h_after"), self._state, *self._at("c", "c_after"))
        rnn = (self._handle, self._rnn, _TRAINING, *self._at("lengths"))
        _dnn("RNNForward", *rnn, *sequences, *states, *self._spaces("w"))

    def _backward(self) -> None:
        rnn = (self._handle, self._rnn)
        sequences = (self._y, *self._at("y", "d_y"), self._x, *self._at("d_x"))
        h = (self._state, *self._at("h", "d_h_after", "d_h"))
        c = (self._state, *self._at("c", "d_c_after", "d_c"))
        lengths, d_w = self._at("lengths", "d_w")
        _dnn("RNNBackwardData_v8", *rnn, lengths, *sequences, *h, *c, *self._spaces("w"))
        _cuda("MemsetD8Async", d_w, ctypes.c_ubyte(0), c_size_t(self.sizes["d_w"]), self._stream)
        inputs = (self._x, *self._at("x"), self._state, *self._at("h"), self._y, *self._at("y"))
        _dnn("RNNBackwardWeights_v8", *rnn, _ADD, lengths, *inputs, *self._spaces("d_w"))
