"""The documentation as a site: built without warnings, with working links, loading nothing from other hosts."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from rnntk.cli.main import COMMANDS, load_command

ROOT = Path(__file__).parent.parent
MISSING = [
    name for name in ("mkdocs", "material", "mkdocstrings") if not importlib.util.find_spec(name)
]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason="the site: needs the extra docs (pip install -e '.[docs]')"
)


class Elements(HTMLParser):
    """Tags of a page with their attributes, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._code = 0
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self._code += tag in ("pre", "code", "script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in ("pre", "code", "script", "style")

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors and without a network."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
    )
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, **nowhere, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Elements]:
    return {path: Elements(path) for path in site.rglob("*.html")}


def test_every_page_is_there(site: Path) -> None:
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    docs = {f"{path.stem}.html" for path in ROOT.glob("docs/*.md")}
    others = {
        "index.html",
        "corpora.html",
        "benchmarks.html",
        "contributing.html",
        "changelog.html",
    }
    assert names >= docs | others | {f"commands/{name}.html" for name in COMMANDS}
    assert {"notebooks/linux_kernel.html", "files/configs/text_1MB.toml.html"} <= names


def test_nothing_is_loaded_from_another_host(site: Path, pages: dict[Path, Elements]) -> None:
    for path, page in pages.items():
        for tag, attributes in page.found:
            loaded = [attributes.get("src"), attributes.get("srcset")]
            loaded += [attributes.get("href")] if tag == "link" else []
            for address in filter(None, loaded):
                assert not re.match(r"(https?:)?//", address), (path, tag, address)
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", text), path


def test_every_link_of_the_site_leads_somewhere(site: Path, pages: dict[Path, Elements]) -> None:
    anchors = {
        path: {a.get("id") or a.get("name") for _, a in page.found} for path, page in pages.items()
    }
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of a server
            continue
        for _, attributes in page.found:
            link = attributes.get("href") or attributes.get("src") or ""
            if re.match(r"[a-z]+:", link) or not link or link == "#":
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            assert target.is_file(), (path, link)
            assert not anchor or unquote(anchor) in anchors.get(target, {unquote(anchor)}), (
                path,
                link,
            )


def test_no_markdown_is_left(pages: dict[Path, Elements]) -> None:
    for path, page in pages.items():
        if "files" not in path.parts:
            assert not re.search(
                r"^\s*(- |\||:::|#+ |```)|\]\(|\*\*|<!--", page.text, flags=re.M
            ), path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_of_a_command_has_all_its_options(site: Path, name: str) -> None:
    page = (site / "commands" / f"{name}.html").read_text(encoding="utf-8")
    command = load_command(name)
    for one in [command, *getattr(command, "commands", {}).values()]:
        for option in one.params:
            for word in (
                option.opts if option.param_type_name == "option" and not option.hidden else []
            ):
                assert re.search(rf"<code>[^<]*(?<![\w-]){re.escape(word)}\b[^<]*</code>", page), (
                    word
                )


def test_the_python_page_has_the_public_names(site: Path) -> None:
    import rnntk

    page = (site / "api.html").read_text(encoding="utf-8")
    for name in rnntk.__all__:
        assert re.search(rf"<code>{name}</code>|id=\"[\w.]*\b{name}\"", page), name
    for words in ("Train a character model", "Generate text that begins with", "batch_size"):
        assert words in page
