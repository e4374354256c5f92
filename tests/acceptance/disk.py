"""Make the disk fail at a random moment of every command that writes.

    python tests/acceptance/disk.py --faults 1000 --seed 0

A fault is a refused write, fsync, rename, mkdir or truncation (the n-th of the command, or all from the n-th on), a
limit on the size of files (for TensorFlow's writes too), or a full file system. Every file that
was whole stays whole, there is one message, and once the disk works again the same command gives the same result.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import campaign
import numpy as np
from campaign import Command, Findings, contents, difference, litter, outcome

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES)
TRAIN = [
    "train",
    "--input",
    "text.txt",
    "--max-steps",
    "30",
    "--epochs",
    "99",
    "--checkpoint-every",
    "10",
    *campaign.TINY,
]


KINDS = ("once", "once", "lasting", "lasting", "size", "full", "stderr")
ROOM = 1 << 26
"""Size of the small file system in bytes."""


class Disk:
    """Refuses the `number`-th writing operation of this process, or all from it on."""

    def __init__(self, number: int, error: int, *, lasting: bool) -> None:
        self.number, self.error, self.lasting, self.done = number, error, lasting, 0
        self._open = open

    def install(self) -> None:
        """Replace Python's functions that write."""
        for name in ("fsync", "replace", "rename", "mkdir", "truncate"):
            setattr(os, name, self._refusing(getattr(os, name)))
        builtins.open = io.open = self._opened  # type: ignore[assignment]

    def tick(self) -> None:
        """Count an operation; raise if it must be refused."""
        self.done += 1
        if self.done == self.number or (self.lasting and self.done > self.number > 0):
            raise OSError(self.error, os.strerror(self.error))

    def _refusing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any, **named: Any) -> Any:
            self.tick()
            return real(*arguments, **named)

        return function

    def _opened(
        self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any
    ) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int) or str(file).startswith("/dev/"):
            return self._open(file, mode, buffering, *rest, **named)
        self.tick()
        opener = named.pop("opener", None)
        raw = _Counting(file, mode.replace("b", "").replace("t", ""), opener=opener)
        raw.disk = self
        whole = (
            raw
            if buffering == 0
            else (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        )
        return whole if "b" in mode else io.TextIOWrapper(whole, *rest, **named)


class _Counting(io.FileIO):
    disk: Disk

    def write(self, data: Any) -> int:
        self.disk.tick()
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self.disk.tick()
        return super().truncate(size)


class Wrong(Exception):
    """A fault was not handled."""


@dataclass(frozen=True)
class Scenario:
    """A command that writes.

    Attributes:
        words: its arguments.
        result: reads its result, for comparison.
        changes: path prefixes of the files it may change; all others must stay as they are.
        resumes: the run to resume after a fault if it has a checkpoint.
    """

    words: list[str]
    result: Callable[[Path], Any]
    changes: tuple[str, ...]
    resumes: str = ""


def _run(name: str) -> Callable[[Path], Any]:
    return lambda top: outcome(top / name)


def _text(name: str) -> Callable[[Path], Any]:
    return lambda top: (top / name).read_text("utf-8")


def _arrays(top: Path) -> Any:
    with np.load(top / "o.npz") as arrays:
        return {k: arrays[k].tolist() for k in arrays.files}


def _prepared(top: Path) -> Any:
    from rnntk.text.prepared import Prepared

    folders = [p for p in (top / "cache/prepared").iterdir() if not p.name.startswith(".")]
    return {one.key: one.ids.tolist() for one in map(Prepared.open, folders)}


def _there(name: str) -> Callable[[Path], Any]:
    return lambda top: (top / name).stat().st_size > 0


RESUME = ["train", "--resume", "runs/half", "--max-steps", "40"]
EVAL = ["eval", "runs/half", "--input", "text.txt", "--no-baselines"]
EXPORT = ["export", "runs/half", "--format"]
SCENARIOS = {
    "train": Scenario([*TRAIN, "--run", "new"], _run("new"), ("new", "cache"), "new"),
    "resume": Scenario(RESUME, _run("runs/half"), ("runs/half", "cache")),
    "prep": Scenario(["prep", "--input", "other.txt"], _prepared, ("cache",)),
    "import": Scenario(["import", "tf1", "--run", "imported"], _run("imported"), ("imported",)),
    "npz": Scenario([*EXPORT, "npz", "--output", "o.npz"], _arrays, ("o.npz",)),
    "keras": Scenario([*EXPORT, "keras", "--output", "o.keras"], _there("o.keras"), ("o.keras",)),
    "savedmodel": Scenario([*EXPORT, "savedmodel", "--output", "o"], _there("o/saved_model.pb"), ("o",)),
    "html": Scenario([*EVAL, "--html", "old.html"], _text("old.html"), ("old.html",)),
    "costs": Scenario([*EVAL, "--costs", "old.json"], _text("old.json"), ("old.json",)),
    "kernels": Scenario([*EVAL, "--costs", "old.json"], _text("old.json"), ("old.json", "cache/kernels")),
}  # fmt: skip


class Campaign:
    """Faults in a copy of a folder with a run, a prepared text, a checkpoint to import and older results."""

    def __init__(self, folder: Path) -> None:
        self.whole, self.top, self._log = folder / "whole", folder / "world", folder / "log"
        self._operations = folder / "operations"
        self.expected: dict[str, tuple[Any, int]] = {}
        self.counts: Counter[str] = Counter()
        self.whole.mkdir()
        (self.whole / "text.txt").write_text(campaign.TEXT)
        (self.whole / "other.txt").write_text(campaign.TEXT[::-1])
        (self.whole / "old.html").write_text("<html>old</html>\n")
        (self.whole / "old.json").write_text("{}\n")
        for words in ([*TRAIN, "--run", "runs/half"], EVAL):
            self.must(words, self.whole)
        self.must(["runs"], self.whole, lambda: campaign.tf1_checkpoint(self.whole / "tf1"))
        self.top.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(self.top)]
        self.mounted = subprocess.run(mount, capture_output=True).returncode == 0

    def close(self) -> None:
        """Unmount."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.top)], check=True)

    def run(
        self, words: list[str], top: Path, prepare: Callable[[], object] = lambda: None
    ) -> Command:
        """Run a command to its end."""

        def prepared() -> None:
            os.environ["RNNTK_CACHE"] = str(top / "cache")
            prepare()

        command = Command(*words, cwd=top, log=self._log, prepare=prepared)
        command.wait()
        return command

    def must(
        self, words: list[str], top: Path, prepare: Callable[[], object] = lambda: None
    ) -> None:
        """Run a command that must succeed."""
        command = self.run(words, top, prepare)
        if command.code:
            raise Wrong(f"fails on a good disk: rnntk {' '.join(words)}\n{command.said[-1500:]}")

    def copy(self, name: str) -> None:
        """Copy the folder again."""
        for path in self.top.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.whole, self.top, dirs_exist_ok=True)
        if name == "kernels":
            shutil.rmtree(self.top / "cache/kernels")

    def learn(self, name: str) -> tuple[Any, int]:
        """The result of a scenario on a good disk, and its number of writing operations."""
        if name not in self.expected:
            disk, leave = Disk(0, 0, lasting=False), os._exit

            def count() -> None:
                file = os.open(self._operations, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

                def leaving(code: int) -> NoReturn:
                    os.write(file, str(disk.done).encode())
                    leave(code)

                os._exit = leaving
                disk.install()

            self.copy(name)
            self.must(SCENARIOS[name].words, self.top, count)
            found = SCENARIOS[name].result(self.top)
            self.expected[name] = found, int(self._operations.read_text())
        return self.expected[name]

    def fault(self, name: str, rng: Random) -> None:
        """Cause one fault in one scenario. Raises `Wrong`."""
        scenario, (expected, operations) = SCENARIOS[name], self.learn(name)
        kind = rng.choice(KINDS)
        if kind == "full" and not self.mounted:
            kind = "size"
        if (
            kind == "stderr" and "train" not in scenario.words
        ):  # other commands may end without a stderr
            kind = "once"
        if kind in ("once", "lasting") and not operations:
            kind = "size"  # all is written by TensorFlow, or by functions that Python 3.10's pathlib keeps
        self.copy(name)
        before, filler = contents(self.top), self.top / ".filler"
        prepare: Callable[[], object]
        if kind in ("once", "lasting"):
            disk = Disk(rng.randint(1, operations), rng.choice(ERRORS), lasting=kind == "lasting")
            prepare, described = (
                disk.install,
                f"{kind}, operation {disk.number}: {os.strerror(disk.error)}",
            )
        elif kind == "size":
            limit = 2 ** rng.uniform(12, 18)
            prepare, described = lambda: _limit(int(limit)), f"files up to {limit:.0f} bytes"
        elif kind == "full":
            left = 4096 * int(2 ** rng.uniform(0, 7))
            prepare, described = lambda: None, f"{left} bytes free"
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.top).free - left)
        else:
            described = rng.choice(("closed", "full", "broken"))
            prepare = lambda: _stderr(described)  # noqa: E731
        command = self.run(scenario.words, self.top, prepare)
        filler.unlink(missing_ok=True)
        self.counts[f"{kind}: {'borne' if command.code == 0 else 'refused'}"] += 1
        try:
            self.check(scenario, command, before, expected, may_fail=kind != "stderr")
        except Wrong as wrong:
            raise Wrong(f"{wrong}\n{described}\n{command.said[-1200:]}") from None

    def check(
        self,
        scenario: Scenario,
        command: Command,
        before: dict[str, bytes],
        expected: Any,
        *,
        may_fail: bool,
    ) -> None:
        """Check what a fault left, and that the command succeeds now."""
        first = command.said
        if crash := campaign.crash(first):
            raise Wrong(crash)
        if command.code not in ((0, 1) if may_fail else (0,)):
            raise Wrong(f"exit {command.code}")
        if command.code and "--resume" in first and "train" not in scenario.words:
            raise Wrong("advises to resume what is no training")
        after = contents(self.top)
        for path, data in before.items():
            if not path.startswith(scenario.changes) and after.get(path) != data:
                raise Wrong(f"damaged: {path}")
            if path in ("old.html", "old.json") and after.get(path) not in (
                data,
                str(expected).encode(),
            ):
                raise Wrong(f"damaged: {path}")
        self.check_runs()
        if command.code:
            saved = scenario.resumes and list(
                (self.top / scenario.resumes / "checkpoints").glob("step-*")
            )
            words = ["train", "--resume", scenario.resumes] if saved else scenario.words
            self.must(words, self.top)
        if where := difference(expected, scenario.result(self.top)):
            raise Wrong(f"another result: {where}")
        if left := litter(self.top):
            raise Wrong(f"temporary files are left: {left}")

    def check_runs(self) -> None:
        """Check that every checkpoint of every run is whole."""
        from rnntk.storage import folder, listing

        for path in (self.top / "runs/half", self.top / "new", self.top / "imported"):
            if (path / "run.json").exists():
                for found in listing.details(folder.open_run(path)).checkpoints:
                    if found.problem:
                        raise Wrong(f"damaged: {found.problem}")


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _stderr(how: str) -> None:
    if how == "closed":
        os.close(2)
        sys.stderr = None  # type: ignore[assignment]
        return
    read, write = os.pipe()
    os.close(read)
    os.dup2(write if how == "broken" else os.open("/dev/full", os.O_WRONLY), 2)


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scenario", choices=SCENARIOS, action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--only", type=int, help="only the fault of this number")
    asked = parser.parse_args()
    findings = Findings(f"python tests/acceptance/disk.py --seed {asked.seed}")
    names = asked.scenario or list(SCENARIOS)
    campaign.load()
    began = time.monotonic()
    numbers = range(asked.faults) if asked.only is None else [asked.only]
    with tempfile.TemporaryDirectory(prefix="disk-", ignore_cleanup_errors=True) as folder:
        made = Campaign(Path(folder).resolve())
        try:
            for number in numbers:
                name = names[number % len(names)]
                try:
                    made.fault(name, Random(f"disk {asked.seed} {number} {name}"))
                except Wrong as wrong:
                    kind, _, detail = str(wrong).partition("\n")
                    repeat = "".join(f"--scenario {one} " for one in asked.scenario or [])
                    findings.add(
                        f"{name}: {kind.split(': /')[0]}", f"{repeat}--only {number}", detail
                    )
        except KeyboardInterrupt:
            pass  # report the counts so far
        finally:
            made.close()
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(made.counts.items()))
    findings.exit(
        f"{sum(made.counts.values()):,} faults: {counts}; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
