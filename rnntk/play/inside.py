"""Views of the units for the page: the ranking, and the values of one unit."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import UsageError
from rnntk.play import limits, reading, visible
from rnntk.play.models import Recent
from rnntk.play.reading import QUANTITIES, Trace


class Traces:
    """A cache of traces, so that the next unit of the same text comes at once. Safe for threads."""

    def __init__(self) -> None:
        size = lambda found: found.hidden.nbytes + found.cells.nbytes  # noqa: E731
        self._recent: Recent[tuple[int, bytes], Trace] = Recent(2 * limits.TRACE_BYTES, size)

    def get(self, model: LanguageModel, text: str) -> Trace:
        key = (model.step, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return self._recent.get(key) or self._recent.put(key, reading.trace(model, text))


def ranking(found: Trace, quantity: str | None = None) -> dict[str, Any]:
    """Units of all layers that best follow the visible features of the text, for the page.

    `quantity` is by default the first of `QUANTITIES`; another one raises `UsageError`.
    """
    known = QUANTITIES[found.model.decoder.cell]
    quantity = quantity or next(iter(known))
    L, _, H = found.hidden.shape
    units = np.concatenate([found.values(layer, quantity) for layer in range(L)], axis=1)
    listed = visible.ranking(units, visible.features(found.text))
    for row in listed:
        row["best"] = [{"layer": k // H, "unit": k % H, "score": score} for k, score in row["best"]]
    return {
        **found.text.to_json(),
        "step": found.model.step,
        "quantity": quantity,
        "quantities": known,
        "features": listed,
    }


def unit(found: Trace, layer: int, index: int, quantity: str) -> dict[str, Any]:
    """Values of one unit, and the features it follows, for the page.

    Raises `UsageError` if there is no such layer, unit or quantity.
    """
    H = found.hidden.shape[2]
    if not 0 <= index < H:
        raise UsageError(f"There is no unit {index}; they are 0 to {H - 1}.")
    column = found.values(layer, quantity)[:, index]
    follows = [
        {
            "title": feature.title,
            "score": round(float(visible.follows(column[:, None], feature.values)[0]), 3),
        }
        for feature in visible.features(found.text)
    ]
    return {
        "layer": layer,
        "unit": index,
        "quantity": quantity,
        "gate": quantity in reading.GATES,
        "values": column.round(3).tolist(),
        "follows": sorted(follows, key=lambda row: -abs(row["score"])),
    }
