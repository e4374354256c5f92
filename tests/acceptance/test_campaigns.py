"""A short run of each campaign; `make campaigns` makes the long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="they fork")


@pytest.mark.parametrize(
    "words",
    ["fuzz.py --inputs 12000", "kill.py --kills 25", "races.py --rounds 22", "disk.py --faults 30"],
)
def test_a_short_campaign(words: str) -> None:
    program, *options = words.split()
    command = [sys.executable, str(HERE / program), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-8000:]
