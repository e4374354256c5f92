"""Training that diverged: loss, gradient or weights are not finite, or the loss stays far above the uniform loss.

A model that gives all V symbols the same probability has a loss of ln V nats, and the first steps of training are
enough to get below that. A loss that stays far above it will not come down: the gradients no longer point anywhere
useful, and every later checkpoint is worse than the earlier ones.

Some high losses are normal. A single step may have any loss (the cliffs of Pascanu et al., 2013), so many in a row are
required. Text in another script is above ln V until the model has met its symbols, so the limit is twice ln V. Weights
taken from a run on another text may begin above that, so nothing counts before one step was below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnntk.errors import TrainingError
from rnntk.storage.checkpoint import Progress

FACTOR = 2.0


class Diverged(TrainingError):
    """Training diverged; the checkpoints are from before.

    Attributes:
        good_until: last step whose checkpoint can be trusted.
        finite: whether everything is still finite, so that training could continue.
    """

    def __init__(self, message: str, good_until: int, *, finite: bool = False) -> None:
        super().__init__(message)
        self.good_until = good_until
        self.finite = finite


def check_finite(numbers: Mapping[str, float], step: int) -> None:
    """Check the numbers of a step or a validation.

    Loss and gradient belong to the weights before the step: if they are not finite, a checkpoint of those weights is
    spoilt already. A validation belongs to the weights after the step.

    Args:
        numbers: by name.
        step: after which they were measured.

    Raises:
        Diverged: one of them is infinite or NaN.
    """
    for name in ("loss", "grad_norm", "val_loss"):
        value = numbers.get(name, 0.0)
        if not math.isfinite(value):
            what = {"grad_norm": "gradient's norm", "val_loss": "validation loss"}.get(name, name)
            good_until = step - 1 if name == "val_loss" else step - 2
            raise Diverged(
                f"The {what} became {value} at step {step}: training diverged.", good_until
            )


def check_weights(arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Check weights before they are saved.

    Raises:
        Diverged: one of them is infinite or NaN.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Diverged(
                f"{name} is not finite after step {step}: training diverged.",
                step - 1,
            )


def count_high(progress: Progress, loss: float, uniform_loss: float, most: int) -> None:
    """Count the steps in a row whose loss is above `FACTOR` times the uniform one.

    Args:
        progress: after the step; its `high_steps` is kept.
        loss: of the step, in nats.
        uniform_loss: ln V nats.
        most: steps that are too many; 0 disables the check.

    Raises:
        Diverged: that many steps in a row were above.
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
