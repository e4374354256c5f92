"""Time from a cold start to the first character: `rnntk sample --length 1` and the same with Keras.

    python benchmarks/start.py
    python benchmarks/start.py --units 512 --layers 3

Both are new processes that read the same weights from the same file, read a prompt, sample one character and
print it. Rounds alternate; a figure is the median of its rounds. The first start on a machine compiles the kernels.
Python with NumPy alone is the lower bound for any program in NumPy. `--beside TREE` also times the rnntk of another
source tree.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

KERAS = """
import sys
import keras, numpy as np, safetensors.numpy
weights = safetensors.numpy.load_file(sys.argv[1])
layers = sum(name.endswith("recurrent_kernel") for name in weights)
V, E = weights["embedding/embeddings"].shape
model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(V, E)])
for k in range(layers):
    H = len(weights[f"rnn_{k}/recurrent_kernel"])
    model.add(keras.layers.LSTM(H, return_sequences=True))
model.add(keras.layers.Dense(V))
names = ["embedding/embeddings"]
names += [f"rnn_{k}/{part}" for k in range(layers) for part in ("kernel", "recurrent_kernel", "bias")]
model.set_weights([weights[name] for name in [*names, "output/kernel", "output/bias"]])
logits = np.asarray(model(np.array([[1, 2, 3]]))[0, -1], np.float64)
p = np.exp(logits - logits.max())
print(np.random.default_rng(0).choice(V, p=p / p.sum()))
"""


def make_run(folder: Path, layers: int, units: int) -> Path:
    """Write a run folder with random weights, since the text does not matter."""
    from rnntk.storage import checkpoint
    from rnntk.storage import folder as runs
    from rnntk.text.vocabulary import Vocabulary

    rng = np.random.default_rng(0)
    V, H = 96, units

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(H), shape).astype(np.float32)

    weights = {"embedding/embeddings": draw(V, H)}
    for k in range(layers):
        weights[f"rnn_{k}/kernel"] = draw(H, 4 * H)
        weights[f"rnn_{k}/recurrent_kernel"] = draw(H, 4 * H)
        weights[f"rnn_{k}/bias"] = draw(4 * H)
    weights |= {"output/kernel": draw(H, V), "output/bias": draw(V)}
    run = runs.create(
        folder,
        kind=runs.CHAR_RNN,
        settings={},
        model={"cell": "lstm"},
        corpus={"name": "random", "preprocessor": "plain", "preprocessor_version": 1},
        versions={},
        vocabulary=Vocabulary(chr(32 + k) for k in range(V)),
    )
    checkpoint.write(
        run.checkpoints,
        weights=weights,
        optimizer={},
        states={},
        progress=checkpoint.Progress(step=1),
    )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--beside", type=Path, metavar="TREE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = make_run(Path(place) / "run", options.layers, options.units)
        weights = str(next(run.glob("checkpoints/*/weights.safetensors")))
        python = sys.executable
        sample = [python, "-m", "rnntk", "sample", str(run), "--prime", "abc", "--length", "1"]
        first = "the first start on a machine"
        beside = f"rnntk of {options.beside}"
        variants = {
            "rnntk sample --length 1": sample,
            **({beside: sample} if options.beside else {}),
            first: sample,
            "the same with Keras": [python, "-c", KERAS, weights],
            "Python with NumPy, nothing done": [python, "-c", "import numpy, numpy.random"],
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(options.rounds):
            for name, command in variants.items():
                changed = {}
                if name == first:
                    changed["RNNTK_CACHE"] = tempfile.mkdtemp(dir=place)
                elif name == beside:
                    changed["PYTHONPATH"] = str(options.beside)
                started = time.perf_counter()
                subprocess.run(
                    command,
                    check=True,
                    capture_output=True,
                    env={**os.environ, **changed},
                    cwd=place,
                )
                seconds[name].append(time.perf_counter() - started)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ",
        end="",
    )
    print(f"{options.layers}x{options.units}, {options.rounds} rounds\n")
    print("| | seconds, median | least | most |\n|---|---:|---:|---:|")
    for name, found in seconds.items():
        print(f"| {name} | {statistics.median(found):.3f} | {min(found):.3f} | {max(found):.3f} |")


if __name__ == "__main__":
    main()
