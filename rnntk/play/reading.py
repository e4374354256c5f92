"""Read a text: surprisal, likeliest symbols and unit values at each position."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import EncodedText, LanguageModel
from rnntk.decoding.strategies import log_softmax
from rnntk.errors import DataError, UsageError
from rnntk.layer_norm import standardized
from rnntk.play import limits

_LIKELIEST = 5
_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8

# Quantities by cell, the default first: gates in 0..1, the rest in -1..1 (c as tanh(c)).
_GATES = {"i": "input gate", "f": "forget gate", "o": "output gate"}
QUANTITIES = {
    "lstm": {"c": "cell state", "h": "hidden state", **_GATES, "g": "candidate"},
    "gru": {"h": "hidden state", "z": "update gate", "r": "reset gate", "g": "candidate"},
    "rnn": {"h": "hidden state"},
}
GATES = frozenset("ifozr")


@dataclass(frozen=True)
class Text(EncodedText):
    """An encoded text without unknown characters; `counts` `(len(text),)`: symbols per character."""

    counts: NDArray[np.intp]

    def to_json(self) -> dict[str, Any]:
        return {
            "text": _SURROGATE.sub("\ufffd", self.text),
            "symbols": _SURROGATE.sub("\ufffd", self.symbols),
            "counts": self.counts.tolist(),
            "skipped": list(self.skipped),
        }


def encode(model: LanguageModel, text: str) -> Text:
    """Encode a text, skipping unknown characters; `UsageError` if over `limits.TEXT`, `DataError` under two symbols."""
    if len(text) > limits.TEXT:
        raise UsageError(f"The text has {len(text):,} characters; shorten it to {limits.TEXT:,}.")
    found = model.encode(text, "skip")
    if len(found.symbols) < 2:
        raise DataError(
            f"The text has fewer than two symbols that the model knows: {model.vocabulary.symbols[:60]!r}."
        )
    return Text(**vars(found), counts=_counts(model, found.text))


def _counts(model: LanguageModel, text: str) -> NDArray[np.intp]:
    counts = {c: len(model.preprocessor.encode(c)) for c in set(text)}
    return np.array([counts[c] for c in text], np.intp)


def excerpt(model: LanguageModel, text: str) -> str:
    """The longest beginning of a text that `read` and `trace` accept."""
    text = text[: limits.TEXT]
    ends = _counts(model, text).cumsum()
    return text[: int(np.searchsorted(ends, _most_symbols(model.decoder), "right"))]


def read(model: LanguageModel, text: str) -> dict[str, Any]:
    """Surprisal and likeliest symbols at each position of a text, as JSON; errors as of `encode`.

    `bits`: surprisal of T symbols, None for the first. `expected`, `chances`: ids and probabilities of the likeliest
    symbols at T + 1 positions. The totals equal those of `rnntk eval`.
    """
    encoded = encode(model, text)
    T = len(encoded.symbols)
    k = min(_LIKELIEST, len(model.vocabulary))
    bits = np.zeros(T)
    expected: list[list[int]] = [[]]
    probabilities: list[list[float]] = [[]]
    done = 0
    for logits in model.decoder.forward(encoded.ids, model.decoder.initial_states()):
        logs = log_softmax(logits)
        best = np.argsort(-logs, axis=1, kind="stable")[:, :k]
        expected += best.tolist()
        probabilities += np.exp(np.take_along_axis(logs, best, axis=1)).round(4).tolist()
        following = encoded.ids[done + 1 : done + 1 + len(logs)]
        nats = -logs[np.arange(len(following)), following]
        bits[done + 1 : done + 1 + len(following)] = nats / math.log(2)
        done += len(logs)
    total = float(bits.sum())
    per_symbol = total / (T - 1)
    return {
        **encoded.to_json(),
        "step": model.step,
        "bits": [None, *bits[1:].round(3).tolist()],
        "expected": expected,
        "chances": probabilities,
        "total_bits": total,
        "bits_per_symbol": per_symbol,
        "bits_per_character": per_symbol * T / len(encoded.text),
    }


@dataclass(frozen=True)
class Trace:
    """States by letter while `model` read `text`, `(layers, T, H)` float32."""

    model: LanguageModel
    text: Text
    states: dict[str, NDArray[np.float32]]

    def values(self, layer: int, quantity: str) -> NDArray[np.float32]:
        """One of `QUANTITIES` of a layer, `(T, H)`; `UsageError` if unknown. Gates are recomputed from the states."""
        decoder, hidden = self.model.decoder, self.states["h"]
        if not 0 <= layer < len(hidden):
            raise UsageError(f"Layer {layer} does not exist; layers are 0 to {len(hidden) - 1}.")
        if quantity not in (known := QUANTITIES[decoder.cell]):
            raise UsageError(f"A {decoder.cell} has no {quantity!r}; it can be {', '.join(known)}.")
        if quantity == "h":
            return hidden[layer]
        if quantity == "c":
            return np.tanh(self.states["c"][layer])
        inputs = hidden[layer - 1] if layer else decoder.embedding[self.text.ids]
        if layer and decoder.layer_norm:
            inputs = standardized(inputs)
        before = {
            name: np.vstack([np.zeros_like(state[layer, :1]), state[layer, :-1]])
            for name, state in self.states.items()
        }
        return decoder.layers[layer].step(inputs, before)[quantity]


def _most_symbols(decoder: Decoder) -> int:
    """Symbols of the longest text whose trace fits `limits.TRACE_BYTES`."""
    states = len(decoder.layers) * len(decoder.layers[0].cell.states)
    return limits.TRACE_BYTES // (4 * states * decoder.units)


def trace(model: LanguageModel, text: str) -> Trace:
    """States while reading a text from zero; errors as of `encode`, and `UsageError` over `limits.TRACE_BYTES`."""
    decoder = model.decoder
    encoded = encode(model, text)
    T, H = len(encoded.symbols), decoder.units
    if (most := _most_symbols(decoder)) < T:
        raise UsageError(f"The text has {T:,} symbols; shorten it to {most:,} for this model.")
    states = decoder.initial_states()
    arrays, names = states.arrays(), decoder.layers[0].cell.states
    found = np.empty((len(arrays), T, H), np.float32)
    one = np.zeros(1, np.intp)
    for t, one[0] in enumerate(encoded.ids):
        states.step(one)
        found[:, t] = [array[0] for array in arrays]
    return Trace(model, encoded, {name: found[k :: len(names)] for k, name in enumerate(names)})
