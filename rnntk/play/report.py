"""The page for one text as a single HTML file."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from rnntk.play import lessons, pages, reading, visible
from rnntk.play.models import Models
from rnntk.play.own_text import OwnText
from rnntk.play.progress import CheckpointSamples, LossCurve

log = logging.getLogger(__name__)

_SAMPLES = 6
_LAYERS = 2_000_000  # bytes of all layers' values, at most


def report(models: Models, text: str, *, evaluation: dict[str, Any] | None = None) -> str:
    """HTML page with lessons, surprisal, ranked units and training; errors as of `reading.encode`.

    `evaluation` describes a text of which the page shows the beginning: `of` (its name), `characters`,
    `bits_per_character` (pairs of name and value) and `own`, this model's name in them.
    """
    model = models.get()
    if evaluation is not None:
        text = reading.excerpt(model, text)
    read = reading.read(model, text)
    if read["skipped"]:
        log.info(f"Not in the vocabulary, left out: {', '.join(map(repr, read['skipped']))}")
    found = reading.trace(model, text)
    units = visible.ranking(found)
    chosen = {(u["layer"], u["unit"]) for row in units["features"] for u in row["best"]} or {(0, 0)}
    samples = CheckpointSamples(models)
    steps = samples.steps()
    picked = np.linspace(0, len(steps) - 1, min(len(steps), _SAMPLES)).round().astype(int)
    steps = [steps[k] for k in picked]
    layers = [
        visible.layer(found, layer, units["quantity"]) for layer in range(len(model.decoder.layers))
    ]
    losses = OwnText(models).baselines(wait=True)
    data: dict[str, Any] = {
        "run": {**models.describe(), "steps": steps},
        "evaluation": evaluation,
        "read": read,
        "units": units,
        "unit": {
            f"{layer}/{unit}": visible.unit(found, layer, unit, units["quantity"])
            for layer, unit in sorted(chosen)
        },
        "layers": layers if sum(len(layer["values"]) for layer in layers) <= _LAYERS else {},
        "training": {**LossCurve(models.run).look(), "steps": steps, "live": False, **losses},
        "samples": {str(step): samples.get(step) for step in steps},
        "runs": models.relatives(),
        **lessons.answers(model, read["text"]),
    }
    return pages.single(data)
