"""Memory of preparing a text does not depend on its length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PIECE = ("plain words, 한글 and é\n" * 4000).encode()

PROGRAM = """
import re, sys
from pathlib import Path
from rnntk.config import TextConfig
from rnntk.text.prepared import prepare
made = prepare(TextConfig(input=sys.argv[1], preprocessor=sys.argv[2]), cache_dir=Path(sys.argv[3]))
# getrusage would include the parent's memory before exec.
print(len(made.ids), re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/status")
@pytest.mark.parametrize("preprocessor", ["bytes", "plain"])
def test_memory_does_not_grow_with_the_text(preprocessor: str, tmp_path: Path) -> None:
    peaks = []
    for megabytes in (4, 40):
        path = tmp_path / f"{megabytes}"
        path.write_bytes(PIECE * (megabytes * 1_000_000 // len(PIECE)))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, path, preprocessor, tmp_path],
            capture_output=True,
            text=True,
            check=True,
        )
        symbols, peak = map(int, done.stdout.split())
        assert symbols > 0.6 * megabytes * 1e6
        peaks.append(peak / 1000)
    assert np.diff(peaks)[0] < 12, f"{peaks} MB"
