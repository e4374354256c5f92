"""The models of one run's checkpoints, loaded on demand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from rnntk.decoding.language_model import LanguageModel
from rnntk.storage import checkpoint

_KEPT = 3


class Models:
    """Loads the checkpoints of a run; those used last stay in memory. Safe for threads.

    `default` is the model used when no checkpoint is named; the others are of the same run.
    """

    def __init__(self, default: LanguageModel) -> None:
        self.run = default.run
        self._default = default
        self._lock = threading.Lock()
        self._loaded: OrderedDict[int, LanguageModel] = OrderedDict()

    def get(self, step: int | None = None) -> LanguageModel:
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
        found = LanguageModel.load(self.run, step)
        with self._lock:
            self._loaded[step] = found
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        return found

    def loaded(self, step: int | None) -> LanguageModel | None:
        """The model at a step, if it is in memory."""
        if step is None or step == self._default.step:
            return self._default
        return self._loaded.get(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending; the one in use is among them even when it is gone."""
        return sorted({*checkpoint.steps(self.run.checkpoints), self._default.step})

    def describe(self) -> dict[str, Any]:
        """Facts of the run for the page."""
        record, model = self.run.record, self._default
        return {
            "name": self.run.name,
            "corpus": record["corpus"].get("name", ""),
            "cell": model.decoder.cell,
            "layers": len(model.decoder.layers),
            "units": model.decoder.units,
            "parameters": record["model"].get("parameters"),
            "vocabulary": model.vocabulary.symbols,
            "preprocessor": model.preprocessor.name,
            "hangul": model.preprocessor.encode("가") != "가",
            "step": model.step,
            "steps": self.steps(),
            "prime": model.default_prompt,
        }
