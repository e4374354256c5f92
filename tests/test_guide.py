"""docs/guide.md: it leads through every part, and its program prints what the page says."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", GUIDE, flags=re.DOTALL)


def commands() -> list[str]:
    shell = "".join(text for language, text in BLOCKS if not language).replace("\\\n", " ")
    found = [line.split("#")[0].strip() for line in shell.splitlines()]
    return [line for line in found if line.startswith("rnntk ")]


def test_the_guide_has_commands() -> None:
    names = {line.split()[1] for line in commands()}
    assert {"train", "sample", "mnist", "minchar", "eval", "plot", "board", "import"} <= names


def test_the_program_prints_what_the_page_says() -> None:
    importlib.import_module("rnntk.training.device").ready("cpu", None)
    (number,) = [i for i, (language, _) in enumerate(BLOCKS) if language == "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[number][1], "docs/guide.md", "exec"), {})
    assert printed.getvalue() == BLOCKS[number + 1][1]
