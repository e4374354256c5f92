"""Which run a command works on."""

from __future__ import annotations

from pathlib import Path

import pytest

RUN_COMMANDS = [
    ("sample", "--length", 5),
    ("eval", "--no-floors", "--input", "tiny.txt"),
    ("export", "--format", "npz"),
    ("play", "--report", "o.html"),
]


@pytest.mark.parametrize("args", RUN_COMMANDS, ids=lambda args: args[0])
def test_a_run_is_found_by_its_name(rnntk, untrained, text: Path, args: tuple[object, ...]) -> None:
    untrained("all/r-1", input=(str(text),))
    name, *rest = args
    result = rnntk(name, "s-1", "--runs-dir", "all", *rest)
    assert result.exit_code == 1
    assert "There is no run folder s-1, and no run of this name in all. Did you mean r-1?" in (
        result.stderr
    )
    result = rnntk(name, "r-1", "--runs-dir", "all", *rest)
    assert result.exit_code == 0, result.output
