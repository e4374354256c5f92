"""The optimizers of `--optimizer`, each at Keras' own constants."""

from __future__ import annotations

import keras

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,  # Kingma and Ba, 2015
    "adagrad": keras.optimizers.Adagrad,  # Duchi et al., 2011
    "rmsprop": keras.optimizers.RMSprop,  # Hinton, 2012
    "sgd": keras.optimizers.SGD,  # plain: no momentum
}


def make(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """The optimizer called `name`, a key of `OPTIMIZERS`."""
    return OPTIMIZERS[name](learning_rate)
