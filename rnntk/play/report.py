"""The page's views of one text as a single HTML file."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from rnntk.play import pages, reading, visible
from rnntk.play.models import Models
from rnntk.play.progress import SEED, CheckpointSamples, LossCurve

log = logging.getLogger(__name__)

_LENGTH = 1000
_SAMPLES = 6


def text_of(models: Models) -> str:
    """A generated text, for a report without a given one."""
    model = models.get()
    return model.default_prompt + "".join(model.stream(seed=SEED, length=_LENGTH))


def report(models: Models, text: str, *, evaluation: dict[str, Any] | None = None) -> str:
    """HTML page of one text: surprisal of each character, ranked units, training; errors as of `reading.encode`.

    `evaluation` describes the whole text, of which the page shows the beginning: `of` (its name), `characters`,
    `bits_per_character` (pairs of name and value) and `own`, this model's name there.
    """
    model = models.get()
    if evaluation is not None:
        text = reading.excerpt(model, text)
    read = reading.read(model, text)
    if read["skipped"]:
        log.info(f"Left out of the text, never seen: {', '.join(map(repr, read['skipped']))}")
    found = reading.trace(model, text)
    units = visible.ranking(found)
    chosen = {(u["layer"], u["unit"]) for row in units["features"] for u in row["best"]} or {(0, 0)}
    samples = CheckpointSamples(models)
    steps = samples.steps()
    picked = np.linspace(0, len(steps) - 1, min(len(steps), _SAMPLES)).round().astype(int)
    steps = [steps[k] for k in picked]
    data: dict[str, Any] = {
        "run": {**models.describe(), "steps": steps},
        "evaluation": evaluation,
        "read": read,
        "units": units,
        "unit": {
            f"{layer}/{unit}": visible.unit(found, layer, unit, units["quantity"])
            for layer, unit in sorted(chosen)
        },
        "training": {**LossCurve(models.run).look(), "steps": steps, "live": False},
        "samples": {str(step): samples.get(step) for step in steps},
    }
    return pages.single(data)
