"""Draw the pictures of "A model as one file" in docs/play.md: exported pages, opened from disk in headless Chromium.

    python docs/pictures/draw_export.py ENGLISH_RUN KOREAN_RUN GRU_RUN

The pictures here are of these runs:

    rnntk train --corpus linux_kernel --max-time 2m
    rnntk train --corpus demo_ko --max-time 1m
    rnntk train --corpus tinyshakespeare --cell gru --layer-norm --max-time 100s --val-fraction 0.1

Needs Playwright, chromium (or RNNTK_CHROMIUM) and a Korean font. Pictures are written to this folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from draw_play import opened, save
from playwright.sync_api import Page, sync_playwright


def write(page: Page) -> None:
    page.locator("#write-text .c").nth(400).wait_for()
    save(page, "export-write.png")


def read(page: Page) -> None:
    page.locator("#tab-read").click()
    page.locator("#read-text .c").nth(30).hover()
    save(page, "export-read.png", height=900)


def look_inside(page: Page) -> None:
    page.locator("#tab-inside").click()
    page.locator("#inside-follows li").first.wait_for()
    save(page, "export-phone.png", height=1300)


DESK, PHONE = (1100, 800), (390, 800, "dark")

if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    chromium = os.environ.get("RNNTK_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shots = ((write, DESK), (read, DESK), (look_inside, PHONE))
        for (draw, size), run in zip(shots, sys.argv[1:], strict=True):
            path = Path(folder) / f"{Path(run).name}.html"
            command = [sys.executable, "-m", "rnntk", "export", run, "--format", "html"]
            subprocess.run([*command, "--output", path, "--quiet"], check=True)
            draw(opened(browser, path.as_uri(), *size))
        browser.close()
