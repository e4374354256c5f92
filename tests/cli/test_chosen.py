"""The run that a command chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

RUN_COMMANDS = [
    ("sample", "--length", 5),
    ("eval", "--no-baselines", "--input", "tiny.txt"),
    ("export", "--format", "npz"),
    ("play", "--report", "o.html"),
]


@pytest.mark.parametrize("args", RUN_COMMANDS, ids=lambda args: args[0])
def test_a_run_is_found_by_its_name(rnntk, untrained, text: Path, args: tuple[object, ...]) -> None:
    untrained("all/r-1", input=(str(text),))
    name, *rest = args
    result = rnntk(name, "s-1", "--runs-dir", "all", *rest)
    assert result.exit_code == 1
    assert "There is no run s-1, here or in all. Did you mean 'r-1'?" in (result.stderr)
    result = rnntk(name, "r-1", "--runs-dir", "all", *rest)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("args", RUN_COMMANDS, ids=lambda args: args[0])
def test_a_corpus_other_than_the_runs_is_refused(
    rnntk, untrained, text: Path, monkeypatch, args: tuple[object, ...]
) -> None:
    untrained("runs/r-1", input=(str(text),))
    name, *rest = args
    result = rnntk(name, "r-1", "--corpus", "demo_ko", *rest)
    assert result.exit_code == 2
    assert "runs/r-1 was trained on tiny, not on demo_ko. Leave out --corpus" in result.stderr
    if name == "sample":
        assert rnntk(name, "r-1", "--corpus", "tiny", *rest).exit_code == 0
        monkeypatch.setenv("RNNTK_CORPUS", "demo_ko")
        assert rnntk(name, "r-1", *rest).exit_code == 0, "the option names the text to train on"


def test_the_advice_names_a_corpus_only_if_it_exists(rnntk, untrained, text: Path) -> None:
    result = rnntk("sample", "--corpus", "tny")
    assert result.exit_code == 1
    assert result.stderr.endswith("and no corpus of this name. The folder has no runs.\n")
    untrained("runs/r-1", input=(str(text),))
    result = rnntk("sample", "--corpus", "tny")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "There is no run on tny in runs, and no corpus of this name. "
        "The runs there are on tiny. Did you mean 'tiny'?\n"
    )
    result = rnntk("sample", "--corpus", "demo_ko")
    assert "Train one: rnntk train --corpus demo_ko" in result.stderr
