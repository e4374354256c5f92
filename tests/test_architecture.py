"""The table of docs/architecture.md against the imports in the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rnntk"
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")


def _table() -> dict[str, set[str]]:
    """The stages that each folder in the page's table may import."""
    rows = re.findall(r"^\| `(\w+)/` \| (.*?) \|", PAGE, re.MULTILINE)
    return {
        folder: set(re.findall(r"`(\w+)`", allowed)) for folder, allowed in rows if folder != "cli"
    }


def _base() -> set[str]:
    """The modules that every stage may import, from the sentence before the table."""
    sentence = re.search(
        r"modules at the bottom that every stage may import:\n(.*?)\.", PAGE, re.DOTALL
    )
    assert sentence
    return set(re.findall(r"`(\w+)`", sentence[1]))


MAY_IMPORT = _table()
BASE = _base()


def test_the_page_lists_exactly_the_folders() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert {*MAY_IMPORT, "cli"} == folders - BASE
    assert all((PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir() for name in BASE)


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
def test_a_stage_imports_only_earlier_stages(stage: str) -> None:
    allowed = MAY_IMPORT[stage] | BASE | {stage, "__version__", "__init__"}
    files = sorted((PACKAGE / stage).rglob("*.py"))
    assert files
    for path in files:
        assert imported_stages(path) <= allowed, path


def test_no_module_imports_the_command_line() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "cli" and path.name != "__main__.py":
            assert "cli" not in imported_stages(path), path


WITHOUT_TENSORFLOW = (
    "api", "run", "cli.main", "cli.prep", "cli.plot", "cli.runs", "cli.sample", "cli.train", "cli.export",
    "cli.import_", "cli.play", "decoding.language_model", "monitoring.board", "monitoring.picture", "storage.listing",
    "exchange.export", "exchange.tf1", "play.app", "play.report",
)  # fmt: skip


def test_these_modules_do_not_import_tensorflow() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TENSORFLOW}:\n"
        "    importlib.import_module(f'rnntk.{name}')\n"
        "    assert not {'tensorflow', 'keras'} & set(sys.modules), name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# A message names settings in backquotes, which the command line turns into options; commands to paste stay.
OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"\b(rnntk|pip) [a-z{][^.\n]*$")
DEFINE_OPTIONS = ("config/fields.py", "errors.py")  # their docstrings have examples


def texts_of(tree: ast.AST) -> list[tuple[ast.AST, str]]:
    """Every string of a module; values in f-strings become `{}`."""
    inside = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
            found.append((node, "".join(map(str, parts))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [] if id(node) in inside else [(node, node.value)]
    return found


def test_library_messages_name_settings_not_options() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("cli/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node, text in texts_of(tree):
            if id(node) in docs and name in DEFINE_OPTIONS:
                continue
            for found in OPTION.finditer(text):
                before = text[: found.start()]
                assert COMMAND.search(before), (
                    f"{name}: {text[found.start() - 40 : found.end() + 20]}"
                )
