"""The stable names of a model's weights, by which checkpoints, the decoder and exports know them."""

from __future__ import annotations

import keras


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """Each weight of a `CharRNN` or `RowClassifier` by its name, in the order of the layers.

    Names are the layer's and the weight's: `embedding/embeddings`, `rnn_<i>/kernel`, `rnn_<i>/recurrent_kernel`,
    `rnn_<i>/bias`, `output/kernel`, `output/bias`; a classifier's layers are `forward_<i>` and `backward_<i>`.
    Layouts are Keras'.
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
