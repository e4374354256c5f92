"""The campaigns: a short run of each, and the long ones by `make acceptance`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SHORT = [
    "fuzz.py --inputs 12000",
    "kill.py --kills 25",
    "races.py --rounds 22",
    "disk.py --faults 30",
]
LONG = [
    "fuzz.py --inputs 1000000",
    "kill.py --kills 1000",
    "races.py --rounds 500",
    "disk.py --faults 1000",
]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="they fork")


def run(words: str) -> None:
    program, *options = words.split()
    command = [sys.executable, str(HERE / program), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.parametrize("words", SHORT)
def test_a_short_campaign(words: str) -> None:
    run(words)


@pytest.mark.acceptance
@pytest.mark.parametrize("words", LONG)
def test_a_long_campaign(words: str) -> None:
    run(words)
