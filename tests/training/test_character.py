"""Training a character model on a tiny text: run folder, resume, signals, callbacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from rnntk import signals
from rnntk.config import TrainConfig
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError, Interrupted, RunError, TrainingError, UsageError
from rnntk.storage import checkpoint, folder
from rnntk.storage.folder import RunFolder
from rnntk.text import corpus
from rnntk.training import character
from rnntk.training.batches import Split
from rnntk.training.session import Result

TEXT = "".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(60))  # 2,2xx symbols


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def settings(text: Path, **changes: Any) -> TrainConfig:
    values = {
        "input": (str(text),), "layers": 2, "units": 8, "embedding": 6, "batch_size": 4, "seq_length": 20,
        "epochs": 3, "checkpoint_every": 1000, "learning_rate": 0.01, "val_fraction": 0.1, "sample_every": 0, **changes,
    }  # fmt: skip
    return TrainConfig(**values)


def start(run_settings: TrainConfig, path: Path, **more: Any) -> Result:
    made = corpus.prepare_corpus(run_settings, None)
    return character.start(run_settings, made, path, quiet=True, **more)


def resume(run: RunFolder, *, quiet: bool = True, callbacks: Any = (), **changes: Any) -> Result:
    return character.resume(run, changes, quiet=quiet, callbacks=callbacks)


def metrics(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def different(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> list[str]:
    """Names of the arrays that are not bit-identical."""
    return sorted(
        {*one, *two} - {k for k in one if k in two and one[k].tobytes() == two[k].tobytes()}
    )


def test_a_run_learns_and_writes_all_its_files(text: Path, tmp_path: Path) -> None:
    result = start(settings(text), tmp_path / "r")
    run = folder.open_run(tmp_path / "r")
    assert result.reason == "epochs"
    assert result.progress.epoch == 3
    lines = [line for line in metrics(run) if "loss" in line]
    steps = result.progress.step
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.5
    assert all(line["grad_norm"] > 0 and line["rate"] > 0 for line in lines)
    # The learning rate decays per epoch, as in 2017.
    assert {round(line["learning_rate"], 7) for line in lines} == {0.01, 0.0097, 0.009409}
    validations = [line["step"] for line in lines if "val_loss" in line]
    assert validations == [steps // 3, 2 * steps // 3, steps]
    assert checkpoint.steps(run.checkpoints) == validations, "each was the best so far"
    assert run.checkpoint("best").progress.best is not None
    n = len(TEXT)
    assert run.record["corpus"]["split"] == {
        "train": [0, 9 * n // 10],
        "val": [9 * n // 10, n],
        "test": [n, n],
    }
    assert run.record["model"]["parameters"] == sum(
        v.size for v in run.checkpoint().weights().values()
    )
    assert run.record["versions"].keys() == {"rnntk", "python", "tensorflow", "keras", "numpy"}


def test_a_text_is_split_where_nanogpt_splits_it() -> None:
    assert Split.of(1_115_394, TrainConfig(val_fraction=0.1)) == Split(
        1_003_854, 1_115_394, 1_115_394
    )
    assert Split.of(20, TrainConfig(val_fraction=0.3, test_fraction=0.1)) == Split(12, 18, 20)
    assert Split.of(10, TrainConfig()) == Split(10, 10, 10)


def test_resume_splits_the_text_where_the_run_did(text: Path, tmp_path: Path) -> None:
    run = start(settings(text, max_steps=3), tmp_path / "r").run
    record = json.loads((run.path / "run.json").read_text())
    split = record["corpus"]["split"]
    split["train"][1] = split["val"][0] = split["train"][1] - 100
    (run.path / "run.json").write_text(json.dumps(record))
    result = resume(folder.open_run(run.path), epochs=1)
    assert result.progress.step == split["train"][1] // 80


@pytest.mark.parametrize(
    ("cell", "layer_norm"), [("lstm", False), ("lstm", True), ("gru", True), ("rnn", False)]
)
def test_resume_inside_an_epoch_is_bit_identical(
    text: Path, tmp_path: Path, cell: str, layer_norm: bool
) -> None:
    kind = {"cell": cell, "dropout": 0.2, "layer_norm": layer_norm}
    whole = start(settings(text, **kind), tmp_path / "whole").run.checkpoint()
    part = start(
        settings(text, max_steps=whole.progress.step // 3 + 2, **kind), tmp_path / "part"
    ).run
    middle = part.checkpoint().progress
    assert middle.batch > 0
    resume(part, max_steps=10_000)
    resumed = part.checkpoint()
    assert not different(whole.weights(), resumed.weights())
    assert not different(whole.optimizer(), resumed.optimizer())
    assert not different(whole.states(), resumed.states())
    assert resumed.progress.lowest == whole.progress.lowest
    assert resumed.progress.stale == whole.progress.stale
    assert resumed.progress.losses == whole.progress.losses
    keys = ("step", "epoch", "loss", "grad_norm", "learning_rate", "val_loss")
    one, two = (
        [{k: line[k] for k in keys if k in line} for line in metrics(run)]
        for run in (folder.open_run(tmp_path / "whole"), part)
    )
    at_its_end = two[middle.step - 1].pop("val_loss")
    assert one == two
    best = min(whole.progress.best["val_loss"], at_its_end)
    assert resumed.progress.best["val_loss"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("limit", [{"max_steps": 8}, {"max_time": 0.01}, {"epochs": 1}])
def test_a_run_validates_once_at_its_end(text: Path, tmp_path: Path, limit: dict[str, Any]) -> None:
    result = start(settings(text, val_every=5, **limit), tmp_path / "r")
    p, lines = result.progress, metrics(result.run)
    assert lines[-1]["step"] == p.step
    assert lines[-1]["val_loss"] == pytest.approx(p.losses["val_loss"], abs=1e-6)
    due = list(range(5, p.step + 1, 5))
    assert [line["step"] for line in lines if "val_loss" in line] == [*due, p.step]
    assert p.best == {"val_loss": p.losses["val_loss"], "step": p.step}, "the loss falls"
    assert result.run.checkpoint("best").progress.step == p.step
    assert p.stale == 0
    quiet = start(settings(text, val_fraction=0.0, max_steps=2), tmp_path / "none")
    assert "val_loss" not in quiet.progress.losses


def test_a_stopped_run_does_not_validate(text: Path, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 3:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="Stopped at step 4 and saved"):
        start(settings(text), tmp_path / "r", callbacks=[Stop()])
    assert "val_loss" not in folder.open_run(tmp_path / "r").checkpoint().progress.losses


def test_the_last_validation_counts_neither_for_patience_nor_for_a_plateau(
    text: Path, tmp_path: Path
) -> None:
    kind = {
        "schedule": "plateau", "plateau_patience": 1, "val_every": 3, "learning_rate": 3.0, "patience": 9, "epochs": 99,
    }  # fmt: skip
    whole = start(settings(text, max_steps=30, **kind), tmp_path / "whole").run
    part = start(settings(text, max_steps=4, **kind), tmp_path / "part").run
    for steps in (8, 10, 14, 20, 30):
        resume(part, max_steps=steps)
    one, two = ([line["learning_rate"] for line in metrics(r)] for r in (whole, part))
    assert one == two
    assert len(set(one)) > 2, "it was halved"
    one, two = (run.checkpoint() for run in (whole, part))
    assert not different(one.weights(), two.weights())
    assert not different(one.optimizer(), two.optimizer())
    names = ("step", "stale", "lowest", "reductions", "losses")
    assert [getattr(one.progress, n) for n in names] == [getattr(two.progress, n) for n in names]


def test_resume_from_before_a_damaged_checkpoint_ends_the_same(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = start(settings(text), tmp_path / "whole").run.checkpoint()
    run = start(settings(text, max_steps=20, checkpoint_every=10), tmp_path / "part").run
    (run.checkpoints / "step-00000020" / "optimizer.safetensors").write_bytes(b"x")
    resume(run, max_steps=10_000)
    assert any("step-00000020 is damaged" in line for line in caplog.messages)
    assert any("Continuing" in line and "step 10" in line for line in caplog.messages)
    assert not different(whole.weights(), run.checkpoint().weights())
    assert [line["step"] for line in metrics(run) if "loss" in line] == list(
        range(1, whole.progress.step + 1)
    )


def test_a_finished_run_is_refused_and_resumes_with_more_epochs(text: Path, tmp_path: Path) -> None:
    run = start(settings(text, epochs=1), tmp_path / "r").run
    with pytest.raises(UsageError, match=r"is finished.*raise epochs"):
        resume(run)
    result = resume(run, epochs=2)
    assert result.progress.epoch == 2


def test_a_changed_text_is_refused_with_the_differing_symbols(text: Path, tmp_path: Path) -> None:
    run = start(settings(text, max_steps=2), tmp_path / "r").run
    text.write_text(TEXT.replace("q", "Q"), encoding="utf-8")
    with pytest.raises(
        RunError, match=r"is not that of .*Only in the run: 'q'.*Only in the text: 'Q'"
    ):
        resume(run, max_steps=4, input=[str(text)])
    with pytest.raises(RunError, match="The text has changed since"):
        resume(run, max_steps=4)  # no symbols of a text that only the run names are shown
    lines = TEXT.splitlines(keepends=True)
    text.write_text("".join([*lines[:-2], lines[-1], lines[-2]]), encoding="utf-8")
    with pytest.raises(RunError, match="The text has changed since"):
        resume(run, max_steps=4)


@pytest.mark.parametrize("schedule", ["cosine", "plateau", "decay"])
def test_resume_continues_to_the_runs_step_limit(text: Path, tmp_path: Path, schedule: str) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 5

    kind = {"schedule": schedule, "max_steps": 14}
    whole = start(settings(text, **kind), tmp_path / "whole").run
    part = start(settings(text, **kind), tmp_path / "part", callbacks=[Stop()]).run
    assert part.checkpoint().progress.step == 6
    result = resume(part)
    assert (result.reason, result.progress.step) == ("max-steps", 14)
    one, two = ([line["learning_rate"] for line in metrics(r)] for r in (whole, part))
    assert one == two
    assert not different(whole.checkpoint().weights(), part.checkpoint().weights())
    with pytest.raises(UsageError, match=r"is finished: 14 of 14 steps.*raise max_steps"):
        resume(part)


def test_a_resume_continues_from_what_another_process_has_trained_until_the_lock(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(settings(text, max_steps=3, keep=1), tmp_path / "r").run
    real, waiting = RunFolder.lock, [5]

    def lock(self: RunFolder) -> Any:
        if waiting:
            resume(run, max_steps=waiting.pop(), patience=7)
        return real(self)

    monkeypatch.setattr(RunFolder, "lock", lock)
    result = resume(run, max_steps=6)
    assert [line["step"] for line in metrics(run) if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert result.run.settings["patience"] == 7
    waiting.append(8)
    with pytest.raises(UsageError, match="is finished: 8 of 7 steps"):
        resume(run, max_steps=7)
    assert checkpoint.steps(run.checkpoints) == [8]


def test_resume_remembers_its_settings(text: Path, tmp_path: Path) -> None:
    """So that the printed command continues to the same end."""

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    run = start(settings(text, epochs=9, max_steps=4), tmp_path / "r").run
    with pytest.raises(Interrupted, match=r"Continue with: rnntk train --resume \S+/r$"):
        resume(
            run, epochs=2, patience=7, explosion_steps=11, sample_every=3,
            quiet=True, callbacks=[Interrupt()],
        )  # fmt: skip
    run = folder.open_run(run.path)
    kept = {"epochs": 2, "max_steps": None, "patience": 7, "explosion_steps": 11, "sample_every": 3}
    assert {k: run.settings[k] for k in kept} == kept
    result = resume(run)
    assert (result.reason, result.progress.epoch) == ("epochs", 2)


def test_a_moved_run_resumes(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = start(settings(Path("tiny.txt"), max_steps=2), tmp_path / "r").run
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    resume(run, max_steps=3)
    # Despite another text of that name, the right one is found.
    Path("tiny.txt").write_text(TEXT[::-1], encoding="utf-8")
    resume(run, max_steps=4)
    assert run.checkpoint().progress.step == 4


def test_a_run_resumes_when_its_text_is_gone_or_moved(
    text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(settings(text, max_steps=2), tmp_path / "r").run
    moved = text.rename(tmp_path / "moved.txt")
    resume(run, max_steps=3)
    assert any(
        "There is no file" in line and "prepared form in the cache" in line
        for line in caplog.messages
    )
    shutil.rmtree(run.record["corpus"]["prepared"])
    with pytest.raises(RunError, match=r"There is no file.*Give the text with input"):
        resume(run, max_steps=4)
    resume(run, max_steps=4, input=[str(moved)])
    # The run remembers.
    resume(folder.open_run(run.path), max_steps=5)
    moved.write_text(TEXT[::-1], encoding="utf-8")
    with pytest.raises(RunError, match="The vocabulary of .* is not that of .* The order differs"):
        resume(run, max_steps=6, input=[str(moved)])


def test_truncated_metrics_warn_and_continue(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(settings(text, max_steps=6), tmp_path / "r").run
    data = run.metrics.read_bytes()
    lines = data.splitlines(keepends=True)
    run.metrics.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    resume(run, max_steps=8, quiet=False)
    assert [line["step"] for line in metrics(run)] == [1, 2, 3, 7, 8]
    assert "is shorter than at the checkpoint" in capsys.readouterr().err
    resume(run, max_steps=9, quiet=False)
    assert [line["step"] for line in metrics(run)] == [1, 2, 3, 7, 8, 9]
    assert "is shorter than at the checkpoint" not in capsys.readouterr().err


def test_resume_repeats_no_sample_and_leaves_no_unfinished_file(text: Path, tmp_path: Path) -> None:
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 8:
                raise RuntimeError

    def heads(run: RunFolder) -> list[str]:
        found = re.findall(r"^--- step \d+ ---$", run.samples.read_text(), re.MULTILINE)
        return [str(head) for head in found]

    with pytest.raises(RuntimeError):
        start(
            settings(text, checkpoint_every=5, sample_every=2), tmp_path / "r", callbacks=[Fail()]
        )
    run = folder.open_run(tmp_path / "r")
    assert len(heads(run)) == 4
    (run.checkpoints / ".step-00000007.1.tmp").mkdir()
    resume(run, max_steps=9)
    assert heads(run) == [f"--- step {n} ---" for n in (2, 4, 6, 8)]
    assert not list(run.checkpoints.glob(".*"))


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_held_out_part_too_short_to_evaluate_is_refused(
    text: Path, tmp_path: Path, name: str
) -> None:
    fractions = {"val_fraction": 0.0, f"{name}_fraction": 1e-6}
    with pytest.raises(
        DataError, match=rf"{name}_fraction=1e-06 of .* symbols is [01]; 2 are needed"
    ):
        start(settings(text, **fractions), tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(os.name != "posix", reason="on Windows, a signal ends the process")
@pytest.mark.parametrize("number", signals.ENDING)
def test_a_signal_finishes_the_step_saves_and_names_the_resume_command(
    text: Path, tmp_path: Path, number: signal.Signals
) -> None:
    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 4:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(
        Interrupted, match=r"Stopped at step 5 and saved. Continue with: .*--resume"
    ) as caught:
        start(settings(text), tmp_path / "r", callbacks=[Kill()])
    assert caught.value.exit_code == 128 + number
    assert folder.open_run(tmp_path / "r").checkpoint().progress.step == 5
    assert signal.getsignal(number) is before


def test_a_callback_of_the_user_sees_the_model_and_can_stop(text: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Own(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append(("epoch", epoch))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(("batch", batch))
            assert self.model.count_params() > 0
            assert set(logs) >= {"loss", "grad_norm", "learning_rate"}
            if batch == 2:
                self.model.stop_training = True

    result = start(settings(text), tmp_path / "r", callbacks=[Own()])
    assert result.reason == "callback"
    assert seen == [("epoch", 0), ("batch", 0), ("batch", 1), ("batch", 2)]


class AtBatch(keras.callbacks.Callback):
    """Assigns a learning rate before or after the step of index `batch`, or before each."""

    def __init__(self, rate: float, batch: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        self.rate, self.batch, self.after = rate, batch, after

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if not self.after and self.batch in (None, batch):
            self.model.optimizer.learning_rate.assign(self.rate)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.after and batch == self.batch:
            self.model.optimizer.learning_rate = self.rate


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("schedule", ["decay", "cosine", "plateau"])
@pytest.mark.parametrize(
    "callback",
    [keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0), AtBatch(0.0)],
    ids=["scheduler", "at each batch"],
)
def test_no_weight_changes_at_a_learning_rate_of_0(
    text: Path, tmp_path: Path, schedule: str, callback: keras.callbacks.Callback
) -> None:
    own = settings(text, max_steps=4, schedule=schedule, warmup_steps=2)
    run = start(own, tmp_path / "r", callbacks=[callback]).run
    assert [line["learning_rate"] for line in metrics(run)] == [0.0] * 4
    assert not run.checkpoint().weights()["output/bias"].any()  # as it began


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_a_callback_replaces_the_schedules_learning_rate(text: Path, tmp_path: Path) -> None:
    """From the next step on, until a callback sets another; one that returns the same rate changes nothing."""
    own = settings(text, max_steps=8, schedule="cosine")
    same = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    plain = [line["learning_rate"] for line in metrics(start(own, tmp_path / "a").run)]
    kept = start(own, tmp_path / "b", callbacks=[same]).run
    assert [line["learning_rate"] for line in metrics(kept)] == plain
    changes = [AtBatch(0.5, 2, after=True), AtBatch(0.25, 6)]
    changed = start(own, tmp_path / "c", callbacks=changes).run
    rates = [line["learning_rate"] for line in metrics(changed)]
    assert rates == [*plain[:3], 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
def test_keras_reduces_the_learning_rate_on_a_plateau(text: Path, tmp_path: Path) -> None:
    reduce = keras.callbacks.ReduceLROnPlateau("loss", 0.1, patience=0, min_delta=100, min_lr=1e-9)
    run = start(settings(text, epochs=4, decay_rate=1.0), tmp_path / "r", callbacks=[reduce]).run
    by_epoch = {line["epoch"]: line["learning_rate"] for line in metrics(run)}
    # Keras takes the first epoch as the best.
    assert list(by_epoch.values()) == pytest.approx([0.01, 0.01, 0.001, 0.0001])


def test_resume_continues_with_the_learning_rate_of_a_callback(text: Path, tmp_path: Path) -> None:
    own = settings(text, epochs=1, max_steps=12)
    changes = [AtBatch(0.003, 4, after=True)]
    whole = start(own, tmp_path / "whole", callbacks=changes).run
    for steps in (5, 7):  # right at the change, and after it
        part = start(replace(own, max_steps=steps), tmp_path / str(steps), callbacks=changes).run
        resume(part, max_steps=12)
        one, two = part.checkpoint(), whole.checkpoint()
        assert not different(one.weights(), two.weights())
        assert not different(one.optimizer(), two.optimizer())
        assert not different(one.states(), two.states())


def test_stock_keras_callbacks_work(text: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    start(
        settings(text, max_steps=5),
        tmp_path / "r",
        callbacks=[
            keras.callbacks.CSVLogger(log),
            keras.callbacks.TensorBoard(tmp_path / "tb", write_graph=False),
        ],
    )
    assert (tmp_path / "tb").is_dir()


def test_a_loss_that_is_not_finite_stops_with_advice_and_keeps_the_last_checkpoint(
    text: Path, tmp_path: Path
) -> None:
    class Break(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 7:
                self.model.output_layer.bias.assign(
                    np.full(self.model.output_layer.bias.shape, np.nan)
                )

    with pytest.raises(TrainingError, match=r"became nan at step 8.*lower learning_rate"):
        start(settings(text, checkpoint_every=5), tmp_path / "r", callbacks=[Break()])
    weights = folder.open_run(tmp_path / "r").checkpoint().weights()
    assert all(np.isfinite(value).all() for value in weights.values())


def test_max_time_and_max_steps_limit_a_run(text: Path, tmp_path: Path) -> None:
    assert start(settings(text, max_steps=3), tmp_path / "a").progress.step == 3
    result = start(settings(text, epochs=100_000, max_time=0.5, val_fraction=0.0), tmp_path / "b")
    assert result.reason == "max-time"
    assert result.progress.seconds >= 0.5


def test_samples_are_printed_and_written(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = corpus.prepare_corpus(settings(text), None)
    config = settings(text, max_steps=6, sample_every=3)
    run = character.start(config, made, tmp_path / "r").run
    samples = run.samples.read_text()
    model = LanguageModel.load(run, 6)
    last = model.default_prompt + "".join(model.stream(length=200, seed=0))
    assert samples.startswith("--- step 3 ---\n")
    assert samples.endswith(f"--- step 6 ---\n{last}\n")
    assert f"--- sample at step 6 ---\n{last}\n---" in capsys.readouterr().err
    shown = tensorboard(run).Tensors("sample")
    assert [v.step for v in shown] == [3, 6]
    assert shown[1].tensor_proto.string_val[0].decode() == f"```\n{last}\n```"


def test_a_failed_start_leaves_no_folder(text: Path, tmp_path: Path) -> None:
    class Fail(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        start(settings(text), tmp_path / "r", callbacks=[Fail()])
    assert not (tmp_path / "r").exists()


def test_tensorboard_has_every_step(text: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = start(settings(text, epochs=2, val_fraction=0.1), tmp_path / "r").run
    events = EventAccumulator(str(run.logs), size_guidance={"tensors": 0}).Reload()
    lines = [line for line in metrics(run) if "loss" in line]
    for name in ("loss", "grad_norm", "learning_rate", "rate"):
        values = events.Tensors(f"train/{name}")
        assert [v.step for v in values] == [line["step"] for line in lines]
    assert len(events.Tensors("validation/loss")) == 2
    assert events.Graph().node


def tensorboard(run: RunFolder) -> Any:
    """A run's events as TensorBoard reads them (the older EventAccumulator never drops tensors)."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    return EventAccumulator(str(run.logs)).Reload()


def test_tensorboard_shows_each_step_of_a_resumed_run_once(
    text: Path, tmp_path: Path, caplog
) -> None:
    """Including steps after the checkpoint, which were trained twice, and the graph."""

    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 16:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        start(settings(text, checkpoint_every=10), tmp_path / "r", callbacks=[Fail()])
    run = folder.open_run(tmp_path / "r")
    assert run.checkpoint().progress.step == 10
    assert [v.step for v in tensorboard(run).Tensors("train/loss")] == list(range(1, 18))
    resume(run, max_steps=14)
    events = tensorboard(run)
    assert [v.step for v in events.Tensors("train/loss")] == list(range(1, 15))
    assert events.Graph().node
    assert "more than one graph" not in caplog.text


def test_tensorboard_has_the_hyperparameters(text: Path, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    events = tensorboard(start(settings(text, max_steps=2), tmp_path / "r").run)
    found = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG)
    parsed = metadata.parse_session_start_info_plugin_data(found.plugin_data.content).hparams
    assert parsed["units"].number_value == 8
    assert parsed["cell"].string_value == "lstm"
    assert parsed["corpus"].string_value == "tiny"
    assert "data_dir" not in parsed


def test_histograms_are_written_only_on_request(text: Path, tmp_path: Path) -> None:
    plain = tensorboard(start(settings(text, max_steps=4), tmp_path / "a").run)
    asked = tensorboard(start(settings(text, max_steps=4, histograms_every=2), tmp_path / "b").run)
    assert not any(tag.startswith("weights/") for tag in plain.Tags()["tensors"])
    assert [v.step for v in asked.Tensors("weights/rnn_0/kernel")] == [2, 4]


def test_a_missing_gpu_is_refused(text: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match=r"No GPU found. Set device=.cpu"):
        start(settings(text, device="gpu"), tmp_path / "r")
    assert not (tmp_path / "r").exists()
