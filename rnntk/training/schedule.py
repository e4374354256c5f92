"""When training ends, and the learning rate: functions of where it stands, so a resume finds them again."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rnntk.config import EXPLOSION_STEPS, MnistConfig, OptimizationConfig
from rnntk.errors import UsageError, shown
from rnntk.runs.checkpoint import Progress

PLATEAU_FACTOR = 0.5

Bounded = TypeVar("Bounded", OptimizationConfig, MnistConfig)


def learning_rate(fit: OptimizationConfig, progress: Progress, total_steps: int) -> float:
    """The rate of the next step.

    `decay` multiplies by `decay_rate` after every epoch, as the 2017 notebooks did; `cosine` falls to 0 over
    all steps (Loshchilov and Hutter, 2017, without restarts); `plateau` is halved each time the validation
    has stalled (`Progress.reductions` times so far).

    Args:
        fit: the settings.
        progress: where training stands.
        total_steps: steps of the whole run.
    """
    if fit.schedule == "cosine":
        return (
            fit.learning_rate
            * 0.5
            * (1 + math.cos(math.pi * min(1.0, progress.step / total_steps)))
        )
    if fit.schedule == "plateau":
        return fit.learning_rate * PLATEAU_FACTOR**progress.reductions
    return fit.learning_rate * fit.decay_rate**progress.epoch


def with_bounds(settings: Bounded, epochs: int | None, max_steps: int | None) -> Bounded:
    """Settings of a run that goes on, with new bounds if given; another number of epochs lifts the bound on steps."""
    if max_steps is None and epochs in (None, settings.epochs):
        max_steps = settings.max_steps
    return dataclasses.replace(settings, epochs=epochs or settings.epochs, max_steps=max_steps)


@dataclass(frozen=True)
class Limits:
    """When training ends, and when it is measured.

    Attributes:
        epochs: passes over the data in all.
        max_steps: steps in all, or None.
        max_seconds: wall time of this session, or None.
        val_every: steps between validations; None: one at the end of every epoch.
        patience: validations without a better one before it stops, or None.
        plateau_patience: the same before the learning rate is halved, or None.
        explosion_steps: steps in a row whose loss is worse than ignorance before it stops; 0 for never.
    """

    epochs: int
    max_steps: int | None = None
    max_seconds: float | None = None
    val_every: int | None = None
    patience: int | None = None
    plateau_patience: int | None = None
    explosion_steps: int = EXPLOSION_STEPS

    def steps(self, steps_per_epoch: int) -> int:
        """Steps in all."""
        total = self.epochs * steps_per_epoch
        return total if self.max_steps is None else min(total, self.max_steps)

    def reached(self, progress: Progress) -> str:
        """Which limit of the whole run is reached: `epochs`, `max-steps`, `patience` or none (``)."""
        if progress.epoch >= self.epochs:
            return "epochs"
        if self.max_steps is not None and progress.step >= self.max_steps:
            return "max-steps"
        if self.patience is not None and progress.stale >= self.patience:
            return "patience"
        return ""

    def refuse_finished(self, progress: Progress, run: Path) -> None:
        """Raise `UsageError` when a limit of the whole run is reached, with the flag that lets it go on."""
        told = {
            "epochs": f"{progress.epoch} of {self.epochs} epochs; to train on, raise --epochs",
            "max-steps": f"{progress.step} of {self.max_steps} steps; to train on, raise --max-steps or --epochs",
            "patience": f"no better validation for {progress.stale} times; to train on, raise --patience",
        }.get(self.reached(progress))
        if told:
            raise UsageError(f"{shown(run)} is finished: {told}.")
