"""Stable names of a model's weights and of its optimizer's variables, as checkpoints, decoder and exports use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from rnntk.models.char_rnn import CharRNN
from rnntk.models.row_classifier import RowClassifier


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """Each weight of a `CharRNN` or `RowClassifier` by its name, in the order of the layers, in Keras' layout.

    Names: `embedding/embeddings`, `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`, `rnn_<i>/bias`, `output/kernel`,
    `output/bias`; a classifier's layers are `forward_<i>` and `backward_<i>`.
    """
    named = {}
    if hasattr(model, "embedding"):
        named["embedding/embeddings"] = model.embedding.embeddings
    for layer in keras.tree.flatten(model.recurrent):
        for part in ("kernel", "recurrent_kernel", "bias"):
            named[f"{layer.name}/{part}"] = getattr(layer.cell, part)
    named["output/kernel"] = model.output_layer.kernel
    named["output/bias"] = model.output_layer.bias
    return named


def named_optimizer_variables(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> dict[str, keras.Variable]:
    """Each variable of a built optimizer by name: `iteration`, or a weight's and the slot's, `rnn_0/kernel/momentum`.

    Keras' own path of a slot has the name of the model in it, which differs from model to model in one process.
    """
    weights = {v.path.replace("/", "_"): name for name, v in named_weights(model).items()}
    named = {}
    for variable in optimizer.variables:
        own = variable.path.rsplit("/", 1)[-1]
        path = max((p for p in weights if own.startswith(p + "_")), key=len, default=None)
        named[own if path is None else f"{weights[path]}/{own[len(path) + 1 :]}"] = variable
    return named


def rebuild(record: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> keras.Model:
    """The model of a run, from what `run.json` keeps of the network and the weights by name, float32."""

    def given(names: str) -> dict[str, Any]:
        return {name: record[name] for name in names.split() if name in record}

    model: keras.Model
    if "embedding/embeddings" in weights:
        names = "cell layers units embedding dropout dropout_kind layer_norm gru_reset"
        model = CharRNN(len(weights["embedding/embeddings"]), **given(names))
    else:
        names = "features cell layers units bidirectional dropout"
        model = RowClassifier(classes=len(weights["output/bias"]), **given(names))
    for name, variable in named_weights(model).items():
        variable.assign(weights[name])
    return model
