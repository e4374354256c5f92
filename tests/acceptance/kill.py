"""Kill trainings at random moments, resume them to the end, and compare them with undisturbed ones.

    python tests/acceptance/kill.py --kills 1000 --seed 0

Weights, optimizer, recurrent states, progress, metrics and samples must be bit-identical; every file on disk after a
kill must be whole; and a finished run leaves no temporary files. Most kills are SIGKILL, some SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import campaign
from campaign import Command, Findings, difference, litter, outcome

STEPS = 120
SETTINGS = (
    "--sample-every 25 --checkpoint-every 1 --keep 2",
    "--dropout 0.1 --val-fraction 0.1 --val-every 7 --schedule plateau --sample-every 0 --checkpoint-every 1",
    "--cell gru --clip norm --sample-every 0 --checkpoint-every 3",
    "--cell gru --gru-reset before --preprocessor bytes --test-fraction 0.1 --sample-every 50 --checkpoint-every 7",
    "--cell rnn --optimizer rmsprop --layer-norm --sample-every 0 --checkpoint-every 1 --keep 1",
    "--layers 2 --schedule cosine --ema 0.9 --weight-decay 0.1 --warmup-steps 9 --val-fraction 0.2 --val-every 13 "
    "--sample-every 0 --checkpoint-every 5",
)
WORDS = [
    "train",
    "--input",
    "text.txt",
    "--max-steps",
    str(STEPS),
    "--epochs",
    "1000",
    *campaign.TINY,
]


class Storm:
    """Runs to kill, in one folder with a text and the undisturbed runs."""

    def __init__(self, top: Path, seed: int, findings: Findings) -> None:
        self.top, self.seed, self.findings = top, seed, findings
        self.counts: Counter[str] = Counter()
        self.expected: dict[str, tuple[dict[str, Any], float]] = {}
        (top / "text.txt").write_text(campaign.TEXT)

    def undisturbed(self, settings: str) -> tuple[dict[str, Any], float]:
        """The outcome of an undisturbed run of these settings, and the seconds it takes."""
        if settings not in self.expected:
            run = f"whole-{len(self.expected)}"
            command = self.command(*WORDS, *settings.split(), "--run", run)
            if command.wait() != 0:
                raise SystemExit(f"an undisturbed run fails: {command.said}")
            self.expected[settings] = outcome(self.top / run), time.monotonic() - command.began
        return self.expected[settings]

    def command(self, *words: str, cache: str = "cache") -> Command:
        """Start a command in the folder."""
        environment = {"RNNTK_CACHE": str(self.top / cache)}
        prepare = lambda: os.environ.update(environment)  # noqa: E731
        return Command(*words, cwd=self.top, log=self.top / "log", prepare=prepare)

    def run(self, number: int) -> None:
        """Train one run, killed again and again until it finishes."""
        rng = Random(f"kill {self.seed} {number}")
        settings = rng.choice(SETTINGS)
        expected, seconds = self.undisturbed(settings)
        run = self.top / "part"
        cache = "own" if rng.random() < 0.2 else "cache"
        spared = rng.randint(4, 20)  # after this many kills, it may finish
        while True:
            began = steps_of(run)
            words = (
                ["train", "--resume", "part"]
                if began
                else [*WORDS, *settings.split(), "--run", "part"]
            )
            command = self.command(*words, cache=cache)
            sent = None
            if spared:
                spared -= 1
                sent = self.strike(command, rng, run, began, seconds)
            code = command.wait()
            # Killed after its last checkpoint, a run is done, and the outcome shows whether it is whole.
            done = code == 0 or f"is finished: {STEPS} of {STEPS} steps" in command.said
            if not done and not self.ended_well(command, code, sent, number):
                shutil.rmtree(run, ignore_errors=True)
            if done:
                break
            self.check_whole(run, number)
        if where := difference(expected, outcome(run)):
            self.findings.add(
                "another outcome than undisturbed", f"--only {number}", f"{settings}\n{where}"
            )
        if code:  # a refused resume cleans nothing; the next write does
            words = ["train", "--resume", "part", "--max-steps", str(STEPS + 1)]
            self.command(*words, cache=cache).wait()
        if left := litter(run, self.top / cache):
            self.findings.add("temporary files are left", f"--only {number}", "\n".join(left[:5]))
        self.counts["runs compared"] += 1
        shutil.rmtree(run)
        shutil.rmtree(self.top / "own", ignore_errors=True)
        if left:
            shutil.rmtree(self.top / cache, ignore_errors=True)

    def strike(
        self, command: Command, rng: Random, run: Path, began: list[int], seconds: float
    ) -> signal.Signals:
        """Send a signal at a random moment of the session, or soon after its first checkpoint."""
        until = command.began + rng.uniform(0, seconds)
        if rng.random() < 0.6:
            while command.poll() is None and steps_of(run) in ([], began):
                time.sleep(0.004)
            until = time.monotonic() + rng.uniform(0, 0.3)
        while command.poll() is None and time.monotonic() < until:
            time.sleep(0.0005)
        kind = rng.choice((*[signal.SIGKILL] * 8, signal.SIGINT, signal.SIGTERM))
        command.send(kind)
        if kind is signal.SIGINT and rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.02))
            command.send(kind)
        return kind

    def ended_well(
        self, command: Command, code: int, sent: signal.Signals | None, number: int
    ) -> bool:
        """Count how a session ended; False if the run must be removed."""
        allowed = {0} if sent is None else {0, -sent, 128 + sent}
        if code in allowed and not campaign.crash(command.said):
            if code and sent:
                self.counts[sent.name] += 1
            return True
        if code == 1 and "Remove it" in command.said and not steps_of(self.top / "part"):
            self.counts["killed at its creation and removed"] += 1
            return False
        kind = (
            campaign.crash(command.said)
            or f"after {sent.name if sent else 'no signal'}: exit {code}"
        )
        if "exists already" in command.said:
            kind = "a run killed at its creation can be neither started nor resumed"
        self.findings.add(
            kind, f"--only {number}", f"rnntk {' '.join(command.words)}\n{command.said[-1500:]}"
        )
        return False

    def check_whole(self, run: Path, number: int) -> None:
        """Check that every checkpoint on disk is readable."""
        from rnntk.errors import RnntkError
        from rnntk.storage import folder, listing

        if not (run / "run.json").exists():
            return
        try:
            found = listing.details(folder.open_run(run))
            problems = [c.problem for c in found.checkpoints if c.problem]
        except RnntkError as error:
            problems = [str(error)]
        if problems:
            self.findings.add("damage after a kill", f"--only {number}", "\n".join(problems))

    @property
    def kills(self) -> int:
        """Number of sessions that a signal ended."""
        return sum(count for name, count in self.counts.items() if name.startswith("SIG"))


def steps_of(run: Path) -> list[int]:
    """The steps of a run's checkpoints; none if it does not exist."""
    from rnntk.storage import checkpoint

    return checkpoint.steps(run / "checkpoints")


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", type=int, help="only the run of this number; what happens depends on time as well"
    )
    asked = parser.parse_args()
    findings = Findings(f"python tests/acceptance/kill.py --seed {asked.seed}")
    campaign.load()
    with tempfile.TemporaryDirectory(prefix="kill-", ignore_cleanup_errors=True) as folder:
        storm, number, began = (
            Storm(Path(folder).resolve(), asked.seed, findings),
            0,
            time.monotonic(),
        )
        if asked.only is not None:
            storm.run(asked.only)
        with contextlib.suppress(KeyboardInterrupt):  # report the counts so far
            while asked.only is None and storm.kills < asked.kills:
                storm.run(number)
                number += 1
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(storm.counts.items()))
    findings.exit(
        f"{counts}; {len(storm.expected)} undisturbed runs; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
