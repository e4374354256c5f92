"""The models of one run, a checkpoint at a time, loaded when they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from rnntk.decoding.trained import TrainedModel
from rnntk.errors import RunError
from rnntk.runs import checkpoint
from rnntk.runs.checkpoint import PROGRESS, WEIGHTS
from rnntk.runs.folder import RunFolder

_KEPT = 3


class Loaded:
    """A model of one checkpoint.

    Attributes:
        model: what reads and writes.
        step: of the checkpoint.
    """

    def __init__(self, model: TrainedModel, step: int) -> None:
        self.model = model
        self.step = step

    @property
    def cell(self) -> str:
        """`lstm`, `gru` or `rnn`."""
        return self.model.decoder.cell


class Models:
    """Loads the checkpoints of a run; those used last stay in memory. Safe for threads.

    Args:
        run: the run folder.
        which: the checkpoint used when none is named: `last`, `best` or a step.

    Raises:
        RunError: the run is no character model, or has no such checkpoint.
    """

    def __init__(self, run: RunFolder, which: str = "last") -> None:
        self.run = run
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, Loaded] = OrderedDict()
        self._default = self._load(which)

    def get(self, step: int | None = None) -> Loaded:
        """The model at a step; the one the page was opened with for None.

        Raises:
            RunError: there is no such checkpoint, or it is damaged.
        """
        if step is None or step == self._default.step:
            return self._default
        with self._lock:
            if step in self._loaded:
                self._loaded.move_to_end(step)
                return self._loaded[step]
        found = self._load(str(step))
        with self._lock:
            self._loaded[step] = found
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        return found

    def loaded(self, step: int | None) -> Loaded | None:
        """The model at a step, if it is in memory."""
        if step is None or step == self._default.step:
            return self._default
        return self._loaded.get(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending; the one in use is among them even when it is gone."""
        return sorted({*checkpoint.steps(self.run.checkpoints), self._default.step})

    def describe(self) -> dict[str, Any]:
        """What the page says about the run."""
        record = self.run.record
        loaded = self._default
        model = record["model"]
        preprocessor = loaded.model.preprocessor
        return {
            "name": self.run.name,
            "corpus": record["corpus"].get("name", ""),
            "cell": loaded.cell,
            "layers": len(loaded.model.decoder.layers),
            "units": loaded.model.decoder.units,
            "parameters": model.get("parameters"),
            "vocabulary": loaded.model.vocabulary.symbols,
            "preprocessor": preprocessor.name,
            "hangul": preprocessor.encode("가") != "가",
            "step": loaded.step,
            "steps": self.steps(),
            "prime": loaded.model.default_prime,
        }

    def _load(self, which: str) -> Loaded:
        saved = self.run.checkpoint(which, only=(WEIGHTS, PROGRESS))
        try:
            weights = saved.mapped_weights()
        except FileNotFoundError as error:
            raise RunError(f"{saved.folder} is gone: training keeps only the newest.") from error
        return Loaded(TrainedModel(self.run, weights, saved.progress), saved.progress.step)
