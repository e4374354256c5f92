"""Runs a short campaign; `make campaigns` runs the long ones. One test file each, so that they run in parallel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[[str], None]:
    if sys.platform == "win32":
        pytest.skip("needs fork")

    def run(words: str) -> None:
        program, *options = words.split()
        command = [sys.executable, str(Path(__file__).parent / program), *options]
        # A file, not a pipe: a process that a killed command left would keep a pipe open.
        with (tmp_path / "output").open("w+") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
            output.seek(0)
            assert done.returncode == 0, output.read()[-8000:]

    return run
