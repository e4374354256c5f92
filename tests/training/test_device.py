"""TensorFlow's options: set while rnntk trains, and restored after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import pytest
import tensorflow as tf

import rnntk
from rnntk.training import device

OPTION = "arithmetic_optimization"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    tf.config.optimizer.set_experimental_options({OPTION: None})
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("value", [None, True, False])
@pytest.mark.parametrize("eagerly", [False, True])
def test_the_options_are_restored(value: bool | None, eagerly: bool) -> None:
    tf.config.optimizer.set_experimental_options({OPTION: value})
    tf.config.run_functions_eagerly(eagerly)
    before = tf.config.optimizer.get_experimental_options()
    assert before.get(OPTION) is value
    with device.training_options():
        assert tf.config.optimizer.get_experimental_options()[OPTION] is False
        assert not tf.config.functions_run_eagerly()
        with device.training_options():  # a callback may train too
            pass
        assert tf.config.optimizer.get_experimental_options()[OPTION] is False
    assert tf.config.optimizer.get_experimental_options() == before
    assert tf.config.functions_run_eagerly() is eagerly
    with pytest.raises(KeyError), device.training_options():
        raise KeyError
    assert tf.config.optimizer.get_experimental_options() == before


def test_training_leaves_no_option_and_works_where_functions_run_eagerly(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_text("The tale of a tail. " * 30)
    before = tf.config.optimizer.get_experimental_options()
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(tf.config.optimizer.get_experimental_options()[OPTION])

    small: dict[str, Any] = {"units": 4, "max_steps": 2, "batch_size": 4, "seq_length": 20}
    runs = []
    for eagerly in (False, True):
        tf.config.run_functions_eagerly(eagerly)
        runs.append(rnntk.train("tale.txt", quiet=True, callbacks=[Look()], **small))
    assert seen == [False] * 4
    assert tf.config.optimizer.get_experimental_options() == before
    assert list(runs[0].metrics["loss"]) == list(runs[1].metrics["loss"])
    one = rnntk.train_mnist(data="digits", units=4, max_steps=2, quiet=True)
    assert one.test.images > 0
    assert tf.config.functions_run_eagerly()
