"""The character model: embedding, recurrent layers, linear output."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnntk.config import ModelConfig, RunConfig
from rnntk.config.fields import counted
from rnntk.errors import UsageError
from rnntk.models import cudnn, fast
from rnntk.models.dropout import dropout
from rnntk.models.layers import FLOAT32, KeywordsChecked, seeded, split


class StepWeights(NamedTuple):
    """Weights prepared once per step for all its shards."""

    path: str  # what runs the recurrent layers: "kernels", "cudnn" or "keras"
    rows: (
        tf.Tensor
    )  # by symbol: embeddings `(V, E)`, or if `projected` the first layer's projections of them
    projected: bool
    layers: list[fast.Weights]


@keras.saving.register_keras_serializable("rnntk")
class CharRNN(KeywordsChecked, keras.Model):
    """A recurrent language model over symbols.

    `model(ids, states=None, training=False) -> (logits, states)`: ids `(B, T)` integers, logits `(B, T, V)` float32,
    states a flat list of `(B, units)`: h and c of each layer for an LSTM, else h.

    Initial weights: embedding normal with standard deviation 1 (learns faster than Keras' uniform +-0.05), kernels
    Glorot uniform, recurrent kernels orthogonal, biases 0, forget gate bias 1 (Jozefowicz et al., 2015).

    Args:
        vocabulary_size: V, the number of symbols.
        cell: "lstm", "gru" or "rnn".
        layers, units, embedding: number of recurrent layers, units of each, width of the embedding.
        dropout: fraction of each recurrent layer's output dropped in training.
        seed: for the initial weights; each weight gets its own random stream.
        dropout_kind: "element", or "sequence" for one mask per batch row, the same at all T steps.
        gru_reset: apply a GRU's reset gate "after" the recurrent product (cuDNN's form, bias `(2, 3H)`) or "before" it
            (Cho et al., 2014; bias `(3H,)`). Other cells ignore it.
        layer_norm: normalise each recurrent layer's outputs before dropout, but not its states (`rnntk.layer_norm`).
        precision: "float32", or "bfloat16" recurrent layers on a GPU, or on a CPU with AVX512-BF16 their products only;
            weights and output layer stay float32. Not available with `gru_reset` "before".

    Raises:
        UsageError: an argument is out of range.

    Example:
        >>> import keras
        >>> ids = rnntk.prepare("tale.txt").prepared.ids[:2000].reshape(50, 40)
        >>> model = CharRNN(vocabulary_size=64, units=8, embedding=6)
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(ids[:, :-1], ids[:, 1:], batch_size=25, epochs=2, verbose=0)
        >>> history.history["loss"][1] < history.history["loss"][0]
        True
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: str = "lstm",
        layers: int = 2,
        units: int = 128,
        embedding: int = 128,
        dropout: float = 0.0,
        seed: int = 0,
        *,
        dropout_kind: str = "element",
        gru_reset: str = "after",
        layer_norm: bool = False,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        vocabulary_size = counted("vocabulary_size", vocabulary_size)
        network = ModelConfig(
            cell=cell, layers=layers, units=units, embedding=embedding, dropout=dropout,
            dropout_kind=dropout_kind, gru_reset=gru_reset, layer_norm=layer_norm,
        )  # fmt: skip
        run = RunConfig(precision=precision, seed=seed)
        cell, layers, units, precision = network.cell, network.layers, network.units, run.precision
        before = cell == "gru" and network.gru_reset == "before"
        if precision == "bfloat16" and before:
            raise UsageError(
                '`precision="bfloat16"` does not work with `gru_reset="before"`. Leave one out.'
            )
        super().__init__(**{**FLOAT32, **kwargs})
        self._arguments = {**network.part(ModelConfig), "precision": precision, "seed": run.seed}
        self.vocabulary_size, self.embedding_size = vocabulary_size, network.embedding
        self.cell, self.layer_count, self.units = cell, layers, units
        self.dropout_rate, self.dropout_kind = network.dropout, network.dropout_kind
        self.layer_norm, self.precision = network.layer_norm, precision

        streams = split(run.seed, 2 + 2 * layers)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=next(streams))
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            network.embedding,
            embeddings_initializer=normal,
            name="embedding",
            **FLOAT32,
        )
        self.recurrent = [
            seeded(
                cell, units, streams, precision, return_sequences=True, return_state=True,
                name=f"rnn_{i}", **({"reset_after": False} if before else {}),
            )
            for i in range(layers)
        ]  # fmt: skip
        glorot = keras.initializers.GlorotUniform(seed=next(streams))
        self.output_layer = keras.layers.Dense(
            vocabulary_size, kernel_initializer=glorot, name="output", **FLOAT32
        )
        self.build((None, None))

    def build(self, input_shape: Any) -> None:
        """Create all weights; none depends on the batch's shape."""
        self.embedding.build(input_shape)
        width = self.embedding_size
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        self.output_layer.build((None, None, width))
        self.built = True

    def call(
        self,
        ids: tf.Tensor,
        states: Sequence[tf.Tensor] | None = None,
        training: bool = False,
        seed: tf.Tensor | None = None,
        first_row: tf.Tensor | int = 0,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits `(B, T, V)` and the states after step T.

        Args:
            ids, states: `(B, T)` integers, and a flat list of `(B, units)`; None for zeros.
            training: whether to apply dropout.
            seed: of the dropout, `(2,)` int32; by default from TensorFlow's global generator.
            first_row: index of the first row in the whole batch, when this is a shard of it.
        """
        weights = self.step_weights(ids)
        features, after = self._features(ids, states, weights, training, seed, first_row)
        logits = self.output_layer(features)
        return logits if weights.path == "keras" else tf.transpose(logits, [1, 0, 2]), after

    def nats(
        self,
        ids: tf.Tensor,
        targets: tf.Tensor,
        states: Sequence[tf.Tensor] | None = None,
        weights: StepWeights | None = None,
        **dropout: Any,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Cross-entropy summed over all positions, in nats, and the states after step T.

        Computes the same as `call`, but does not transpose the logits.

        Args:
            ids, states, dropout: as in `call`.
            targets: `(B, T)` integers, the next symbol of each of `ids`.
            weights: `step_weights` of the whole batch.
        """
        weights = weights or self.step_weights(ids)
        features, after = self._features(ids, states, weights, **dropout)
        targets = tf.cast(targets, _ID_TYPES[weights.path])
        if weights.path != "keras":
            targets = tf.transpose(targets)
        # One product of matrices; Keras' layer multiplies each time step on its own.
        rows = tf.reshape(features, [-1, self.units])
        logits = rows @ self.output_layer.kernel + self.output_layer.bias
        targets = tf.reshape(targets, [-1])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
        return tf.reduce_sum(losses), after

    def step_weights(self, ids: tf.Tensor) -> StepWeights:
        """Prepare the weights once for all shards of a step, given the ids of the whole batch, `(B, T)`.

        The kernels project the embedding of each symbol once, unless there are fewer positions than symbols.
        """
        path = "cudnn" if cudnn.can_run(self.recurrent) else "keras"
        if all(layer.is_fast(ids) for layer in self.recurrent):
            path = "kernels"
        rows = tf.convert_to_tensor(self.embedding.embeddings)
        layers = [layer.weights_for_products() for layer in self.recurrent]
        positions = tf.TensorShape(ids.shape).num_elements()
        projected = path == "kernels" and (positions is None or self.vocabulary_size < positions)
        if projected:
            rows = rows @ layers[0].kernel.matrix + layers[0].bias
        return StepWeights(path, rows, projected, layers)

    def _features(
        self,
        ids: tf.Tensor,
        states: Sequence[tf.Tensor] | None,
        weights: StepWeights,
        training: bool = False,
        seed: tf.Tensor | None = None,
        first_row: tf.Tensor | int = 0,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The last layer's outputs, time-major except on the Keras path, and the states."""
        path, time_major = weights.path, weights.path != "keras"
        ids = tf.cast(ids, _ID_TYPES[path])
        names = [f"{s}_{i}" for i, layer in enumerate(self.recurrent) for s in layer.kind.states]
        if ids.shape.rank not in (2, None):
            raise ValueError(f"`ids` must have the shape (B, T), got {tuple(ids.shape)}.")
        if states is None:
            states = self.initial_states(tf.shape(ids)[0])
        if len(states) != len(names):
            wanted = f"{len(names)}, each (B, {self.units}): {', '.join(names)}"
            raise ValueError(f"`states` must be a list of {wanted}; got {len(states)}.")
        dropping = training and self.dropout_rate > 0
        if time_major:
            ids = tf.transpose(ids)
        x = weights.rows if weights.projected else tf.gather(weights.rows, ids)
        on_gpu = functools.partial(cudnn.stack, bfloat16=self.precision == "bfloat16")
        if path == "cudnn" and not (self.layer_norm or dropping):
            return on_gpu(self.recurrent, x, states)
        drop = functools.partial(
            dropout, rate=self.dropout_rate, kind=self.dropout_kind, seed=seed, first_row=first_row,
            time_major=time_major,
        )  # fmt: skip
        per_layer = len(self.recurrent[0].kind.states)
        after: list[tf.Tensor] = []
        for i, layer in enumerate(self.recurrent):
            own = list(states[i * per_layer : (i + 1) * per_layer])
            if path == "cudnn":
                x, new = on_gpu([layer], x, own)
            elif path == "kernels":
                symbols = ids if weights.projected and i == 0 else None
                x, new = layer.over_time(x, own, weights=weights.layers[i], ids=symbols)
            else:
                x, *new = layer(x, initial_state=own)
            after += new
            if self.layer_norm:
                x = fast.standardize(x)
            if dropping:
                x = drop(x, layer=i)
        return x, after

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Loss of the logits, for `fit` and `evaluate`."""
        return super().compute_loss(x, y, _logits_of(y_pred), *args, **kwargs)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Metrics of the logits."""
        return super().compute_metrics(x, y, _logits_of(y_pred), sample_weight)

    def predict_step(self, data: Any) -> tf.Tensor:
        """Logits, for `predict`."""
        return _logits_of(super().predict_step(data))

    def initial_states(self, batch_size: int | tf.Tensor) -> list[tf.Tensor]:
        """Zero states for `batch_size` rows: a flat list of `(batch_size, units)` float32."""
        states = [state for layer in self.recurrent for state in layer.kind.states]
        return [tf.zeros([batch_size, self.units]) for _ in states]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        return {"vocabulary_size": self.vocabulary_size, **self._arguments, "name": self.name}


_ID_TYPES = {"kernels": tf.int32, "cudnn": tf.int64, "keras": tf.int32}
"""On a GPU int64: TensorFlow keeps int32 in host memory and would copy the ids at each step."""


def _logits_of(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result
