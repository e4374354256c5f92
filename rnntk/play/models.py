"""Models of a run's checkpoints, loaded on demand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rnntk.config import SampleConfig
from rnntk.decoding.row_model import RowModel
from rnntk.play import limits
from rnntk.storage import checkpoint, folder, listing


class Models:
    """Models of the run of `default`, which is used if no step is given. Thread-safe."""

    def __init__(self, default: Any) -> None:  # a LanguageModel or a RowModel
        self.run, self.default = default.run, default
        self._load = lru_cache(3)(lambda step: type(default).load(self.run, step))

    def get(self, step: int | None = None) -> Any:
        """The model at a step; `RunError` if the checkpoint is missing or damaged."""
        return self.default if step in (None, self.default.step) else self._load(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints, ascending; includes the default's even if its files are gone."""
        return sorted({*checkpoint.steps(self.run.checkpoints), self.default.step})

    def describe(self) -> dict[str, Any]:
        """Facts about the run, and the page's defaults (the command line's) and limits."""
        record, model = self.run.record, self.default
        layers = model.layers if isinstance(model, RowModel) else model.decoder.layers
        own = self._digits() if isinstance(model, RowModel) else self._text()
        return {
            "kind": self.run.kind,
            "name": self.run.name,
            "corpus": record["corpus"].get("name", ""),
            "own_file": self._is_own_file(),
            "cell": record["model"]["cell"],
            "layers": len(layers),
            "parameters": record["model"].get("parameters"),
            "step": model.step,
            "steps": self.steps(),
            **own,
        }

    def _is_own_file(self) -> bool:
        """Whether only this user has the text, or nobody: the user's file or card, or the text of an imported run."""
        source = self.run.record["corpus"].get("source")
        card = str(self.run.settings.get("corpus"))
        return source in ("input", folder.IMPORTED) or card.endswith(".toml")

    def relatives(self) -> list[dict[str, Any]]:
        """The runs in this run's folder on the same corpus, as JSON: name, cell, model, step, losses in nats."""
        found = listing.runs(self.run.path.parent, kind=self.run.kind)
        corpus = self.run.record["corpus"].get("name", "")
        names = ("name", "model", "step", "loss", "best")
        return [
            {name: getattr(s, name) for name in names} | {"cell": s.model.split(" ")[0]}
            for s in found
            if s.corpus == corpus and s.usable
        ]

    def _digits(self) -> dict[str, Any]:
        """`order`: index of the pixel that each step reads; None for row by row."""
        model = self.default
        order = model.order.permutation
        return {
            "units": model.units,
            "bidirectional": model.bidirectional,
            "reads": model.order.order,
            "order": None if order is None else order.tolist(),
        }

    def _text(self) -> dict[str, Any]:
        model, config = self.default, SampleConfig()
        return {
            "units": model.decoder.units,
            "vocabulary": model.vocabulary.symbols,
            "unknown": model.vocabulary.unknown_symbol,
            "preprocessor": model.preprocessor.name,
            "newline": self.run.settings.get("newline"),
            "normalize": bool(self.run.settings.get("normalize")),
            "hangul": model.preprocessor.encode("가") != "가",
            "prime": model.default_prompt,
            "defaults": {"length": config.length, "temperature": config.temperature},
            "limits": {"text": limits.TEXT, "length": limits.LENGTH},
        }
