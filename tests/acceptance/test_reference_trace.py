"""System 1 at its own settings: at each mark, the loss is at most that of the 2017 notebook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = {100: 3.1259, 200: 2.5992, 300: 2.4603, 400: 2.2591, 500: 2.0035}


@pytest.mark.acceptance
@pytest.mark.skipif(not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: linux_kernel")
def test_the_loss_of_system_1_is_at_most_that_of_2017(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rnntk",
        "train",
        "--corpus",
        "linux_kernel",
        "--run",
        str(tmp_path / "r"),
    ]
    subprocess.run([*command, "--max-steps", "505", "--sample-every", "0"], check=True)
    lines = [
        json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    ]
    for mark, cost in REFERENCE.items():
        around = [line["loss"] for line in lines if mark - 5 < line["step"] <= mark + 5]
        assert len(around) == 10
        mean = sum(around) / 10
        print(f"step {mark}: {mean:.4f} (2017: {cost})")
        assert mean <= cost
