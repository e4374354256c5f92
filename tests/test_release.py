"""The release: metadata, links of the README on an index page, version, changelog, CITATION.cff."""

from __future__ import annotations

import re
from pathlib import Path

import rnntk
from rnntk.config import read_toml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
TOML = read_toml(ROOT / "pyproject.toml")
PROJECT = TOML["project"]
HOME = PROJECT["urls"]["Homepage"]


def on_the_index_page() -> str:
    """The README as the build hook makes it."""
    text = README
    for rule in TOML["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text.replace("$HFPR_VERSION", rnntk.__version__)


def test_links_of_the_readme_are_absolute_on_an_index_page() -> None:
    here, there = (
        re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", t) for t in (README, on_the_index_page())
    )
    assert len(there) == len(here) > 10
    for (picture, link), (_, address) in zip(here, there, strict=True):
        view = "raw" if picture else "blob"
        assert address == f"{HOME}/{view}/v{rnntk.__version__}/{link}"


def test_all_addresses_name_one_home() -> None:
    assert all(url.startswith(HOME) for url in PROJECT["urls"].values())
    assert f"repository-code: {HOME}\n" in CITATION


def test_the_listed_pythons_match_requires_python() -> None:
    listed = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if ":: Python :: 3." in c]
    assert listed == ["3.10", "3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.10,<3.14"
    assert "Python 3.10 to 3.13" in README


def test_the_changelog_covers_this_version() -> None:
    """A released version has its own heading; until then the newest changes are unreleased."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *older = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    released = [title.partition(" ")[0] for title in older]
    assert rnntk.__version__ not in released
    assert newest == "Unreleased" or re.fullmatch(
        rf"{re.escape(rnntk.__version__)} \(\d{{4}}-\d\d-\d\d\)", newest
    )


def test_the_version_is_written_in_one_place() -> None:
    assert "version" in PROJECT["dynamic"]
    assert not re.search(r"^version:", CITATION, flags=re.MULTILINE)


def test_the_readme_is_short_and_its_figures_are_in_the_results() -> None:
    assert len(README.splitlines()) <= 120
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Measured\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    figures = re.findall(r"\d[\d,]*\.?\d*(?: %)?", table)
    assert len(figures) > 30
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d%])", results), figure
