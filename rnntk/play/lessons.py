"""Answers to the questions of `page/lessons.js`, for a report, which holds no model."""

from __future__ import annotations

from typing import Any

from rnntk.decoding.language_model import LanguageModel
from rnntk.play import reading
from rnntk.play.progress import SEED

_TEMPERATURES = (0.3, 1, 2)
_SHORT = 200  # symbols of each text
_BEGINNING, _REST, _PAIRS = 60, 300, 3  # characters, characters, pairs of texts


def answers(model: LanguageModel, text: str) -> dict[str, Any]:
    """As JSON: a text `written` per temperature, `pairs` of texts with the same ending, and their `reads` by text."""
    written = {
        str(temperature): "".join(model.stream(seed=SEED, length=_SHORT, temperature=temperature))
        for temperature in _TEMPERATURES
    }
    room = len(text) - _REST - 2 * _BEGINNING
    pairs = []  # differ in the first `_BEGINNING` characters only
    for k in range(_PAIRS if room >= 0 else 0):
        start = room * k // _PAIRS
        middle, rest = start + _BEGINNING, start + 2 * _BEGINNING
        ending = text[rest : rest + _REST]
        pairs.append([text[start:middle] + ending, text[middle:rest] + ending])
    found = {one: reading.read(model, one) for pair in pairs for one in pair}
    kept = ("text", "symbols", "counts", "bits")
    reads = {one: {name: read[name] for name in kept} for one, read in found.items()}
    return {"written": written, "pairs": pairs, "reads": reads}
