"""`--optimizer` and `--clip`: each is what it says, and each is resumed bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk.config import TrainConfig
from rnntk.storage.folder import RunFolder
from rnntk.text import corpus
from rnntk.training import character, optimizers

TEXT = "".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(30))


def start(folder: Path, name: str, **changes: Any) -> RunFolder:
    path = folder / "tiny.txt"
    path.write_text(TEXT, encoding="utf-8")
    values = {
        "input": (str(path),), "cell": "rnn", "layers": 1, "units": 6, "embedding": 4, "batch_size": 4,
        "seq_length": 20, "epochs": 2, "checkpoint_every": 1000, "learning_rate": 0.01, **changes,
    }  # fmt: skip
    settings = TrainConfig(**values)
    made = corpus.prepare_corpus(settings, None)
    return character.start(settings, made, folder / name, quiet=True).run


@pytest.mark.parametrize(
    ("optimizer", "clip"),
    [("adam", "none"), ("adagrad", "value"), ("rmsprop", "norm"), ("sgd", "global-norm")],
)
def test_resume_is_bit_for_bit(tmp_path: Path, optimizer: str, clip: str) -> None:
    kind = {"optimizer": optimizer, "clip": clip, "clip_norm": 0.05}
    whole = start(tmp_path, "whole", **kind).checkpoint()
    part = start(tmp_path, "part", max_steps=5, **kind)
    assert part.checkpoint().progress.batch > 0
    character.resume(part, {"max_steps": 10_000}, quiet=True)
    for kept in ("weights", "optimizer", "states"):
        one, two = getattr(whole, kept)(), getattr(part.checkpoint(), kept)()
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name]) for name in one), kept


def test_every_choice_trains_differently(tmp_path: Path) -> None:
    choices = [{"optimizer": name} for name in optimizers.OPTIMIZERS]
    choices += [{"clip": clip, "clip_norm": 0.05} for clip in ("norm", "value", "global-norm")]
    ends = [
        start(tmp_path, f"run-{i}", max_steps=3, **choice).checkpoint().weights()["output/kernel"]
        for i, choice in enumerate(choices)
    ]
    for i, one in enumerate(ends):
        assert all(not np.array_equal(one, other) for other in ends[i + 1 :]), choices[i]


def test_sgd_has_no_momentum_and_adagrad_shrinks_with_all_it_has_seen() -> None:
    import keras

    for name, expected in (
        ("sgd", [1 - 0.5, 1 - 2 * 0.5]),
        # Keras starts the sum of squares at 0.1.
        ("adagrad", [1 - 0.5 / 1.1**0.5, 1 - 0.5 / 1.1**0.5 - 0.5 / 2.1**0.5]),
    ):
        variable = keras.Variable(1.0)
        optimizer = optimizers.make(name, 0.5)
        seen = []
        for _ in range(2):
            optimizer.apply([keras.ops.ones(())], [variable])
            seen.append(float(variable))
        assert seen == pytest.approx(expected, rel=1e-5), name
