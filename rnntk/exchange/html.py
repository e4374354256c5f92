"""Write a character model as one HTML file that runs it in a browser, offline.

`network.js` in rnntk/play/page computes the network; tests compare it in a browser with the run's own.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import RnntkError, UsageError
from rnntk.play import pages
from rnntk.play.models import Models
from rnntk.play.own_text import opening
from rnntk.play.reading import QUANTITIES
from rnntk.storage import folder, splits
from rnntk.storage.checkpoint import Checkpoint
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors

log = logging.getLogger(__name__)

AUTO = "auto"
KINDS = ("int8", "float16", "float32")  # of weights, smallest first
LARGEST_CHANGE = 0.002  # change of the loss that `auto` accepts, in nats per symbol
LARGEST_FILE = 50_000_000  # bytes
MEASURED = 20_000  # symbols of the run's text to measure the loss on
SHOWN = 2_000  # characters of it in the page

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rounding:
    """Rounding of a page's weights, and the change of the loss that it causes."""

    weights: str  # one of `KINDS`
    loss_change: float | None  # nats per symbol; None without a text
    split: str | None  # part of the run's text that it was measured on: val, test or train
    symbols: int  # number of symbols measured
    excerpt: int  # number of characters of that text in the page


@dataclass(frozen=True)
class Page:
    """A page and its rounded weights by name."""

    content: bytes
    rounding: Rounding
    weights: Mapping[str, Floats]  # as rounded


def build(run: RunFolder, saved: Checkpoint, weights: str = AUTO) -> Page:
    """The page of a checkpoint's model, with the first `SHOWN` characters of the run's held-out text, if available.

    Args:
        weights: `float32`, `float16`, `int8` with a scale per row, or `auto`: the smallest that changes the loss by at
            most `LARGEST_CHANGE`; float16 if there is no text to measure it on.

    Raises:
        UsageError: unknown `weights`, not a character model, a preprocessor of another package, or a page over
            `LARGEST_FILE`.
    """
    if weights not in (AUTO, *KINDS):
        raise UsageError(f"`weights` must be {AUTO} or one of {', '.join(KINDS)}, got {weights!r}.")
    if run.kind != folder.CHAR_RNN:
        problem = f'{run.path} is a {run.kind}; `format="html"` is for character models.'
        raise UsageError(f"{problem} Choose another `format`.")
    exact = saved.weights()
    model = LanguageModel.of_run(run, exact, saved.progress)
    if model.preprocessor.name not in preprocessors.OWN:
        problem = f'`format="html"` lacks the preprocessor {model.preprocessor.name!r}'
        own = ", ".join(preprocessors.OWN)
        raise UsageError(f"{problem}; it has {own}. Choose another `format`.")
    split, ids = _text(run)

    def loss(of: Mapping[str, Floats]) -> float:
        decoder = LanguageModel.of_run(run, of).decoder
        return float(decoder.costs(ids).mean()) if len(ids) else 0.0

    exact_loss = loss(exact)
    if weights != AUTO:
        kinds: tuple[str, ...] = (weights,)
    else:
        kinds = KINDS if len(ids) else ("float16",)
    for kind in kinds:
        rounded = {name: _Rounded(name, weight, kind) for name, weight in exact.items()}
        values = {name: found.values for name, found in rounded.items()}
        change = loss(values) - exact_loss
        if abs(change) <= LARGEST_CHANGE:
            break
    text = opening(model, ids, SHOWN)
    excerpt = {"text": text, "of": "training text" if split == "train" else "held-out text"}
    content = _page(model, excerpt if text else None, list(rounded.values()))
    if len(content) > LARGEST_FILE:
        smaller = "" if kind == "int8" else '`weights="int8"` or '
        raise UsageError(
            f"With {kind} weights the page has {len(content) / 1e6:,.0f} MB; the limit is "
            f'{LARGEST_FILE / 1e6:,.0f} MB. Choose {smaller}another `format`, such as "onnx".'
        )
    rounding = Rounding(kind, change if len(ids) else None, split, len(ids), len(text))
    return Page(content, rounding, values)


class _Rounded:
    """A weight in the page: `(rows, terms)`, a row per output; biases stay float32.

    Attributes:
        values: the rounded weight, float32, in the shape of the weight.
        layout: name, type and shape, for `unpack` in network.js.
        data: the scales of the rows (int8 only), then the numbers; all their lowest bytes come first, which compresses
            better.
    """

    def __init__(self, name: str, weight: Floats, kind: str) -> None:
        is_bias, is_table = name.endswith("/bias"), name == "embedding/embeddings"
        rows = np.atleast_2d(weight) if is_bias or is_table else weight.T
        kind = "float32" if is_bias else kind
        scales = np.ones((len(rows), 1), "<f4")
        if kind == "int8":
            scales = (np.abs(rows).max(1, keepdims=True) / 127).astype("<f4")
            scales[scales == 0] = 1
        with np.errstate(over="ignore"):  # above 65,504, float16 is infinite; the loss shows it
            numbers = (np.rint(rows / scales) if kind == "int8" else rows).astype(kind)
        values = numbers.astype(np.float32) * scales
        self.values = (values if is_bias or is_table else values.T).reshape(weight.shape)
        self.layout = {"name": name, "kind": kind, "rows": len(rows), "terms": rows.shape[1]}
        little = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))
        planes = little.view(np.uint8).reshape(-1, little.itemsize).T
        self.data = (scales.tobytes() if kind == "int8" else b"") + planes.tobytes()


def _text(run: RunFolder) -> tuple[str | None, NDArray[np.integer]]:
    """Split and first `MEASURED` ids of the run's text, held out if possible; no ids if it is not available."""
    try:
        prepared, name, start, end = splits.opening_part(run)
        return name, prepared.ids[start : min(end, start + MEASURED)]
    except UsageError:
        pass  # an imported run has no text
    except RnntkError as error:
        log.info("The change of the loss is not measured. %s", error)
    return None, np.zeros(0, np.intp)


def _page(model: LanguageModel, excerpt: dict[str, str] | None, weights: list[_Rounded]) -> bytes:
    facts = Models(model).describe()
    facts |= {"steps": [model.step], "layer_norm": model.decoder.layer_norm}
    facts["opening"] = model.vocabulary.decode(model.prompt("").ids)  # for an empty prompt
    description: dict[str, Any] = {
        "run": facts,
        "quantities": QUANTITIES[model.decoder.cell],
        "layout": [weight.layout for weight in weights],
        "excerpt": excerpt,
    }
    packed = gzip.compress(b"".join(weight.data for weight in weights), mtime=0)
    return pages.with_model(description, packed).encode("utf-8")
