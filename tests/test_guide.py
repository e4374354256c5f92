"""docs/guide.md: its commands, its pictures, and the output of its program."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnntk.cli.main import group
from rnntk.storage import folder, metrics

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", GUIDE, flags=re.DOTALL)


def commands() -> list[str]:
    shell = "".join(text for language, text in BLOCKS if not language).replace("\\\n", " ")
    found = [line.split("#")[0].strip() for line in shell.splitlines()]
    return [line for line in found if line.startswith("rnntk ")]


def test_the_guide_has_commands() -> None:
    names = {line.split()[1] for line in commands()}
    assert {
        "train", "sample", "play", "mnist", "minchar", "eval", "runs", "plot", "board", "import",
    } <= names  # fmt: skip


def test_the_guide_begins_with_the_readers_text() -> None:
    first = [line.split()[1:] for line in commands()[:7]]
    assert first[0] == ["train", "novel.txt"]
    assert ["play"] in first


def test_each_picture_has_a_command() -> None:
    draws = re.compile(
        r"^rnntk (plot|play)\b|^python \S*docs/pictures/draw\.py|^rnntk .* --plot ", re.MULTILINE
    )
    sections = re.split(r"^## ", GUIDE, flags=re.MULTILINE)
    shown = [section for section in sections if "![" in section]
    assert len(shown) >= 8
    for section in shown:
        assert draws.search(section), section.splitlines()[0]


def test_training_diverges_without_clipping_and_not_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a wide margin, because the numbers differ between machines."""
    monkeypatch.chdir(tmp_path)
    none, clipped = (c for c in commands() if "--run runs/clip-" in c)
    assert none.replace("--clip none", "") == re.sub(
        "--clip global-norm --clip-norm [0-9.]+", "", clipped
    ).replace("clip-norm", "clip-none")

    def series(command: str) -> tuple[list[float], list[float]]:
        words = [*shlex.split(command)[1:], "--max-steps", "60", "--sample-every", "0", "-q"]
        result = CliRunner().invoke(group, words)
        assert result.exit_code == 0 or "training diverged" in result.stderr, result.stderr
        run = folder.open_run(Path(words[words.index("--run") + 1]))
        found = metrics.read(run.metrics, ["loss", "grad_norm"])
        return tuple(list(found.series(name)[2]) for name in ("loss", "grad_norm"))

    loss, norm = series(none)
    assert max(norm) > 100 * norm[0]
    assert not math.isfinite(loss[-1]) or loss[-1] > 2 * loss[0]
    loss, norm = series(clipped)
    assert max(norm) < 10 * norm[0]
    assert loss[-1] < loss[0] / 1.5


def test_the_program_prints_the_output_in_the_page() -> None:
    importlib.import_module("rnntk.training.device").ready("cpu", None)
    (number,) = [i for i, (language, _) in enumerate(BLOCKS) if language == "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(BLOCKS[number][1], "docs/guide.md", "exec"), {})
    assert printed.getvalue() == BLOCKS[number + 1][1]
