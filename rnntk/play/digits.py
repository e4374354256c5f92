"""The page of a row classifier: drawn digits, and mistakes on the test images."""

from __future__ import annotations

import base64
import binascii
import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.corpora import images, registry
from rnntk.corpora.images import CLASSES, ImageSet
from rnntk.decoding.row_model import RowModel
from rnntk.errors import UsageError
from rnntk.play.answers import Answers
from rnntk.play.models import Models

_BATCH = 250  # test images at a time, so that other requests are answered in between
_SHOWN = 48  # images per list


class DigitAnswers(Answers):
    """Handlers of the page of a row classifier."""

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        results = lru_cache(3)(lambda step: TestResults(models.get(step)))
        uniform = {"title": "uniform guess", "nats": round(math.log(CLASSES), 4)}
        self.gets["training"] = self.get(
            lambda: {**self.training(), "steps": models.steps(), "baselines": [uniform]}
        )
        self.posts = {
            "classify": self.post(
                lambda v: classify(models.get(v["step"]), v["pixels"]), pixels=str
            ),
            "test": self.post(lambda v: results(v["step"]).look()),
            "cell": self.post(
                lambda v: results(v["step"]).cell(v["true"], v["named"]), true=int, named=int
            ),
        }


def classify(model: RowModel, pixels: str) -> dict[str, Any]:
    """A drawing as the classifier sees it, and probabilities part by part, as JSON.

    `pixels` is a square of bytes in base64; else `UsageError`. `DataError` if it is blank.
    """
    try:
        data = np.frombuffer(base64.b64decode(pixels, validate=True), np.uint8)
    except binascii.Error as error:
        raise UsageError("The drawing is not base64.") from error
    side = math.isqrt(data.size)
    if side < 2 or side * side != data.size:
        raise UsageError(f"The drawing must be a square, got {data.size} pixels.")
    image = images.centred(data.reshape(side, side).astype(np.float32))
    beliefs = {where: found.round(4).tolist() for where, found in model.beliefs(image).items()}
    return {"image": _packed(image), "beliefs": beliefs}


class TestResults:
    """Results on the run's test images, computed by a thread. `CorpusError` if the images are not on this machine."""

    __test__ = False  # for pytest

    def __init__(self, model: RowModel) -> None:
        found = registry.resolve_recorded(model.run.record["corpus"])
        self._set: ImageSet = images.load_images(found)
        self._model = model
        self._found: np.ndarray = np.empty((0, CLASSES))
        threading.Thread(target=self._run, name="rnntk-play-test", daemon=True).start()

    def _run(self) -> None:
        x = self._set.x_test
        for start in range(0, len(x), _BATCH):
            found = self._model.probabilities(x[start : start + _BATCH])
            self._found = np.concatenate([self._found, found])

    def look(self) -> dict[str, Any]:
        """Results so far as JSON; in `confusion`, rows are true digits and columns predicted ones."""
        found = self._found
        true, named = self._set.y_test[: len(found)], found.argmax(axis=1)
        confusion = np.zeros((CLASSES, CLASSES), np.int64)
        np.add.at(confusion, (true, named), 1)
        return {
            "title": self._set.title,
            "done": len(found),
            "of": len(self._set.y_test),
            "right": int((true == named).sum()),
            "confusion": confusion.tolist(),
            "mistakes": self._images(found, np.flatnonzero(true != named)),
        }

    def cell(self, true: int, named: int) -> dict[str, Any]:
        """Images of the digit `true` predicted as `named`, worst first."""
        found = self._found
        where = (self._set.y_test[: len(found)] == true) & (found.argmax(axis=1) == named)
        return {"images": self._images(found, np.flatnonzero(where)), "count": int(where.sum())}

    def _images(self, found: NDArray[np.float64], which: NDArray[np.intp]) -> list[dict[str, Any]]:
        """Up to `_SHOWN` of these images, the least likely label first."""
        true = self._set.y_test
        order = which[np.argsort(found[which, true[which]], kind="stable")][:_SHOWN].tolist()
        return [
            {
                "index": k,
                "image": _packed(self._set.x_test[k]),
                "true": int(true[k]),
                "named": int(found[k].argmax()),
                "beliefs": found[k].round(4).tolist(),
            }
            for k in order
        ]


def _packed(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(image.tobytes()).decode()
