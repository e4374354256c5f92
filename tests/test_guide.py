"""docs/guide.md: its commands are commands, its pictures are there, its program prints what the page says."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import click
import pytest

from rnntk.cli.main import group

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


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_guide_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, name, *arguments = shlex.split(line)
    context = click.Context(group)
    command = group.get_command(context, name)
    assert command is not None, line
    # Parses the options and reads the config files; runs nothing.
    command.make_context(name, arguments, parent=context)


def test_every_picture_is_there_small_and_used() -> None:
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))
    named = set(re.findall(r"\]\(pictures/([\w-]+\.png)\)", pages))
    there = {path.name for path in (ROOT / "docs" / "pictures").glob("*.png")}
    assert named == there
    for name in there:
        assert (ROOT / "docs" / "pictures" / name).stat().st_size < 100_000, name


def test_every_section_is_in_the_table() -> None:
    def anchor(title: str) -> str:
        return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")

    sections = [anchor(title) for title in re.findall(r"^## (.*)$", GUIDE, flags=re.MULTILINE)]
    assert re.findall(r"\]\(#([\w-]+)\)", GUIDE) == sections


def test_the_program_prints_what_the_page_says() -> None:
    importlib.import_module("rnntk.training.device").ready("cpu", None)
    (number,) = [i for i, (language, _) in enumerate(BLOCKS) if language == "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[number][1], "docs/guide.md", "exec"), {})
    assert printed.getvalue() == BLOCKS[number + 1][1]
