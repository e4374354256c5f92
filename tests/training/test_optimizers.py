"""`--optimizer` and `--clip`: each follows its formula and resumes bit-identically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk.config import TrainConfig
from rnntk.decoding.language_model import LanguageModel
from rnntk.storage import splits
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
def test_resume_is_bit_identical(tmp_path: Path, optimizer: str, clip: str) -> None:
    kind = {"optimizer": optimizer, "clip": clip, "clip_norm": 0.05}
    kind |= {"weight_decay": 0.1, "beta_2": 0.9, "ema": 0.9, "warmup_steps": 7}
    whole = start(tmp_path, "whole", **kind).checkpoint()
    part = start(tmp_path, "part", max_steps=5, **kind)
    assert part.checkpoint().progress.batch > 0
    character.resume(part, {"max_steps": 10_000}, quiet=True)
    for kept in ("weights", "optimizer", "states"):
        one, two = getattr(whole, kept)(), getattr(part.checkpoint(), kept)()
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name]) for name in one), kept


def test_every_choice_trains_differently(tmp_path: Path) -> None:
    choices = [{"optimizer": name} for name in optimizers.OPTIMIZERS] + [{"beta_2": 0.9}]
    choices += [{"clip": clip, "clip_norm": 0.05} for clip in ("norm", "value", "global-norm")]
    ends = [
        start(tmp_path, f"run-{i}", max_steps=3, **choice).checkpoint().weights()["output/kernel"]
        for i, choice in enumerate(choices)
    ]
    for i, one in enumerate(ends):
        assert all(not np.array_equal(one, other) for other in ends[i + 1 :]), choices[i]


def test_steps_of_sgd_and_adagrad_follow_their_formulas() -> None:
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


@pytest.mark.parametrize("beta_2", [0.999, 0.9])
def test_steps_of_adam_follow_their_formula(beta_2: float) -> None:
    import keras

    variable = keras.Variable(1.0)
    optimizer = optimizers.make("adam", 0.1, beta_2=beta_2)
    expected, mean, square = 1.0, 0.0, 0.0
    for step, gradient in enumerate([1.0, 3.0, -2.0], 1):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        mean = 0.9 * mean + 0.1 * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        expected -= 0.1 * mean / (1 - 0.9**step) / (square / (1 - beta_2**step)) ** 0.5
        assert float(variable) == pytest.approx(expected, rel=1e-5)


def test_weight_decay_is_decoupled_and_skips_biases_and_embeddings() -> None:
    import keras

    variables = [keras.Variable(2.0, name=name) for name in ("kernel", "bias", "embeddings")]
    optimizer = optimizers.make("adam", 0.1, weight_decay=0.5)
    optimizer.apply([keras.ops.zeros(())] * 3, variables)
    assert [float(v) for v in variables] == pytest.approx([2 - 2 * 0.1 * 0.5, 2, 2])


def test_averaged_weights_are_validated_saved_and_sampled(tmp_path: Path) -> None:
    options = {"max_steps": 8, "val_fraction": 0.1, "val_every": 8, "sample_every": 8}
    plain = start(tmp_path, "plain", **options)
    run = start(tmp_path, "averaged", ema=0.5, **options)
    kept, optimizer = run.checkpoint("best").weights(), run.checkpoint("best").optimizer()
    trained = plain.checkpoint().weights()
    # Training itself is unchanged and continues from the weights, not from their averages.
    assert all(np.array_equal(optimizer[f"{name}/average"], trained[name]) for name in trained)
    assert not any(np.array_equal(kept[name], trained[name]) for name in trained)
    model = LanguageModel.load(run, "best")
    name, first, end = splits.split_range(run, "val")
    held_out = splits.training_text(run).ids[first:end]
    measured = model.evaluate(held_out).loss
    assert name == "val"
    assert measured == pytest.approx(run.checkpoint("best").progress.losses["val_loss"], abs=1e-6)
    generated = "".join(model.stream(length=200, seed=0))
    assert run.samples.read_text(encoding="utf-8").endswith(f"{generated}\n")


@pytest.mark.parametrize("decay", [0.75, 0.15, 0.999])
def test_averages_follow_the_decay_and_forget_the_initial_weights(decay: float) -> None:
    import keras

    variable = keras.Variable(4.0)
    optimizer = optimizers.make("sgd", 1.0, ema=decay)
    optimizer.build([variable])
    expected = 0.0
    for step in range(40):
        optimizer.apply([keras.ops.ones(())], [variable])
        trained = 3.0 - step
        momentum = min(decay, step / (step + 9))
        expected = momentum * expected + (1 - momentum) * trained
        assert float(variable) == trained
        with optimizers.averaged(optimizer):
            assert float(variable) == pytest.approx(expected, rel=1e-5)
        assert float(variable) == trained
