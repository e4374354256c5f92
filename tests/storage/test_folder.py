"""The run folder: created, found, refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnntk import stored
from rnntk.errors import RunError, TrainingError
from rnntk.storage import checkpoint, folder, listing
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary


def make(path: Path, corpus: str = "tiny", kind: str = folder.CHAR_RNN) -> RunFolder:
    return folder.create(
        path,
        kind=kind,
        settings={"layers": 2},
        model={"cell": "lstm", "layers": 2, "units": 8},
        corpus={"name": corpus, "sha256": "0" * 64},
        versions={"numpy": "2"},
        vocabulary=Vocabulary("ab\n"),
    )


def save(run: RunFolder, step: int, best: dict[str, float] | None = None) -> None:
    checkpoint.write(
        run.checkpoints,
        weights={"w": np.array([step], np.float32)},
        optimizer={},
        states={},
        progress=Progress(step=step, best=best),
    )


def test_a_run_is_created_and_opened(tmp_path: Path) -> None:
    make(tmp_path / "r")
    run = folder.open_run(tmp_path / "r")
    assert run.kind == "char-rnn"
    assert run.settings == {"layers": 2}
    assert run.vocabulary() == Vocabulary("ab\n")
    assert run.record["format_version"] == folder.FORMAT_VERSION
    assert run.logs.is_dir()
    assert run.metrics.read_bytes() == b""


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "novel.txt").write_text("mine")
    with pytest.raises(
        RunError, match="exists already and is not a run. Choose another folder with run."
    ):
        make(tmp_path / "r")
    assert (tmp_path / "r" / "novel.txt").read_text() == "mine"


def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space is left .*another folder with run"):
        make(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_an_open_run_is_found_from_other_working_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "here" / "a")
    (tmp_path / "here" / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = folder.open_run(Path("a"))
    assert run.path == Path("a")
    monkeypatch.chdir("inner")
    assert run.path == tmp_path / "here" / "a"
    assert run.vocabulary() == folder.open_run(Path("../a")).vocabulary()
    monkeypatch.chdir(tmp_path / "here")
    assert run.path == Path("a")
    if os.name != "nt":  # Windows does not rename the working folder
        (tmp_path / "here").rename(tmp_path / "there")
        assert run.path.is_dir()


def test_an_open_link_to_a_run_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a")
    try:
        (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    except OSError:
        pytest.skip("needs symbolic links")
    monkeypatch.chdir(tmp_path)
    run = folder.open_run(Path("b"))
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir("inner")
    assert run.path == tmp_path / "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.update(format_version=99),
            r"newer rnntk \(format 99.*reads up to 2.*Upgrade",
        ),
        (lambda r: r.pop("format_version"), "is damaged: run.json cannot be read"),
        (lambda r: r.update(kind="²"), "cannot be read.*kind is '²'"),
        (lambda r: r["settings"].update(layers="2"), "cannot be read.*layers must be a whole"),
        (lambda r: r["model"].update(layers=10**9), "cannot be read.*layers must be at least 1"),
        (lambda r: r["corpus"].update(name=["x"]), r"cannot be read.*corpus.name must be text"),
        (lambda r: r["corpus"].update(split={"val": [1]}), r"split.val must have 2 entries, got 1"),
        (lambda r: r["corpus"].update(facts={"symbols": 1e999}), "facts.symbols must be a whole"),
        (lambda r: r.update(versions=[]), r"versions must be an object, got \[\]"),
        (lambda r: r.update(format_version=0), "is damaged: run.json cannot be read.*is 0"),
        (lambda r: r.update(format_version="1"), "is damaged: run.json cannot be read.*is '1'"),
        (lambda r: r.update(format_version=True), "is damaged: run.json cannot be read.*is True"),
        (lambda r: r.pop("model"), r"is damaged: run.json cannot be read: it lacks model"),
    ],
)
def test_an_unreadable_run_gives_the_reason(tmp_path: Path, change: object, message: str) -> None:
    make(tmp_path / "r")
    file = tmp_path / "r" / "run.json"
    record = json.loads(file.read_text())
    change(record)  # type: ignore[operator]
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match=message):
        folder.open_run(tmp_path / "r")


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder"):
        folder.open_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="not a run folder: it has no run.json"):
        folder.open_run(tmp_path)
    run = make(tmp_path / "r")
    with pytest.raises(RunError, match="no checkpoint yet"):
        run.checkpoint()
    (run.path / "vocabulary.json").write_text("{}")
    with pytest.raises(RunError, match="vocabulary.json"):
        run.vocabulary()
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        folder.open_run(run.path)


def test_checkpoints_are_found_as_last_best_or_step(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    best = {"val_loss": 1.0, "step": 1}
    for step in (1, 2, 3):
        save(run, step, best)
    assert run.checkpoint("last").progress.step == 3
    assert run.checkpoint("best").progress.step == 1
    assert run.checkpoint("2").progress.step == 2
    with pytest.raises(
        RunError, match=r"no checkpoint '7'; it has best, last and the steps 1, 2, 3"
    ):
        run.checkpoint("7")


def test_the_last_checkpoint_replaces_a_damaged_best(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(tmp_path / "r")
    for step in (1, 2):
        save(run, step, {"val_loss": 1.0, "step": 1})
    (run.checkpoints / "step-00000001" / "weights.safetensors").write_bytes(b"")
    assert run.checkpoint("best").progress.step == 2
    assert len(caplog.messages) == 1
    assert "step-00000001 is damaged" in caplog.messages[0]
    assert "Using the last checkpoint." in caplog.messages[0]


@pytest.mark.parametrize("which", ["last", "best"])
def test_a_checkpoint_that_training_removes_while_it_is_read_is_not_damaged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    which: str,
) -> None:
    run = make(tmp_path / "r")
    real, next_step = stored.check_manifest, 2

    def check(path: Path, *more: object) -> None:
        nonlocal next_step
        if next_step < 4:
            next_step += 1
            save(run, next_step, {"val_loss": 1.0, "step": next_step})
            checkpoint.prune(run.checkpoints, 1, next_step, None)
        real(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(stored, "check_manifest", check)
    save(run, 1)
    assert run.checkpoint(which).progress.step == 4
    next_step = 1
    found = listing.details(run)
    assert found.summary.problem is None
    assert [c.problem for c in found.checkpoints if c.problem] == []
    monkeypatch.undo()
    real_glance = checkpoint.glance

    def glance(path: Path) -> Progress:
        monkeypatch.undo()
        save(run, 9)
        checkpoint.prune(run.checkpoints, 1, 9, None)
        return real_glance(path)

    monkeypatch.setattr(checkpoint, "glance", glance)
    progress, problem = listing.newest(run)
    assert progress is not None
    assert (progress.step, problem) == (9, None)
    assert not caplog.messages


def test_the_best_checkpoint_is_read_without_the_last_ones_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(tmp_path / "r")
    for step in (1, 2):
        save(run, step, {"val_loss": 1.0, "step": 1})
    (run.checkpoints / "step-00000002" / "weights.safetensors").write_bytes(b"")
    assert run.checkpoint("best").progress.step == 1
    assert not caplog.messages


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make(tmp_path / "r")
    save(run, 1)
    save(run, 2)
    (run.checkpoints / "step-00000002" / "weights.safetensors").write_bytes(b"")
    assert run.checkpoint("last").progress.step == 1
    assert len(caplog.messages) == 1
    assert "step-00000002 is damaged" in caplog.messages[0]
    (run.checkpoints / "step-00000001" / "manifest.json").unlink()
    with pytest.raises(RunError, match="No checkpoint of .* is intact"):
        run.checkpoint("last")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    code = (
        "import sys, pathlib; from rnntk.storage import folder; from rnntk.errors import RunError, TrainingError\n"
        "try: folder.open_run(pathlib.Path(sys.argv[1])).lock()\n"
        "except RunError as e: print(e); sys.exit(1)"
    )
    with run.lock():
        done = subprocess.run(
            [sys.executable, "-c", code, str(run.path)], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "Another process is training" in done.stdout
    assert subprocess.run([sys.executable, "-c", code, str(run.path)]).returncode == 0


RECORD = {
    "kind": folder.CHAR_RNN,
    "settings": {"layers": 2},
    "model": {"cell": "lstm", "layers": 2, "units": 8},
    "corpus": {"name": "tiny", "sha256": "0" * 64},
    "versions": {"numpy": "2"},
}


@pytest.mark.parametrize("left", ["step", "checkpoint", "nothing"])
def test_only_a_run_without_steps_is_removed_again(tmp_path: Path, left: str) -> None:
    def interrupted() -> None:
        with folder.created(tmp_path / "r", **RECORD) as run:  # type: ignore[arg-type]
            (run.logs / "events.1").touch()
            if left == "step":
                run.metrics.write_text('{"step": 1}\n')
            elif left == "checkpoint":
                save(run, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "r").exists() == (left != "nothing")


def test_a_failed_run_leaves_a_new_run_in_its_place(tmp_path: Path) -> None:
    path, moved = tmp_path / "r", tmp_path / "r-old"

    def replaced() -> None:
        with folder.created(path, **RECORD) as run:  # type: ignore[arg-type]
            run.metrics.write_text('{"step": 1}\n')
            path.rename(moved)
            make(path)
            raise TrainingError("stopped")

    with pytest.raises(TrainingError, match="stopped"):
        replaced()
    assert folder.open_run(path).checkpoints.is_dir()
    assert folder.open_run(moved).metrics.read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("existing", [0, 1, 2, 3])
def test_a_failed_creation_removes_the_folders_that_it_made(tmp_path: Path, existing: int) -> None:
    folders = [tmp_path / "q1", tmp_path / "q1" / "q2", tmp_path / "q1" / "q2" / "q3"]
    for path in folders[:existing]:
        path.mkdir()

    def interrupted() -> None:
        with folder.created(folders[-1], **RECORD):  # type: ignore[arg-type]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(tmp_path.rglob("*")) == folders[:existing]


def test_the_second_creator_of_a_run_is_refused_and_removes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r"
    with folder.created(path, **RECORD):  # type: ignore[arg-type]
        before = sorted(path.rglob("*"))
        with pytest.raises(RunError, match="Another process is training"):
            make(path)
        assert sorted(path.rglob("*")) == before
    (path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(RunError, match="It has no checkpoint. Remove it, or choose"):
        make(path)
    save(folder.open_run(path), 1)
    with pytest.raises(RunError, match="exists already. Continue it with resume"):
        make(path)


MAKER = """
import sys
import unicodedata
from pathlib import Path
from rnntk.errors import RnntkError
from rnntk.storage import folder

record = dict(kind="char-rnn", settings={}, model={"cell": "gru", "layers": 1, "units": 1}, corpus={}, versions={})
for n in range(int(sys.argv[2])):
    try:
        with folder.created(Path(sys.argv[1]) / str(n), **record) as run:
            run.metrics.write_text("{}")
        print(n)
    except RnntkError:
        pass
"""


def test_two_racing_processes_create_each_run_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKER, str(tmp_path), "150"]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    won = [racer.communicate()[0].split() for racer in racers]
    assert sorted(won[0] + won[1], key=int) == [str(n) for n in range(150)]
    for n in range(150):
        assert folder.open_run(tmp_path / str(n)).metrics.read_text() == "{}"


@pytest.mark.parametrize("made", ["", ".lock", "checkpoints", "metrics.jsonl", "run.json"])
def test_a_run_left_by_a_killed_creation_is_created_again(tmp_path: Path, made: str) -> None:
    path = tmp_path / "r"
    path.mkdir()
    for name in (".lock", "checkpoints", "logs", "metrics.jsonl", "vocabulary.json", "run.json"):
        if not made:
            break
        if name in ("checkpoints", "logs"):
            (path / name).mkdir()
        else:
            (path / name).touch()
        if name == made:
            break
    if made:
        (path / ".rnntk-00000000-1-00000000-0.tmp").mkdir()
    if made not in ("", "run.json"):
        with pytest.raises(RunError, match=r"never finished: start it again with run"):
            folder.open_run(path)
    make(path)
    with pytest.raises(RunError, match=r"no checkpoint yet.*start it again with run"):
        folder.open_run(path).checkpoint()
    make(path)


@pytest.mark.parametrize(
    "name", ["novel.txt", "logs/mine", "checkpoints/mine", "checkpoints/step-00000001"]
)
def test_files_of_the_user_are_never_removed(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "r")
    (run.path / name).mkdir()
    with pytest.raises(RunError, match="exists already"):
        make(run.path)
    (run.path / "run.json").unlink()
    (run.path / ".lock").unlink()
    with pytest.raises(RunError, match="exists already"):
        make(run.path)
    assert (run.path / name).is_dir()


LINKED = [
    "metrics.jsonl",
    "samples.txt",
    "checkpoints",
    "logs",
    ".lock",
    "run.json",
    "logs/events.1",
]


@pytest.mark.skipif(os.name != "posix", reason="on Windows, symbolic links need a privilege")
@pytest.mark.parametrize("name", LINKED)
def test_a_run_with_a_symbolic_link_is_not_written_to(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "r")
    victim = tmp_path / "victim"
    target = run.path / name
    if target.is_dir():
        target.rename(victim)
    else:
        victim.write_bytes(target.read_bytes() if target.exists() else b"mine")
        target.unlink(missing_ok=True)
    before = victim.is_dir() or victim.read_bytes()
    target.symlink_to(victim)
    with pytest.raises(RunError, match=rf"{name} is a symbolic link.*Replace it by a copy"):
        run.lock()
    with pytest.raises(RunError, match="exists already"):
        make(run.path)
    assert (victim.is_dir() or victim.read_bytes()) == before
