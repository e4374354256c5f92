"""Runs a short campaign; `make campaigns` runs the long ones. One test file each, so that they run in parallel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def campaign() -> Callable[[str], None]:
    if sys.platform == "win32":
        pytest.skip("needs fork")

    def run(words: str) -> None:
        program, *options = words.split()
        command = [sys.executable, str(Path(__file__).parent / program), *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-8000:]

    return run
