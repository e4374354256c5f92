"""The models of one run's checkpoints, loaded on demand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rnntk.decoding.language_model import LanguageModel
from rnntk.storage import checkpoint

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache of the values used last, at least one, with sizes up to `limit` together. Safe for threads."""

    def __init__(self, limit: int, size: Callable[[V], int] = lambda _: 1) -> None:
        self._limit, self._size = limit, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, value: V) -> V:
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > 1 and sum(map(self._size, self._kept.values())) > self._limit:
                self._kept.popitem(last=False)
        return value


class Models:
    """Loads the checkpoints of a run; those used last stay in memory. Safe for threads.

    `default` is the model used when no checkpoint is named; the others are of the same run.
    """

    def __init__(self, default: LanguageModel) -> None:
        self.run = default.run
        self._default = default
        self._recent: Recent[int, LanguageModel] = Recent(3)

    def get(self, step: int | None = None) -> LanguageModel:
        """The model at a step; the one the page was opened with for None.

        Raises `RunError` if there is no such checkpoint, or it is damaged.
        """
        found = self.loaded(step)
        if found is None:
            assert step is not None
            found = self._recent.put(step, LanguageModel.load(self.run, step))
        return found

    def loaded(self, step: int | None) -> LanguageModel | None:
        """The model at a step, if it is in memory."""
        if step is None or step == self._default.step:
            return self._default
        return self._recent.get(step)

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending; the one in use is among them even when it is gone."""
        return sorted({*checkpoint.steps(self.run.checkpoints), self._default.step})

    def describe(self) -> dict[str, Any]:
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
