"""The learning rate and the limits by hand."""

from __future__ import annotations

import math

import pytest

from rnntk.config import TrainConfig
from rnntk.errors import UsageError
from rnntk.storage.checkpoint import Progress
from rnntk.training.schedule import learning_rate, reached, total_steps


def test_decay_is_per_epoch_as_in_2017() -> None:
    fit = TrainConfig(learning_rate=0.002, decay_rate=0.97)
    assert learning_rate(fit, Progress(step=169, epoch=0), 8500) == 0.002
    assert learning_rate(fit, Progress(step=170, epoch=1), 8500) == pytest.approx(0.002 * 0.97)
    assert learning_rate(fit, Progress(step=8499, epoch=49), 8500) == pytest.approx(
        0.002 * 0.97**49
    )


def test_cosine_decay_falls_from_the_learning_rate_to_zero() -> None:
    fit = TrainConfig(learning_rate=0.01, schedule="cosine")
    rates = [learning_rate(fit, Progress(step=s), 100) for s in range(101)]
    assert rates[0] == 0.01
    assert rates[50] == pytest.approx(0.005)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates == sorted(rates, reverse=True)
    assert rates[25] == pytest.approx(0.005 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("schedule", ["decay", "cosine"])
def test_the_learning_rate_rises_during_warm_up(schedule: str) -> None:
    plain = TrainConfig(learning_rate=0.01, schedule=schedule)
    warm = TrainConfig(learning_rate=0.01, schedule=schedule, warmup_steps=4)
    factors = [
        learning_rate(warm, Progress(step=s), 100) / learning_rate(plain, Progress(step=s), 100)
        for s in range(6)
    ]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_plateau_halves_after_validations_without_improvement() -> None:
    fit = TrainConfig(learning_rate=0.01, schedule="plateau", val_fraction=0.1)
    p = Progress()
    rates = []
    for loss in (3.0, 2.0, 2.1, 2.2, 1.9, 2.0, 2.0, 2.0, 2.0):
        p.validated(loss, plateau_patience=2)
        rates.append(learning_rate(fit, p, 100))
    assert rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.0025, 0.0025, 0.00125]
    assert p.best == {"val_loss": 1.9, "step": 0}


def test_a_validation_off_schedule_may_only_become_the_best() -> None:
    one, two = Progress(), Progress()
    for loss in (2.0, 1.8, 1.9, 1.85):
        one.validated(loss, plateau_patience=2)
        two.validated(1.5 if loss == 1.8 else 2.5, plateau_patience=2, due=False)
        two.validated(loss, plateau_patience=2)
    assert (two.stale, two.reductions, two.lowest) == (one.stale, one.reductions, one.lowest)
    assert (one.stale, one.reductions, one.lowest) == (2, 1, 1.8)
    assert (one.best, two.best) == ({"val_loss": 1.8, "step": 0}, {"val_loss": 1.5, "step": 0})


def test_an_epoch_ends_with_its_last_step() -> None:
    p = Progress()
    for _ in range(7):
        p.stepped(1.0, steps_per_epoch=3)
    assert (p.step, p.epoch, p.batch) == (7, 2, 1)


def test_limits_end_training() -> None:
    config = TrainConfig(epochs=2, max_steps=5, patience=2, val_fraction=0.1)
    assert total_steps(config, 10) == 5
    assert total_steps(TrainConfig(epochs=2), 10) == 20
    assert reached(config, Progress(step=4, epoch=1)) == ""
    assert reached(config, Progress(epoch=2)) == "epochs"
    assert reached(config, Progress(step=5)) == "max-steps"
    assert reached(config, Progress(stale=2)) == "patience"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 3}, "patience needs validation: start a run with val_fraction"),
        ({"val_every": 3}, "val_every needs validation"),
        ({"schedule": "plateau"}, 'schedule="plateau" needs validation'),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave no text to train on"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0 and finite, got nan"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
    ],
)
def test_contradicting_settings_name_their_fields(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**settings)  # type: ignore[arg-type]
