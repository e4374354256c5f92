"""Tiny runs of every kind, and checkpoints made with TensorFlow 1's cells."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnntk.storage import checkpoint, folder
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary
from rnntk.training import device

device.ready("cpu", None)

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def draw_weights(
    kind: str, cell: str, *, layers: int, bidirectional: bool, reset_after: bool
) -> dict[str, np.ndarray]:
    """Random weights, biases included."""
    rng = np.random.default_rng(5)
    V, E, H, F = 13, 5, 7, 6
    gates = GATES[cell] * H
    char = kind == folder.CHAR_RNN
    shapes: dict[str, tuple[int, ...]] = {"embedding/embeddings": (V, E)} if char else {}
    ways = ["rnn"] if char else ["forward", "backward"] if bidirectional else ["forward"]
    inputs = E if char else F
    for i in range(layers):
        for way in ways:
            shapes[f"{way}_{i}/kernel"] = (inputs, gates)
            shapes[f"{way}_{i}/recurrent_kernel"] = (H, gates)
            two = cell == "gru" and reset_after
            shapes[f"{way}_{i}/bias"] = (2, gates) if two else (gates,)
        inputs = H * len(ways)
    shapes["output/kernel"] = (inputs, V)
    shapes["output/bias"] = (V,)
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """`make_run(kind, cell, layers=2, ...)` -> a run with one checkpoint."""

    def make(
        kind: str = folder.CHAR_RNN,
        cell: str = "lstm",
        *,
        layers: int = 2,
        bidirectional: bool = False,
        reset_after: bool = True,
        layer_norm: bool = False,
    ) -> RunFolder:
        weights = draw_weights(
            kind, cell, layers=layers, bidirectional=bidirectional, reset_after=reset_after
        )
        run = folder.create(
            tmp_path / f"{kind}-{cell}",
            kind=kind,
            settings={},
            model={"cell": cell, "layers": layers, "units": 7, "layer_norm": layer_norm},
            corpus={"name": "made", "preprocessor": "plain", "preprocessor_version": 1},
            versions={},
            vocabulary=Vocabulary("abcdefghijkl\n") if kind == folder.CHAR_RNN else None,
        )
        checkpoint.write(
            run.checkpoints, weights=weights, optimizer={}, states={}, progress=Progress(step=30)
        )
        return run

    return make


@pytest.fixture
def tf1_model(tmp_path: Path) -> Callable[..., tuple[Path, np.ndarray, np.ndarray]]:
    """`tf1_model(cell, layers)` -> prefix of a checkpoint, ids `(T,)` and TensorFlow 1's logits `(T, V)`.

    The graph is that of the 2017 notebooks, with the cells that TensorFlow 2 still includes.
    """
    cells = pytest.importorskip("tensorflow.python.keras.layers.legacy_rnn.rnn_cell_impl")
    import tensorflow as tf

    v1 = tf.compat.v1
    kinds = {"lstm": cells.BasicLSTMCell, "gru": cells.GRUCell, "rnn": cells.BasicRNNCell}
    V, E, H, T = 11, 5, 7, 20

    def make(cell: str, layers: int = 2) -> tuple[Path, np.ndarray, np.ndarray]:
        ids = np.random.default_rng(1).integers(0, V, T)
        with warnings.catch_warnings(), tf.Graph().as_default(), v1.Session() as session:
            warnings.simplefilter("ignore")
            v1.set_random_seed(3)
            spread = v1.random_normal_initializer(stddev=0.6, seed=4)
            with v1.variable_scope("rnnlm", initializer=spread):
                table = v1.get_variable("embedding", [V, E])
                kernel = v1.get_variable("softmax_w", [H, V])
                bias = v1.get_variable("softmax_b", [V])
                stack = cells.MultiRNNCell([kinds[cell](H) for _ in range(layers)])
                state = stack.zero_state(1, tf.float32)
                logits = []
                for t in range(T):
                    output, state = stack(tf.gather(table, ids[t : t + 1]), state)
                    logits.append(output @ kernel + bias)
                    v1.get_variable_scope().reuse_variables()
            learning_rate = v1.Variable(0.002, trainable=False)
            v1.train.AdamOptimizer(learning_rate).minimize(tf.reduce_sum(logits[-1]))
            session.run(v1.global_variables_initializer())
            # TensorFlow 1 initialises some to 0; a trained model's are not.
            for variable in v1.trainable_variables():
                noise = np.random.default_rng(len(variable.name)).normal(0, 0.3, variable.shape)
                session.run(variable.assign_add(noise.astype(np.float32)))
            found = np.concatenate(session.run(logits))
            (tmp_path / "save").mkdir()
            prefix = v1.train.Saver().save(
                session, str(tmp_path / "save" / "model.ckpt"), global_step=24
            )
        return Path(prefix), ids, found

    return make
