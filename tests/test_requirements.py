"""The requirements in pyproject.toml."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rnntk.config import read_toml

PROJECT = read_toml(Path(__file__).parent.parent / "pyproject.toml")["project"]


@pytest.mark.parametrize(
    ("version", "allowed"),
    [("8.1.7", True), ("8.1.8", True), ("8.2.0", False), ("8.2.1", False), ("8.2.2", True)],
)
def test_click_versions_that_misread_flags_are_excluded(version, allowed) -> None:
    click = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "click")
    assert click.specifier.contains(version) is allowed
