"""What the page's lessons ask of a model, for a report, which has none; else `page/lessons.js` asks the server."""

from __future__ import annotations

from typing import Any

from rnntk.decoding.language_model import LanguageModel
from rnntk.play import reading
from rnntk.play.progress import SEED

_TEMPERATURES = (0.3, 1, 2)
_SHORT = 200  # symbols of each text
_BEGINNING, _REST, _PAIRS = 60, 300, 3  # characters, and pairs of texts


def answers(model: LanguageModel, text: str) -> dict[str, Any]:
    """As JSON: a text `written` at each temperature, `pairs` of texts that end alike, and their `reads` by text."""
    written = {
        str(temperature): "".join(model.stream(seed=SEED, length=_SHORT, temperature=temperature))
        for temperature in _TEMPERATURES
    }
    room = len(text) - _REST - 2 * _BEGINNING
    pairs = []
    for k in range(_PAIRS if room >= 0 else 0):
        start = room * k // _PAIRS
        middle, rest = start + _BEGINNING, start + 2 * _BEGINNING
        ending = text[rest : rest + _REST]
        pairs.append([text[start:middle] + ending, text[middle:rest] + ending])
    kept = ("text", "symbols", "counts", "bits")
    reads = {}
    for one in (text for pair in pairs for text in pair):
        found = reading.read(model, one)
        reads[one] = {name: found[name] for name in kept}
    return {"written": written, "pairs": pairs, "reads": reads}
