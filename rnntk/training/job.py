"""Who trains together: by default this process alone. `distribute.py` has the jobs of several."""

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

    What is decided while training (to stop, what a validation cost, where the run is) is decided by a job, so that
    several processes decide the same. One process of a job, its chief, writes the run; the others write nothing.

    Attributes:
        workers: how many processes there are.
        index: which of them this is.
        replicas: how many devices of all of them share the lanes of a batch.
    """

    workers = 1
    index = 0
    replicas = 1

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    def describe(self) -> str:
        """Who shares the lanes, for a note to the user; nothing where nobody does."""
        return ""

    def scope(self) -> AbstractContextManager[Any]:
        """Where model and optimizer must be made."""
        return nullcontext()

    def step(
        self,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        **clipping: Any,
    ) -> TrainStep:
        """The training step of all lanes.

        Args:
            model, optimizer: made in `scope`.
            batch_size: lanes in all.
            clipping: `clip` and `clip_norm` of `TrainStep`.

        Raises:
            UsageError: there are fewer lanes than replicas.
        """
        from rnntk.training.step import TrainStep

        return TrainStep(model, optimizer, **clipping)

    def agree(self, wish: str) -> str:
        """What all processes stop for, given what this one would stop for.

        Args:
            wish: `max-time`, `signal`, `callback` or nothing.

        Returns:
            One of these. The chief's clock counts, and a signal or callback anywhere.
        """
        return wish

    def chiefs(self, values: np.ndarray) -> np.ndarray:
        """The chief's numbers, float32 and of the same shape in every process."""
        return values

    def meet(self, facts: Mapping[str, Any], told: str) -> str:
        """Wait for all processes, and make sure that they are about to do the same.

        Args:
            facts: what must be the same everywhere, JSON-able.
            told: what the chief says to all.

        Returns:
            What the chief told.

        Raises:
            UsageError: two processes differ; both sides are named.
        """
        return told

    def watched(self, run: Path) -> AbstractContextManager[None]:
        """While it trains: that another process is gone becomes a message.

        Raises:
            WorkerLost: it is; the message says how to go on.
        """
        return nullcontext()


ALONE = Job()
