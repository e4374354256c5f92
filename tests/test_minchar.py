"""The minimal NumPy model: gradient, training and samples, against finite differences and Keras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnntk import minchar
from rnntk.minchar import LENGTH, MinChar

TEXT = "the cat sat on the mat and the dog sat on the log; " * 20


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iterations", [0, 300])
def test_the_gradient_matches_finite_differences(seed: int, iterations: int) -> None:
    model = MinChar(TEXT, seed)
    assert model.weights["Whh"].dtype == np.float64
    for _ in model.train(iterations):
        pass
    assert model.check_gradients() < 1e-6


@pytest.mark.parametrize("name", ["Wxh", "Whh", "Why", "bh", "by"])
def test_the_check_detects_a_wrong_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = MinChar.gradients

    def wrong(self: MinChar, *args: np.ndarray) -> tuple:
        loss, d, h = right(self, *args)
        return loss, {**d, name: d[name] * 1.00001}, h

    monkeypatch.setattr(MinChar, "gradients", wrong)
    assert MinChar(TEXT).check_gradients() > 1e-6


def test_every_weight_of_a_small_model_matches_finite_differences() -> None:
    """All weights, each array against its own differences."""
    model = MinChar("abcab" * 10, seed=3, units=4)
    for weight in model.weights.values():
        weight += model.rng.normal(size=weight.shape) * 0.5
    x, y, h = model.text[:LENGTH], model.text[1 : LENGTH + 1], np.full(4, 0.3)
    _, exact, _ = model.gradients(x, y, h)
    for name, weight in model.weights.items():
        for k in range(weight.size):
            kept, losses = weight.flat[k], []
            for step in (1e-5, -1e-5):
                weight.flat[k] = kept + step
                losses.append(model.gradients(x, y, h)[0])
            weight.flat[k] = kept
            assert exact[name].flat[k] == pytest.approx(
                (losses[0] - losses[1]) / 2e-5, rel=1e-5, abs=1e-7
            ), name


def test_the_smoothed_loss_begins_at_the_uniform_loss_and_falls() -> None:
    reports = list(MinChar(TEXT).train(500, every=100))
    assert [i for i, _, _ in reports] == [0, 100, 200, 300, 400, 500]
    losses = [loss for _, loss, _ in reports]
    assert losses[0] == pytest.approx(LENGTH * np.log(len(set(TEXT))))
    # Adagrad's first steps are large and raise the loss.
    assert losses[1:] == sorted(losses[1:], reverse=True)
    assert losses[-1] < 0.8 * losses[0]
    assert all(len(sample) == 200 and set(sample) <= set(TEXT) for _, _, sample in reports)


def test_the_last_iteration_is_reported_once() -> None:
    assert [i for i, _, _ in MinChar(TEXT).train(250, every=100)] == [0, 100, 200, 250]


def test_the_same_seed_gives_the_same_samples() -> None:
    one, two, other = (list(MinChar(TEXT, seed).train(100)) for seed in (1, 1, 2))
    assert one == two
    assert [sample for *_, sample in one] != [sample for *_, sample in other]


def test_gradients_are_clipped_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adagrad's first step is RATE * g / |g|, so only the sums of squares show the clipping."""
    seen: list[np.ndarray] = []
    right = MinChar.gradients

    def huge(self: MinChar, *args: np.ndarray) -> tuple:
        loss, d, h = right(self, *args)
        return loss, {name: value * 1e6 for name, value in d.items()}, h

    monkeypatch.setattr(MinChar, "gradients", huge)
    clip = np.clip
    monkeypatch.setattr(
        np, "clip", lambda a, low, high: seen.append(clip(a, low, high)) or seen[-1]
    )
    list(MinChar(TEXT).train(1))
    assert len(seen) == 5
    assert max(np.abs(g).max() for g in seen) == minchar.LIMIT


def test_the_state_is_reset_at_the_end_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    memories: list[np.ndarray] = []
    reads: list[np.ndarray] = []
    right = MinChar.gradients

    def watched(self: MinChar, x: np.ndarray, y: np.ndarray, h: np.ndarray) -> tuple:
        reads.append(x)
        memories.append(h)
        assert len(x) == len(y) == LENGTH
        return right(self, x, y, h)

    monkeypatch.setattr(MinChar, "gradients", watched)
    model = MinChar(TEXT[: 3 * LENGTH + 1])
    list(model.train(7))
    zero = [not memory.any() for memory in memories]
    assert zero == [True, False, False, True, False, False, True]
    assert np.array_equal(np.concatenate(reads[:3]), model.text[:-1])
    assert np.array_equal(reads[3], reads[0])
    assert not np.array_equal(memories[1], memories[4])  # the weights have changed


def test_loss_and_gradients_match_keras() -> None:
    """The same network of stock layers has the same loss and gradients, in float64."""
    import keras
    import tensorflow as tf

    model = MinChar(TEXT, seed=4, units=7)
    for weight in model.weights.values():
        weight += model.rng.normal(size=weight.shape) * 0.3
    x, y, h = model.text[:LENGTH], model.text[1 : LENGTH + 1], np.linspace(-0.5, 0.5, 7)
    loss, d, last = model.gradients(x, y, h)
    cell = keras.layers.SimpleRNN(7, return_sequences=True, return_state=True, dtype="float64")
    output = keras.layers.Dense(len(model.characters), dtype="float64")
    one_hot = tf.one_hot(x, len(model.characters), dtype=tf.float64)[None]
    cell.build(one_hot.shape)
    output.build((None, None, 7))
    w = model.weights
    cell.set_weights([w["Wxh"].T, w["Whh"].T, w["bh"]])
    output.set_weights([w["Why"].T, w["by"]])
    variables = [v.value for v in (*cell.trainable_variables, *output.trainable_variables)]
    with tf.GradientTape() as tape:
        memory, after = cell(one_hot, initial_state=tf.constant(h[None]))
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(y[None], output(memory))
        total = tf.reduce_sum(nats)
    np.testing.assert_allclose(loss, total, rtol=1e-12)
    np.testing.assert_allclose(last, after[0], rtol=1e-12)
    expected = [g.numpy() for g in tape.gradient(total, variables)]
    for name, gradient in zip(("Wxh", "Whh", "bh", "Why", "by"), expected, strict=True):
        np.testing.assert_allclose(d[name], gradient.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", ["", "a" * LENGTH, "ab" * 12 + "a", "a" * 100])
def test_a_text_too_short_or_of_one_character_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="needs over 25 characters"):
        MinChar(text)


def test_the_file_is_short_and_imports_only_numpy() -> None:
    source = Path(minchar.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) < 150
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imports == [
        "from __future__ import annotations",
        "from collections.abc import Iterator",
        "import numpy as np",
    ]
