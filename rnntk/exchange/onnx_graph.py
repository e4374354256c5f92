"""A network as an ONNX graph, written operator by operator, without TensorFlow.

ONNX' LSTM, GRU and RNN have the same equations, but other layouts: W `(directions, gates * H, inputs)`, gates in the
order i, o, f, c (LSTM) and z, r, h (GRU), the biases of input and state concatenated, and sequences time-major
(https://onnx.ai/onnx/operators/onnx__LSTM.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rnntk import __version__
from rnntk.exchange.network import Arrays, PlainNetwork, Specs, after
from rnntk.layer_norm import EPSILON
from rnntk.storage import folder

# Old enough for every runtime in use.
_OPSET, _IR_VERSION = 17, 8

_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "rnn": (0,)}
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        """One node; returns the name of its first output."""
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[0]


def write(net: PlainNetwork, path: Path) -> None:
    graph = _Graph()
    graph.constant("axis_0", np.array([0], np.int64))
    graph.constant("axis_1", np.array([1], np.int64))
    if net.kind == folder.CHAR_RNN:
        _character_graph(net, graph)
    else:
        _classifier_graph(net, graph)
    made = helper.make_graph(
        graph.nodes,
        net.kind.replace("-", "_"),
        _values(net.input_specs()),
        _values(net.output_specs()),
        graph.constants,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="rnntk",
        producer_version=__version__,
    )
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
        helper.make_tensor_value_info(name, _TYPES[kind], list(shape))
        for name, (kind, shape) in specs.items()
    ]


def _character_graph(net: PlainNetwork, graph: _Graph) -> None:
    table = graph.constant("embedding", net.weights["embedding/embeddings"])
    turned = graph.add("Transpose", ["ids"], ["ids_by_time"], perm=[1, 0])
    x = graph.add("Gather", [table, turned], ["embedded"])
    ones = graph.constant("ones", np.ones(net.units, np.float32)) if net.layer_norm else ""
    for i in range(net.layers):
        names = net.state_names(i)
        first = [graph.add("Unsqueeze", [n, "axis_0"], [f"{n}_stacked"]) for n in names]
        finals = [f"{after(n)}_stacked" for n in names]
        y = f"rnn_{i}_outputs"
        _recurrent(net, graph, i, x, first, [f"{y}_stacked", *finals])
        for name, final in zip(names, finals, strict=True):
            graph.add("Squeeze", [final, "axis_0"], [after(name)])
        x = graph.add("Squeeze", [f"{y}_stacked", "axis_1"], [y])
        if net.layer_norm:
            x = graph.add("LayerNormalization", [x, ones], [f"{y}_normalised"], epsilon=EPSILON)
    x = graph.add("Transpose", [x], ["outputs_by_row"], perm=[1, 0, 2])
    _dense(net, graph, x)


def _classifier_graph(net: PlainNetwork, graph: _Graph) -> None:
    width = len(net.directions) * net.units
    x = graph.add("Transpose", ["rows"], ["rows_by_time"], perm=[1, 0, 2])
    for i in range(net.layers - 1):
        y = _recurrent(net, graph, i, x, [], [f"outputs_{i}"])
        turned = graph.add("Transpose", [y], [f"outputs_{i}_turned"], perm=[0, 2, 1, 3])
        shape = graph.constant(f"shape_{i}", np.array([0, 0, width], np.int64))
        x = graph.add("Reshape", [turned, shape], [f"outputs_{i}_joined"])
    _recurrent(net, graph, net.layers - 1, x, [], ["", "last"])
    turned = graph.add("Transpose", ["last"], ["last_turned"], perm=[1, 0, 2])
    shape = graph.constant("shape_last", np.array([0, width], np.int64))
    _dense(net, graph, graph.add("Reshape", [turned, shape], ["last_joined"]))


def _recurrent(
    net: PlainNetwork, graph: _Graph, layer: int, x: str, states: list[str], outputs: list[str]
) -> str:
    """One layer; its directions are one operator."""
    parts = [_layouts(net, f"{way}_{layer}") for way in net.directions]
    stacked = [
        graph.constant(f"layer_{layer}_{what}", np.stack(values))
        for what, values in zip(("W", "R", "B"), zip(*parts, strict=True), strict=True)
    ]
    attributes: dict[str, Any] = {"hidden_size": net.units}
    if len(net.directions) == 2:
        attributes["direction"] = "bidirectional"
    if net.cell == "gru":
        attributes["linear_before_reset"] = int(net.reset_after)
    # The empty name skips the optional sequence lengths.
    inputs = [x, *stacked, "", *states] if states else [x, *stacked]
    return graph.add(_OPERATORS[net.cell], inputs, outputs, **attributes)


def _layouts(net: PlainNetwork, layer: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """W `(gates * H, inputs)`, R `(gates * H, H)` and B `(2 * gates * H,)` in ONNX' order."""
    order = _GATE_ORDER[net.cell]

    def turned(value: NDArray[Any]) -> NDArray[Any]:
        gates = np.split(value, len(order), axis=-1)
        return np.concatenate([gates[k] for k in order], axis=-1).T

    bias = net.weights[f"{layer}/bias"]
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return (
        turned(net.weights[f"{layer}/kernel"]),
        turned(net.weights[f"{layer}/recurrent_kernel"]),
        np.concatenate([turned(both[0]), turned(both[1])]),
    )


def _dense(net: PlainNetwork, graph: _Graph, x: str) -> None:
    kernel = graph.constant("output_kernel", net.weights["output/kernel"])
    bias = graph.constant("output_bias", net.weights["output/bias"])
    product = graph.add("MatMul", [x, kernel], ["product"])
    graph.add("Add", [product, bias], ["logits"])
