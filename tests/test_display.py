"""`MPLBACKEND` of a notebook in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")


def test_a_missing_matplotlib_backend_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the quick brown fox\n" * 30)
    env = {**os.environ, "MPLBACKEND": "not-installed", "RNNTK_CACHE": str(tmp_path / "cache")}
    small = "--units 8 --embedding 6 --batch-size 4 --seq-length 20 --sample-every 0 --max-steps 2"
    commands = f"train --input t.txt --run r {small}", "plot r --output r.png"
    code = f"from rnntk.cli.main import group\nfor c in {commands}: group(c.split(), standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.png").stat().st_size > 1000
