"""The page of a row classifier: its server, and in a browser."""

from __future__ import annotations

import base64
import contextlib
import importlib.resources
import json
import re
import time

import numpy as np
import pytest

from rnntk.corpora import digits
from rnntk.decoding.row_model import RowModel
from rnntk.play import digits as page_of_digits
from rnntk.play.models import Models
from rnntk.storage import checkpoint, folder

GATES = 4
SEVEN = ((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))


def write_classifier(path, both: bool, steps=(5, 10)):
    """A run of random weights that read digits row by row."""
    record = {"cell": "lstm", "layers": 1, "units": 6, "bidirectional": both, "order": "rows"}
    run = folder.create(
        path,
        kind=folder.ROW_CLASSIFIER,
        settings={},
        model=record,
        corpus={"name": "digits"},
        versions={},
    )
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    ways = ("forward", "backward") if both else ("forward",)
    for step in steps:
        weights = {"output/kernel": draw(6 * len(ways), 10), "output/bias": draw(10)}
        for way in ways:
            weights[f"{way}_0/kernel"] = draw(28, 6 * GATES)
            weights[f"{way}_0/recurrent_kernel"] = draw(6, 6 * GATES)
            weights[f"{way}_0/bias"] = draw(6 * GATES)
        progress = checkpoint.Progress(step=step)
        checkpoint.write(
            run.checkpoints, weights=weights, optimizer={}, states={}, progress=progress
        )
    rows = [
        {
            "step": k,
            "loss": 2.3 - 0.1 * k,
            "accuracy": 0.08 * k,
            "seconds": k,
            "val_accuracy": 0.07 * k,
        }
        for k in range(1, 11)
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


@pytest.fixture
def few_images(monkeypatch):
    """A test set of 60 drawn digits."""
    made = digits.make(train=10, test=60)
    found = page_of_digits.ImageSet(**made, name="digits", title="Digits")
    monkeypatch.setattr(page_of_digits.registry, "resolve_recorded", lambda _: None)
    monkeypatch.setattr(page_of_digits.images, "load_images", lambda _: found)
    return found


@pytest.fixture(params=[True, False], ids=["both", "one"])
def classifier(request, tmp_path):
    return Models(RowModel.load(write_classifier(tmp_path / "r", request.param)))


def test_a_drawing_is_read_part_by_part(serving, classifier: Models, few_images) -> None:
    image = few_images.x_test[0]
    with serving(classifier) as client:
        run = client.json("/api/run")
        assert (run["kind"], run["reads"], run["steps"]) == ("row-classifier", "rows", [5, 10])
        pixels = base64.b64encode(np.kron(image, np.ones((5, 5), np.uint8)).tobytes()).decode()
        found = client.json("/api/classify", {"pixels": pixels})
        read = np.frombuffer(base64.b64decode(found["image"]), np.uint8).reshape(28, 28)
        expected = classifier.get().beliefs(read)
        assert found["beliefs"].keys() == expected.keys()
        for where, rows in expected.items():
            assert np.allclose(found["beliefs"][where], rows, atol=1e-4)
        earlier = client.json("/api/classify", {"pixels": pixels, "step": 5})
        assert earlier["beliefs"] != found["beliefs"]
        for bad, said in (("@", "base64"), ("AAAA", "square"), ("A" * 48, "blank")):
            status, _, data = client.ask("/api/classify", {"pixels": bad})
            assert status == 400
            assert said in json.loads(data)["error"]


def test_mistakes_are_those_of_the_test_images(serving, classifier: Models, few_images) -> None:
    probabilities = classifier.get().probabilities(few_images.x_test)
    named, true = probabilities.argmax(axis=1), few_images.y_test
    with serving(classifier) as client:
        for _ in range(100):
            found = client.json("/api/test", {})
            if found["done"] == 60:
                break
            time.sleep(0.1)
        assert found["right"] == (named == true).sum()
        for k in range(60):
            assert found["confusion"][true[k]][named[k]] > 0
        wrong = {int(k) for k in np.flatnonzero(named != true)}
        assert {m["index"] for m in found["mistakes"]} <= wrong
        worst = min(wrong, key=lambda k: probabilities[k, true[k]])
        assert found["mistakes"][0]["index"] == worst
        cell = client.json("/api/cell", {"true": int(true[worst]), "named": int(named[worst])})
        assert cell["images"][0]["index"] == worst


def test_a_cleared_drawing_stays_cleared(opened, serving, tmp_path, few_images) -> None:
    """Though it is classified only after that."""
    with (
        serving(Models(RowModel.load(write_classifier(tmp_path / "r", False)))) as client,
        contextlib.closing(opened(client.url)) as page,
    ):
        held = []
        page.route("**/api/classify", lambda route: held.append(route))
        with page.expect_request("**/api/classify"):
            page.locator("#draw-pad").click()
        page.get_by_role("button", name="Clear").click()
        with page.expect_response("**/api/classify"):
            held[0].continue_()
        page.wait_for_timeout(200)
        assert page.locator("#draw-says").inner_text() == "No drawing yet"
        assert page.locator("#draw-maps canvas").count() == 0
        page.unroute("**/api/classify")
        page.locator("#draw-pad").click()
        page.locator("#draw-says").filter(has_text=re.compile(r"This is a \d")).wait_for()


def test_the_page(opened, context, serving, tmp_path, few_images) -> None:
    """Draw, by mouse and by keyboard; the mistakes; the accuracy; axe, wide and narrow."""
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")) / "axe.min.js"
    models = Models(RowModel.load(write_classifier(tmp_path / "r", True)))
    with serving(models) as client, contextlib.ExitStack() as stack:
        for options in ({}, {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark"}):
            page = stack.enter_context(
                contextlib.closing(opened(client.url, bypass_csp=True, **options))
            )
            page.evaluate(axe.read_text(encoding="utf-8"))

            def check(page=page) -> None:
                found = page.evaluate("axe.run()")["violations"]
                assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

            assert page.get_by_role("tab").all_inner_texts() == ["Draw", "Mistakes", "Training"]
            box = page.locator("#draw-pad").bounding_box()
            for k, (x, y) in enumerate(SEVEN):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
                if not k:
                    page.mouse.down()
            page.mouse.up()
            page.locator("#draw-says").filter(has_text=re.compile(r"This is a \d")).wait_for()
            assert page.locator("#draw-maps canvas").count() == 2
            page.locator("#draw-parts").fill("9")
            page.locator("#draw-says").filter(has_text="So far a").wait_for()
            assert page.locator("#draw-beliefs ul").count() == 2
            check()
            page.get_by_role("button", name="Clear").click()
            assert page.locator("#draw-says").inner_text() == "No drawing yet"
            page.locator("#draw-pad").focus()
            for key in ("Space", *["ArrowDown"] * 12, "Space"):
                page.keyboard.press(key)
            page.locator("#draw-says").filter(has_text=re.compile(r"This is a \d")).wait_for()
            page.get_by_role("tab", name="Mistakes").click()
            page.locator("#mistakes-status").filter(has_text="all 60 classified").wait_for()
            page.locator("#mistakes-table button").first.click()
            page.locator("#mistakes-title").filter(
                has_text=re.compile("predicted as|correctly")
            ).wait_for()
            check()
            page.locator("#mistakes-images button").first.click()
            page.locator("#draw-says").filter(has_text="a ").wait_for()
            page.get_by_role("tab", name="Training").click()
            page.locator("#training-status").filter(
                has_text="validation accuracy 70.0 %"
            ).wait_for()
            page.locator("#training-chart text").filter(has_text="uniform guess: 2.30").wait_for()
            page.locator("#training-step").fill("0")
            page.locator("#training-chosen").filter(has_text="step 5, loss 2.000").wait_for()
            check()
