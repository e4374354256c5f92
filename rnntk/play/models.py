"""The models of one run's checkpoints, loaded on demand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnntk.decoding.language_model import LanguageModel
from rnntk.storage import checkpoint


class Models:
    """Loads the checkpoints of a run; those used last stay in memory. Safe for threads.

    `default` is the model used when no checkpoint is named; the others are of the same run.
    """

    def __init__(self, default: LanguageModel) -> None:
        self.run, self.default = default.run, default
        self._load = lru_cache(3)(lambda step: LanguageModel.load(self.run, step))

    def get(self, step: int | None = None) -> LanguageModel:
        """The model at a step; raises `RunError` if there is no such checkpoint, or it is damaged."""
        return self.default if step in (None, self.default.step) else self._load(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending; the one in use is among them even when it is gone."""
        return sorted({*checkpoint.steps(self.run.checkpoints), self.default.step})

    def describe(self) -> dict[str, Any]:
        record, model = self.run.record, self.default
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
