"""Training that has gone wrong: the loss or the weights are not numbers, or the loss stays where ignorance is better.

A model that gives every symbol the same chance pays ln V nats, and the first steps of training are all it takes to pay
less. So a loss that stays far above it is not one that training will bring down: the gradients no longer point
anywhere useful, and all that is saved from then on is worse than what was saved before.

What is no explosion must not be taken for one. A single step may cost anything (the cliffs of Pascanu et al., 2013),
so many in a row are asked for. A text that goes on in another script costs more than ln V until the model has met its
symbols, so it must be twice ln V. Weights taken from a run on another text may begin above that, so nothing counts
before one step was below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rnntk.errors import TrainingError
from rnntk.runs.checkpoint import Progress

FACTOR = 2.0


class Exploded(TrainingError):
    """Training has gone wrong; what is saved is from before.

    Attributes:
        good_until: the last step of which a checkpoint can be trusted.
        finite: whether all is still in numbers, so that one could go on.
    """

    def __init__(self, message: str, good_until: int, *, finite: bool = False) -> None:
        super().__init__(message)
        self.good_until = good_until
        self.finite = finite


def check_finite(numbers: Mapping[str, float], step: int) -> None:
    """Check what a step or a validation gave.

    The loss and the gradient are those of the weights before the step: if they are no numbers, what was saved of those
    weights is spoilt already. A validation is measured on the weights after the step.

    Args:
        numbers: by name.
        step: after which they were measured.

    Raises:
        Exploded: one of them is infinite or not a number.
    """
    for name in ("loss", "grad_norm", "val_loss"):
        value = numbers.get(name, 0.0)
        if not math.isfinite(value):
            what = {"grad_norm": "gradient's norm", "val_loss": "validation loss"}.get(name, name)
            good_until = step - 1 if name == "val_loss" else step - 2
            raise Exploded(
                f"The {what} became {value} at step {step}: training has exploded.", good_until
            )


def check_weights(arrays: Mapping[str, np.ndarray], step: int) -> None:
    """Check weights before they are saved.

    Raises:
        Exploded: one of them is infinite or not a number.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise Exploded(
                f"{name} holds what is no number after step {step}: training has exploded.",
                step - 1,
            )


def count_high(progress: Progress, loss: float, uniform_loss: float, most: int) -> None:
    """Count the steps in a row whose loss is above `FACTOR` times the uniform one.

    Args:
        progress: after the step; its `high_steps` is kept.
        loss: of the step, in nats.
        uniform_loss: what a model that knows nothing pays.
        most: how many are too many; 0 for any number.

    Raises:
        Exploded: it is too many.
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
        raise Exploded(
            f"Since step {began + 1} the loss has been above {limit:.2f} nats, twice what a model pays that knows "
            f"nothing (it is {loss:.2f} now): training has exploded.",
            began,
            finite=True,
        )
