"""A text as a model reads it: what every symbol cost, what else was expected, what every unit did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder
from rnntk.decoding.trained import TrainedModel
from rnntk.errors import DataError, UsageError
from rnntk.layer_norm import standardized
from rnntk.play import limits
from rnntk.play.models import Loaded

_LIKELIEST = 5

QUANTITIES = {
    "lstm": {
        "c": "cell",
        "h": "output",
        "i": "input gate",
        "f": "forget gate",
        "o": "output gate",
        "g": "candidate",
    },
    "gru": {"h": "state", "z": "update gate", "r": "reset gate", "g": "candidate"},
    "rnn": {"h": "state"},
}
"""What a layer of each cell has, in the order of interest; values of gates lie between 0 and 1, of the others
between -1 and 1. The cell is shown as tanh(c), which is what its output gate lets out."""

GATES = frozenset("ifozr")


@dataclass(frozen=True)
class Text:
    """A text in the model's own symbols.

    Attributes:
        text: without what the model does not know.
        symbols: the same as the model reads it, T of them.
        ids: `(T,)`.
        counts: symbols of each character, `(len(text),)`, at least 1.
        skipped: the characters left out, each once.
    """

    text: str
    symbols: str
    ids: NDArray[np.integer]
    counts: NDArray[np.intp]
    skipped: list[str]

    def to_json(self) -> dict[str, Any]:
        """What the page needs to show it."""
        return {
            "text": self.text,
            "symbols": self.symbols,
            "counts": self.counts.tolist(),
            "skipped": self.skipped,
        }


def encode(model: TrainedModel, text: str) -> Text:
    """A text in symbols; characters that the model does not know are left out.

    Raises:
        UsageError: it is longer than `limits.TEXT`.
        DataError: fewer than two symbols are left.
    """
    if len(text) > limits.TEXT:
        raise UsageError(
            f"The text has {len(text):,} characters; at most {limits.TEXT:,} can be shown. Take a part of it."
        )
    vocabulary, codec = model.vocabulary, model.preprocessor
    lengths = {c: len(codec.encode(c)) for c in set(text)}
    known = vocabulary.unknown_symbol is not None
    skipped = [
        c
        for c in dict.fromkeys(text)
        if lengths[c] == 0 or not (known or not vocabulary.unknown(codec.encode(c)))
    ]
    text = text.translate(dict.fromkeys(map(ord, skipped)))
    symbols = codec.encode(text)
    if len(symbols) < 2:
        raise DataError(
            "Too little of the text is left: it needs two symbols that the model knows. "
            f"Known are: {vocabulary.symbols[:60]!r}."
        )
    counts = np.array([lengths[c] for c in text], np.intp)
    return Text(text, symbols, vocabulary.encode(symbols), counts, skipped)


def read(loaded: Loaded, text: str) -> dict[str, Any]:
    """What every symbol of a text cost, and what the model expected in its place, for the page.

    Returns:
        `bits`: of each symbol, None for the first, which is given. `expected`: for each of the T places and the
        one after the text, the likeliest symbols' ids; `chances`: their probabilities. `total_bits`,
        `bits_per_character` and `bits_per_symbol`, as `rnntk eval` counts them.

    Raises:
        UsageError: it is too long.
        DataError: too little of it is known.
    """
    model = loaded.model
    encoded = encode(model, text)
    T = len(encoded.symbols)
    k = min(_LIKELIEST, len(model.vocabulary))
    bits = np.zeros(T)
    expected: list[list[int]] = [[]]
    chances: list[list[float]] = [[]]
    done = 0
    for logits in model.decoder.forward(encoded.ids, model.decoder.initial_states()):
        shifted = logits.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        best = np.argsort(-shifted, axis=1, kind="stable")[:, :k]
        expected += best.tolist()
        chances += np.exp(np.take_along_axis(shifted, best, axis=1)).round(4).tolist()
        rows = np.arange(min(len(logits), T - 1 - done))
        bits[done + 1 : done + 1 + len(rows)] = -shifted[
            rows, encoded.ids[done + 1 : done + 1 + len(rows)]
        ] / math.log(2)
        done += len(logits)
    per_symbol = float(bits.sum() / (T - 1))
    return {
        **encoded.to_json(),
        "step": loaded.step,
        "bits": [None, *bits[1:].round(3).tolist()],
        "expected": expected,
        "chances": chances,
        "total_bits": float(bits.sum()),
        "bits_per_symbol": per_symbol,
        "bits_per_character": per_symbol * T / len(encoded.text),
    }


@dataclass(frozen=True)
class Trace:
    """What every unit did while a text was read.

    Attributes:
        text: the text.
        step: of the checkpoint.
        hidden: `(layers, T, H)`, float32.
        cells: the same for an LSTM's cell states, else empty.
    """

    text: Text
    step: int
    hidden: NDArray[np.float32]
    cells: NDArray[np.float32]


def trace(loaded: Loaded, text: str) -> Trace:
    """Reads a text from a zero state and keeps every unit's value after every symbol.

    Raises:
        UsageError: it is too long for the memory allowed.
        DataError: too little of it is known.
    """
    decoder = loaded.model.decoder
    encoded = encode(loaded.model, text)
    T, L, H = len(encoded.symbols), len(decoder.layers), decoder.units
    kinds = 2 if loaded.cell == "lstm" else 1
    most = limits.TRACE_BYTES // (4 * kinds * L * H)
    if most < T:
        raise UsageError(
            f"The text has {T:,} symbols; of a model with {L} layers of {H} units at most {most:,} can be looked into. "
            "Take a part of it."
        )
    states = decoder.initial_states()
    arrays = states.arrays()
    hidden = np.empty((L, T, H), np.float32)
    cells = np.empty((L if kinds == 2 else 0, T, H), np.float32)
    one = np.zeros(1, np.intp)
    for t, one[0] in enumerate(encoded.ids):
        decoder.step(one, states)
        for layer in range(L):
            hidden[layer, t] = arrays[kinds * layer][0]
            if kinds == 2:
                cells[layer, t] = arrays[2 * layer + 1][0]
    return Trace(encoded, loaded.step, hidden, cells)


def values(found: Trace, decoder: Decoder, layer: int, quantity: str) -> NDArray[np.float32]:
    """What the units of one layer did.

    The gates are computed from the trace, all symbols in one product; the decoder keeps none of them.

    Args:
        found: the trace.
        decoder: what it is a trace of.
        layer: from 0.
        quantity: one of `QUANTITIES[decoder.cell]`.

    Returns:
        `(T, H)`.

    Raises:
        UsageError: there is no such layer or quantity.
    """
    if not 0 <= layer < len(found.hidden):
        raise UsageError(f"There is no layer {layer}; they are 0 to {len(found.hidden) - 1}.")
    if quantity not in (known := QUANTITIES[decoder.cell]):
        raise UsageError(f"A {decoder.cell} has no {quantity!r}; it can be {', '.join(known)}.")
    if quantity == "h":
        return found.hidden[layer]
    if quantity == "c":
        return np.tanh(found.cells[layer])
    if layer == 0:
        inputs = decoder.embedding[found.text.ids]
    else:
        below = found.hidden[layer - 1]
        inputs = standardized(below) if decoder.layer_norm else below
    states = {"h": found.hidden, "c": found.cells}
    before = {
        state: np.vstack([np.zeros_like(states[state][layer][:1]), states[state][layer][:-1]])
        for state in decoder.layers[layer].cell.states
    }
    return decoder.layers[layer].step(inputs, before)[quantity]
