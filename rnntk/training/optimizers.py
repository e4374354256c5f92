"""The optimizers by name, with Keras' default constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


class Averaging(keras.optimizers.Optimizer):
    """Keras' average of the weights, whose decay at step t is at most t / (t + 9).

    So the average never holds much of the initial weights: it covers about the last ninth of the steps, until `ema`
    limits it (the rule of `tf.train.ExponentialMovingAverage` with `num_updates`).
    """

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        if not self.use_ema:
            return
        step = keras.ops.cast(self.iterations, "float32")
        new = 1 - keras.ops.minimum(step / (step + 9), self.ema_momentum)
        pairs = zip(trainable_variables, self._model_variables_moving_average, strict=True)
        for variable, average in pairs:
            average.assign_add(keras.ops.cast(new, variable.dtype) * (variable - average))


@keras.saving.register_keras_serializable("rnntk")
class Adam(Averaging, keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba, 2015), with one TensorFlow kernel per variable and update instead of ten."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        step = tf.cast(self.iterations + 1, tf.float32)
        self._powers = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if variable.dtype != "float32":
            super().update_step(gradient, variable, learning_rate)
            return
        slot = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[slot].value.handle,
            v=self._velocities[slot].value.handle,
            beta1_power=self._powers[0],
            beta2_power=self._powers[1],
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


@keras.saving.register_keras_serializable("rnntk")
class Adagrad(Averaging, keras.optimizers.Adagrad):
    """Duchi et al., 2011."""


@keras.saving.register_keras_serializable("rnntk")
class RMSprop(Averaging, keras.optimizers.RMSprop):
    """Hinton, 2012."""


@keras.saving.register_keras_serializable("rnntk")
class SGD(Averaging, keras.optimizers.SGD):
    """Without momentum."""


OPTIMIZERS = {"adam": Adam, "adagrad": Adagrad, "rmsprop": RMSprop, "sgd": SGD}


def make(
    name: str,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    beta_2: float = 0.999,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """An optimizer; `weight_decay` is decoupled (Loshchilov and Hutter, 2019) and spares biases and embeddings.

    `beta_2` is Adam's alone. `ema` above 0 is the decay of an exponential moving average of the weights (see
    `averaged`).
    """
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": ema} if ema > 0 else {}
    if name == "adam":
        options["beta_2"] = beta_2
    optimizer = OPTIMIZERS[name](learning_rate, weight_decay=weight_decay or None, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "embeddings"])
    return optimizer


@contextmanager
def averaged(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Context in which the model has its averaged weights, and the optimizer keeps the trained ones in their place."""
    exchange_averages(optimizer)
    try:
        yield
    finally:
        exchange_averages(optimizer)


def exchange_averages(optimizer: keras.optimizers.Optimizer) -> None:
    """Exchange the trained weights and their averages, if the optimizer keeps averages."""
    averages = getattr(optimizer, "_model_variables_moving_average", ())
    for variable, average in zip(optimizer._trainable_variables, averages, strict=False):
        trained = variable.numpy()
        variable.assign(average)
        average.assign(trained)
