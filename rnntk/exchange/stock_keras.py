"""Write a network as stock Keras layers, a `.keras` file or a SavedModel, for use without rnntk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnntk.exchange.network import Arrays, PlainNetwork, after
from rnntk.files import temporary_folder
from rnntk.layer_norm import EPSILON
from rnntk.storage import folder

_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
WITH_STATES = "with_states"  # the inner model of a character model, with state inputs and outputs


def build(net: PlainNetwork) -> keras.Model:
    """A Keras model with the network's weights, ready for `compile` and `fit`.

    A character model maps `ids` `(B, T)` int32 to logits `(B, T, V)` from a zero state, a classifier maps `rows`
    `(B, T, F)` to logits `(B, classes)`.
    """
    inputs = {
        name: keras.Input(
            [n if isinstance(n, int) else None for n in shape[1:]], None, kind, name=name
        )
        for name, (kind, shape) in net.input_specs().items()
    }
    outputs = _outputs(net, inputs)
    if net.kind == folder.CHAR_RNN:
        with_states = keras.Model(inputs, outputs, name=WITH_STATES)
        ids = keras.Input((None,), dtype="int32", name="ids")
        zero = keras.ops.zeros_like(ids[:, :1], dtype="float32")
        states = {name: keras.ops.repeat(zero, net.units, axis=1) for name in net.all_states}
        logits = with_states({"ids": ids, **states})["logits"]
        model = keras.Model(ids, logits, name="char_rnn")
    else:
        model = keras.Model(inputs["rows"], outputs["logits"], name="row_classifier")
    for variable in model.weights:
        layer, *_, part = variable.path.split("/")
        variable.assign(net.weights[f"{layer}/{part}"])
    return model


def _outputs(net: PlainNetwork, inputs: dict[str, Any]) -> dict[str, Any]:
    """Keras tensors of `net.output_specs()`."""
    is_char = net.kind == folder.CHAR_RNN
    options = {"reset_after": net.reset_after} if net.cell == "gru" else {}
    found: dict[str, Any] = {}
    x = inputs["ids" if is_char else "rows"]
    if is_char:
        x = keras.layers.Embedding(net.outputs, net.features, name="embedding")(x)
    for i in range(net.layers):
        names = net.state_names(i)
        sequences = is_char or i < net.layers - 1
        both = []
        for way in net.directions:
            layer = _LAYERS[net.cell](
                net.units, name=f"{way}_{i}", return_sequences=sequences, return_state=is_char,
                go_backwards=way == "backward", **options,
            )  # fmt: skip
            states = [inputs[name] for name in names] or None
            y, *new = keras.tree.flatten(layer(x, initial_state=states))
            # Keras returns backward outputs in the order of computation, last time step first.
            both.append(keras.ops.flip(y, 1) if sequences and layer.go_backwards else y)
            found |= {after(name): state for name, state in zip(names, new, strict=True)}
        x = keras.ops.concatenate(both, -1) if len(both) == 2 else both[0]
        if net.layer_norm:
            norm = keras.layers.LayerNormalization
            x = norm(epsilon=EPSILON, center=False, scale=False, name=f"norm_{i}")(x)
    return {"logits": keras.layers.Dense(net.outputs, name="output")(x), **found}


def _answers(model: keras.Model, inputs: Arrays) -> dict[str, tf.Tensor]:
    """The model's outputs, named as in `PlainNetwork.answers`."""
    if "rows" in inputs:
        return {"logits": model(inputs["rows"])}
    return model.get_layer(WITH_STATES)(dict(inputs))


def write_keras(net: PlainNetwork, path: Path) -> None:
    build(net).save(path)


def run_keras(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    answers = _answers(keras.models.load_model(path), inputs)
    return {name: np.asarray(value) for name, value in answers.items()}


def write_savedmodel(net: PlainNetwork, path: Path) -> None:
    """Write a SavedModel folder with named inputs and outputs (signature `serving_default`)."""
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
    with temporary_folder() as folder:
        tf.saved_model.save(module, f"{folder}/model", signatures={"serving_default": signature})
        shutil.copytree(f"{folder}/model", path, dirs_exist_ok=True)


def run_savedmodel(path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    with temporary_folder() as folder:
        shutil.copytree(path, f"{folder}/model")
        loaded = tf.saved_model.load(f"{folder}/model")
    signature = loaded.signatures["serving_default"]
    answers = signature(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in answers.items()}
