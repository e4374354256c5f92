"""The processes that train together: by default this one alone. `distribute.py` has jobs of several."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from rnntk.models.char_rnn import CharRNN
    from rnntk.training.step import TrainStep


class Job:
    """One process that trains alone.

    Decisions while training (to stop, the validation loss, the run's folder) go through the job, so that several
    processes decide the same. One process of a job, the chief, writes the run; the others write nothing.

    Attributes:
        workers, index: number of processes; this one's, where 0 is the chief.
        replicas: number of devices of all processes that share the batch rows.
    """

    workers = 1
    index = 0
    replicas = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    def describe(self) -> str:
        """How the batch rows are shared, for a note to the user; empty for one process."""
        return ""

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which model and optimizer must be made."""
        return nullcontext()

    def step(
        self, model: CharRNN, optimizer: keras.Optimizer, batch_size: int, **clipping: Any
    ) -> TrainStep:
        """The training step of all batch rows; raises `UsageError` where there are fewer rows than replicas."""
        from rnntk.training.step import TrainStep

        return TrainStep(model, optimizer, **clipping)

    def stop_reason(self, wish: str) -> str:
        """Why all processes stop now, given why this one would: `max-time` (by the chief's clock), `signal` or
        `callback`.
        """
        return wish

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """The chief's numbers, float32 and of the same shape in every process."""
        return values

    def barrier(self, facts: Mapping[str, Any], message: str) -> str:
        """Wait for all processes, and return the chief's message to all.

        Raises `UsageError`, which names both sides, if two processes differ in `facts` (JSON-able).
        """
        return message

    def watched(self, run: Path) -> AbstractContextManager[None]:
        """Context of training; turns the loss of another process into a `WorkerLost` that says how to continue."""
        return nullcontext()


ALONE = Job()
