"""Runs of rnntk 0.1 continue with the results of that version."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from rnntk.errors import RunError
from rnntk.storage import folder
from rnntk.training import character, rows

RUNS = Path(__file__).parent.parent / "data" / "old_runs"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(RUNS, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def assert_as_before(weights: dict[str, np.ndarray], expected: Path) -> None:
    """Equal to rounding, since versions add in different orders."""
    before = safetensors.numpy.load_file(expected)
    assert weights.keys() == before.keys()
    for name, array in weights.items():
        np.testing.assert_allclose(array, before[name], rtol=1e-4, atol=1e-5)


def test_an_old_character_model_resumes(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = folder.open_run(here / "characters")
    assert run.record["format_version"] == 1
    character.resume(run, {"max_steps": 30}, quiet=True)
    assert_as_before(run.checkpoint().weights(), here / "characters-expected.safetensors")
    again = folder.open_run(run.path)
    assert again.record["format_version"] == folder.FORMAT_VERSION
    assert "rnn_0/kernel/momentum" in again.checkpoint().optimizer()


@pytest.mark.parametrize("name", ["digits", "digits-both"])
def test_an_old_row_classifier_resumes(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    run = folder.open_run(here / name)
    rows.resume(run, {"max_steps": 9}, rows.images_of(run, {}), quiet=True)
    assert_as_before(run.checkpoint().weights(), here / f"{name}-expected.safetensors")


def test_a_run_of_other_versions_warns(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = here / "characters" / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["versions"] |= {"keras": "3.0.0", "numpy": "1.25.0"}
    record["versions"]["tensorflow"] = metadata.version("tensorflow")
    file.write_text(json.dumps(record), encoding="utf-8")
    character.resume(folder.open_run(file.parent), {"max_steps": 7}, quiet=True)
    assert "keras 3.0.0 (now" in caplog.text
    assert "numpy 1.25.0 (now" in caplog.text
    assert "tensorflow" not in caplog.text.partition("was trained with")[2].partition(";")[0]


def test_an_optimizer_that_does_not_match_is_refused(here: Path) -> None:
    run = folder.open_run(here / "characters")
    record = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    record["settings"]["optimizer"] = "sgd"
    (run.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match="20 optimizer variables saved, 2 expected"):
        character.resume(folder.open_run(run.path), {"max_steps": 7}, quiet=True)
    # Variables saved by name are named in the message.
    shutil.rmtree(run.path)
    shutil.copytree(RUNS / "characters", run.path)
    character.resume(folder.open_run(run.path), {"max_steps": 8}, quiet=True)
    record = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    record["settings"]["optimizer"] = "rmsprop"
    (run.path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match=r"does not fit the model.*rnn_0/kernel/momentum"):
        character.resume(folder.open_run(run.path), {"max_steps": 9}, quiet=True)
