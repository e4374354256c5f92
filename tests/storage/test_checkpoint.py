"""Checkpoints: whole or absent, and every damage reported."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnntk import stored
from rnntk.errors import RunError, TrainingError
from rnntk.files import disk_errors, write_json
from rnntk.storage import checkpoint
from rnntk.storage.checkpoint import Progress


def write(parent: Path, step: int = 500) -> Path:
    return checkpoint.write(
        parent,
        weights={"output/kernel": np.arange(6, dtype=np.float32).reshape(2, 3)},
        optimizer={"0000:iterations": np.array(step, np.int64)},
        states={"0000": np.ones((2, 4), np.float32)},
        progress=Progress(step=step, epoch=2, batch=7, seconds=1.5, losses={"loss": 2.5}),
    )


def test_a_written_checkpoint_is_read_back(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert folder.name == "step-00000500"
    found = checkpoint.read(folder)
    assert found.progress == Progress(step=500, epoch=2, batch=7, seconds=1.5, losses={"loss": 2.5})
    np.testing.assert_array_equal(found.weights()["output/kernel"], [[0, 1, 2], [3, 4, 5]])
    assert found.optimizer()["0000:iterations"] == 500
    assert found.states()["0000"].shape == (2, 4)
    assert checkpoint.steps(tmp_path) == [500]
    # No temporary file is left.
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000500"]


def test_an_old_checkpoint_gets_the_validation_that_patience_compares(
    tmp_path: Path,
) -> None:
    best = {"val_loss": 1.5, "step": 400}
    for lowest, expected in (({}, 1.5), ({"lowest": None}, None), ({"lowest": 1.7}, 1.7)):
        progress = Progress(step=500, best=best)
        written = checkpoint.write(tmp_path, weights={}, optimizer={}, states={}, progress=progress)
        file = written / checkpoint.PROGRESS
        content = {k: v for k, v in json.loads(file.read_text()).items() if k != "lowest"}
        file.write_text(json.dumps(content | lowest))
        (written / "manifest.json").write_text(
            json.dumps(stored.file_sums(written / name for name in checkpoint.FILES))
        )
        assert checkpoint.read(written).progress.lowest == expected


def test_the_same_step_can_be_written_again(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path)
    assert checkpoint.steps(tmp_path) == [500]


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "optimizer.safetensors", "states.safetensors", "progress.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_damage_is_reported(tmp_path: Path, name: str, damage: str) -> None:
    file = write(tmp_path) / name
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    else:
        file.unlink()
    with pytest.raises(RunError, match=f"step-00000500 is damaged.*{name}"):
        checkpoint.read(file.parent)


def test_a_manifest_cannot_name_files_outside(tmp_path: Path) -> None:
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../evil"] = {"bytes": 1, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="manifest names"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: struct.pack("<Q", 1 << 60) + h[8:],
        lambda h: struct.pack("<Q", len(h)) + h[8:],
        lambda h: h.replace(b'"F32"', b'"F99"'),
        lambda h: h.replace(b'"shape":[2,3]', b'"shape":[2,9]'),
        lambda h: h.replace(b'"shape":[2,3]', b'"shape":[-2,-3]'),
        lambda h: h.replace(b'"data_offsets":[0,24]', b'"data_offsets":[0,99]'),
        lambda h: h.replace(b'"data_offsets":[0,24]', b'"data_offsets":[4,24]'),
        lambda h: struct.pack("<Q", 20_000) + b"[" * 20_000 + bytes(24),
        lambda h: b"",
    ],
)
def test_malformed_weights_with_a_valid_checksum_are_damage(
    tmp_path: Path, change: Callable
) -> None:
    """A stranger can forge them; the checkpoint before is used."""
    folder = write(tmp_path)
    file = folder / "weights.safetensors"
    whole = file.read_bytes()
    changed = change(whole)
    assert changed != whole
    file.write_bytes(changed)
    names = ["weights.safetensors", "optimizer.safetensors", "states.safetensors", "progress.json"]
    manifest = stored.file_sums(folder / name for name in names)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="is damaged: .*weights.safetensors"):
        checkpoint.read(folder)


@pytest.mark.parametrize("name", ["states.safetensors", "optimizer.safetensors"])
def test_a_manifest_must_list_every_file(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / name).unlink()
    for text in (json.dumps(manifest), '{"files": {}}'):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(RunError, match=f"its manifest lacks .*{name}"):
            checkpoint.read(folder)


def test_a_checkpoint_in_the_folder_of_another_step_is_damage(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with pytest.raises(RunError, match="progress.json is of step 500"):
        checkpoint.read(folder.rename(tmp_path / "step-00000600"))


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": {"weights.safetensors": {}}}'])
def test_a_broken_manifest_is_damage(tmp_path: Path, manifest: str) -> None:
    folder = write(tmp_path)
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(RunError, match="is damaged"):
        checkpoint.read(folder)


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        write(tmp_path, step)
    checkpoint.prune(tmp_path, keep=2, newest=5, best_step=1)
    assert checkpoint.steps(tmp_path) == [1, 4, 5]


def test_pruning_removes_checkpoints_later_than_the_newest(tmp_path: Path) -> None:
    """A run resumed from before a damaged checkpoint leaves a later one."""
    for step in (30, 36, 40):
        write(tmp_path, step)
    checkpoint.prune(tmp_path, keep=1, newest=36, best_step=30)
    assert checkpoint.steps(tmp_path) == [30, 36]


def test_unfinished_checkpoints_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / ".step-00000002.77.tmp").mkdir()
    (tmp_path / ".step-00000002.77.tmp" / "weights.safetensors").write_bytes(b"half")
    checkpoint.remove_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_message_and_older_checkpoints_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(tmp_path, 1)

    def full(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space is left.*\. Free some space\."):
        write(tmp_path, 2)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    checkpoint.read(tmp_path / "step-00000001")


def test_a_forbidden_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be written"), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_an_atomic_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    write_json(file, {"a": "누구"})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_json(file, {"a": 2})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": "누구"}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_mapped_weights_match_those_of_safetensors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in {"output/bias": (3,), "embedding/embeddings": (5, 2), "x": ()}.items()
    }
    folder = checkpoint.write(
        tmp_path, weights=weights, optimizer={}, states={}, progress=Progress(step=1)
    )
    found = checkpoint.read(folder)
    mapped, loaded = found.mapped_weights(), found.weights()
    assert set(mapped) == set(loaded) == set(weights)
    for name in weights:
        np.testing.assert_array_equal(mapped[name], loaded[name])
        assert mapped[name].shape == weights[name].shape
        assert not mapped[name].flags.writeable


def test_mapped_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    folder = checkpoint.write(
        tmp_path, weights={"x": np.zeros(2)}, optimizer={}, states={}, progress=Progress(step=1)
    )
    with pytest.raises(RunError, match="float32"):
        checkpoint.read(folder).mapped_weights()


def test_only_the_needed_files_are_checked(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / checkpoint.OPTIMIZER).write_bytes(b"")
    needed = (checkpoint.WEIGHTS, checkpoint.PROGRESS)
    assert checkpoint.read(folder, only=needed).progress.step == 500
    with pytest.raises(RunError, match="optimizer"):
        checkpoint.read(folder)
    (folder / checkpoint.WEIGHTS).write_bytes(b"")
    with pytest.raises(RunError, match="weights"):
        checkpoint.read(folder, only=needed)
    with pytest.raises(RunError, match="lacks"):
        checkpoint.read(folder, only=("nothing",))
