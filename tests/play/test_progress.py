"""The loss of a run that is being written, and its samples."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import RunError
from rnntk.play import limits
from rnntk.play.models import Models
from rnntk.play.progress import SEED, CheckpointSamples, LossCurve
from rnntk.storage import checkpoint, metrics


def lines(*steps: int) -> str:
    return "".join(json.dumps({"step": s, "loss": s / 10, "seconds": s}) + "\n" for s in steps)


def test_the_curve_grows_with_the_file(tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r")
    run.metrics.write_text(lines(1, 2) + '{"step": 3, "lo', encoding="utf-8")
    curve = LossCurve(run)
    assert curve.look()["loss"] == [[1, 0.1], [2, 0.15]]
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write(
            'ss": 0.3}\nnot json\n{"step": 4, "loss": NaN, "val_loss": 1.5}\n{"loss": 1}\n[1]\n'
        )
    found = curve.look()
    assert found["loss"] == [[1, 0.1], [2, 0.15], [3, 0.2]]
    assert found["val_loss"] == [[4, 1.5]]
    assert (found["step"], found["seconds"]) == (4, 2)
    assert found["live"]
    os.utime(run.metrics, (0, 0))
    assert not curve.look()["live"]


def test_a_resumed_run_cuts_its_file_back(tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r")
    run.metrics.write_text(lines(*range(1, 9)), encoding="utf-8")
    curve = LossCurve(run)
    curve.look()
    run.metrics.write_text(lines(1, 2, 30), encoding="utf-8")
    assert [step for step, _ in curve.look()["loss"]] == [1, 2, 30]
    run.metrics.unlink()
    found = curve.look()
    assert found["loss"] == []
    assert not found["live"]


def test_a_long_curve_is_thinned_and_ends_at_the_loss_shown_everywhere(tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r")
    run.metrics.write_text(lines(*range(1, 4001)), encoding="utf-8")
    loss = LossCurve(run).look()["loss"]
    assert len(loss) == 400
    assert loss[0] == [10, 0.55]  # the mean of 0.1, 0.2, ..., 1.0
    assert loss[-1] == [4000, 395.05]  # of steps 3901 to 4000
    assert metrics.last(run.metrics)["mean_loss"] == pytest.approx(395.05)


def test_samples_differ_by_checkpoint_and_stay_when_it_is_gone(tmp_path, make_run) -> None:
    models = Models(LanguageModel.load(make_run(tmp_path / "r")))
    samples = CheckpointSamples(models)
    first, last = samples.get(10), samples.get(30)
    assert first["text"] == "".join(models.get(10).stream(seed=SEED, length=limits.SAMPLE))
    assert first["text"] != last["text"]
    shutil.rmtree(models.run.checkpoints / checkpoint.folder_name(10))
    assert samples.steps() == [10, 20, 30]
    assert samples.get(10) == first
    with pytest.raises(RunError, match="has no checkpoint 11"):
        samples.get(11)


def test_the_model_in_use_stays_when_its_checkpoint_is_gone(tmp_path, make_run) -> None:
    models = Models(LanguageModel.load(make_run(tmp_path / "r")))
    shutil.rmtree(models.run.checkpoints / checkpoint.folder_name(30))
    assert models.get(30).step == 30
    assert models.steps() == [10, 20, 30]
    assert models.describe()["steps"] == [10, 20, 30]
    with pytest.raises(RunError, match="has no checkpoint '99'"):
        models.get(99)
