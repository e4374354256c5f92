"""Let several processes use the same run, text, cache or file at the same time.

    python tests/acceptance/races.py --rounds 500 --seed 0

A winner leaves a whole result, equal to that of a single process; a loser prints one message.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import campaign
import numpy as np
from campaign import Command, Findings, difference, litter, outcome

from rnntk.kernels import native

STEPS = 40
WORDS = [
    "train",
    "--input",
    "text.txt",
    "--sample-every",
    "0",
    "--epochs",
    "1000",
    "--val-fraction",
    "0",
    *campaign.TINY,
]
UNTIL = ["--max-steps", str(STEPS)]
LOSES = (
    "exists already",
    "Another process is training",
    "is finished",
    "nothing to do",
    "has done",
)


class Wrong(Exception):
    """A race ended wrongly."""


class Race:
    """One race in its own folder.

    Args:
        top: the folder, with `text.txt`.
        rng: for the delays.
        counts: of outcomes, by name.
    """

    def __init__(self, top: Path, rng: Random, counts: Counter[str]) -> None:
        self.top, self.rng, self.counts = top, rng, counts
        self._names = itertools.count()
        self.begun: list[Command] = []

    def begin(self, *words: str, prepare: Callable[[], object] = lambda: None) -> Command:
        """Start a command; `prepare` is called in its process first."""
        log = self.top.parent / f"log-{next(self._names)}"

        def prepared() -> None:
            os.environ["RNNTK_CACHE"] = str(self.top / "cache")
            prepare()

        self.begun.append(Command(*words, cwd=self.top, log=log, prepare=prepared))
        return self.begun[-1]

    def alone(self, *words: str) -> None:
        """Run a command that must succeed."""
        command = self.begin(*words)
        if command.wait():
            raise Wrong(f"alone: exit {command.code}: {command.said[-1000:]}")

    def together(
        self,
        *all_words: list[str],
        apart: float = 0.0,
        prepare: Callable[[], object] = lambda: None,
    ) -> list[Command]:
        """Start commands up to `apart` seconds apart, and wait for all."""
        commands = []
        for words in all_words:
            commands.append(self.begin(*words, prepare=prepare))
            time.sleep(self.rng.choice((0.0, self.rng.uniform(0, apart))))
        for command in commands:
            command.wait()
        return commands

    def winners(self, commands: list[Command], loses: tuple[str, ...] = LOSES) -> list[Command]:
        """The commands that succeeded; each other one must have printed one message, with one of these phrases."""
        for command in commands:
            if command.code == 0:
                self.counts["winners"] += 1
                continue
            said = command.said.strip()
            if command.code not in (1, 2) or campaign.crash(said):
                raise Wrong(f"exit {command.code}: rnntk {' '.join(command.words)}\n{said[-1500:]}")
            if not any(words in said for words in loses):
                raise Wrong(f"the loser says something else: {said[-500:]}")
            self.counts["losers"] += 1
        return [command for command in commands if command.code == 0]

    def moment(self, longest: float) -> None:
        """Wait for a random time."""
        time.sleep(self.rng.uniform(0, longest))


Expected = Callable[[], dict[str, Any]]


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise `Wrong` if two outcomes differ."""
    if where := difference(expected, found):
        raise Wrong(f"another outcome than alone: {where}")


def one_run(race: Race, expected: Expected) -> None:
    """Several trainings with the same `--run`: one gets it."""
    words, many = [*WORDS, *UNTIL, "--run", "one"], race.rng.choice((2, 2, 3))
    if race.rng.random() < 0.3:
        commands = race.together(*[words] * many, apart=0.3)
    else:
        commands = race.together(*[words] * many, prepare=_meeting(many))
    if len(race.winners(commands)) != 1:
        raise Wrong(f"{len(race.winners(commands))} winners of one run")
    same(outcome(race.top / "one"), expected())


def _meeting(many: int) -> Callable[[], None]:
    """Make this many processes wait for each other just before they create the run's folder."""
    barrier = multiprocessing.get_context("fork").Barrier(many)

    def prepare() -> None:
        from rnntk.storage import folder

        create = folder.create

        def met(*arguments: Any, **named: Any) -> Any:
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(20)
            return create(*arguments, **named)

        folder.create = met

    return prepare


def new_runs(race: Race, expected: Expected) -> None:
    """Trainings without `--run` get different runs."""
    commands = race.together(*[[*WORDS, *UNTIL]] * 2, apart=0.1)
    if len(race.winners(commands)) != 2:
        raise Wrong("not both trained")
    for k in (1, 2):
        same(outcome(race.top / f"runs/text-{k}"), expected())


def one_resume(race: Race, expected: Expected) -> None:
    """Several processes resume one run: never two at a time."""
    race.alone(*WORDS, "--max-steps", "10", "--run", "one")
    commands = race.together(*[["train", "--resume", "one", *UNTIL]] * 2, apart=1.0)
    if not race.winners(commands):
        raise Wrong("nobody resumed")
    same(outcome(race.top / "one"), expected())


def one_text(race: Race, expected: Expected) -> None:
    """Several processes prepare one text in the same folder: all get it."""
    where = race.rng.choice(([], ["--output", "prepared"]))
    preps = [["prep", "--input", "text.txt", "--json", *where]] * race.rng.choice((2, 3, 4))
    commands = race.together(*preps, apart=0.01)
    if len(race.winners(commands)) != len(commands):
        raise Wrong("one of them did not get its text")
    folders = [race.top / "prepared"] if where else list((race.top / "cache/prepared").iterdir())
    if len(folders) != 1 or _text_of(folders[0]) != campaign.TEXT.encode():
        raise Wrong(f"the prepared text is wrong: {folders}")


def _text_of(folder: Path) -> bytes:
    """The text of a prepared folder, whose hash must be that in its facts."""
    from rnntk.text.prepared import Prepared

    found = Prepared.open(folder)
    text = found.vocabulary.decode(found.ids).encode()
    if hashlib.sha256(text).hexdigest() != found.facts["sha256"]:
        raise Wrong("the prepared text is not that of its hash")
    return text


def changing_text(race: Race, expected: Expected) -> None:
    """A text changes while it is prepared: refused, or prepared as it was at one moment."""
    rng, text = race.rng, race.top / "changing.txt"
    old = bytes(rng.choices(b"abcdefgh \n", k=2_000_000))
    text.write_bytes(old)
    command = race.begin("prep", "--input", "changing.txt")
    race.moment(0.5)
    with text.open("r+b") as file:
        file.seek(rng.randrange(len(old)))
        file.write(rng.choice((b"z", b"zz" * 5000)))
        if rng.random() < 0.3:
            file.truncate()
    command.wait()
    if race.winners([command], loses=("chang", "cut short", "is empty")):
        _text_of(next(iter((race.top / "cache/prepared").iterdir())))


def cleaned_cache(race: Race, expected: Expected) -> None:
    """The cache is removed while it is read: the result is right, or there is one message."""
    from rnntk.cli.main import COMMANDS

    race.alone(*WORDS, *UNTIL, "--run", "one", "--val-fraction", "0.2")
    reading = [
        ["eval", "one", "--no-baselines"],
        ["train", "--resume", "one", "--max-steps", "45"],
        ["prep", "--input", "text.txt"],
    ]
    command = race.begin(*race.rng.choice(reading))
    for _ in range(3):
        race.moment(0.3)
        if "cache" in COMMANDS and race.rng.random() < 0.5:
            cleaning = race.begin("cache", "clean", *race.rng.choice(([], ["prepared", "kernels"])))
            cleaning.wait()
            race.winners([cleaning], loses=("in use",))
        else:
            shutil.rmtree(race.top / "cache", ignore_errors=True)
    command.wait()
    race.winners([command], loses=("",))


def read_while_training(race: Race, expected: Expected) -> None:
    """A run is listed, sampled and exported while it trains and removes old checkpoints."""
    training = race.begin(
        *WORDS, *UNTIL, "--run", "runs/one", "--checkpoint-every", "1", "--keep", "1"
    )
    readers = [
        ["runs"], ["runs", "show", "runs/one"], ["sample", "runs/one", "--length", "5"], ["plot", "runs/one"],
        ["export", "runs/one", "--format", "npz"],
    ]  # fmt: skip
    early = ("no checkpoint", "no run", "not a run folder", "no metrics", "exists already")
    while training.poll() is None:
        command = race.begin(*race.rng.choice(readers))
        command.wait()
        race.winners([command], loses=early)
    race.winners([training])
    same(outcome(race.top / "runs/one"), expected())


def moved_run(race: Race, expected: Expected) -> None:
    """A run is renamed or removed while it trains: this is noticed and reported."""
    run, every = race.top / "one", race.rng.choice(("5", "100000"))
    command = race.begin(
        *WORDS, "--max-steps", "100000", "--checkpoint-every", every, "--run", "one"
    )
    while command.poll() is None and not _steps_logged(run):
        time.sleep(0.005)
    race.moment(0.3)
    if race.rng.random() < 0.5:
        run.rename(race.top / "two")
    else:
        shutil.rmtree(run, ignore_errors=True)
    if command.wait(20) == -9:
        raise Wrong("it trains on without its folder")
    if race.winners([command], loses=(str(run), "one")):
        raise Wrong("it reports success without its folder")
    if run.exists() and any(run.iterdir()):
        raise Wrong("it has made the folder again")


def cut_text(race: Race, expected: Expected) -> None:
    """The prepared text is truncated while it is mapped: at most a message, no signal."""
    race.alone(*WORDS, "--max-steps", "1", "--run", "one")
    ids = next((race.top / "cache/prepared").glob("*/ids.bin"))
    command = race.begin("train", "--resume", "one", "--max-steps", "400")
    while command.poll() is None and _steps_logged(race.top / "one") < 2:
        time.sleep(0.005)
    race.moment(0.2)
    os.truncate(ids, race.rng.choice((0, 100, 4096)))
    command.wait()
    race.winners([command], loses=("ids.bin", "prepared"))


def _steps_logged(run: Path) -> int:
    """The number of steps in a run's metrics."""
    file = run / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def one_export(race: Race, expected: Expected) -> None:
    """Two exports to one file leave it whole."""
    race.alone(*WORDS, *UNTIL, "--run", "one")
    words = ["export", "one", "--format", "npz", "--output", "one.npz"]
    if not race.winners(race.together(words, words, apart=0.02)):
        raise Wrong("nobody exported")
    with np.load(race.top / "one.npz") as file:
        if not all(np.isfinite(file[name]).all() for name in file.files):
            raise Wrong("the export is damaged")


def one_html(race: Race, expected: Expected) -> None:
    """Two reports to one file leave one of them, whole."""
    race.alone(*WORDS, *UNTIL, "--run", "one")
    words = [
        "eval",
        "one",
        "--input",
        "text.txt",
        "--no-baselines",
        "--html",
        "page.html",
        "--costs",
        "costs.json",
    ]
    if len(race.winners(race.together(words, words, apart=0.02))) != 2:
        raise Wrong("not both were written")
    if not (race.top / "page.html").read_text("utf-8").rstrip().endswith("</html>"):
        raise Wrong("the page is not whole")


# Races, and how often each is run per round.
RACES: dict[str, tuple[Callable[[Race, Expected], None], int]] = {
    "one-run": (one_run, 4),
    "new-runs": (new_runs, 1),
    "one-resume": (one_resume, 2),
    "one-text": (one_text, 6),
    "changing-text": (changing_text, 4),
    "cleaned-cache": (cleaned_cache, 2),
    "read-while-training": (read_while_training, 1),
    "moved-run": (moved_run, 2),
    "cut-text": (cut_text, 2),
    "one-export": (one_export, 1),
    "one-html": (one_html, 1),
}


def order() -> Iterator[str]:
    """The races in a fixed order, repeated without end."""
    return itertools.cycle(
        [name for k in range(6) for name, (_, often) in RACES.items() if k < often]
    )


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=26)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--race", choices=RACES, help="only this one")
    asked = parser.parse_args()
    findings = Findings(f"python tests/acceptance/races.py --seed {asked.seed} --rounds 20")
    counts: Counter[str] = Counter()
    campaign.load()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="races-", ignore_cleanup_errors=True) as folder:
        top = Path(folder).resolve()
        known: list[dict[str, Any]] = []

        def expected() -> dict[str, Any]:
            if not known:
                race = made("alone")
                race.alone(*WORDS, *UNTIL, "--run", "one")
                known.append(outcome(race.top / "one"))
            return known[0]

        def made(name: str, number: int = -1, *, compiled: bool = True) -> Race:
            place = top / name
            place.mkdir()
            if compiled:
                shutil.copytree(top / "kernels", place / "cache" / "kernels")
            (place / "text.txt").write_text(campaign.TEXT)
            return Race(place, Random(f"{name} {asked.seed} {number}"), counts)

        native.Kernels(cache=top / "kernels")
        expected()
        for number, name in zip(range(asked.rounds), order(), strict=False):
            name = asked.race or name
            # Trainings of this race compile and cache the same kernels at the same time.
            race = made("race", number, compiled=name != "new-runs")
            try:
                RACES[name][0](race, expected)
                if left := litter(race.top):
                    raise Wrong(f"temporary files are left: {left[:5]}")
            except KeyboardInterrupt:
                break  # report the counts so far
            except Wrong as wrong:
                kind, _, detail = str(wrong).partition(":")
                findings.add(f"{name}: {kind}", f"--race {name}", detail)
            except Exception as error:
                findings.add(f"{name}: {type(error).__name__}", f"--race {name}", str(error))
            for command in race.begun:
                command.wait(0)
            counts[name] += 1
            shutil.rmtree(race.top)
    happened = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    findings.exit(
        f"{sum(counts[name] for name in RACES):,} races: {happened}; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
