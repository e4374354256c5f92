"""A run's losses, and a sample from each checkpoint."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from rnntk.errors import RunError
from rnntk.play import limits
from rnntk.play.models import Models
from rnntk.storage.folder import RunFolder
from rnntk.storage.metrics import Follower, MeanLoss
from rnntk.stored import is_number

_POINTS = 400
_SERIES = ("loss", "val_loss", "accuracy", "val_accuracy")  # accuracies of classifiers only
_LIVE_SECONDS = 30.0
SEED = 1  # of every checkpoint, so that only the model differs


class LossCurve:
    """Losses from a run's metrics file; each `look` reads only new lines. Thread-safe."""

    def __init__(self, run: RunFolder) -> None:
        self._path = run.metrics
        self._lock = threading.Lock()
        self._begin()

    def look(self) -> dict[str, Any]:
        """`_SERIES`, each up to `_POINTS` times `[step, value]`, and the last `step` and `seconds`, as JSON.

        `loss` is a running mean (`MeanLoss`). `live`: the file changed in the last `_LIVE_SECONDS`.
        """
        with self._lock:
            try:
                if self._follower.cut_back():
                    self._begin()
                for rows in self._follower.added():
                    for row in rows:
                        self._take(row)
                is_fresh = time.time() - self._path.stat().st_mtime < _LIVE_SECONDS
            except OSError:
                self._begin()
                is_fresh = False
            losses = {name: _thinned(series) for name, series in self._losses.items()}
            seen = {"step": self._step, "seconds": self._seconds}
            return {**losses, **seen, "live": is_fresh and bool(losses["loss"])}

    def _begin(self) -> None:
        self._follower = Follower(self._path)
        self._step, self._seconds = 0, 0.0
        self._mean = MeanLoss()
        self._losses: dict[str, list[tuple[int, float]]] = {name: [] for name in _SERIES}

    def _take(self, row: dict[str, Any]) -> None:
        step = self._step = int(row["step"])
        for name, series in self._losses.items():
            if is_number(value := row.get(name)):
                series.append((step, self._mean.add(value) if name == "loss" else float(value)))
        if is_number(seconds := row.get("seconds")):
            self._seconds = float(seconds)


def _thinned(series: list[tuple[int, float]]) -> list[list[float]]:
    """At most `_POINTS` evenly spaced points, including the last."""
    size = max(1, math.ceil(len(series) / _POINTS))
    return [[step, round(loss, 4)] for step, loss in series[::-size][::-1]]


class CheckpointSamples:
    """One sample per checkpoint, all with the same seed, cached. Thread-safe."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._kept: dict[int, dict[str, Any]] = {}

    def steps(self) -> list[int]:
        """Steps with a checkpoint, or with a cached sample of a removed one."""
        return sorted({*self._models.steps(), *self._kept})

    def get(self, step: int) -> dict[str, Any]:
        """A checkpoint's sample as JSON; `RunError` if there is no such checkpoint."""
        with self._lock:
            if step not in self._kept:
                if step not in self._models.steps():
                    raise RunError(f"{self._models.run.path} has no checkpoint {step}.")
                model = self._models.get(step)
                text = "".join(model.stream(seed=SEED, length=limits.SAMPLE))
                sample = {"step": step, "seed": SEED, "prime": model.default_prompt, "text": text}
                self._kept[step] = sample
            return self._kept[step]
