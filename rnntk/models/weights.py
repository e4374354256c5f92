"""Stable names of weights and optimizer variables, for checkpoints, the decoder and exports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from rnntk.models.char_rnn import CharRNN
from rnntk.models.row_classifier import RowClassifier


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a `CharRNN` or `RowClassifier` by name, in layer order and Keras' layout.

    Names: `embedding/embeddings`, `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`, `rnn_<i>/bias`, `output/kernel`,
    `output/bias`; a classifier has `forward_<i>` and `backward_<i>` in place of `rnn_<i>`.
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
    """The variables of a built optimizer by name, such as `iteration` or `rnn_0/kernel/momentum`.

    Keras' own paths contain the model's name, which differs between models in one process.
    """
    weights = {v.path.replace("/", "_"): name for name, v in named_weights(model).items()}
    names = [variable.path.rsplit("/", 1)[-1] for variable in optimizer.variables]
    alike: dict[str, Iterator[str]] = defaultdict(
        lambda: iter([weights[v.path.replace("/", "_")] for v in model.trainable_variables])
    )
    named = {}
    for own, variable in zip(names, optimizer.variables, strict=True):
        if names.count(own) > 1:  # Keras 3.5: Adagrad's, in the order of the weights
            named[f"{next(alike[own])}/{own}"] = variable
            continue
        path = max((p for p in weights if own.startswith(p + "_")), key=len, default=None)
        named[own if path is None else f"{weights[path]}/{own[len(path) + 1 :]}"] = variable
    return named


def rebuild(record: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> keras.Model:
    """The model of a run, from the network settings in `run.json` and float32 weights by name."""

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
