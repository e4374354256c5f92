"""Layer normalisation against Keras' layer."""

import keras
import numpy as np

from rnntk.layer_norm import EPSILON, standardized


def test_standardized_matches_keras_layer_normalization():
    x = np.random.default_rng(0).normal(2, 3, (4, 5, 9)).astype(np.float32)
    layer = keras.layers.LayerNormalization(epsilon=EPSILON, center=False, scale=False)
    np.testing.assert_allclose(standardized(x), layer(x), rtol=0, atol=1e-5)
    assert keras.layers.LayerNormalization().epsilon == EPSILON


def test_equal_values_become_zero():
    np.testing.assert_array_equal(standardized(np.full((2, 6), 7, np.float32)), np.zeros((2, 6)))
