"""Draw docs/pictures/terminal.png, the README's picture: two commands and what they print.

    python docs/pictures/draw_terminal.py shakespeare.txt [TIME]

Trains on the text (the picture is of tiny-shakespeare, which is in the public domain) for TIME, 6m unless given, in a
temporary folder. Needs rnntk, rich, Playwright and chromium (or RNNTK_CHROMIUM).
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS, LINES = 100, 28


def printed(*words: str, folder: str) -> str:
    """The stdout of a command, with its colours."""
    command = [sys.executable, "-m", "rnntk", *words]
    return subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ).stdout


def session(text: Path, time: str) -> str:
    """The commands as typed, each with its output."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(text, folder)
        lines = []
        for typed in (
            f"train {text.name} --max-time {time}",
            "sample --color --temperature 0.7 --seed 1",
        ):
            output = printed(*typed.split(), folder=folder).strip()
            lines += [f"\x1b[1m$ rnntk {typed}\x1b[0m", output, ""]
    return "\n".join("\n".join(lines).splitlines()[:LINES])


def main() -> None:
    text = session(Path(sys.argv[1]), *sys.argv[2:] or ["6m"])
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text))
    page = console.export_html(theme=MONOKAI, inline_styles=True)
    chromium = os.environ.get("RNNTK_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 900, "height": 100})
        shown.set_content(page)
        shown.add_style_tag(content="body { margin: 0; padding: 14px 18px; } pre { margin: 0 }")
        picture = Image.open(io.BytesIO(shown.screenshot(full_page=True))).convert("RGB")
        browser.close()
    few = picture.quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(Path(__file__).with_name("terminal.png"), optimize=True)
    print("terminal.png")


if __name__ == "__main__":
    main()
