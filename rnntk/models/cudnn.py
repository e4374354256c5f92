"""The GPU path: runs a stack of recurrent layers in cuDNN.

TensorFlow's own operation launches cuDNN's standard algorithm kernel by kernel, which keeps the host busy. In a graph
`cudnn_library` runs the whole stack instead: persistent kernels for small layers, else a replayed CUDA graph.
TensorFlow's operation still serves eager calls, unknown shapes and several replicas.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.models import cudnn_library as library

_MODES = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh"}  # TensorFlow's names
_GPU = "GPU:0"


def has_gpu() -> bool:
    """Whether TensorFlow has a GPU in this process."""
    return bool(tf.config.list_logical_devices("GPU"))


def can_run(layers: Sequence[Any]) -> bool:
    """Whether there is a GPU and cuDNN can compute these layers exactly."""
    return has_gpu() and _is_cuda_build() and all(layer.is_standard for layer in layers)


def _is_cuda_build() -> bool:
    """False for AMD GPUs, whose operations have the same names but another weight layout."""
    return bool(tf.sysconfig.get_build_info()["is_cuda_build"])


def stack(
    layers: Sequence[Any], x: tf.Tensor, states: Sequence[tf.Tensor], *, bfloat16: bool = False
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Run a stack of recurrent layers of one kind and width.

    Args:
        layers: layers of `rnntk.models.layers` that `can_run`.
        x: `(T, B, F)` float32.
        states: flat list of `(B, H)`, lowest layer first: h and c of each layer for an LSTM, else h.
        bfloat16: compute in bfloat16 with float32 sums; weights, inputs and results stay float32.

    Returns:
        The top layer's outputs `(T, B, H)`, and the final states in the order of `states`.

    Raises:
        UsageError: bfloat16 in a graph that can only use TensorFlow's operation, which computes in float32.
    """
    per_layer = len(states) // len(layers)
    stacked = [tf.stack(states[i::per_layer]) for i in range(per_layer)]
    dtype = tf.bfloat16 if bfloat16 else tf.float32
    operands = [tf.cast(operand, dtype) for operand in (x, *stacked, parameters(layers))]
    runner, reason = None, "TensorFlow is not in a graph"
    if not tf.executing_eagerly() and operands[0].shape.is_fully_defined():
        runner, reason = _runner_of(layers, operands[0])
        if runner is None and bfloat16:
            raise UsageError(
                f'`precision="bfloat16"` is not available on this GPU: {reason}. Use "float32".'
            )
    run = functools.partial(_by_operation, layers[0].kind.name) if runner is None else runner
    outputs, *after = (tf.cast(result, tf.float32) for result in run(*operands))
    return outputs, [part[i] for i in range(len(layers)) for part in after]


def parameters(layers: Sequence[Any]) -> tf.Tensor:
    """The weights of these layers as one vector in cuDNN's layout; differentiable."""
    cells = [layer.cell for layer in layers]
    parts = [part for cell in cells for part in (cell.kernel, cell.recurrent_kernel, cell.bias)]
    pack = compiled(_packed, bool(layers[0].kind.apart))
    return pack([tf.convert_to_tensor(part) for part in parts])


def _packed(inner_bias: bool, parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Transposed kernels of all layers, then two biases per layer; a GRU's gates in the order r, z, h."""

    def gates(rows: tf.Tensor) -> list[tf.Tensor]:
        if not inner_bias:
            return [rows]
        update, reset, new = tf.split(rows, 3)
        return [reset, update, new]

    weights = [gates(tf.transpose(part)) for i, part in enumerate(parts) if i % 3 < 2]
    biases = [
        gates(bias)
        for part in parts[2::3]
        for bias in (tf.unstack(part) if inner_bias else [part, tf.zeros_like(part)])
    ]
    return tf.concat([tf.reshape(part, [-1]) for parts in weights + biases for part in parts], 0)


def compiled(function: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
    """`function` with its first arguments fixed, fused by XLA where available."""
    made = functools.partial(function, *fixed)
    if tf.executing_eagerly() or tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return made
    with tf.init_scope():
        return tf.function(made, jit_compile=True, autograph=False) if _has_xla() else made


@functools.cache
def _has_xla() -> bool:
    try:
        with tf.device(_GPU):
            tf.function(lambda x: tf.tanh(x) + 1, jit_compile=True)(tf.ones([3])).numpy()
    except (tf.errors.OpError, ValueError):
        return False
    return has_gpu()


def _by_operation(cell: str, x: tf.Tensor, h: tf.Tensor, *others: tf.Tensor) -> tuple[Any, ...]:
    """Run TensorFlow's own operation."""
    *c, params = others
    steps, batch = tf.unstack(tf.shape(x)[:2])
    made = tf.raw_ops.CudnnRNNV3(
        input=x, input_h=h, input_c=c[0] if c else tf.zeros([], x.dtype), params=params,
        sequence_lengths=tf.fill([batch], steps), rnn_mode=_MODES[cell],
    )  # fmt: skip
    return (made.output, made.output_h, made.output_c)[: 2 + len(c)]


def _runner_of(layers: Sequence[Any], x: tf.Tensor) -> tuple[_Runner | None, str]:
    """A runner that calls cuDNN directly, or None and the reason."""
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return None, "several replicas share the batch"
    steps, batch, features = x.shape
    sizes = (len(layers), steps, batch, features, layers[0].units)
    tensor_cores = tf.config.experimental.tensor_float_32_execution_enabled()
    problem = library.Problem(layers[0].kind.name, x.dtype.name, *sizes, tensor_cores)
    try:
        with tf.init_scope():
            return _runner(problem, layers[0].name), ""
    except library.Unsupported as error:
        return None, str(error)


@functools.cache
def _runner(problem: library.Problem, place: str) -> _Runner:
    """The runner of a problem and layer, reused because TensorFlow never frees a graph's Python functions.

    Each layer (`place`) has its own, since a runner keeps data for the backward pass.
    """
    del place
    return _Runner(problem)


class _Runner:
    """A differentiable function of x, h, c (LSTM only) and the parameters, in a graph on one GPU.

    TensorFlow does not expose its CUDA stream, so Python callbacks run cuDNN on a stream of their own and wait for it.
    Memory comes from TensorFlow and is never freed. Raises `library.Unsupported`.
    """

    def __init__(self, problem: library.Problem) -> None:
        self._memory: list[tf.Tensor] = []
        self._lock = threading.Lock()
        self._last = 0  # address of the last forward pass' outputs
        self._dtype = tf.as_dtype(problem.dtype)
        state = (problem.layers, problem.batch, problem.units)
        rows = (problem.steps, problem.batch)
        both = ("h", "c") if problem.mode == "lstm" else ("h",)
        self._inputs = ("x", *both, "w")
        self._outputs = ("y", *(f"{name}_after" for name in both))
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._shapes |= {"x": (*rows, problem.features), "y": (*rows, problem.units)}
        self._shapes |= dict.fromkeys(("h", "c", "h_after", "c_after"), state)
        library.enter_context_of(self._allocate(1))
        try:
            self._stack = library.Stack(problem, library.PERSIST_SMALL, self._allocate)
        except library.Unsupported:
            self._stack = library.Stack(problem, library.STANDARD, self._allocate)
        self._shapes["w"] = (self._stack.sizes["w"] // self._dtype.size,)
        with tf.device("CPU:0"):  # where the operation reads them
            self._sizes = {name: tf.constant(shape) for name, shape in self._shapes.items()}

    def _allocate(self, size: int) -> int:
        with tf.device(_GPU):
            self._memory.append(tf.raw_ops.Empty(shape=[-(-size // 4)], dtype=tf.float32))
        return _pointer(self._memory[-1])

    def __call__(self, *inputs: tf.Tensor) -> Any:
        """Outputs and final states."""

        @tf.custom_gradient
        def over_time(*inputs: tf.Tensor) -> Any:
            made = self._called(self._forward, inputs, self._outputs)

            def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
                return self._called(self._backward, [*inputs, made[0], *upstream], self._inputs)

            return tuple(made), gradient

        return over_time(*inputs)

    def _called(self, function: Any, given: Sequence[tf.Tensor], names: Sequence[str]) -> list[Any]:
        with tf.device(_GPU):  # otherwise tensors would go through host memory
            results = tf.py_function(function, given, [self._dtype] * len(names))
        for name, result in zip(names, results, strict=True):
            result.set_shape(self._shapes[name])
        return list(results)

    def _forward(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        results = self._empty(self._outputs)
        with self._lock:
            library.enter_context_of(_pointer(self._memory[0]))
            library.wait_for_device()
            self._give(self._inputs, inputs)
            self._stack.forward()
            self._take(self._outputs, results)
            self._last = _pointer(results[0])
        return results

    def _backward(self, *given: tf.Tensor) -> list[tf.Tensor]:
        count = len(self._inputs)
        inputs, outputs, upstream = given[:count], given[count], given[count + 1 :]
        results = self._empty(self._inputs)
        with self._lock:
            library.enter_context_of(_pointer(self._memory[0]))
            library.wait_for_device()
            if self._last != _pointer(outputs):  # another forward pass ran since
                self._give(self._inputs, inputs)
                self._stack.forward()
            self._last = 0  # cuDNN's saved data is consumed
            self._give([f"d_{name}" for name in self._outputs], upstream)
            self._stack.backward()
            self._take([f"d_{name}" for name in self._inputs], results)
        return results

    def _empty(self, names: Sequence[str]) -> list[tf.Tensor]:
        with tf.device(_GPU):
            return [tf.raw_ops.Empty(shape=self._sizes[n], dtype=self._dtype) for n in names]

    def _give(self, names: Sequence[str], tensors: Sequence[tf.Tensor]) -> None:
        for name, tensor in zip(names, tensors, strict=True):
            self._stack.copy(self._stack.buffers[name], _pointer(tensor), self._stack.sizes[name])

    def _take(self, names: Sequence[str], tensors: Sequence[tf.Tensor]) -> None:
        for name, tensor in zip(names, tensors, strict=True):
            self._stack.copy(_pointer(tensor), self._stack.buffers[name], self._stack.sizes[name])
        self._stack.wait()


_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _pointer(tensor: tf.Tensor) -> int:
    """Address of an eager tensor's memory: the first field of its DLPack structure."""
    capsule = tf.experimental.dlpack.to_dlpack(tensor)
    return ctypes.c_void_p.from_address(_get_pointer(capsule, b"dltensor")).value or 0
