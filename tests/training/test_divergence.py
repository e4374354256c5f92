"""Detection of divergence, and the files that remain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.config import TrainConfig
from rnntk.errors import TrainingError
from rnntk.storage import checkpoint, folder
from rnntk.storage.checkpoint import Progress
from rnntk.text import corpus
from rnntk.training import char_task, character, divergence, loop
from rnntk.training.divergence import Diverged
from rnntk.training.session import Result

UNIFORM = math.log(50)
LIMIT = divergence.FACTOR * UNIFORM


def exploded_at(losses: list[float], most: int) -> int | None:
    """The step at which training stops, or None."""
    progress = Progress()
    for loss in losses:
        progress.stepped(loss, 1000)
        try:
            divergence.count_high(progress, loss, UNIFORM, most)
        except Diverged as error:
            return error.good_until + most
    return None


def test_only_consecutive_high_losses_count() -> None:
    low, high = LIMIT, LIMIT * 1.01
    assert exploded_at([low] + [high] * 9, 10) is None
    assert exploded_at([low] + [high] * 10, 10) == 11
    assert exploded_at([low] + [high] * 9 + [low] + [high] * 9, 10) is None
    assert exploded_at([low] + [high] * 500, 0) is None, "0 disables it"


def test_a_loss_that_begins_high_gets_time_to_fall() -> None:
    """Weights from another text may have more than the uniform loss."""
    high = LIMIT * 2
    assert exploded_at([high] * 500, 10) is None
    assert exploded_at([high] * 500 + [1.0] + [high] * 10, 10) == 511


@given(st.lists(st.floats(0, LIMIT * 3), max_size=60), st.integers(1, 8), st.integers(0, 60))
def test_resume_does_not_change_when_training_stops(
    losses: list[float], most: int, cut: int
) -> None:
    whole, first = exploded_at(losses, most), exploded_at(losses[:cut], most)
    if first is not None:
        assert first == whole
        return
    progress = Progress()
    for loss in losses[:cut]:
        progress.stepped(loss, 1000)
        divergence.count_high(progress, loss, UNIFORM, most)
    saved = Progress(step=progress.step, high_steps=progress.high_steps)
    found = None
    for loss in losses[cut:]:
        saved.stepped(loss, 1000)
        try:
            divergence.count_high(saved, loss, UNIFORM, most)
        except Diverged:
            found = saved.step
            break
    assert found == whole


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "grad_norm", "val_loss"])
def test_every_value_that_is_not_finite_is_named(name: str, value: float) -> None:
    good = {"loss": 1.0, "grad_norm": 2.0, "val_loss": 3.0, "val_perplexity": math.inf}
    divergence.check_finite(good, 8)
    with pytest.raises(Diverged, match="became .* at step 8") as caught:
        divergence.check_finite({**good, name: value}, 8)
    # Loss and gradient belong to the weights before the step, a validation to those after it.
    assert caught.value.good_until == (7 if name == "val_loss" else 6)


# The program -----------------------------------------------------------------------------------

TEXT = "".join(f"line {i}: the quick brown fox {i * i} jumps\n" for i in range(60))


def start(tmp_path: Path, *, callbacks: list[Any] | None = None, **changes: Any) -> Result:
    text = tmp_path / "tiny.txt"
    text.write_text(TEXT, encoding="utf-8")
    settings = TrainConfig(
        **{
            "input": (str(text),),
            "layers": 1,
            "units": 16,
            "embedding": 6,
            "batch_size": 4,
            "seq_length": 20,
            "epochs": 50,
            "checkpoint_every": 5,
            "keep": 2,
            "sample_every": 0,
            **changes,
        }
    )
    made = corpus.prepare_corpus(settings, None)
    return character.start(settings, made, tmp_path / "r", quiet=True, callbacks=callbacks or [])


def saved(tmp_path: Path) -> list[int]:
    return checkpoint.steps(folder.open_run(tmp_path / "r").checkpoints)


class Faster(keras.callbacks.Callback):
    """Raises the learning rate far too high from step 12 on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 11:
            self._monkeypatch.setattr(loop.schedule, "learning_rate", lambda *_: 30.0)


def test_a_diverged_run_stops_and_good_checkpoints_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError) as caught:
        start(tmp_path, callbacks=[Faster(monkeypatch)], explosion_steps=20)
    message = str(caught.value)
    assert "twice the uniform loss" in message
    assert f"Checkpoint 10 of {tmp_path / 'r'} was saved before that." in message
    assert (
        f"lower learning_rate or clip_norm, such as: rnntk train --init-from {tmp_path / 'r'} "
        "--learning-rate 0.0005" in message
    )
    assert "--explosion-steps 0" in message
    assert saved(tmp_path) == [5, 10], "later checkpoints would have replaced these"


def test_explosion_steps_0_continues_a_diverged_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = Faster(monkeypatch)
    result = start(tmp_path, callbacks=[faster], explosion_steps=0, max_steps=40)
    assert result.progress.step == 40
    assert result.progress.losses["loss"] > 2 * math.log(len(set(TEXT)))


def test_a_resume_without_the_check_saves_checkpoints_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = Faster(monkeypatch)
    run = start(tmp_path, callbacks=[faster], explosion_steps=100, max_steps=18, keep=9).run
    assert run.checkpoint().progress.high_steps
    character.resume(run, {"explosion_steps": 0, "max_steps": 27}, quiet=True)
    assert saved(tmp_path) == [5, 10, 18, 20, 25, 27]
    progress = run.checkpoint().progress
    assert progress.losses["loss"] > LIMIT / UNIFORM * math.log(len(set(TEXT)))
    assert progress.high_steps == 0


def test_diverging_before_the_first_checkpoint_leaves_the_metrics(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="No checkpoint was saved before. Train again with a lower"
    ):
        start(tmp_path, learning_rate=30.0, checkpoint_every=1000, explosion_steps=20)
    assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) >= 20
    assert saved(tmp_path) == []


def test_non_finite_weights_are_never_saved(tmp_path: Path) -> None:
    """The loss of a step is that of the weights before it, so it can be finite when the new ones are not."""

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 9:
                bias = self.model.output_layer.bias
                bias.assign(np.full(bias.shape, np.nan))

    with pytest.raises(
        TrainingError,
        match=r"output/bias is not finite after step 10.*Checkpoint 5 .* was saved before that",
    ):
        start(tmp_path, callbacks=[Spoil()])
    assert saved(tmp_path) == [5]


def spoil(monkeypatch: pytest.MonkeyPatch, after: int, **numbers: float) -> None:
    """Every later step gives these numbers."""
    real = char_task.CharTask.step

    def step(self: char_task.CharTask, progress: Progress) -> dict[str, float]:
        found = real(self, progress)
        return found if progress.step < after else {**found, **numbers}

    monkeypatch.setattr(char_task.CharTask, "step", step)


def test_a_non_finite_gradient_stops_before_anything_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 9, grad_norm=math.inf)
    with pytest.raises(TrainingError, match=r"gradient's norm became inf at step 10.*Checkpoint 5"):
        start(tmp_path)
    assert saved(tmp_path) == [5]


def test_a_checkpoint_with_a_non_finite_loss_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of step 11 is that of checkpoint 10's weights."""
    spoil(monkeypatch, 10, loss=math.nan)
    with pytest.raises(
        TrainingError, match=r"loss became nan at step 11.*Checkpoint 5 .* was saved before that"
    ):
        start(tmp_path)
    assert saved(tmp_path) == [5]


def test_the_checkpoint_a_session_began_from_is_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path, max_steps=6).run
    spoil(monkeypatch, 6, loss=math.inf)
    with pytest.raises(
        TrainingError, match=r"became inf at step 7.*Checkpoint 5 .* was saved before that"
    ):
        character.resume(run, {"max_steps": 9}, quiet=True)
    assert saved(tmp_path) == [5, 6]


def test_a_non_finite_validation_stops_and_is_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(char_task.CharTask, "validate", lambda _: {"val_loss": math.nan})
    with pytest.raises(TrainingError, match=r"validation loss became nan at step 7.*Checkpoint 5"):
        start(tmp_path, val_fraction=0.1, val_every=7)
    assert folder.open_run(tmp_path / "r").checkpoint().progress.best is None
