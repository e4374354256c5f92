"""Learning rate and end of training, as functions of the progress, so that a resume repeats them."""

from __future__ import annotations

import math
from pathlib import Path

from rnntk.config import RunConfig
from rnntk.errors import UsageError, shown
from rnntk.storage.checkpoint import Progress

PLATEAU_FACTOR = 0.5


def learning_rate(config: RunConfig, progress: Progress, total: int) -> float:
    """Learning rate of the next step of `total`.

    `decay` multiplies it by `decay_rate` after each epoch (as in the 2017 notebooks), `cosine` decays it to 0 over all
    steps (Loshchilov and Hutter, 2017, without restarts), `plateau` halves it when validation stalls. In the first
    `warmup_steps` it is also multiplied by the fraction of them that is done.
    """
    rate = config.learning_rate
    if progress.step < config.warmup_steps:
        rate *= (progress.step + 1) / config.warmup_steps
    if config.schedule == "cosine":
        done = min(1.0, progress.step / total)
        return rate * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "plateau":
        return rate * PLATEAU_FACTOR**progress.reductions
    return rate * config.decay_rate**progress.epoch


def total_steps(config: RunConfig, steps_per_epoch: int) -> int:
    total = config.epochs * steps_per_epoch
    return total if config.max_steps is None else min(total, config.max_steps)


def reached(config: RunConfig, progress: Progress) -> str:
    """The limit that the run has reached: `epochs`, `max-steps` or `patience`; empty if none."""
    if progress.epoch >= config.epochs:
        return "epochs"
    if config.max_steps is not None and progress.step >= config.max_steps:
        return "max-steps"
    if config.patience is not None and progress.stale >= config.patience:
        return "patience"
    return ""


def refuse_finished(config: RunConfig, progress: Progress, run: Path) -> None:
    """Raise `UsageError`, which names the setting to raise, if the run has reached a limit."""
    message = {
        "epochs": f"{progress.epoch} of {config.epochs} epochs. To continue, raise `epochs`",
        "max-steps": f"{progress.step} of {config.max_steps} steps. To continue, raise `max_steps` or `epochs`",
        "patience": f"no new best in {progress.stale} validations. To continue, raise `patience`",
    }.get(reached(config, progress))
    if message:
        raise UsageError(f"{shown(run)} is finished: {message}.")
