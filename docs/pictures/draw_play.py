"""Draw the pictures of docs/play.md: the page itself, in headless Chromium.

    python docs/pictures/draw_play.py ENGLISH_RUN KOREAN_RUN MNIST_RUN

The pictures here are of these runs:

    rnntk train --corpus linux_kernel --max-time 10m --val-fraction 0.05 --checkpoint-every 60 --keep 12
    rnntk train --corpus demo_ko --max-time 100s --checkpoint-every 40 --keep 12
    rnntk mnist --bidirectional --units 64 --epochs 2 --checkpoint-every 100 --keep 12

Needs rnntk[play], Playwright, chromium (or RNNTK_CHROMIUM) and a Korean font. Pictures are written to this folder.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TEXT = """\
/* Returns the length of the list, or "none" if it is empty. */
static int list_length(struct list_head *head)
{
\tint count = 0;

\tif (!head || list_empty(head)) {
\t\tpr_info("list: %s is empty\\n", head->name);
\t\treturn -EINVAL;
\t}
\tfor (i = 0; i < head->size; i++) {
\t\t/* every entry counts once */
\t\tcount += (head->next[i] != NULL);
\t\tif (count > MAX_ENTRIES)
\t\t\tprintk(KERN_WARNING "too many: %d\\n", count);
\t}
\treturn count;
}
"""
FOLLOWED, PLACE = "inside a comment", 0


@contextmanager
def served(run: str) -> Iterator[str]:
    """The page's address while `rnntk play` serves a run."""
    command = [sys.executable, "-m", "rnntk", "play", run, "--port", "0", "--no-open", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def opened(
    browser: Browser, url: str, width: int, height: int, scheme: str = "light", **options: bool
) -> Page:
    """The loaded page."""
    size = {"width": width, "height": height}
    page = browser.new_page(viewport=size, color_scheme=scheme, **options)
    page.set_default_timeout(120_000)
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    return page


def save(page: Page, name: str, height: int | None = None) -> None:
    """The page, or its upper part, in 64 colours."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    if height:
        picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    few = picture.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(Path(__file__).with_name(name), optimize=True)
    print(name)


def look_inside(page: Page) -> None:
    """Show a unit that follows comments."""
    page.locator("#tab-inside").click()
    page.locator("#inside-input").fill(TEXT)
    page.locator("#inside-form button").click()
    row = page.locator("#inside-ranking li", has_text=FOLLOWED)
    row.locator("button").nth(PLACE).click()
    follows = page.locator("#inside-follows li").first
    follows.filter(has_text=FOLLOWED).wait_for()
    page.locator("#inside-input").evaluate("box => { box.scrollTop = 0; }")
    page.mouse.move(0, 0)


def english(browser: Browser, url: str) -> None:
    """Read, Inside, Training, Lessons, and Inside on a phone."""
    page = opened(browser, url, 1100, 900)
    page.locator("#tab-read").click()
    page.locator("#read-input").fill(TEXT)
    page.locator("#read-form button").click()
    page.locator("#read-figures", has_text=f"characters{len(TEXT)}").wait_for()
    page.locator("#read-text .c").nth(TEXT.index("%s")).hover()
    save(page, "play-read.png")
    look_inside(page)
    page.locator("#inside-text .c").nth(TEXT.index("counts once")).hover()
    page.locator("#cell-picture g").first.focus()
    page.evaluate("scrollTo(0, 0)")
    save(page, "play-inside.png", height=1900)
    page.locator("#tab-training").click()
    page.locator("#training-samples article").nth(5).wait_for()
    page.locator("#training-chart text", has_text="n-grams up to 6").wait_for()
    page.locator("#training-step").fill("4")
    page.locator("#training-chosen").filter(has_text=re.compile("step")).wait_for()
    save(page, "play-training.png", height=1000)
    page.locator("#tab-lessons").click()
    for k in range(4):
        lesson = page.locator("#lessons-list article").nth(k)
        lesson.locator("button.main").click()
        lesson.locator("summary").click()
        lesson.locator("details p").filter(has_not_text="Press the button").wait_for()
    save(page, "play-lessons.png", height=1900)
    page = opened(browser, url, 390, 780, "dark", has_touch=True)
    look_inside(page)
    page.locator("#inside-text .c").nth(TEXT.index("list_length")).tap()
    page.locator("#inside-sheet.open").wait_for()
    page.screenshot(path=Path(__file__).with_name("play-phone.png"))


def korean(browser: Browser, url: str) -> None:
    """Write."""
    page = opened(browser, url, 1100, 800)
    page.locator("#write-pace").select_option("0")
    page.locator("#write-seed").fill("3")
    page.locator("#write-length").fill("200")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("#write-status").filter(has_text=re.compile("^Written")).wait_for()
    save(page, "play-write.png")


def digits(browser: Browser, url: str) -> None:
    """A drawn digit, half read, and the confusion table."""
    page = opened(browser, url, 1100, 900)
    box = page.locator("#draw-pad").bounding_box()
    assert box
    for k, (x, y) in enumerate(((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if not k:
            page.mouse.down()
    page.mouse.up()
    page.locator("#draw-says").filter(has_text="This is").wait_for()
    page.wait_for_timeout(3000)  # until the last answer
    page.locator("#draw-parts").fill("12")
    page.locator("#draw-says").filter(has_text="So far").wait_for()
    save(page, "play-digits.png")
    page.locator("#tab-mistakes").click()
    page.locator("#mistakes-status").filter(has_text="all 10,000").wait_for()
    page.locator('[data-cell="4/9"]').click()
    page.locator("#mistakes-title").filter(has_text="4 predicted as 9").wait_for()
    save(page, "play-mistakes.png", height=1000)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    chromium = os.environ.get("RNNTK_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for draw, run in zip((english, korean, digits), sys.argv[1:], strict=True):
            with served(run) as url:
                draw(browser, url)
        browser.close()
