"""Divergence checks: loss, gradient or weights are not finite, or the loss stays far above the uniform loss, ln V.

Single steps may have any loss (the cliffs of Pascanu et al., 2013), so only many high steps in a row count. A run that
starts from weights trained on another text may begin far above ln V, so counting starts after a first step below the
limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnntk.errors import TrainingError
from rnntk.storage.checkpoint import Progress

FACTOR = 2.0


class Diverged(TrainingError):
    """Training diverged; checkpoints up to step `good_until` are good. If `finite`, training could continue."""

    def __init__(self, message: str, good_until: int, *, finite: bool = False) -> None:
        super().__init__(message)
        self.good_until, self.finite = good_until, finite


def check_finite(numbers: Mapping[str, float], step: int) -> None:
    """Raise `Diverged` if the loss, gradient norm or validation loss of a step is infinite or NaN."""
    titles = {"loss": "loss", "grad_norm": "gradient's norm", "val_loss": "validation loss"}
    for name, title in titles.items():
        if not math.isfinite(value := numbers.get(name, 0.0)):
            # Loss and gradient are of the weights before the step, a validation of those after it.
            good_until = step - 1 if name == "val_loss" else step - 2
            message = f"The {title} became {value} at step {step}: training diverged."
            raise Diverged(message, good_until)


def check_weights(arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Raise `Diverged` if one of the arrays, by name, is infinite or NaN; called before a checkpoint is saved."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Diverged(f"{name} is not finite after step {step}: training diverged.", step - 1)


def count_high(progress: Progress, loss: float, uniform_loss: float, most: int) -> None:
    """Count the steps in a row with a loss above `FACTOR` times the uniform loss, in `progress.high_steps`.

    Raises `Diverged` after `most` such steps; 0 disables the check and the count, so checkpoints are saved as usual.
    """
    limit = FACTOR * uniform_loss
    if loss <= limit:
        progress.high_steps = 0
    elif progress.high_steps is not None:
        progress.high_steps = progress.high_steps + 1 if most else 0
    if most and (progress.high_steps or 0) >= most:
        began = progress.step - most
        raise Diverged(
            f"The loss is above {limit:.2f} nats, twice the uniform loss, since step {began + 1} "
            f"(now {loss:.2f}): training diverged.",
            began,
            finite=True,
        )
