"""The code around cuDNN on the GPU path, with a stand-in for cuDNN in TensorFlow's eager operations on the CPU.

The stand-in follows the layout of weights in cuDNN's documentation; `test_cudnn_on_gpu.py` tests cuDNN itself.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import tensorflow as tf

from rnntk.errors import UsageError
from rnntk.models import cudnn, cudnn_library
from rnntk.models.char_rnn import CharRNN
from rnntk.models.layers import CELLS
from rnntk.models.row_classifier import RowClassifier
from rnntk.training import optimizers
from rnntk.training.step import ClassifierStep, TrainStep

BATCH, STEPS, SEED = 3, 5, [5, 6]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def unpacked(problem, w):
    """Per layer and gate: input matrices, recurrent matrices `(H, width)`, and both biases."""
    gates, units, place = GATES[problem.mode], problem.units, 0
    matrices, biases = [], []
    for layer in range(problem.layers):
        for width in (units if layer else problem.features, units):
            matrices.append(
                tf.reshape(w[place : place + gates * units * width], [gates, units, width])
            )
            place += gates * units * width
    for _ in range(2 * problem.layers):
        biases.append(tf.reshape(w[place : place + gates * units], [gates, units]))
        place += gates * units
    assert place == len(w)
    return zip(matrices[::2], matrices[1::2], biases[::2], biases[1::2], strict=True)


def one_step(mode, a, b, h, c):
    """The equations of cuDNN's manual; per gate, `a` is the input product and `b` the recurrent one."""
    if mode == "rnn":
        return tf.tanh(a[0] + b[0]), c
    if mode == "gru":
        r, z = tf.sigmoid(a[0] + b[0]), tf.sigmoid(a[1] + b[1])
        return (1 - z) * tf.tanh(a[2] + r * b[2]) + z * h, c
    i, f, o = (tf.sigmoid(a[k] + b[k]) for k in (0, 1, 3))
    c = f * c + i * tf.tanh(a[2] + b[2])
    return o * tf.tanh(c), c


class StandIn:
    """`cudnn_library.Stack` in host memory."""

    forwards = 0

    def __init__(self, problem, algorithm, allocate):
        if algorithm == cudnn_library.PERSIST_SMALL and problem.layers > 1:
            raise cudnn_library.Unsupported("a test")
        self.p = p = problem
        self.item = 4 if p.dtype == "float32" else 2
        weights = sum(
            GATES[p.mode] * p.units * ((p.units if i else p.features) + p.units + 2)
            for i in range(p.layers)
        )
        state = (p.layers, p.batch, p.units)
        self.shapes = {
            "w": (weights,),
            "x": (p.steps, p.batch, p.features),
            "y": (p.steps, p.batch, p.units),
            **dict.fromkeys(("h", "c", "h_after", "c_after"), state),
        }
        self.shapes |= {f"d_{name}": shape for name, shape in self.shapes.items()}
        self.sizes = {name: int(np.prod(s)) * self.item for name, s in self.shapes.items()}
        self.buffers = {name: allocate(size) for name, size in self.sizes.items()}

    def read(self, name):
        data = ctypes.string_at(self.buffers[name], self.sizes[name])
        dtype = tf.as_dtype(self.p.dtype).as_numpy_dtype
        return tf.constant(np.frombuffer(data, dtype).reshape(self.shapes[name]).astype("float32"))

    def write(self, name, value):
        data = np.asarray(value).astype(tf.as_dtype(self.p.dtype).as_numpy_dtype).tobytes()
        ctypes.memmove(self.buffers[name], data, self.sizes[name])

    def forward(self):
        StandIn.forwards += 1
        names = ["x", "h", "w"] + ["c"] * (self.p.mode == "lstm")
        self.inputs = {name: self.read(name) for name in names}
        with tf.GradientTape() as self.tape:
            self.tape.watch(self.inputs)
            x, after = self.inputs["x"], []
            for i, (kernel, recurrent, bias, inner) in enumerate(
                unpacked(self.p, self.inputs["w"])
            ):
                h = self.inputs["h"][i]
                c = self.inputs["c"][i] if "c" in self.inputs else None
                outputs = []
                for t in range(self.p.steps):
                    a = [x[t] @ tf.transpose(k) + v for k, v in zip(kernel, bias, strict=True)]
                    b = [h @ tf.transpose(k) + v for k, v in zip(recurrent, inner, strict=True)]
                    h, c = one_step(self.p.mode, a, b, h, c)
                    outputs.append(h)
                x = tf.stack(outputs)
                after.append((h, c))
            self.results = {"y": x, "h_after": tf.stack([h for h, _ in after])}
            if "c" in self.inputs:
                self.results["c_after"] = tf.stack([c for _, c in after])
        for name, value in self.results.items():
            self.write(name, value)

    def backward(self):
        upstream = {name: self.read(f"d_{name}") for name in self.results}
        tape, self.tape = self.tape, None  # like cuDNN, once per forward pass
        found = tape.gradient(self.results, self.inputs, output_gradients=upstream)
        for name, value in found.items():
            self.write(f"d_{name}", value)

    def copy(self, target, source, size):
        ctypes.memmove(target, source, size)

    def wait(self):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """A context that takes the GPU path, with the stand-in."""
    monkeypatch.setattr(cudnn_library, "Stack", StandIn)
    monkeypatch.setattr(cudnn_library, "enter_context_of", lambda pointer: None)
    monkeypatch.setattr(cudnn_library, "wait_for_device", lambda: None)
    cudnn._runner.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(cudnn, "has_gpu", lambda: True)
        patch.setattr(cudnn, "_is_cuda_build", lambda: True)
        yield patch
    cudnn._runner.cache_clear()


def randomized(model):
    """Give every weight a nonzero value, so that a forgotten one shows."""
    rng = np.random.default_rng(7)
    model.set_weights([rng.normal(0, 0.3, w.shape).astype("float32") for w in model.get_weights()])
    return model


def batch(model):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, model.vocabulary_size, (2, BATCH, STEPS)).astype(np.int32)
    states = [rng.normal(size=s.shape).astype("float32") for s in model.initial_states(BATCH)]
    return tf.constant(x), tf.constant(y), [tf.constant(s) for s in states]


def gradients(model, data):
    step = TrainStep(model, optimizers.make("sgd", 0.0), shards=1)
    return tf.function(step.loss_and_gradients, autograph=False)(*data, tf.constant(SEED))


def assert_same(a, b, **tolerance):
    for one, other in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cell": "lstm"},
        {"cell": "gru"},
        {"cell": "rnn"},
        {"cell": "lstm", "layers": 1},
        {
            "cell": "gru",
            "dropout": 0.4,
            "layer_norm": True,
            "layers": 3,
            "units": 6,
            "embedding": 6,
        },
        {"cell": "lstm", "dropout": 0.4, "dropout_kind": "sequence"},
    ],
    ids=str,
)
def test_a_training_step_matches_the_cpu(arguments, gpu):
    model = randomized(CharRNN(11, **{"layers": 2, "units": 6, "embedding": 4, **arguments}))
    data = batch(model)
    StandIn.forwards = 0
    found = gradients(model, data)
    together = not (model.layer_norm or model.dropout_rate)
    assert StandIn.forwards == (1 if together else model.layer_count)
    gpu.undo()
    assert_same(found, gradients(model, data), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifier_matches_the_cpu(bidirectional, gpu):
    rows = np.random.default_rng(0).normal(size=(BATCH, STEPS, 4)).astype("float32")
    results = []
    for _ in range(2):
        model = randomized(RowClassifier(4, 10, "gru", 2, 6, bidirectional, seed=1))
        step = ClassifierStep(model, optimizers.make("sgd", 0.1), shards=1)
        results.append((step(rows, np.arange(BATCH), SEED), model.get_weights()))
        gpu.undo()
    assert_same(*results, rtol=1e-4, atol=1e-6)


def stacked(layers, x, states, **arguments):
    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            calls = [cudnn.stack(layers, x * scale, states, **arguments) for scale in (1.0, 2.0)]
            total = tf.add_n([tf.reduce_sum(outputs**2) for outputs, _ in calls])
        return calls, tape.gradient(total, x)

    return run()


def problem():
    layer = CELLS["lstm"](6, return_sequences=True)
    layer.build((None, None, 4))
    x = tf.constant(np.random.default_rng(0).normal(size=(STEPS, BATCH, 4)), tf.float32)
    return [randomized(layer)], x, [tf.zeros((BATCH, 6))] * 2


def test_interleaved_forward_passes_are_repeated_for_their_gradient(gpu):
    layers, x, states = problem()
    StandIn.forwards = 0
    found = stacked(layers, x, states)
    assert StandIn.forwards > 2
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.add_n(
            [tf.reduce_sum(layers[0].over_time(x * s, states)[0] ** 2) for s in (1.0, 2.0)]
        )
    np.testing.assert_allclose(found[1], tape.gradient(total, x), rtol=1e-4)


def test_bfloat16_rounds_and_is_refused_without_the_library(gpu):
    given = problem()
    exact, rounded = stacked(*given), stacked(*given, bfloat16=True)
    difference = np.abs(exact[0][0][0] - rounded[0][0][0]).max()
    assert 0 < difference < 0.02

    def missing(*_):
        raise cudnn_library.Unsupported("libcudnn.so.9: not found")

    cudnn._runner.cache_clear()
    gpu.setattr(cudnn_library, "Stack", missing)
    with pytest.raises(
        UsageError, match=r'precision="bfloat16" is not available.*libcudnn.so.9: not found'
    ):
        stacked(*given, bfloat16=True)
