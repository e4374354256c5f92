"""Write a network as an ONNX graph, without TensorFlow.

ONNX's cells have the same equations as Keras' but other layouts: gates in the order i, o, f, c or z, r, h along the
first axis, input and recurrent bias concatenated, sequences time-major
(https://onnx.ai/onnx/operators/onnx__LSTM.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from rnntk import __version__
from rnntk.exchange.network import Arrays, PlainNetwork, Specs, after
from rnntk.layer_norm import EPSILON
from rnntk.storage import folder

_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "rnn": (0,)}


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        """Add a node; returns the name of its first output."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]


def write(net: PlainNetwork, path: Path) -> None:
    graph = _Graph()
    _fill(graph, net)
    inputs, outputs = _values(net.input_specs()), _values(net.output_specs())
    name = net.kind.replace("-", "_")
    made = helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants)
    # Old versions, so that every runtime in use can read the file.
    versions = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    model = helper.make_model(made, **versions, producer_name="rnntk", producer_version=__version__)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def run(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    on = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=on)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _values(specs: Specs) -> list[Any]:
    return [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
        for name, (kind, shape) in specs.items()
    ]


def _fill(graph: _Graph, net: PlainNetwork) -> None:
    is_char = net.kind == folder.CHAR_RNN
    # `joined` reshapes `(T, B, directions, H)` to `(T, B, width)`: 0 keeps a dimension.
    width = len(net.directions) * net.units
    axis = graph.constant("axis", np.array([0], np.int64)) if is_char else ""  # of the states
    joined = graph.constant("joined", np.array([0, 0, width], np.int64))
    x = "rows"
    if is_char:
        table = graph.constant("embedding", net.weights["embedding/embeddings"])
        x = graph.add("Gather", [table, "ids"], ["embedded"])
    x = graph.add("Transpose", [x], ["by_time"], perm=[1, 0, 2])
    for i in range(net.layers):
        names = net.state_names(i)
        first = [graph.add("Unsqueeze", [n, axis], [f"{n}_stacked"]) for n in names]
        last = [f"{after(n)}_stacked" for n in names] or [f"last_{i}"]
        y = _recurrent(net, graph, i, x, first, [f"outputs_{i}", *last])
        for name, final in zip(names, last, strict=False):  # a classifier has no state outputs
            graph.add("Squeeze", [final, axis], [after(name)])
        y = graph.add("Transpose", [y], [f"outputs_{i}_turned"], perm=[0, 2, 1, 3])
        x = graph.add("Reshape", [y, joined], [f"outputs_{i}_joined"])
        if net.layer_norm:
            ones = graph.constant(f"ones_{i}", np.ones(net.units, np.float32))
            x = graph.add("LayerNormalization", [x, ones], [f"normalised_{i}"], epsilon=EPSILON)
    if is_char:
        x = graph.add("Transpose", [x], ["by_row"], perm=[1, 0, 2])
    else:
        x = graph.add("Transpose", last, ["last_turned"], perm=[1, 0, 2])
        shape = graph.constant("last_shape", np.array([0, width], np.int64))
        x = graph.add("Reshape", [x, shape], ["last_joined"])
    kernel = graph.constant("output_kernel", net.weights["output/kernel"])
    bias = graph.constant("output_bias", net.weights["output/bias"])
    graph.add("Add", [graph.add("MatMul", [x, kernel], ["product"]), bias], ["logits"])


def _recurrent(
    net: PlainNetwork, graph: _Graph, layer: int, x: str, states: list[str], outputs: list[str]
) -> str:
    """Add a layer, one operator for both directions; return the name of its outputs."""
    parts = zip(*(_layouts(net, f"{way}_{layer}") for way in net.directions), strict=True)
    weights = [
        graph.constant(f"layer_{layer}_{k}", np.stack(part))
        for k, part in zip("WRB", parts, strict=True)
    ]
    attributes: dict[str, Any] = {"hidden_size": net.units}
    attributes["direction"] = "bidirectional" if len(net.directions) == 2 else "forward"
    if net.cell == "gru":
        attributes["linear_before_reset"] = int(net.reset_after)
    inputs = [x, *weights, "", *states]  # "" skips the optional sequence lengths
    return graph.add(net.cell.upper(), inputs, outputs, **attributes)


def _layouts(net: PlainNetwork, layer: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """W `(gates * H, inputs)`, R `(gates * H, H)` and B `(2 * gates * H,)`, gates in ONNX's order."""
    order = _GATE_ORDER[net.cell]

    def ordered(name: str) -> NDArray[Any]:
        gates = np.split(net.weights[f"{layer}/{name}"], len(order), axis=-1)
        return np.concatenate([gates[k] for k in order], axis=-1)

    bias = ordered("bias").ravel()
    # ONNX needs a recurrent bias; zeros stand for a missing one.
    padded = np.pad(bias, (0, 2 * len(order) * net.units - len(bias)))
    return ordered("kernel").T, ordered("recurrent_kernel").T, padded
