"""The table of docs/architecture.md, held against the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rnntk"
BASE = {
    "errors",
    "config",
    "cores",
    "cache",
    "layer_norm",
    "cells",
    "fields",
    "settings",
    "__init__",
}
MAY_IMPORT = {
    "corpora": set(),
    "text": {"corpora"},
    "runs": {"text"},
    "monitoring": {"runs"},
    "kernels": set(),
    "models": {"kernels"},
    "training": {"corpora", "text", "runs", "models"},
    "decoding": {"text", "runs", "kernels"},
    "exchange": {"text", "runs", "models", "decoding"},
    "play": {"text", "runs", "decoding"},
}


def imported_stages(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = (
                [f"rnntk.{alias.name}" for alias in node.names]
                if node.module == "rnntk"
                else [node.module]
            )
        found |= {n.split(".")[1] for n in names if n.startswith("rnntk.")}
    return found


@pytest.mark.parametrize("stage", sorted(MAY_IMPORT))
def test_a_stage_imports_only_what_stands_before_it(stage: str) -> None:
    allowed = MAY_IMPORT[stage] | BASE | {stage, "__version__"}
    files = sorted((PACKAGE / stage).rglob("*.py"))
    assert files
    for path in files:
        assert imported_stages(path) <= allowed, path


def test_nothing_imports_the_command_line() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "cli" and path.name != "__main__.py":
            assert "cli" not in imported_stages(path), path


@pytest.mark.parametrize(
    "module",
    [
        "rnntk.cli.main",
        "rnntk.cli.prep",
        "rnntk.cli.plot",
        "rnntk.cli.runs",
        "rnntk.cli.sample",
        "rnntk.cli.train",
        "rnntk.cli.export",
        "rnntk.cli.import_",
        "rnntk.decoding.trained",
        "rnntk.monitoring.board",
        "rnntk.monitoring.picture",
        "rnntk.runs.listing",
        "rnntk.exchange.export",
        "rnntk.cli.play",
        "rnntk.play.app",
        "rnntk.play.report",
        "rnntk.exchange.tf1",
    ],
)
def test_tensorflow_is_not_imported(module: str) -> None:
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
