"""Training that diverged: loss, gradient or weights are not finite, or the loss stays far above ln V (uniform loss).

A single step may have any loss (the cliffs of Pascanu et al., 2013), so many in a row are required. Text in another
script starts above ln V, so the limit is twice ln V. Weights of a run on another text may start above even that, so
nothing counts before one step was below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnntk.errors import TrainingError
from rnntk.storage.checkpoint import Progress

FACTOR = 2.0


class Diverged(TrainingError):
    """Training diverged; `good_until` is the last step whose checkpoint can be trusted.

    `finite` says whether everything is still finite, so that training could continue.
    """

    def __init__(self, message: str, good_until: int, *, finite: bool = False) -> None:
        super().__init__(message)
        self.good_until = good_until
        self.finite = finite


def check_finite(numbers: Mapping[str, float], step: int) -> None:
    """Raise `Diverged` if a number of a step or a validation, by name, is infinite or NaN.

    Loss and gradient belong to the weights before `step`, a validation to those after it: a checkpoint of non-finite
    weights cannot be trusted.
    """
    titles = {"loss": "loss", "grad_norm": "gradient's norm", "val_loss": "validation loss"}
    for name, title in titles.items():
        if not math.isfinite(value := numbers.get(name, 0.0)):
            good_until = step - 1 if name == "val_loss" else step - 2
            message = f"The {title} became {value} at step {step}: training diverged."
            raise Diverged(message, good_until)


def check_weights(arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Raise `Diverged` if an array, by name, is infinite or NaN; called before they are saved."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Diverged(
                f"{name} is not finite after step {step}: training diverged.",
                step - 1,
            )


def count_high(progress: Progress, loss: float, uniform_loss: float, most: int) -> None:
    """Count in `progress.high_steps` the steps in a row whose loss, in nats, is above `FACTOR` times ln V.

    Raises `Diverged` after `most` such steps in a row; 0 disables the check.
    """
    limit = FACTOR * uniform_loss
    if not most:
        return
    if loss <= limit:
        progress.high_steps = 0
    elif progress.high_steps is not None:
        progress.high_steps += 1
    if (progress.high_steps or 0) >= most:
        began = progress.step - most
        raise Diverged(
            f"Since step {began + 1} the loss has been above {limit:.2f} nats, twice the uniform loss "
            f"(it is {loss:.2f} now): training diverged.",
            began,
            finite=True,
        )
