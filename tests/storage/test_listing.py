"""The list of runs: newest first, filtered, damaged ones with their reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk.errors import RunError
from rnntk.storage import checkpoint, folder, listing
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary


def make(
    path: Path,
    *,
    steps: tuple[int, ...] = (5,),
    corpus: str = "tiny",
    time: float = 2e9,
    **more: Any,
) -> RunFolder:
    run = folder.create(
        path,
        kind=more.get("kind", folder.CHAR_RNN),
        settings={"layers": 3, "units": 128, "input": ["a.txt"], "offline": False},
        model={"cell": "gru", "layers": 3, "units": 128, "parameters": 1},
        corpus={"name": corpus, "sha256": "0" * 64},
        versions={"numpy": "2"},
        vocabulary=Vocabulary("ab\n"),
    )
    for step in steps:
        checkpoint.write(
            run.checkpoints,
            weights={"w": np.zeros(9, np.float32)},
            optimizer={},
            states={},
            progress=Progress(
                step=step, losses={"loss": step / 10}, best={"val_loss": 0.25, "step": 5}
            ),
        )
    for file in [path, *path.rglob("*")]:
        os.utime(file, (time, time))
    return run


def test_newest_first_with_everything_that_tells_how_a_run_does(tmp_path: Path) -> None:
    make(tmp_path / "old", time=1.8e9)
    make(tmp_path / "new", steps=(5, 12), time=1.9e9)
    (tmp_path / "not a run").mkdir()
    (tmp_path / "file").touch()
    new, old = listing.runs(tmp_path)
    assert (new.name, old.name) == ("new", "old")
    assert (new.corpus, new.model, new.step) == ("tiny", "gru 3x128", 12)
    assert (new.loss, new.best, new.modified, new.problem) == (1.2, 0.25, 1.9e9, None)
    assert new.bytes == sum(f.stat().st_size for f in (tmp_path / "new").rglob("*") if f.is_file())


def test_a_run_in_training_shows_the_step_its_metrics_have_reached(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    run.metrics.write_text('{"step": 4, "loss": 3}\n{"step": 9, "loss": 2.5}\n{"step": 10, "lo')
    (found,) = listing.runs(tmp_path)
    assert (found.step, found.loss, found.problem) == (9, 2.5, None)


def test_filters(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b", corpus="other", kind=folder.ROW_CLASSIFIER)
    assert [s.name for s in listing.runs(tmp_path, corpus="tiny")] == ["a"]
    assert [s.name for s in listing.runs(tmp_path, kind="row-classifier")] == ["b"]
    assert listing.runs(tmp_path, corpus="tiny", kind="row-classifier") == []
    assert listing.runs(tmp_path / "nowhere") == []


def edit(run: RunFolder, **changes: Any) -> None:
    file = run.path / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda r: edit(r, format_version=99), "newer rnntk"),
        (lambda r: (r.path / "run.json").write_text("{"), "run.json cannot be read"),
        (lambda r: (r.path / "run.json").write_text("[]"), "run.json cannot be read"),
        (lambda r: (r.path / "run.json").unlink(), "no run.json"),
        (lambda r: edit(r, model=None), "has a wrong entry"),
        (lambda r: edit(r, model={}), "has a wrong entry"),
        (lambda r: edit(r, corpus=[]), "has a wrong entry"),
        (lambda r: edit(r, settings=[1]), "has a wrong entry"),
    ],
)
def test_a_run_that_cannot_be_read_is_listed_with_the_reason(
    tmp_path: Path, damage: Any, reason: str
) -> None:
    make(tmp_path / "good", time=1.8e9)
    damage(make(tmp_path / "bad"))
    bad, good = sorted(listing.runs(tmp_path, corpus="tiny"), key=lambda s: s.name)
    assert good.problem is None
    assert reason in str(bad.problem)
    assert bad.kind == ""
    with pytest.raises(RunError, match=reason):
        listing.details(folder.find(tmp_path, Path("bad")))


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_counts(tmp_path: Path) -> None:
    run = make(tmp_path / "r", steps=(5, 12))
    (run.checkpoints / "step-00000012" / "weights.safetensors").write_bytes(b"")
    (found,) = listing.runs(tmp_path)
    assert found.step == 5
    assert "step-00000012 is damaged: weights.safetensors" in str(found.problem)
    (run.checkpoints / "step-00000005" / "manifest.json").unlink()
    (found,) = listing.runs(tmp_path)
    assert found.step == 0
    assert "step-00000012" in str(found.problem)
    make(tmp_path / "empty", steps=())
    assert "no checkpoint yet" in str(listing.summarize(tmp_path / "empty").problem)


def test_details_check_every_byte(tmp_path: Path) -> None:
    run = make(tmp_path / "r", steps=(5, 12))
    file = run.checkpoints / "step-00000012" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    d = listing.details(run)
    assert [(c.step, bool(c.problem)) for c in d.checkpoints] == [(5, False), (12, True)]
    assert d.progress is not None
    assert d.progress.step == 5
    assert d.changed == {"layers": 3, "input": ["a.txt"]}


def test_find_takes_a_path_a_name_or_the_latest(tmp_path: Path) -> None:
    make(tmp_path / "runs" / "kernel-1", time=1.8e9)
    make(tmp_path / "runs" / "kernel-2", time=1.9e9)
    runs = tmp_path / "runs"
    assert folder.find(runs, None).name == "kernel-2"
    assert folder.find(runs, Path("kernel-1")).name == "kernel-1"
    assert folder.find(tmp_path, runs / "kernel-1").name == "kernel-1"
    with pytest.raises(RunError, match="Did you mean 'kernel-"):
        folder.find(runs, Path("kernal-1"))
    with pytest.raises(RunError, match="rnntk runs"):
        folder.find(runs, Path("z"))
