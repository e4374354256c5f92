"""The models of one run's checkpoints, loaded on demand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnntk.config import SampleConfig
from rnntk.decoding.language_model import LanguageModel
from rnntk.play import limits
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
        """Facts about the run, and the page's defaults (the command line's) and limits."""
        record, model, config = self.run.record, self.default, SampleConfig()
        return {
            "name": self.run.name,
            "corpus": record["corpus"].get("name", ""),
            "cell": model.decoder.cell,
            "layers": len(model.decoder.layers),
            "units": model.decoder.units,
            "parameters": record["model"].get("parameters"),
            "vocabulary": model.vocabulary.symbols,
            "unknown": model.vocabulary.unknown_symbol,
            "preprocessor": model.preprocessor.name,
            "newline": self.run.settings.get("newline"),
            "normalize": bool(self.run.settings.get("normalize")),
            "hangul": model.preprocessor.encode("가") != "가",
            "step": model.step,
            "steps": self.steps(),
            "prime": model.default_prompt,
            "defaults": {"length": config.length, "temperature": config.temperature},
            "limits": {"text": limits.TEXT, "length": limits.LENGTH},
        }
