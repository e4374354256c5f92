"""A network as stock Keras layers: a `.keras` file or a SavedModel that does not need rnntk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnntk.exchange.network import Arrays, PlainNetwork, after
from rnntk.layer_norm import EPSILON
from rnntk.storage import folder

_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}


WITH_STATES = "with_states"  # the layer of a `.keras` character model that takes and gives states


def build(net: PlainNetwork) -> keras.Model:
    """A functional model of Keras' own layers with the network's weights.

    It takes one array and gives one, so that `compile` and `fit` need no names: `ids` `(B, T)` int32 to logits
    `(B, T, V)` for a character model, from a zero state; `rows` `(B, T, F)` to logits `(B, classes)` for a classifier.
    """
    if net.kind != folder.CHAR_RNN:
        return _classifier(net)
    ids = keras.Input((None,), dtype="int32", name="ids")
    zero = keras.ops.zeros_like(ids[:, :1], dtype="float32")
    states = {name: keras.ops.repeat(zero, net.units, axis=1) for name in net.all_states}
    logits = _with_states(net)({"ids": ids, **states})["logits"]
    return keras.Model(ids, logits, name="char_rnn")


def _answers(model: keras.Model, inputs: Arrays) -> dict[str, tf.Tensor]:
    """A model's outputs by name, as `PlainNetwork.answers` gives them."""
    if "rows" in inputs:
        return {"logits": model(inputs["rows"])}
    return model.get_layer(WITH_STATES)(dict(inputs))


def _recurrent(net: PlainNetwork, name: str, **arguments: Any) -> keras.layers.Layer:
    if net.cell == "gru":
        arguments["reset_after"] = net.reset_after
    return _LAYERS[net.cell](net.units, name=name, **arguments)


def _of(
    net: PlainNetwork, layer: str, parts: tuple[str, ...] = ("kernel", "recurrent_kernel", "bias")
) -> list[NDArray[Any]]:
    return [net.weights[f"{layer}/{part}"] for part in parts]


def _with_states(net: PlainNetwork) -> keras.Model:
    """Of `ids` and the states `rnn_<i>_h` (and `rnn_<i>_c`) `(B, H)`: `logits` and the `new_` states."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    inputs: dict[str, Any] = {"ids": ids}
    outputs: dict[str, Any] = {}
    table = net.weights["embedding/embeddings"]
    x = keras.layers.Embedding(*table.shape, name="embedding")(ids)
    for i in range(net.layers):
        names = net.state_names(i)
        states = [keras.Input((net.units,), name=name) for name in names]
        layer = _recurrent(net, f"rnn_{i}", return_sequences=True, return_state=True)
        x, *new = layer(x, initial_state=states)
        if net.layer_norm:
            x = keras.layers.LayerNormalization(
                epsilon=EPSILON, center=False, scale=False, name=f"norm_{i}"
            )(x)
        inputs |= dict(zip(names, states, strict=True))
        outputs |= {after(name): state for name, state in zip(names, new, strict=True)}
    logits = keras.layers.Dense(net.outputs, name="output")(x)
    model = keras.Model(inputs, {"logits": logits, **outputs}, name=WITH_STATES)
    model.get_layer("embedding").set_weights([table])
    for i in range(net.layers):
        model.get_layer(f"rnn_{i}").set_weights(_of(net, f"rnn_{i}"))
    model.get_layer("output").set_weights(_of(net, "output", ("kernel", "bias")))
    return model


def _classifier(net: PlainNetwork) -> keras.Model:
    rows = keras.Input((None, net.features), name="rows")
    x = rows
    layers: dict[str, Any] = {}
    for i in range(net.layers):
        last = i == net.layers - 1
        both = [
            _recurrent(net, f"{way}_{i}", return_sequences=not last, go_backwards=way == "backward")
            for way in net.directions
        ]
        if len(both) == 1:
            x = both[0](x)
            layers[f"forward_{i}"] = both[0]
        else:
            # Reverses the backward outputs and puts the forward ones first, as RowClassifier does.
            pair = keras.layers.Bidirectional(both[0], backward_layer=both[1], name=f"both_{i}")
            x = pair(x)
            layers |= {f"forward_{i}": pair.forward_layer, f"backward_{i}": pair.backward_layer}
    logits = keras.layers.Dense(net.outputs, name="output")(x)
    model = keras.Model(rows, logits, name="row_classifier")
    for name, layer in layers.items():
        layer.set_weights(_of(net, name))
    model.get_layer("output").set_weights(_of(net, "output", ("kernel", "bias")))
    return model


def write_keras(net: PlainNetwork, path: Path) -> None:
    build(net).save(path)


def run_keras(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    answers = _answers(keras.models.load_model(path), inputs)
    return {name: np.asarray(value) for name, value in answers.items()}


def write_savedmodel(net: PlainNetwork, path: Path) -> None:
    """Write a SavedModel folder whose signature `serving_default` has named tensors."""
    model = build(net)
    module = tf.Module()
    module.model_weights = [variable.value for variable in model.variables]
    specs = {
        name: tf.TensorSpec([n if isinstance(n, int) else None for n in shape], kind, name)
        for name, (kind, shape) in net.input_specs().items()
    }

    @tf.function(autograph=False)
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return _answers(model, inputs)

    signature = serve.get_concrete_function(**specs)
    # TensorFlow refuses paths that are not UTF-8.
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, f"{folder}/model", signatures={"serving_default": signature})
        shutil.copytree(f"{folder}/model", path, dirs_exist_ok=True)


def run_savedmodel(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(path, f"{folder}/model")
        loaded = tf.saved_model.load(f"{folder}/model")
    signature = loaded.signatures["serving_default"]
    answers = signature(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in answers.items()}
