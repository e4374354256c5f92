"""Speed and memory of `rnntk prep` and of the plain Python loop of the 2017 notebooks.

    python benchmarks/prep.py                 # 100 MB, and 10 MB for the loop; then 1 GB for rnntk alone
    python benchmarks/prep.py --big 0         # without the 1 GB

Each measurement has its own process, and so its own peak memory. The two take turns; medians are
compared. The text is generated. The loop holds all of it in memory and is slow, so it gets a smaller file.
"""

from __future__ import annotations

import argparse
import codecs
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

MB = 1_000_000
KINDS = {"ascii": "plain", "korean": "hangul"}
JAMO = (
    "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ",
    "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ",
    ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"),
)


def make_text(kind: str, size: int, path: Path) -> None:
    """Write lines of random words, with some letters more frequent than others, in UTF-8."""
    rng = random.Random(7)
    if kind == "ascii":
        letters = [chr(c) for c in range(33, 127)]
    else:
        letters = [chr(c) for c in rng.sample(range(0xAC00, 0xD7A4), 2000)]
    weights = [1 / (rank + 3) for rank in range(len(letters))]
    drawn = iter(rng.choices(letters, weights, k=1_500_000))
    words = []
    while word := "".join(islice(drawn, rng.randint(1, 8))):
        words.append(word + ("\n" if rng.random() < 0.08 else " "))
    block = "".join(words).encode()
    with path.open("wb") as file:
        for _ in range(-(-size // len(block))):
            file.write(block)


def notebook_loop(path: Path, kind: str, output: Path) -> None:
    """Decompose, count and number the whole text, one character at a time, as the notebooks did."""
    with codecs.open(str(path), "r", encoding="utf-8") as file:
        text = file.read()
    if kind == "korean":
        parts = []
        for character in text:
            if "가" <= character <= "힣":
                initial, rest = divmod(ord(character) - 0xAC00, 588)
                vowel, final = divmod(rest, 28)
                parts.append(JAMO[0][initial] + JAMO[1][vowel] + JAMO[2][final] + "ᴥ")
            else:
                parts.append(character)
        text = "".join(parts)
    counts: dict[str, int] = {}
    for character in text:
        counts[character] = counts.get(character, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    vocabulary = {character: i for i, (character, _) in enumerate(ranked)}
    np.save(output / "data.npy", np.array([vocabulary[character] for character in text]))


def worker(way: str, kind: str, path: Path) -> None:
    """Measure once; print seconds and peak memory in MB."""
    from rnntk.config import TextConfig  # imported before the clock starts
    from rnntk.text.prepared import prepare

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        start = time.perf_counter()
        if way == "rnntk":
            config = TextConfig(input=str(path), preprocessor=KINDS[kind])
            prepare(config, cache_dir=Path(folder))
        else:
            notebook_loop(path, kind, Path(folder))
        seconds = time.perf_counter() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(seconds, int(status["VmHWM"].split()[0]) * 1024 / MB)


def measure(way: str, kind: str, path: Path) -> tuple[float, float]:
    """Speed in MB/s and peak memory in MB."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", way, kind, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak = map(float, done.stdout.split())
    return path.stat().st_size / MB / seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100, help="MB for rnntk in turn with the loop")
    parser.add_argument("--loop-size", type=int, default=10, help="MB for the notebooks' loop")
    parser.add_argument("--big", type=int, default=1000, help="MB for rnntk alone; 0 for none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", nargs=3, metavar=("WAY", "KIND", "PATH"))
    options = parser.parse_args()
    if options.worker:
        way, kind, path = options.worker
        worker(way, kind, Path(path))
        return
    print(f"{'text':8}{'way':16}{'size':>9}{'MB/s':>9}{'peak':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            sizes = {"rnntk": options.size, "notebook loop": options.loop_size}
            files = {way: Path(folder) / f"{kind}-{way[:5]}.txt" for way in sizes}
            for way, size in sizes.items():
                make_text(kind, size * MB, files[way])
            rounds = [
                {way: measure(way, kind, files[way]) for way in sizes}
                for _ in range(options.rounds)
            ]
            speeds = {}
            for way, size in sizes.items():
                speeds[way] = statistics.median(r[way][0] for r in rounds)
                peak = max(r[way][1] for r in rounds)
                print(f"{kind:8}{way:16}{size:6} MB{speeds[way]:9.1f}{peak:7.0f} MB")
            print(f"{kind:8}{'ratio':16}{speeds['rnntk'] / speeds['notebook loop']:18.1f}")
            if options.big:
                path = files["rnntk"]
                make_text(kind, options.big * MB, path)
                speed, peak = measure("rnntk", kind, path)
                print(f"{kind:8}{'rnntk':16}{options.big:6} MB{speed:9.1f}{peak:7.0f} MB")
            for path in files.values():
                path.unlink()


if __name__ == "__main__":
    main()
