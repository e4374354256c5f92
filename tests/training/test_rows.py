"""Runs of the row classifier: pixel orders, shifts, resume, and separate test images."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk import signals
from rnntk.config import MnistConfig
from rnntk.corpora import registry
from rnntk.corpora.images import ImageSet
from rnntk.decoding.strategies import surprisal
from rnntk.errors import Interrupted, RunError, UsageError
from rnntk.files import write_json
from rnntk.kernels import native
from rnntk.kernels.code import Shape
from rnntk.storage import folder
from rnntk.storage.folder import RunFolder
from rnntk.training import rows
from rnntk.training.row_task import ClassifierResult, PixelOrder, RowTask, shifted, wilson
from rnntk.training.session import Result

SIDE = 6


def pictures(seed: int = 0, count: int = 130) -> ImageSet:
    """Bright bars, one position per label: easy and quick to learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, 2 * count).astype(np.uint8)
    x = rng.integers(0, 60, (2 * count, SIDE, SIDE), dtype=np.uint8)
    for i, label in enumerate(labels):
        x[i, label // 2, 3 * (label % 2) : 3 * (label % 2) + 3] = 255
    return ImageSet(
        x[:count], labels[:count], x[count:], labels[count:], name="bars", title="bars"
    )  # fmt: skip


CORPUS = {"name": "bars", "sha256": "0" * 64}
CARD = registry.load_card("digits")


class Outcome(NamedTuple):
    result: Result
    test: ClassifierResult


def start(path: Path, images: ImageSet | None = None, **changes: Any) -> Outcome:
    values = {
        "units": 6,
        "batch_size": 20,
        "val_size": 30,
        "epochs": 2,
        "learning_rate": 0.01,
        **changes,
    }
    data = rows.Images(images or pictures(), CORPUS, CARD)
    return Outcome(*rows.start(MnistConfig(**values), data, path, quiet=True))


def resume(path: Path, images: ImageSet | None = None, **changes: Any) -> Outcome:
    data = rows.Images(images or pictures(), CORPUS, CARD)
    return Outcome(*rows.resume(folder.open_run(path), changes, data, quiet=True))


def weights(path: Path) -> dict[str, np.ndarray]:
    return dict(folder.open_run(path).checkpoint().weights())


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def test_max_time_includes_preparation_and_test(tmp_path: Path) -> None:
    images = pictures()
    data = rows.Images(images, CORPUS, CARD, began=time.perf_counter() - 50)
    config = MnistConfig(units=6, batch_size=20, val_size=30, epochs=100_000, max_time=60.0)
    task = RowTask(config, images, CORPUS, data.began)
    before = time.perf_counter() - data.began
    reserved = task.reserved_seconds()
    assert before < reserved < before + 2 * (time.perf_counter() - data.began - before)
    late = dataclasses.replace(config, max_time=40.0)
    result, _ = rows.start(late, data, tmp_path / "late", quiet=True)
    assert (result.reason, result.progress.step) == ("max-time", 1)
    assert "val_loss" in result.progress.losses


# ---- pixel orders ----------------------------------------------------------------------------------


def test_rows_and_pixels_are_the_same_values_in_the_same_order() -> None:
    images = pictures().x_train
    rows, ones = (PixelOrder(order, (SIDE, SIDE), 0) for order in ("rows", "pixels"))
    assert rows(images).shape == (130, SIDE, SIDE)
    assert ones(images).shape == (130, SIDE * SIDE, 1)
    assert rows(images).dtype == np.float32
    assert np.array_equal(rows(images).ravel(), ones(images).ravel())
    assert np.array_equal(np.rint(rows(images) * 255), images)


@given(st.integers(0, 2**32 - 1))
def test_a_permutation_keeps_every_pixel_and_depends_on_the_seed(seed: int) -> None:
    one = PixelOrder("permuted", (28, 28), seed)
    assert one.permutation is not None
    assert sorted(one.permutation) == list(range(784))
    image = np.arange(784).reshape(1, 28, 28).astype(np.uint8)
    read = PixelOrder("pixels", (28, 28), seed)(image)[0, one.permutation]
    assert np.array_equal(one(image)[0], read)
    again, other = (PixelOrder("permuted", (28, 28), s) for s in (seed, (seed + 1) % 2**32))
    assert one.to_json() == again.to_json()
    assert one.to_json()["permutation_sha256"] != other.to_json()["permutation_sha256"]


def test_the_permutation_is_the_same_in_every_version() -> None:
    """A run stores only the seed of its permutation, so these numbers are part of the format."""
    permutation = PixelOrder("permuted", (28, 28), 0).permutation
    assert permutation is not None
    assert permutation[:8].tolist() == [504, 605, 628, 99, 89, 75, 534, 240]


# ---- shifts ----------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_a_shift_moves_the_image(limit: int, seed: int) -> None:
    images = np.arange(1, 37, dtype=np.uint8).reshape(1, SIDE, SIDE).repeat(4, axis=0)
    for image in shifted(images, limit, np.random.default_rng(seed)):
        moves = []
        for down in range(-limit, limit + 1):
            for right in range(-limit, limit + 1):
                moved = np.zeros((SIDE, SIDE), np.uint8)
                rows, columns = np.mgrid[0:SIDE, 0:SIDE]
                rows, columns = rows - down, columns - right
                inside = (rows >= 0) & (rows < SIDE) & (columns >= 0) & (columns < SIDE)
                moved[inside] = images[0][rows[inside], columns[inside]]
                moves.append(np.array_equal(image, moved))
        assert any(moves)


def test_shifts_are_spread_evenly_over_all_places() -> None:
    dot = np.zeros((5000, 5, 5), np.uint8)
    dot[:, 2, 2] = 1
    counts = shifted(dot, 1, np.random.default_rng(0)).sum(axis=0)[1:4, 1:4]
    assert counts.sum() == 5000
    assert np.abs(counts - 5000 / 9).max() < 5 * np.sqrt(5000 / 9)


# ---- runs ------------------------------------------------------------------------------------------


def test_a_classifier_learns_and_reports_its_accuracy(tmp_path: Path) -> None:
    outcome = start(tmp_path / "r", epochs=30, units=16, learning_rate=0.03)
    assert outcome.test.accuracy > 0.9
    assert outcome.test.confusion.sum() == outcome.test.images == 130
    assert np.trace(outcome.test.confusion) == round(outcome.test.accuracy * 130)
    assert outcome.test.confusion.sum(axis=1).tolist() == np.bincount(pictures().y_test).tolist()
    assert outcome.test.loss == pytest.approx(
        surprisal(outcome.test.logits, pictures().y_test).mean()
    )
    lines = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    assert all({"loss", "accuracy", "grad_norm"} <= line.keys() for line in lines)
    assert [line["step"] for line in lines if "val_loss" in line] == list(range(5, 151, 5))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_bfloat16_changes_the_result_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bidirectional: bool
) -> None:
    options = {"epochs": 1, "bidirectional": bidirectional, "precision": "bfloat16"}
    if native.kernels().shape.bfloat16:
        exact = start(tmp_path / "exact", **{**options, "precision": "float32"})
        assert 0 < abs(start(tmp_path / "rounded", **options).test.loss - exact.test.loss) < 0.05
    monkeypatch.setattr(native, "kernels", lambda: SimpleNamespace(shape=Shape(8, 6)))
    with pytest.raises(
        UsageError, match='precision="bfloat16" needs a GPU or a CPU with AVX512-BF16'
    ):
        start(tmp_path / "refused", **options)
    assert not (tmp_path / "refused").exists()


def test_test_images_do_not_affect_training(tmp_path: Path) -> None:
    images = pictures()
    blank = dataclasses.replace(
        images, x_test=np.zeros_like(images.x_test), y_test=np.zeros_like(images.y_test)
    )
    one, two = start(tmp_path / "one", images), start(tmp_path / "two", blank)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert one.result.progress.best == two.result.progress.best
    assert one.test.loss != two.test.loss


def test_held_out_images_are_not_trained_on(tmp_path: Path) -> None:
    images = pictures()
    other = images.x_train.copy()
    other[-30:] = 255 - other[-30:]
    start(tmp_path / "one", images)
    start(tmp_path / "two", dataclasses.replace(images, x_train=other))
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_a_resume_only_tests_what_another_process_has_finished_until_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r"
    start(path, max_steps=2, keep=1)
    folder.open_run(path).with_settings({"max_steps": 4})
    real, waiting = RunFolder.lock, [True]

    def lock(self: RunFolder) -> Any:
        if waiting:
            waiting.clear()
            resume(path)
        return real(self)

    monkeypatch.setattr(RunFolder, "lock", lock)
    outcome = resume(path)
    assert outcome.result.progress.step == 4
    assert len((path / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "kind",
    [
        {"bidirectional": True, "layers": 2, "dropout": 0.3, "shift": 1, "decay_rate": 0.5},
        {"cell": "gru", "order": "permuted"},
        {"cell": "rnn", "order": "pixels"},
    ],
)
def test_resume_inside_an_epoch_is_bit_identical(tmp_path: Path, kind: dict[str, Any]) -> None:
    whole = start(tmp_path / "whole", **kind)
    start(tmp_path / "part", max_steps=3, **kind)
    assert folder.open_run(tmp_path / "part").checkpoint().progress.batch == 3
    resumed = resume(tmp_path / "part", max_steps=10_000)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "part"))
    assert np.array_equal(whole.test.logits, resumed.test.logits)
    assert whole.result.progress.best == resumed.result.progress.best


def test_a_finished_run_is_only_tested_and_resumes_with_more_steps(tmp_path: Path) -> None:
    first = start(tmp_path / "r", epochs=1)
    again = resume(tmp_path / "r")
    assert np.array_equal(again.test.logits, first.test.logits)
    assert (again.result.progress, again.result.reason) == (first.result.progress, "epochs")
    with pytest.raises(UsageError, match=r"is finished: 1 of 1 epochs.*raise epochs"):
        resume(tmp_path / "r", epochs=1)
    with pytest.raises(UsageError, match=r"is finished: 5 of 4 steps.*raise max_steps"):
        resume(tmp_path / "r", epochs=2, max_steps=4)
    assert resume(tmp_path / "r", epochs=2).result.progress.epoch == 2


@pytest.mark.parametrize("number", signals.ENDING)
def test_a_signal_during_the_test_says_that_the_training_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = start(tmp_path / "whole", max_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(RowTask, "test", lambda *_, **__: signal.raise_signal(number))
        saved = r"^The training is saved\. Test it with: rnntk mnist --resume \S*r$"
        with pytest.raises(Interrupted, match=saved) as caught:
            start(tmp_path / "r", max_steps=2)
        assert caught.value.exit_code == 128 + number
    run = folder.open_run(tmp_path / "r")
    data = rows.Images(pictures(), CORPUS, CARD)
    result, test = rows.resume(run, {}, data, quiet=True)
    assert (result.progress.step, result.reason) == (2, "max-steps")
    assert np.array_equal(test.logits, whole.test.logits)
    with pytest.raises(UsageError, match="leave out units"):
        rows.resume(run, {"units": 9}, data)


def test_other_images_and_another_permutation_are_refused(tmp_path: Path) -> None:
    run = start(tmp_path / "r", order="permuted", max_steps=1).result.run
    with pytest.raises(RunError, match="trained on other images"):
        rows.resume(run, {}, rows.Images(pictures(), {**CORPUS, "sha256": "1" * 64}, CARD))
    record = json.loads((run.path / "run.json").read_text())
    record["model"]["permutation_sha256"] = "0" * 64
    write_json(run.path / "run.json", record)
    with pytest.raises(RunError, match="permutes the pixels differently"):
        resume(run.path, max_steps=2)


def test_resume_keeps_the_limits_of_the_run_and_remembers_new_ones(tmp_path: Path) -> None:
    run = start(tmp_path / "r", max_steps=3).result.run
    with pytest.raises(UsageError, match=r"is finished: 3 of 3 steps.*raise max_steps"):
        resume(run.path, max_steps=3)
    resume(run.path, max_steps=4)
    assert resume(run.path).result.progress.step == 4


def test_the_run_records_the_order_of_pixels(tmp_path: Path) -> None:
    record = start(tmp_path / "r", order="permuted", max_steps=1, seed=5).result.run.record
    assert record["model"].items() >= PixelOrder("permuted", (SIDE, SIDE), 5).to_json().items()
    assert record["model"]["features"] == 1


@given(st.integers(1, 10_000), st.data())
def test_the_interval_covers_its_share(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    low, high = wilson(right / count, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1
    # The interval of the complement is the mirror image.
    assert wilson(1 - right / count, count) == pytest.approx((1 - high, 1 - low), abs=1e-9)
