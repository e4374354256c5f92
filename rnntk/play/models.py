"""The models of one run's checkpoints, loaded on demand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnntk.decoding.language_model import LanguageModel
from rnntk.storage import checkpoint


class Models:
    """Loads checkpoints of the run of `default`, the model used when no step is given. Thread-safe."""

    def __init__(self, default: LanguageModel) -> None:
        self.run, self.default = default.run, default
        self._load = lru_cache(3)(lambda step: LanguageModel.load(self.run, step))

    def get(self, step: int | None = None) -> LanguageModel:
        """The model at a step; `RunError` if the checkpoint is missing or damaged."""
        return self.default if step in (None, self.default.step) else self._load(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; includes the default's even if its files are gone."""
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
