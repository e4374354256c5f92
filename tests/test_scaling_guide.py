"""The scripts in docs/scaling.md, run with made-up commands and variables of a scheduler."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rnntk.cli.train import command
from rnntk.config import DistributeConfig
from rnntk.training import cluster

GUIDE = Path(__file__).parent.parent / "docs" / "scaling.md"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs bash")

# Stubs that print their arguments.
STUBS = {
    "rnntk": 'for a in "$@"; do printf "%q " "$a"; done; echo',
    "scontrol": "printf 'node%s\\n' 1 2 3 4",
    "srun": 'shift; for i in 0 1 2 3; do SLURM_PROCID=$i "$@"; done',
}


def block(language: str) -> str:
    """The guide's only block in this language."""
    _, *blocks = GUIDE.read_text(encoding="utf-8").split(f"```{language}\n")
    assert len(blocks) == 1
    return blocks[0].split("```")[0]


def run(script: str, where: Path, **variables: str) -> list[dict[str, object]]:
    """The parameters of every `rnntk train` that the script starts."""
    for name, body in STUBS.items():
        path = where / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["bash", "-eu", "-c", script.replace("/shared", str(where))],
        env={"PATH": f"{where}:{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = []
    for line in done.stdout.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "train"
        found.append(command.make_context("train", arguments).params)
    return found


def check(workers: list[dict[str, object]], host: str) -> None:
    for index, values in enumerate(workers):
        settings = DistributeConfig(**{name: values[name] for name in DistributeConfig.names()})
        assert settings.distribute == "multiworker"
        found = cluster.find(settings.workers, settings.index)
        assert found.index == index
        assert len(found.addresses) == 4
        assert found.addresses[index].startswith(host.format(index, index + 1))
        assert values["threads"] == 16


def test_slurm_starts_a_run_and_resumes_it(tmp_path: Path) -> None:
    variables = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-4]", "SLURM_CPUS_PER_TASK": "16"}  # fmt: skip
    begun = run(block("bash"), tmp_path, **variables)
    check(begun, "node{1}:24711")
    assert {str(values["run"]) for values in begun} == {str(tmp_path / "runs/big")}
    (tmp_path / "runs/big/checkpoints/step-00000500").mkdir(parents=True)
    resumed = run(block("bash"), tmp_path, **variables)
    check(resumed, "node{1}:24711")
    assert {values["resume"] for values in resumed} == {str(tmp_path / "runs/big")}


def test_kubernetes_starts_a_run_and_resumes_it(tmp_path: Path) -> None:
    manifest = block("yaml")
    _, script = manifest.split("args:\n            - |\n")
    lines = []
    for line in script.splitlines():
        if line.strip() and not line.startswith(" " * 14):
            break
        lines.append(line[14:])
    pods = [(tmp_path, str(index)) for index in range(4)]

    def all_pods() -> list[dict[str, object]]:
        return [v for w, i in pods for v in run("\n".join(lines), w, JOB_COMPLETION_INDEX=i)]

    (tmp_path / "runs/big").mkdir(parents=True)  # stopped before its first checkpoint
    begun = all_pods()
    check(begun, "rnntk-{0}.rnntk:2222")
    assert not (tmp_path / "runs/big").exists()
    (tmp_path / "runs/big/checkpoints/step-00000500").mkdir(parents=True)
    assert {v["resume"] for v in all_pods()} == {str(tmp_path / "runs/big")}
    assert manifest.count("completions: 4") == manifest.count("parallelism: 4") == 1
