"""The docs: links have targets, pictures are used, commands parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from rnntk.cli.main import group

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("benchmarks/*.md"),
    *ROOT.glob("data/*.md"),
]
PICTURES = ROOT / "docs" / "pictures"


def anchors(page: Path) -> list[str]:
    """The anchors that a web view gives the page's sections."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if not link.startswith(("http://", "https://"))]


def commands(page: Path) -> list[str]:
    """The lines in a page's plain blocks that begin with rnntk, as a shell reads them."""
    blocks = re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    lines = (
        "".join(text for language, text in blocks if not language).replace("\\\n", " ").splitlines()
    )
    return [line.partition(" > ")[0] for line in lines if line.startswith("rnntk ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_a_target(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_section_of_the_guide_is_in_its_contents() -> None:
    guide = ROOT / "docs" / "guide.md"
    assert {f"#{anchor}" for anchor in anchors(guide)[1:]} == {
        link for link in links(guide) if link.startswith("#")
    }


def test_every_picture_exists_is_small_and_is_used() -> None:
    named = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if link.endswith((".png", ".svg"))
    }
    assert named == {path for path in PICTURES.iterdir() if path.suffix in (".png", ".svg")}
    for path in named:
        assert path.stat().st_size < 100_000, path


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page)])
def test_every_command_in_a_page_parses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, name, *arguments = [
        word for word in shlex.split(line, comments=True) if word != "..."
    ]  # "and so on"
    # With the group's settings, because a command caches its first help option.
    parent = click.Context(group, **group.context_settings)
    command = group.get_command(parent, name)
    assert command is not None, line
    # Parses options and config files; runs nothing.
    command.make_context(name, arguments, parent=parent)
