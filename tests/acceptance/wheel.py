"""Use an installed rnntk, away from the checkout, as a user does: `make matrix` runs this on the built wheel.

cd /tmp/empty && /path/to/environment/bin/python /path/to/checkout/tests/acceptance/wheel.py
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path
from typing import Any

RNNTK = [sys.executable, "-m", "rnntk"]


def run(*arguments: str) -> Any:
    """Run a command, which must not warn, and return its JSON."""
    print("rnntk", *arguments, flush=True)
    command = [*RNNTK, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search("warning|traceback", done.stderr, re.IGNORECASE), done.stderr
    return json.loads(done.stdout)


def serve(*arguments: str, pages: dict[str, str]) -> None:
    """Start a server, look for a pattern in each page, and end it with Ctrl-C."""
    print("rnntk", *arguments, flush=True)
    command = [*RNNTK, *arguments, "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            for page, pattern in pages.items():
                with urllib.request.urlopen(address + page, timeout=60) as response:
                    text = response.read().decode()
                assert re.search(pattern, text), text[:500]
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


def main() -> None:
    """Run the commands; raise if a result is not as expected."""
    import rnntk

    installed = Path(sysconfig.get_path("purelib")).resolve()
    assert installed in Path(rnntk.__file__).resolve().parents, rnntk.__file__
    Path("text.txt").write_text("It was a dark and stormy night.\n" * 400, encoding="utf-8")
    small = ["--units", "32", "--batch-size", "8", "--seq-length", "32", "--max-steps", "120"]
    assert run("train", "text.txt", *small, "--run", "runs/text")["step"] == 120
    assert len(run("sample", "runs/text", "--length", "50")["texts"][0]) == 50
    assert 0 < run("eval", "runs/text", "--input", "text.txt")["model"]["nats_per_symbol"] < 3
    for form, name in {
        "keras": "a.keras",
        "savedmodel": "a",
        "npz": "a.npz",
        "html": "a.html",
    }.items():
        run("export", "runs/text", "--format", form, "--output", name)
        assert Path(name).exists()
    digits = ["--data", "digits", "--epochs", "8", "--run", "runs/digits"]
    assert run("mnist", *digits)["test_accuracy"] > 0.5
    assert len(run("runs")["runs"]) == 2
    serve("play", "runs/text", pages={"": "<html"})
    serve("board", pages={"": "TensorBoard", "data/runs": "text"})
    print("All commands work.")


if __name__ == "__main__":
    main()
