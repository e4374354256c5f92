from __future__ import annotations

import io

import numpy as np
import pytest

from rnntk.corpora import digits


def test_a_seed_determines_the_images():
    first, again, other = (digits.make(seed, 30, 20) for seed in (1, 1, 2))
    for name in first:
        assert np.array_equal(first[name], again[name])
    assert not np.array_equal(first["x_train"], other["x_train"])


def test_the_skeletons_are_the_published_ones():
    """Raise `digits.VERSION` when changing them."""
    points, inked = digits._skeletons()
    assert points.sum() == pytest.approx(-6.445646558172774)
    assert (points**2).sum() == pytest.approx(171.10079218588186)
    assert (~inked).sum() == 4


def test_train_and_test_do_not_share_an_image():
    drawn = digits.make(0, 40, 40)
    train = {image.tobytes() for image in drawn["x_train"]}
    assert len(train) == 40
    assert train.isdisjoint(image.tobytes() for image in drawn["x_test"])


def test_classes_are_balanced_and_ink_is_inside():
    drawn = digits.make(3, 500, 100)
    x, y = drawn["x_train"], drawn["y_train"]
    assert (x.dtype, y.dtype) == (np.uint8, np.uint8)
    assert np.bincount(y).tolist() == [50] * 10
    middle = x[:, 4:24, 4:24].astype(float).mean((1, 2))
    border = np.concatenate([x[:, :2].reshape(500, -1), x[:, -2:].reshape(500, -1)], 1).mean(1)
    assert (middle > border).all()
    assert (x.max((1, 2)) > 100).all()


def test_a_linear_classifier_learns_part_of_it():
    """Ridge regression on one-hot labels is far better than chance and far from perfect."""
    drawn = digits.make(0, 3000, 500)

    def features(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1) / 255.0
        return np.concatenate([flat, np.ones((len(x), 1))], axis=1)

    x = features(drawn["x_train"])
    weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ np.eye(10)[drawn["y_train"]])
    right = (features(drawn["x_test"]) @ weights).argmax(1) == drawn["y_test"]
    assert 0.5 < right.mean() < 0.95


def test_the_npz_file_names_its_version(monkeypatch):
    monkeypatch.setattr(digits, "TRAIN", 20)
    monkeypatch.setattr(digits, "TEST", 10)
    drawn = digits.make(digits.SEED, 20, 10)
    monkeypatch.setattr(digits, "make", lambda: drawn)
    first, second = digits.build(), digits.build()
    assert first.data == second.data
    assert "not MNIST" in first.detail
    with np.load(io.BytesIO(first.data), allow_pickle=False) as archive:
        assert np.array_equal(archive["x_test"], drawn["x_test"])
