"""Classifier of sequences of feature vectors, such as an image read one row per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnntk.config import MnistConfig, ModelConfig
from rnntk.config.fields import counted
from rnntk.models import fast
from rnntk.models.dropout import dropout
from rnntk.models.layers import FLOAT32, KeywordsChecked, seeded, split


@keras.saving.register_keras_serializable("rnntk")
class RowClassifier(KeywordsChecked, keras.Model):
    """Recurrent layers and a linear output on the last step: one logit per class.

    `model(rows, training=False) -> logits`: rows `(B, T, F)` float32, logits `(B, classes)`. A bidirectional model adds
    a backward layer to each (Schuster and Paliwal, 1997) and concatenates both outputs, the forward one first; the top
    layer only the last ones.

    Args:
        features, classes: F, the width of a row, and the number of classes.
        cell, layers, dropout, dropout_kind, precision, seed: as in `CharRNN`.
        units: per layer and direction.
        bidirectional: also read from the last row to the first.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        features: int = 28,
        classes: int = 10,
        cell: str = "lstm",
        layers: int = 1,
        units: int = 128,
        bidirectional: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
        *,
        dropout_kind: str = "element",
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        features, classes = counted("features", features), counted("classes", classes)
        given: dict[str, Any] = {
            "cell": cell, "layers": layers, "units": units, "bidirectional": bidirectional, "dropout": dropout,
            "precision": precision, "seed": seed,
        }  # fmt: skip
        network = MnistConfig(**given)
        dropout_kind = ModelConfig(dropout_kind=dropout_kind).dropout_kind
        super().__init__(**{**FLOAT32, **kwargs})
        self._arguments = {
            "features": features, "classes": classes, "dropout_kind": dropout_kind,
            **{name: getattr(network, name) for name in given},
        }  # fmt: skip
        self.features, self.classes = features, classes
        cell, layers, units = network.cell, network.layers, network.units
        self.cell, self.layer_count, self.units = cell, layers, units
        self.bidirectional = network.bidirectional
        self.dropout_rate, self.dropout_kind = network.dropout, dropout_kind

        directions = ["forward", "backward"] if network.bidirectional else ["forward"]
        streams = split(network.seed, 1 + 2 * layers * len(directions))
        self.recurrent = [
            [
                seeded(
                    cell, units, streams, network.precision, return_sequences=i < layers - 1,
                    go_backwards=direction == "backward", name=f"{direction}_{i}",
                )
                for direction in directions
            ]
            for i in range(layers)
        ]  # fmt: skip
        for layer in self.recurrent[0]:
            layer.input_gradient = False  # nothing below it is trained
        glorot = keras.initializers.GlorotUniform(seed=next(streams))
        self.output_layer = keras.layers.Dense(
            classes, kernel_initializer=glorot, name="output", **FLOAT32
        )
        self.build((None, None, features))

    def build(self, input_shape: Any) -> None:
        """Create all weights, which depend only on the width of a row."""
        width = input_shape[-1]
        for pair in self.recurrent:
            for layer in pair:
                layer.build((None, None, width))
            width = self.units * len(pair)
        self.output_layer.build((None, width))
        self.built = True

    def call(
        self,
        rows: tf.Tensor,
        training: bool = False,
        seed: tf.Tensor | None = None,
        first_row: tf.Tensor | int = 0,
        weights: Sequence[Sequence[fast.Weights]] | None = None,
    ) -> tf.Tensor:
        """Logits `(B, classes)` of `rows` `(B, T, F)` float32.

        `training`, `seed` and `first_row` are as in `CharRNN.call`; `weights` is `step_weights` of the whole batch.
        """
        dropping = training and self.dropout_rate > 0
        weights = weights or self.step_weights(rows)
        is_fast = bool(weights)
        x = tf.transpose(rows, [1, 0, 2]) if is_fast else rows
        for i, pair in enumerate(self.recurrent):
            last = i == self.layer_count - 1
            if is_fast:
                outputs = [
                    self._on_kernels(*both, x, last) for both in zip(pair, weights[i], strict=True)
                ]
            else:
                outputs = [self._on_keras(layer, x, last) for layer in pair]
            x = tf.concat(outputs, -1)
            if dropping:
                sequence = dropout(
                    x[:, tf.newaxis] if last else x, self.dropout_rate, self.dropout_kind, seed, layer=i,
                    first_row=first_row, time_major=is_fast and not last,
                )  # fmt: skip
                x = sequence[:, 0] if last else sequence
        return self.output_layer(x)

    def step_weights(self, rows: tf.Tensor) -> list[list[fast.Weights]]:
        """The weights of each layer and direction, ready for the kernels; empty on the Keras path."""
        if not self.recurrent[0][0].is_fast(rows):
            return []
        return [[layer.weights_for_products() for layer in pair] for pair in self.recurrent]

    def _on_kernels(self, layer: Any, weights: fast.Weights, x: tf.Tensor, last: bool) -> tf.Tensor:
        """Run one direction of a layer, time-major: the outputs, or for the `last` layer its final h."""
        zeros = [tf.zeros([1, self.units])] * len(layer.kind.states)
        outputs, final = layer.over_time(x, zeros, weights=weights)
        return final[0] if last else outputs

    def _on_keras(self, layer: Any, x: tf.Tensor, last: bool) -> tf.Tensor:
        """The same on Keras' code, batch first."""
        outputs = layer(x)  # with `go_backwards` from the last step to the first
        return tf.reverse(outputs, [1]) if layer.go_backwards and not last else outputs

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {**self._arguments, "name": self.name}
