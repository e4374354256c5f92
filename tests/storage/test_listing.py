"""The list of runs: newest first, filtered, damaged ones with the reason."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk import stored
from rnntk.errors import RunError
from rnntk.storage import checkpoint, directory, folder, listing, metrics
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


def test_runs_are_listed_newest_first_with_their_figures(tmp_path: Path) -> None:
    make(tmp_path / "old", time=1.8e9)
    make(tmp_path / "new", steps=(5, 12), time=1.9e9)
    (tmp_path / "not a run").mkdir()
    (tmp_path / "file").touch()
    new, old = listing.runs(tmp_path)
    assert (new.name, old.name) == ("new", "old")
    assert (new.corpus, new.model, new.step) == ("tiny", "gru 3x128", 12)
    assert (new.loss, new.best, new.modified, new.problem) == (1.2, 0.25, 1.9e9, None)
    assert new.bytes == sum(f.stat().st_size for f in (tmp_path / "new").rglob("*") if f.is_file())


def test_a_run_in_training_shows_the_step_of_its_metrics(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    run.metrics.write_text('{"step": 4, "loss": 3}\n{"step": 9, "loss": 2.5}\n{"step": 10, "lo')
    (found,) = listing.runs(tmp_path)
    assert (found.step, found.loss, found.problem) == (9, 2.5, None)


def test_runs_are_filtered(tmp_path: Path) -> None:
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
        (lambda r: (r.path / "run.json").write_text("[" * 100_000), "nested too deeply"),
        (lambda r: (r.path / "run.json").write_text("9" * 5000), "run.json cannot be read"),
        (lambda r: edit(r, created=1), "created must be text"),
        (lambda r: edit(r, model=None), "model must be an object, got None"),
        (lambda r: edit(r, model={}), "model lacks cell"),
        (lambda r: edit(r, corpus=[]), "corpus must be an object, got []"),
        (lambda r: edit(r, settings=[1]), "settings must be an object, got [1]"),
    ],
)
def test_an_unreadable_run_is_listed_with_the_reason(
    tmp_path: Path, damage: Any, reason: str
) -> None:
    make(tmp_path / "good", time=1.8e9)
    damage(make(tmp_path / "bad"))
    bad, good = sorted(listing.runs(tmp_path, corpus="tiny"), key=lambda s: s.name)
    assert good.problem is None
    assert reason in str(bad.problem)
    assert bad.kind == ""
    with pytest.raises(RunError, match=re.escape(reason)):
        listing.details(directory.find(tmp_path, Path("bad")))


def test_a_damaged_checkpoint_is_reported_and_the_one_before_counts(tmp_path: Path) -> None:
    run = make(tmp_path / "r", steps=(5, 12))
    (run.checkpoints / "step-00000012" / "weights.safetensors").write_bytes(b"")
    (found,) = listing.runs(tmp_path)
    assert found.step == 5
    assert "step-00000012 is damaged: the size of weights.safetensors" in str(found.problem)
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
    assert directory.find(runs, None).name == "kernel-2"
    assert directory.find(runs, Path("kernel-1")).name == "kernel-1"
    assert directory.find(tmp_path, runs / "kernel-1").name == "kernel-1"
    with pytest.raises(RunError, match="Did you mean 'kernel-"):
        directory.find(runs, Path("kernal-1"))
    with pytest.raises(RunError, match="rnntk runs"):
        directory.find(runs, Path("z"))


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


ODD = {
    "a number of 400 digits": lambda r: r.metrics.write_text(
        f'{{"step": 9, "loss": {"9" * 400}}}\n'
    ),
    "a step of 400 digits": lambda r: r.metrics.write_text(f'{{"step": {"9" * 400}, "loss": 1}}\n'),
    "an endless integer": lambda r: r.metrics.write_text(f'{{"step": 9, "loss": {"9" * 5000}}}\n'),
    "deep nesting": lambda r: r.metrics.write_text("[" * 50_000 + "\n"),
    "lists": lambda r: r.metrics.write_text('{"step": 9, "loss": [1, 2]}\n' * 2),
    "NaN": lambda r: r.metrics.write_text('{"step": NaN, "loss": NaN, "seconds": NaN}\n'),
    "no text": lambda r: r.metrics.write_bytes(bytes(range(256)) * 100),
    "a pipe": lambda r: fifo(r.metrics),
    "a device": lambda r: (r.metrics.unlink(), r.metrics.symlink_to("/dev/zero")),
    "a checkpoint of a strange name": lambda r: (r.checkpoints / "step-²").mkdir(),
    "a checkpoint without an end": lambda r: (r.checkpoints / ("step-" + "9" * 200)).mkdir(),
    "a checkpoint without zeros": lambda r: (r.checkpoints / "step-7").mkdir(),
    "a time beyond all dates": lambda r: os.utime(r.metrics, (1e15, 1e15)),
}


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize("what", ODD)
def test_odd_metrics_and_names_are_harmless(tmp_path: Path, what: str) -> None:
    make(tmp_path / "good", time=1.8e9)
    run = make(tmp_path / "odd")
    run.metrics.write_text('{"step": 4, "loss": 3}\n')
    ODD[what](run)
    odd, good = sorted(listing.runs(tmp_path), key=lambda s: s.name, reverse=True)
    assert (odd.step in (5, 9), odd.problem, good.problem) == (True, None, None)
    assert run.checkpoint().progress.step == 5
    assert listing.details(run).progress is not None
    assert directory.latest(tmp_path).name in ("odd", "good")
    if what not in ("a pipe", "a device"):
        found = metrics.read(run.metrics)
        assert all(column.shape == (len(found),) for column in found.columns.values())
    with pytest.raises(RunError, match="has no checkpoint '²'"):
        run.checkpoint("²")


@pytest.mark.parametrize("name", ["x" * 300, "runs/" + "값" * 100, "x\0y"])
def test_an_impossible_name_is_not_found(tmp_path: Path, name: str) -> None:
    make(tmp_path / "good")
    with pytest.raises(RunError, match="There is no run .*, here or in"):
        directory.find(tmp_path, Path(name))


def test_random_damage_is_one_message(tmp_path: Path) -> None:
    """With matching checksums, as a stranger can forge them."""
    rng = np.random.default_rng(0)
    run = make(tmp_path / "r")
    run.metrics.write_text('{"step": 4, "loss": 3.5, "seconds": 1.25}\n' * 3)
    place = run.checkpoints / "step-00000005"
    names = ["run.json", "metrics.jsonl", "vocabulary.json", "manifest.json", *checkpoint.FILES]
    paths = [path for path in run.path.rglob("*") if path.name in names]
    whole = {path: path.read_bytes() for path in paths}
    values = [
        b"NaN",
        b"-1",
        b"1e999",
        b"9" * 400,
        b"9" * 5000,
        b"[" * 3000,
        b"{}",
        b"[]",
        b"null",
        b'"\\ud800"',
    ]
    for n in range(400):
        path = paths[n % len(paths)]
        data = bytearray(whole[path])
        at = int(rng.integers(len(data)))
        if n % 3:
            data[at : at + int(rng.integers(12))] = values[rng.integers(len(values))]
        else:
            data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        if path.name in checkpoint.FILES:
            sums = stored.file_sums(place / name for name in checkpoint.FILES)
            (place / "manifest.json").write_text(json.dumps(sums))
        summary = listing.summarize(run.path)
        if summary.kind:
            listing.details(folder.open_run(run.path))
            metrics.read(run.metrics)
            try:
                saved = folder.open_run(run.path).checkpoint()
                folder.open_run(run.path).vocabulary()
                saved.weights(), saved.optimizer(), saved.states(), saved.mapped_weights()
            except RunError:
                pass
        for changed, content in whole.items():
            changed.write_bytes(content)
