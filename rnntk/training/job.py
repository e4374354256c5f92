"""The processes that train together: by default only this one; `distribute.py` has jobs of several."""

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
    """One process that trains alone; the base of jobs of several.

    Decisions while training (to stop, the validation loss, the run's folder) go through the job, so that all processes
    agree. Only the chief writes the run.
    """

    workers = 1  # processes
    index = 0  # of this one; 0 is the chief
    replicas = 1  # devices of all processes, which share the batch rows

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    def describe(self) -> str:
        """How the batch rows are shared, for a note to the user; empty for one process."""
        return ""

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which model and optimizer must be created."""
        return nullcontext()

    def step(
        self, model: CharRNN, optimizer: keras.Optimizer, batch_size: int, **clipping: Any
    ) -> TrainStep:
        """The training step; raises `UsageError` if there are fewer batch rows than replicas."""
        from rnntk.training.step import TrainStep

        return TrainStep(model, optimizer, **clipping)

    def stop_reason(self, wish: str) -> str:
        """The reason for all processes to stop, given this one's: `max-time` (the chief's), `signal` or `callback`."""
        return wish

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """The chief's values, float32; the shape is the same in every process."""
        return values

    def barrier(self, facts: Mapping[str, Any], message: str) -> str:
        """Wait for all processes and return the chief's message. Raises `UsageError` if their `facts` (JSON) differ."""
        return message

    def watched(self, run: Path) -> AbstractContextManager[None]:
        """Context of training; raises `WorkerLost` with advice if another process is lost."""
        return nullcontext()


ALONE = Job()
