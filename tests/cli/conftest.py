"""Commands run in this process, in an empty folder of their own, with no network and no real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rnntk.cli.main import group
from rnntk.training import device

device.ready("cpu", None)

Run = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; RNNTK_* of the outside world is gone."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("RNNTK_DATA", "RNNTK_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


@pytest.fixture
def rnntk(here: Path) -> Run:
    """Run `rnntk ARGS...`; the result has stdout, stderr and exit_code."""

    def run(*args: object, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(group, [str(a) for a in args], input=stdin, prog_name="rnntk")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def text(here: Path) -> Path:
    """A small text to train on."""
    path = here / "tiny.txt"
    path.write_text(
        "".join(f"line {i}: a fox {i * i} jumps\n" for i in range(60)), encoding="utf-8"
    )
    return path


SMALL = [
    "--units",
    "8",
    "--embedding",
    "6",
    "--batch-size",
    "4",
    "--seq-length",
    "20",
    "--sample-every",
    "0",
    "--max-steps",
    "4",
]


@pytest.fixture
def trained(rnntk: Run, text: Path, here: Path) -> Path:
    """A run folder of a tiny model."""
    result = rnntk("train", "--input", text, "--run", "r", *SMALL)
    assert result.exit_code == 0, result.output
    return here / "r"
