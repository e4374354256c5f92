"""The views of one text as a single file to hand on."""

from __future__ import annotations

import logging
from typing import Any

from rnntk.play import inside, pages, reading
from rnntk.play.models import Models
from rnntk.play.progress import SEED, CheckpointSamples, LossCurve

log = logging.getLogger(__name__)

_LENGTH = 1000
_SAMPLES = 6


def text_of(models: Models) -> str:
    """A text for a report when none is given: one that the model generates."""
    model = models.get()
    return model.default_prompt + "".join(model.stream(seed=SEED, length=_LENGTH))


def report(
    models: Models,
    text: str,
    *,
    evaluation: dict[str, Any] | None = None,
) -> str:
    """A page of one text: the surprisal of every character, the units that follow something, the training.

    Of the units only those that are ranked are in it.

    Args:
        models: the run's.
        text: what is shown.
        evaluation: the figures of a text of any length, of which the page then shows the beginning: `of` (its name),
            `characters`, `bits_per_character` (pairs of a name and a value) and `own`, the name of this model.

    Returns:
        HTML that needs nothing else.

    Raises:
        UsageError: the text is too long.
        DataError: too little of it is known to the model.
    """
    model = models.get()
    if evaluation is not None:
        text = reading.excerpt(model, text)
    read = reading.read(model, text)
    if read["skipped"]:
        log.info(f"Left out of the text, never seen: {', '.join(map(repr, read['skipped']))}")
    found = reading.trace(model, text)
    units = inside.ranking(found)
    chosen = {(u["layer"], u["unit"]) for row in units["features"] for u in row["best"]} or {(0, 0)}
    samples = CheckpointSamples(models)
    steps = _spread(samples.steps())
    data: dict[str, Any] = {
        "run": {**models.describe(), "steps": steps},
        "evaluation": evaluation,
        "read": read,
        "units": units,
        "unit": {
            f"{layer}/{unit}": inside.unit(found, layer, unit, units["quantity"])
            for layer, unit in sorted(chosen)
        },
        "training": {**LossCurve(models.run).look(), "steps": steps, "live": False},
        "samples": {str(step): samples.get(step) for step in steps},
    }
    return pages.single(data)


def _spread(steps: list[int]) -> list[int]:
    """At most `_SAMPLES` of them, from the first to the last."""
    if len(steps) <= _SAMPLES:
        return steps
    return [steps[round(k * (len(steps) - 1) / (_SAMPLES - 1))] for k in range(_SAMPLES)]
