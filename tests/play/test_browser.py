"""The page in a real browser: headless Chromium, driven by Playwright.

It looks for Debian's chromium (or `RNNTK_CHROMIUM`); `.ci/run` installs it. Every test also fails on a message in the
console, an error of the page, or a request to any other host.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rnntk.config import SampleConfig
from rnntk.decoding.language_model import LanguageModel
from rnntk.play import limits, report
from rnntk.play.models import Models

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWS = ("write", "read", "inside", "training", "lessons")
NARROW = {"width": 360, "height": 740}


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def write(page: Page, prime: str, *, seed: int = 1, length: int = 120, pace: str = "0") -> None:
    page.locator("#write-prime").fill(prime)
    page.locator("#write-seed").fill(str(seed))
    page.locator("#write-length").fill(str(length))
    page.locator("#write-pace").select_option(pace)
    page.get_by_role("button", name="Write", exact=True).click()


def wait_for(page: Page, selector: str, pattern: str) -> None:
    page.locator(selector).filter(has_text=re.compile(pattern)).wait_for()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds. The page's policy does not let Playwright's own way evaluate text."""
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never held")


def written(page: Page) -> str:
    """The text in the Write view, without the jamo under syllables."""
    return page.locator("#write-text").evaluate(
        """box => [...box.children].flatMap((block) => block.className === "plain" ? [block]
            : [...block.children].map((span) => span.querySelector("b") ?? span))
            .map((node) => node.textContent).join("")"""
    )


def read_text(page: Page, text: str) -> None:
    tab(page, "Read")
    page.locator("#read-input").fill(text)
    page.locator("#read-form button").click()
    wait_for(page, "#read-figures", f"characters{len(text):,}$")


def per_character(bits: float) -> str:
    """A pattern for the figures of the Read view."""
    return rf"^bits per character{re.escape(f'{bits:.3f}')}\D"


def test_write(opened, client, plain: Models) -> None:
    page = opened(client.url)
    write(page, "int ")
    wait_for(page, "#write-status", "Written: 124 characters, seed 1")
    sampled = "".join(plain.get().stream("int ", seed=1, length=120))
    assert written(page) == "int " + sampled
    assert page.locator("#write-text .given").count() == 4
    # Click the tenth character: the rest is removed, and another text follows.
    page.locator("#write-seed").fill("2")
    page.locator("#write-text .c").nth(9).click()
    wait_for(page, "#write-status", "Written: 130 characters, seed 2")
    kept = ("int " + sampled)[:10]
    assert written(page) == kept + "".join(plain.get().stream(kept, seed=2, length=120))


def test_write_streams_and_stops(opened, client) -> None:
    page = opened(client.url)
    write(page, "int ", length=5000, pace="60")
    page.locator("#write-text .c").nth(20).wait_for()
    stop = page.get_by_role("button", name="Stop")
    stop.click()
    wait_for(page, "#write-status", "Stopped")
    count = page.locator("#write-text .c").count()
    assert 20 < count < 1000
    page.wait_for_timeout(300)
    assert page.locator("#write-text .c").count() == count
    assert stop.is_disabled()
    page.locator("#write-pace").select_option("0")
    page.locator("#write-length").fill("50")
    page.get_by_role("button", name="Continue").click()
    wait_for(page, "#write-status", f"Written: {count + 50} characters")
    text = written(page)
    page.get_by_role("button", name="Open in Read").click()
    page.locator("#read-figures dd").first.wait_for()
    assert page.locator("#read-input").input_value() == text


def test_it_opens_alive_with_the_command_lines_defaults(opened, client, plain: Models) -> None:
    page = opened(client.url)
    page.locator("#write-text .c").nth(20).wait_for()
    assert page.locator("#write-prime").input_value() == plain.get().default_prompt
    assert page.locator("#write-length").input_value() == str(SampleConfig().length)
    assert page.locator("#write-temperature").input_value() == "1"
    page.locator("#write-prime").press_sequentially("漢")
    assert page.locator("#write-unknown").inner_text().endswith("left out: 漢")
    page.locator("#write-prime").press("Backspace")
    assert page.locator("#write-unknown").inner_text() == ""
    still = opened(client.url, reduced_motion="reduce")
    still.wait_for_timeout(300)
    assert still.locator("#write-text .c").count() == 0


def test_the_text_can_be_copied_and_saved(opened, client) -> None:
    page = opened(client.url, permissions=["clipboard-read", "clipboard-write"])
    page.locator("#write-length").fill("60")
    page.locator("#write-pace").select_option("0")
    page.locator("#write-prime").fill("int ")
    page.locator("#write-prime").press("Control+Enter")
    wait_for(page, "#write-status", "Written: 64 characters")
    text = written(page)
    page.get_by_role("button", name="Copy").click()
    wait_for(page, "#write-status", r"^Copied\.$")
    assert page.evaluate("navigator.clipboard.readText()") == text
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save").click()
    assert Path(saved.value.path()).read_text(encoding="utf-8") == text


def test_the_temperature_changes_while_it_writes(opened, client) -> None:
    page = opened(client.url)
    write(page, "int ", length=600, pace="60")
    page.locator("#write-text .c").nth(20).wait_for()
    before = written(page)
    page.locator("#write-slider").fill("0.3")
    assert page.locator("#write-temperature").input_value() == "0.3"
    page.locator("#write-pace").select_option("0")
    wait_for(page, "#write-status", "Written: 604 characters")
    assert written(page).startswith(before)


def test_a_text_written_in_a_hidden_tab_is_shown_at_its_end(opened, client) -> None:
    page = opened(client.url)
    box = page.locator("#write-text")
    below = "box => box.scrollHeight - box.scrollTop - box.clientHeight"
    write(page, "int ", length=3000)
    tab(page, "Read")
    page.locator("#write-status").filter(has_text="Written").wait_for(state="attached")
    tab(page, "Write")
    until(lambda: abs(box.evaluate(below)) < 2)
    # Not if another part of it was in view.
    box.evaluate("box => { box.scrollTop = 40; }")
    page.wait_for_timeout(100)
    write_on = page.get_by_role("button", name="Continue")
    write_on.click()
    tab(page, "Read")
    page.locator("#write-status").filter(has_text="Written: 6,004").wait_for(state="attached")
    tab(page, "Write")
    page.wait_for_timeout(200)
    assert box.evaluate("box => box.scrollTop") == 40


def test_empty_fields_mean_the_defaults(opened, client, plain: Models) -> None:
    page = opened(client.url)
    page.locator("#write-temperature").press("Backspace")
    assert page.locator("#write-temperature").input_value() == ""
    assert page.locator("#write-slider").input_value() == "1"
    page.locator("#write-pace").select_option("0")
    page.locator("#write-length").fill("")
    page.locator("#write-prime").fill("int ")
    page.locator("#write-seed").fill("3")
    page.locator("#write-prime").press("Control+Enter")
    wait_for(page, "#write-status", "Written: 1,004 characters, seed 3")
    assert written(page) == "int " + "".join(plain.get().stream("int ", seed=3, length=1000))
    # A text of the default length keeps it at another temperature.
    page.locator("#write-pace").select_option("60")
    page.locator("#write-prime").press("Control+Enter")
    page.locator("#write-text .c").nth(20).wait_for()
    page.locator("#write-slider").fill("1.5")
    page.locator("#write-pace").select_option("0")
    wait_for(page, "#write-status", "Written: 1,004 characters, seed 3")


def test_a_wrong_setting_or_an_early_change_loses_no_text(opened, client) -> None:
    page = opened(client.url)
    write(page, "int ", length=120)
    wait_for(page, "#write-status", "Written: 124 characters")
    text = written(page)
    page.locator("#write-length").fill("0")
    page.locator("#write-text .c").nth(9).click()
    assert written(page) == text
    assert not page.locator("#write-length").evaluate("field => field.checkValidity()")
    # The temperature changes before the server has answered: the prompt stays.
    page.route("**/api/write", lambda _: None)
    with page.expect_request("**/api/write"):
        write(page, "int ", length=120)
    page.unroute("**/api/write")
    page.locator("#write-slider").fill("0.5")
    wait_for(page, "#write-status", "Written: 124 characters")
    assert written(page).startswith("int ")


def test_a_text_that_fails_is_not_called_written(opened, client) -> None:
    page = opened(client.url)
    lines = ({"seed": 1, "prime": "int ", "skipped": []}, {"pieces": [["f", 1.0]]}, {"error": "x"})
    body = "".join(json.dumps(line) + "\n" for line in lines)
    page.route("**/api/write", lambda route: route.fulfill(body=body))
    write(page, "int ")
    wait_for(page, "#write-status", "^Stopped: 5 characters, seed 1")
    assert page.locator("#problem").inner_text() == "x"


def test_what_is_wrong_is_said(browser, client) -> None:
    page = browser.new_page()  # its refused request is a message in the console, as it should be
    page.goto(client.url)
    page.locator("body[data-ready]").wait_for()
    write(page, "int ", length=120)
    wait_for(page, "#write-status", "Written")
    read_tab = page.get_by_role("tab", name="Read")
    read_tab.click()
    page.locator("#read-input").fill("漢字")
    page.locator("#read-form button").click()
    wait_for(page, "#problem", "fewer than two symbols that the model knows")
    assert page.locator("#problem").get_attribute("role") == "alert"
    page.close()


def test_read(opened, client, plain_text: str) -> None:
    page = opened(client.url)
    read_text(page, plain_text)
    expected = client.json("/api/read", {"text": plain_text})
    wait_for(page, "#read-figures", per_character(expected["bits_per_character"]))
    characters = page.locator("#read-text .c")
    assert characters.count() == len(plain_text)
    for k, bits in enumerate(expected["bits"][:60]):
        level = sum(bits >= step for step in (0.5, 1, 2, 3, 4, 5, 6, 8)) if bits else 0
        classes = (characters.nth(k).get_attribute("class") or "").split()
        assert [c for c in classes if c.startswith("p")] == ([f"p{level}"] if level else []), k
    characters.nth(7).hover()
    title = page.locator("#read-at").inner_text()
    assert title == f"{plain_text[7]}: {expected['bits'][7]:.2f} bits"
    first = page.locator("#read-expected .name").first.inner_text()
    symbols = client.json("/api/run")["vocabulary"]
    assert first in (symbols[expected["expected"][7][0]], "space", "newline", "tab")
    assert page.locator("#read-expected .true").count() == 1


def test_only_the_visible_part_of_a_long_text_is_drawn(opened, client, plain_text: str) -> None:
    page = opened(client.url)
    text = (plain_text * 40)[: limits.TEXT]
    read_text(page, text)
    box = page.locator("#read-text")
    assert box.text_content() == text
    assert 0 < page.locator("#read-text .c").count() < 5000
    box.press("End")
    until(lambda: box.evaluate("box => box.scrollTop") > 0)
    assert page.locator("#read-text .at").text_content() == text[-1]
    assert box.text_content() == text
    assert page.locator("#read-text .c").count() < 6000


def test_text_is_never_taken_for_html(opened, serving, tmp_path, make_run) -> None:
    evil = "<img src=x onerror=\"document.title='bad'\"><b>x</b>&amp;"
    run = make_run(tmp_path / "r", text=evil * 3)
    with (
        serving(Models(LanguageModel.load(run))) as client,
        contextlib.closing(opened(client.url)) as page,
    ):
        read_text(page, evil)
        assert page.locator("#read-text img, #read-text b").count() == 0
        assert page.locator("#read-text").inner_text() == evil
        write(page_in_write(page), evil, length=30)
        wait_for(page, "#write-status", "Written")
        assert page.locator("#write-text img").count() == 0
        assert page.title() == "r · rnntk play"


def page_in_write(page: Page) -> Page:
    tab(page, "Write")
    return page


def test_inside(opened, client, plain_text: str) -> None:
    page = opened(client.url)
    tab(page, "Inside")
    page.locator("#inside-input").fill(plain_text)
    page.locator("#inside-form button").click()
    wait_for(page, "#inside-ranking", "indentation")
    expected = client.json("/api/units", {"text": plain_text})["features"]
    best = expected[0]["best"][0]
    wait_for(page, "#inside-title", f"Layer {best['layer'] + 1}, unit {best['unit']}: cell state$")
    assert page.locator("#inside-ranking li").count() == len(expected)
    # Another unit of the ranking, then one by number, then a gate.
    page.locator("#inside-ranking li").nth(1).locator("button").nth(2).click()
    other = expected[1]["best"][2]
    wait_for(
        page, "#inside-title", f"Layer {other['layer'] + 1}, unit {other['unit']}: cell state$"
    )
    assert (
        page.locator("#inside-ranking li")
        .nth(1)
        .locator("button")
        .nth(2)
        .get_attribute("aria-pressed")
        == "true"
    )
    page.locator("#inside-layer").select_option("2")
    page.locator("#inside-unit").fill("7")
    page.locator("#inside-unit").press("Enter")
    wait_for(page, "#inside-title", "Layer 2, unit 7: cell state$")
    page.locator("#inside-unit").fill("")  # another number may follow
    assert page.locator("#inside-unit").input_value() == ""
    page.locator("#inside-layer").select_option("1")
    wait_for(page, "#inside-title", "Layer 1, unit 7: cell state$")
    page.locator("#inside-layer").select_option("2")
    wait_for(page, "#inside-title", "Layer 2, unit 7: cell state$")
    page.locator("#inside-quantity").select_option("f")
    # Gates are never below 0.
    below = ", ".join(f"#inside-text .n{k}" for k in range(1, 9))
    page.locator(below).first.wait_for(state="detached")
    gate = client.json("/api/unit", {"text": plain_text, "quantity": "f", "layer": 1, "unit": 7})[
        "values"
    ]
    for k, value in enumerate(gate[:40]):
        classes = (page.locator("#inside-text .c").nth(k).get_attribute("class") or "").split()
        assert f"p{round(value * 8)}" in [*classes, "p0"], k
    # The unit stays, so that its gates can be compared.
    assert page.locator("#inside-title").inner_text() == "Layer 2, unit 7: forget gate"
    assert page.locator("#inside-unit").input_value() == "7"
    page.locator("#inside-text .c").nth(6).hover()
    wait_for(page, "#inside-at", r"After v: \d\.\d\d")


def test_training_is_live(opened, serving, tmp_path, make_run) -> None:
    run = make_run(tmp_path / "r")
    with (
        serving(Models(LanguageModel.load(run))) as client,
        contextlib.closing(opened(client.url)) as page,
    ):
        tab(page, "Training")
        wait_for(page, "#training-status", "Training: step 30")
        page.locator("#training-samples article").nth(2).wait_for()
        titles = page.locator("#training-samples h3").all_inner_texts()
        assert titles == ["step 10", "step 20", "step 30"]
        assert (
            page.locator("#training-chart polyline.loss").get_attribute("points").count(",") == 30
        )
        assert page.locator("#training-chart circle.dot").count() == 3
        # It trains on: the curve and the samples follow by themselves.
        grown = run.metrics.read_text() + '{"step": 40, "loss": 1.0, "seconds": 4}\n'
        other = make_run(tmp_path / "more", steps=(40,))
        shutil.copytree(other.checkpoints / "step-00000040", run.checkpoints / "step-00000040")
        run.metrics.write_text(grown)
        wait_for(
            page, "#training-status", r"step 40 after 4 s, loss 2\.18[56] \(mean of all 40 steps\)"
        )
        wait_for(page, "#training-samples", "step 40")
        assert page.locator("#checkpoint option").all_inner_texts()[-1] == "step 40"
        page.locator("#training-chart").hover(position={"x": 300, "y": 80})
        wait_for(page, "#training-at", r"step \d+: \d\.\d+; validation at")


def test_removed_checkpoints_leave_the_header(opened, serving, tmp_path, make_run) -> None:
    """All but the chosen one; the samples stay in Training."""
    run = make_run(tmp_path / "r")
    with (
        serving(Models(LanguageModel.load(run))) as client,
        contextlib.closing(opened(client.url)) as page,
    ):
        page.locator("#checkpoint").select_option("20")
        tab(page, "Training")
        page.locator("#training-samples article").nth(2).wait_for()
        for step in (10, 20):
            shutil.rmtree(run.checkpoints / f"step-{step:08}")
        options = page.locator("#checkpoint option")
        until(lambda: options.all_inner_texts() == ["step 20", "step 30"])
        assert page.locator("#checkpoint").input_value() == "20"
        titles = page.locator("#training-samples h3").all_inner_texts()
        assert titles == ["step 10", "step 20", "step 30"]
        assert page.locator("#training-step").get_attribute("max") == "2"
        page.locator("#checkpoint").select_option("30")
        until(lambda: options.all_inner_texts() == ["step 30"])


def test_newer_checkpoints_can_be_chosen_in_every_view(
    context, serving, tmp_path, make_run
) -> None:
    run = make_run(tmp_path / "r")
    with (
        serving(Models(LanguageModel.load(run))) as client,
        contextlib.closing(context().new_page()) as page,
    ):
        page.clock.install()
        page.goto(client.url)
        page.locator("body[data-ready]").wait_for()
        tab(page, "Inside")
        page.locator("#inside-follows li").first.wait_for()
        other = make_run(tmp_path / "more", steps=(40,))
        shutil.copytree(other.checkpoints / "step-00000040", run.checkpoints / "step-00000040")
        page.locator("#inside-layer").select_option("1")
        page.locator("#inside-unit").fill("3")
        page.clock.fast_forward(11_000)
        page.locator("#checkpoint option").nth(3).wait_for(state="attached")
        assert page.locator("#checkpoint").input_value() == "30"
        before = page.locator("#inside-follows").inner_text()
        page.locator("#checkpoint").select_option("40")
        page.locator("#inside-follows").filter(has_not_text=before).wait_for()
        assert page.locator("#inside-title").inner_text() == "Layer 1, unit 3: cell state", (
            "the unit stays"
        )


def test_another_checkpoint_reads_differently(opened, client, plain_text: str) -> None:
    page = opened(client.url)
    read_text(page, plain_text)
    before = page.locator("#read-figures dd").first.inner_text()
    page.locator("#checkpoint").select_option("10")
    wait_for(page, "#run-facts", "step 10$")
    page.locator("#read-figures dd").filter(has_not_text=before).first.wait_for()
    expected = client.json("/api/read", {"text": plain_text, "step": 10})["bits_per_character"]
    wait_for(page, "#read-figures", per_character(expected))


def test_korean(opened, korean_client, korean_text: str) -> None:
    page = opened(korean_client.url)
    write(page, "각시가", length=400)
    wait_for(page, "#write-status", "Written")
    syllable = page.locator("#write-text .syl").first
    assert syllable.locator("b").inner_text() == "각"
    assert syllable.locator("i").all_inner_texts() == ["ㄱ", "ㅏ", "ㄱ"]
    above, under = syllable.locator("b").bounding_box(), syllable.locator("i").first.bounding_box()
    assert under["y"] >= above["y"] + above["height"] - 1
    read_text(page, korean_text)
    wait_for(page, "#read-figures", "bits per symbol")
    first = page.locator("#read-text .syl").nth(1)  # 시: ㅅ, ㅣ, and the marker as a dot
    assert first.locator("i").all_inner_texts() == ["ㅅ", "ㅣ", "·"]
    first.hover()
    wait_for(page, "#read-at", r"^시: \d+\.\d\d bits$")
    wait_for(page, "#read-expected", "Expected at ㅅ")
    tab(page, "Inside")
    wait_for(page, "#inside-ranking", "end of a syllable")
    page.locator("#inside-follows li").first.wait_for()  # a unit is shown
    page.locator("#inside-text .syl").first.hover()
    wait_for(page, "#inside-at", "After 각: ㄱ .*ㅏ .*end ᴥ")


def test_keyboard_only(opened, client) -> None:
    page = opened(client.url)
    keys = page.keyboard
    focused = "document.activeElement.id"
    page.locator("#tab-write").focus()
    keys.press("ArrowRight")
    assert page.evaluate(focused) == "tab-read"
    assert page.locator("#read").is_visible()
    keys.press("End")
    assert page.locator("#lessons").is_visible()
    keys.press("ArrowRight")
    assert page.locator("#write").is_visible()
    # Tab stops at the chosen tab only, then at the prompt and the settings, to the button.
    keys.press("Tab")
    assert page.evaluate(focused) == "write-prime"
    keys.press("Control+a")
    keys.type("int f")
    for name in ("slider", "temperature", "top-k", "top-p", "seed", "length", "pace"):
        keys.press("Tab")
        assert page.evaluate(focused) == f"write-{name}"
        if name == "seed":
            keys.type("3")
        if name == "length":
            keys.press("Control+a")
            keys.type("40")
        if name == "pace":
            keys.press("Home")
    keys.press("Tab")
    keys.press("Enter")
    wait_for(page, "#write-status", "Written: 45 characters, seed 3")
    before = written(page)
    while page.evaluate(focused) != "write-text":
        keys.press("Tab")
    keys.press("Home")
    for _ in range(9):
        keys.press("ArrowRight")
    keys.press("Enter")
    wait_for(page, "#write-status", "Written: 50 characters, seed 3")
    assert written(page)[:10] == before[:10]
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    keys.press("End")
    assert page.locator("#write-text .c").last.get_attribute("class").split()[-1] == "at"
    # The arrow keys also move in the text that was read, and announce it.
    page.locator("#tab-read").focus()
    keys.press("Enter")
    page.locator("#read-text .c").first.wait_for()
    page.locator("#read-text").focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    wait_for(page, "#said", r", \d+\.\d\d bits, expected ")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "one must see where one is"


@pytest.mark.parametrize("kind", ["client", "korean_client"])
def test_narrow_screen(request, opened, kind: str) -> None:
    """At 360 pixels nothing sticks out, and every control can be hit."""
    page = opened(request.getfixturevalue(kind).url, viewport=NARROW, has_touch=True)
    write(page, "", length=300)
    wait_for(page, "#write-status", "Written")
    for view in VIEWS:
        page.locator(f"#tab-{view}").tap()
        wait_until_filled(page, view)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view
        for control in page.locator("button:visible, input:visible, select:visible").all():
            box = control.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["height"] >= 24
    page.locator("#tab-read").tap()
    page.locator("#read-text .c").nth(4).tap()
    wait_for(page, "#read-at", "bits$")


def wait_until_filled(page: Page, view: str) -> None:
    filled = {
        "write": "#write-text .c",
        "read": "#read-text .c",
        "inside": "#inside-follows li",
        "training": "#training-samples article:nth-child(3)",
        "lessons": "#lessons-list article:nth-child(6)",
    }
    page.locator(filled[view]).first.wait_for()


@pytest.mark.parametrize(("kind", "scheme"), [("client", "light"), ("korean_client", "dark")])
def test_axe_finds_nothing(request, context, kind: str, scheme: str) -> None:
    axe = importlib.resources.files(pytest.importorskip("axe_playwright_python")) / "axe.min.js"
    page = context(color_scheme=scheme, bypass_csp=True).new_page()
    page.goto(request.getfixturevalue(kind).url)
    page.locator("body[data-ready]").wait_for()
    page.evaluate(axe.read_text(encoding="utf-8"))
    write(page, "", length=200)
    wait_for(page, "#write-status", "Written")
    for view in VIEWS:
        page.locator(f"#tab-{view}").click()
        wait_until_filled(page, view)
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 15
        problems = [
            (v["id"], v["help"], [n["html"] for n in v["nodes"][:3]]) for v in found["violations"]
        ]
        assert problems == [], view


@pytest.mark.parametrize("kind", ["plain", "korean"])
def test_a_report_shows_the_same_without_a_server(
    request, opened, tmp_path: Path, kind: str
) -> None:
    models, text = request.getfixturevalue(kind), request.getfixturevalue(f"{kind}_text")
    path = tmp_path / "report.html"
    path.write_text(report.report(models, text), encoding="utf-8")
    page = opened(path.as_uri())
    assert not page.locator("#tab-write").is_visible()
    assert not page.locator("form:visible, #checkpoint:visible").count()
    # It opens on the lessons, with their panels filled.
    assert page.locator("#tab-lessons").get_attribute("aria-selected") == "true"
    wait_for(page, "#lessons-list article:nth-child(5) .panel", "rnntk train")
    assert "Temperature 0.3" in page.locator("#lessons-list .panel").first.inner_text()
    tab(page, "Read")
    expected = models.get().evaluate(text).bits_per_character
    wait_for(page, "#read-figures", per_character(expected))
    page.locator("#read-text .c").nth(3).hover()
    wait_for(page, "#read-at", "bits$")
    tab(page, "Inside")
    wait_for(page, "#inside-title", "Layer")
    hint = page.locator("#cell-says")
    assert hint.inner_text() == "Point at a part (or Tab) to read what it does."
    page.locator("#inside-ranking button").nth(3).click()
    assert page.locator("#inside-ranking button").nth(3).get_attribute("aria-pressed") == "true"
    tab(page, "Training")
    page.locator("#training-samples article").nth(2).wait_for()
    assert page.locator("#training-chart polyline.loss").count() == 1


@pytest.mark.parametrize("bits", [2.5, 0.0])
def test_a_report_of_an_evaluation_shows_its_figures(
    opened, plain: Models, plain_text: str, tmp_path: Path, monkeypatch, bits: float
) -> None:
    """Also where nothing was a surprise, so that the longest bar has no length."""
    monkeypatch.setattr(limits, "TEXT", 20)
    evaluation = {
        "of": "<val>",
        "characters": len(plain_text),
        "bits_per_character": [["xz", bits], ["this model", bits / 2]],
        "own": "this model",
    }
    path = tmp_path / "report.html"
    path.write_text(report.report(plain, plain_text, evaluation=evaluation), encoding="utf-8")
    page = opened(path.as_uri(), viewport=NARROW)
    tab(page, "Read")
    wait_for(page, "#read-evaluation p", "^Bits per character of <val>, .* first 20")
    assert page.locator("#read-text").inner_text().startswith(plain_text[:18].rstrip())
    rows = page.locator("#read-evaluation li")
    assert rows.all_inner_texts() == [f"xz\n{bits:.3f}", f"this model\n{bits / 2:.3f}"]
    assert [row.get_attribute("class") for row in rows.all()] == ["", "true"]
    widths = [round(b.bounding_box()["width"]) for b in rows.locator(".bar i").all()]
    assert (widths[0] > widths[1]) if bits else widths == [0, 0]
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_screens_print_dark_on_dark_and_light_on_light(opened, client) -> None:
    """The page follows the system's colours."""

    def brightness(scheme: str) -> int:
        page = opened(client.url, color_scheme=scheme)
        return sum(
            map(
                int,
                re.findall(
                    r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor")
                )[:3],
            )
        )

    assert brightness("dark") < 150 < 600 < brightness("light")


def test_all_units_by_click_and_by_keys(opened, client, plain_text: str) -> None:
    page = opened(client.url)
    tab(page, "Inside")
    page.locator("#inside-input").fill(plain_text)
    page.locator("#inside-form button").click()
    wait_for(page, "#inside-ranking", "indentation")
    page.locator("#inside-layer").select_option("2")
    wait_for(page, "#inside-title", "Layer 2")
    heatmap = page.locator("#inside-heatmap")
    picture = heatmap.locator("canvas")
    until(lambda: picture.evaluate("canvas => canvas.height") == 12)
    assert picture.evaluate("canvas => canvas.width") == len(plain_text)
    box = picture.bounding_box()
    picture.click(position={"x": 3, "y": box["height"] * 7.5 / 12})
    wait_for(page, "#inside-title", "Layer 2, unit 7: cell state$")
    page.keyboard.press("Tab")
    heatmap.focus()
    page.keyboard.press("ArrowDown")
    wait_for(page, "#inside-title", "Layer 2, unit 8: cell state$")
    assert heatmap.get_attribute("aria-valuenow") == "8"
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    wait_for(page, "#inside-at", f"After {plain_text[2]}: ")
    assert page.locator("#inside-text .at").inner_text() == plain_text[2]
    # The value is shown beside the text.
    text, value = (page.locator(f"#inside-{name}").bounding_box() for name in ("text", "at"))
    assert value["x"] > text["x"] + text["width"]


@pytest.mark.parametrize(("cell", "parts"), [("lstm", "fig"), ("gru", "zr"), ("rnn", "")])
def test_the_cell_explains_itself(
    opened, serving, tmp_path, make_run, cell: str, parts: str
) -> None:
    with (
        serving(Models(LanguageModel.load(make_run(tmp_path / "r", cell=cell)))) as client,
        contextlib.closing(opened(client.url)) as page,
    ):
        tab(page, "Inside")
        page.locator("#inside-follows li").first.wait_for()
        said = {page.locator("#cell-says").inner_text()}
        assert "click a gate or state to see its values." in said.pop()
        for part in page.locator("#cell-picture g").all():
            part.focus()
            said.add(page.locator("#cell-says").inner_text())
        assert len(said) == page.locator("#cell-picture g").count()
        for quantity in parts:
            page.locator("#cell-picture g").filter(
                has_text=re.compile(f"[a-z] {quantity}$")
            ).click()
            until(lambda q=quantity: page.locator("#inside-quantity").input_value() == q)


def test_features_near_chance_are_grey(opened, client) -> None:
    page = opened(client.url)
    tab(page, "Inside")
    page.locator("#inside-follows li").first.wait_for()
    found = client.json("/api/units", {"text": client.json("/api/text")["text"]})["features"]
    near = [abs(row["best"][0]["score"]) <= row["chance"] + 0.1 for row in found]
    assert 0 < sum(near) < len(near)
    rows = page.locator("#inside-ranking li").all()
    assert [row.get_attribute("class") == "chance" for row in rows] == near


def test_on_a_phone_a_tap_is_answered_at_the_bottom(opened, client) -> None:
    page = opened(client.url, viewport={"width": 390, "height": 780}, has_touch=True)
    for view, chosen in (("read", 60), ("inside", 90)):
        page.locator(f"#tab-{view}").tap()
        wait_until_filled(page, view)
        tapped = page.locator(f"#{view}-text .c").nth(chosen)
        tapped.tap()
        sheet = page.locator(f"#{view}-sheet")
        page.locator(f"#{view}-sheet.open").wait_for()
        box, place = sheet.bounding_box(), tapped.bounding_box()
        assert abs(box["y"] + box["height"] - 780) < 1
        assert place["y"] >= 0
        assert place["y"] + place["height"] <= box["y"]
        # It leaves no empty space in other tabs.
        page.locator("#tab-lessons").tap()
        assert page.evaluate("getComputedStyle(document.body).paddingBottom") == "48px"
        page.locator(f"#tab-{view}").tap()
        page.keyboard.press("Escape")
        assert "open" not in sheet.get_attribute("class")
    # The text that a unit colours stays in sight.
    button = page.locator("#inside-ranking button").last
    button.scroll_into_view_if_needed()
    button.tap()
    box = page.locator("#inside-text").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= button.bounding_box()["y"]


def test_training_goes_through_the_checkpoints(opened, client, plain: Models) -> None:
    page = opened(client.url)
    tab(page, "Training")
    page.locator("#training-chart text").filter(has_text="uniform guess").wait_for()
    for place, step in enumerate((10, 20, 30)):
        page.locator("#training-step").fill(str(place))
        wait_for(page, "#training-chosen", f"step {step}, loss {3 - 0.05 * (step + 1) / 2:.3f}")
        sample = client.json(f"/api/sample?step={step}")
        whole = sample["prime"] + sample["text"]
        shown = page.locator("#training-sample")
        until(lambda shown=shown, whole=whole: shown.text_content() == whole)


@pytest.mark.parametrize("kind", ["client", "korean_client"])
def test_lessons(request, opened, kind: str) -> None:
    """Each has an answer of this model, or the command that makes another."""
    page = opened(request.getfixturevalue(kind).url)
    tab(page, "Lessons")
    lessons = page.locator("#lessons-list article")
    assert lessons.count() == 6
    for lesson in lessons.all():
        lesson.locator("summary").click()
        if not lesson.locator("button.main").count():
            assert lesson.locator(".panel pre").inner_text().startswith("rnntk train --corpus ")
            continue
        lesson.locator("button.main").click()
        lesson.locator("details p").filter(has_not_text="Press the button").wait_for()
        assert "NaN" not in lesson.inner_text()
        assert "undefined" not in lesson.inner_text()
    assert lessons.nth(5).locator("button.main").count() == (kind == "korean_client")
    lessons.nth(2).get_by_role("button", name="Show the unit").click()
    assert page.locator("#inside").is_visible()
    wait_for(page, "#inside-title", "Layer")
