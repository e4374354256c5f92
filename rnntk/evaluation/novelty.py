"""The share of n-grams in a model's text that are copied from the training text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.config import SampleConfig
from rnntk.decoding.language_model import LanguageModel

LENGTHS = (8, 16, 32)  # symbols
_TEXTS = SampleConfig(num=10, length=1000)
_SEED = 1
_AT_A_TIME = 1 << 16  # symbols of the training text, whose hashes fit a core's cache
_BITS = 20  # of a hash, looked up in a table first
_FACTOR = 0x9E3779B97F4A7C15  # odd, with bits at random

Ids = NDArray[np.integer]
Hashes = NDArray[np.uint64]


def measure(model: LanguageModel, trained: Ids, held_out: Ids | None = None) -> dict[str, Any]:
    """Shares of n-grams that are in the training text, for JSON.

    `generated` and `held_out` map the lengths "8", "16" and "32" to a share, or None if no text is that long. Generated
    are 10,000 characters (ten texts at temperature 1, always the same seed); as many symbols of held-out text show what
    a model that copies nothing would share.
    """
    texts = [""] * _TEXTS.num
    for piece in model.pieces(model.prompt(model.default_prompt), _TEXTS, _SEED):
        texts[piece.stream] += piece.symbols
    groups: dict[str, list[Ids]] = {"generated": [model.vocabulary.encode(text) for text in texts]}
    if held_out is not None:
        groups["held_out"] = [held_out[: sum(map(len, texts))]]
    found = {"characters": _TEXTS.num * _TEXTS.length, "seed": _SEED, "unit": "symbols"}
    return {**found, "held_out": None, **shares(groups, trained)}


def shares(groups: Mapping[str, Sequence[Ids]], trained: Ids) -> dict[str, dict[str, float | None]]:
    """For each group of texts, the share of n-grams by length that are in `trained`, which is read once.

    N-grams are compared by 64-bit hashes: 10,000 of them against a billion give a wrong answer once in a million times.
    """
    own = {
        name: {
            n: np.concatenate(parts)
            for n, parts in zip(LENGTHS, zip(*map(_hashes, texts), strict=True), strict=True)
        }
        for name, texts in groups.items()
    }
    left = {n: np.unique(np.concatenate([own[name][n] for name in groups])) for n in LENGTHS}
    likely = {n: np.zeros(1 << _BITS, bool) for n in LENGTHS}  # by the first bits of those left
    for n in LENGTHS:
        likely[n][_first_bits(left[n])] = True
    for start in range(0, len(trained), _AT_A_TIME):
        part = trained[start : start + _AT_A_TIME + LENGTHS[-1] - 1]
        for n, hashes in zip(LENGTHS, _hashes(part), strict=True):
            found = hashes[likely[n].take(_first_bits(hashes))]
            places = np.searchsorted(left[n], found)
            known = np.unique(places[left[n].take(places, mode="clip") == found])
            # Not searched again: common n-grams would take most of the time.
            if known.size:
                likely[n][_first_bits(left[n][known])] = False
                left[n] = np.delete(left[n], known)
                likely[n][_first_bits(left[n])] = True
    return {
        name: {
            str(n): float(np.isin(hashes, left[n], invert=True).mean()) if hashes.size else None
            for n, hashes in by_length.items()
        }
        for name, by_length in own.items()
    }


def _first_bits(hashes: Hashes) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - _BITS)).view(np.int64)


def _hashes(ids: Ids) -> list[Hashes]:
    """The hashes of all n-grams of each length: polynomials in `_FACTOR` modulo 2 ** 64."""
    hashes, n, factor, found = ids.astype(np.uint64), 1, _FACTOR, []
    while n < LENGTHS[-1]:
        hashes = hashes[:-n] * np.uint64(factor) + hashes[n:]
        n, factor = 2 * n, factor * factor % 2**64
        found += [hashes] if n in LENGTHS else []
    return found
