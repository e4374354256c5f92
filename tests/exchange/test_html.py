"""A model as one page: weights and refusals; tests/play/test_exported.py opens it in a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnntk
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import UsageError
from rnntk.exchange import export, html
from rnntk.run import Run
from rnntk.storage import folder

CHAR, ROWS = folder.CHAR_RNN, folder.ROW_CLASSIFIER
TEXT = "abcd efgh\nijkl\n"


def element(content: bytes, name: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', content.decode(), re.S)
    assert found is not None
    return found[1]


def weights_of(content: bytes) -> dict[str, np.ndarray]:
    """The weights in a page, `(rows, terms)`, as its script reads them."""
    layout: list[dict[str, Any]] = json.loads(element(content, "model-data"))["layout"]
    data = gzip.decompress(base64.b64decode(element(content, "model-weights")))
    found, at = {}, 0
    for part in layout:
        rows, terms, kind = part["rows"], part["terms"], np.dtype(part["kind"])
        scales = np.ones((rows, 1), np.float32)
        if kind == np.int8:
            scales = np.frombuffer(data, "<f4", rows, at)[:, None]
            at += 4 * rows
        planes = np.frombuffer(data, np.uint8, rows * terms * kind.itemsize, at)
        numbers = planes.reshape(kind.itemsize, -1).T.copy().view(kind)
        at += planes.size
        found[part["name"]] = numbers.reshape(rows, terms).astype(np.float32) * scales
    assert at == len(data)
    return found


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(("kind", "rounding"), [("float32", 0), ("float16", 1e-3), ("int8", 1e-2)])
def test_the_page_holds_the_weights(make_run, cell: str, kind: str, rounding: float) -> None:
    run = make_run(CHAR, cell)
    page = html.build(run, run.checkpoint(), kind)
    exact, found = run.checkpoint().weights(), weights_of(page.content)
    assert list(found) == list(exact)
    for name, weight in exact.items():
        turned = weight if name.endswith(("/bias", "/embeddings")) else weight.T
        largest = np.abs(weight).max()
        error = np.abs(found[name].reshape(turned.shape) - turned).max()
        assert error <= (0 if name.endswith("/bias") else rounding * largest), name
        own = page.weights[name]
        assert own.shape == weight.shape
        assert np.array_equal(found[name].reshape(turned.shape), own if turned is weight else own.T)


def test_all_zero_weights_stay_zero(make_run, monkeypatch) -> None:
    run = make_run(CHAR)
    saved = run.checkpoint()
    zeros = {name: np.zeros_like(weight) for name, weight in saved.weights().items()}
    monkeypatch.setattr(type(saved), "weights", lambda _: zeros)
    page = html.build(run, saved, "int8")
    for found in (*weights_of(page.content).values(), *page.weights.values()):
        assert not found.any()


@pytest.fixture
def with_text(make_run, monkeypatch: pytest.MonkeyPatch):
    """A run whose held-out text is available."""
    run = make_run(CHAR)
    ids = LanguageModel.load(run).encode((TEXT * 40).replace(" ", "")).ids
    monkeypatch.setattr(html, "_text", lambda _: ("val", ids))
    return run


def test_auto_takes_the_smallest_precision_that_keeps_the_loss(with_text, monkeypatch) -> None:
    saved = with_text.checkpoint()
    changes = {
        kind: abs(html.build(with_text, saved, kind).rounding.loss_change) for kind in html.KINDS
    }
    assert changes["float32"] == 0 < changes["float16"] < changes["int8"]
    for limit, kind in (
        (1.0, "int8"),
        (changes["int8"] * 0.9, "float16"),
        (changes["float16"] * 0.9, "float32"),
    ):
        monkeypatch.setattr(html, "LARGEST_CHANGE", limit)
        made = html.build(with_text, saved).rounding
        assert (made.weights, made.split, made.symbols) == (kind, "val", len(html._text(None)[1]))


def test_the_text_begins_at_a_line_and_may_be_missing(with_text, make_run) -> None:
    page = html.build(with_text, with_text.checkpoint())
    excerpt = json.loads(element(page.content, "model-data"))["excerpt"]
    assert excerpt["of"] == "held-out text"
    assert excerpt["text"].startswith("ijkl\n")
    assert page.rounding.excerpt == len(excerpt["text"])


def test_without_a_text_weights_are_float16(make_run) -> None:
    run = make_run(CHAR)
    page = html.build(run, run.checkpoint())
    assert page.rounding == html.Rounding("float16", None, None, 0, 0)
    assert json.loads(element(page.content, "model-data"))["excerpt"] is None


def test_models_that_no_page_can_hold_are_refused(
    make_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_run(ROWS)
    with pytest.raises(UsageError, match="is for character models"):
        html.build(rows, rows.checkpoint())
    run = make_run(CHAR)
    with pytest.raises(
        UsageError, match="must be auto or one of int8, float16, float32, got 'int4'"
    ):
        html.build(run, run.checkpoint(), "int4")
    monkeypatch.setattr(html, "LARGEST_FILE", 20_000)
    with pytest.raises(UsageError, match='float32.*Choose weights="int8" or another'):
        html.build(run, run.checkpoint(), "float32")
    with pytest.raises(UsageError, match="int8.*Choose another"):
        html.build(run, run.checkpoint(), "int8")
    monkeypatch.setattr(html.preprocessors, "OWN", {})
    with pytest.raises(UsageError, match="lacks the preprocessor 'plain'"):
        html.build(run, run.checkpoint())


def test_a_page_is_exported_from_python(make_run, tmp_path: Path) -> None:
    run: Run = rnntk.load(make_run(CHAR, "gru").path)
    made = run.export("html", tmp_path / "m.html", weights="int8")
    assert made.sidecar is None
    assert made.rounding.weights == "int8"
    assert 0 < made.difference < 0.2
    assert [p.name for p in tmp_path.glob("m.html*")] == ["m.html"]
    assert not export.needs_tensorflow(run.folder, "html")
    with pytest.raises(UsageError, match='weights is for format="html"'):
        run.export("npz", tmp_path / "m.npz", weights="int8")
