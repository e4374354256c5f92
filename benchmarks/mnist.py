"""Time training on images, one image row per step, and Keras' `fit` on the same model.

    python benchmarks/mnist.py                    # one direction and both; a table and, with --output, JSON
    python benchmarks/mnist.py --rounds 3         # quicker

Each variant has its own process and waits while another one runs. A turn trains on one slice of an epoch and
includes shuffling, batches, the step, clipping, Adam and accuracy. Rounds alternate the variants. A figure is the
median of its rounds, a ratio the median of the rounds' ratios. `fit` runs with its default (jit_compile="auto", which
on a CPU means XLA) and with jit_compile=False; the faster of the two counts. The images are noise of MNIST's shape,
since the time does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VARIANTS = ("rnntk", "fit", "fit without XLA")
UNITS, BATCH, RATE, CLIP_NORM = 128, 128, 0.001, 5.0


# ---- in a worker process -------------------------------------------------------------------------


def images(count: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), rng.integers(0, 10, count).astype(
        np.uint8
    )


def rnntk_slice(count: int, cell: str, bidirectional: bool, threads: int) -> Any:
    from rnntk.config import MnistConfig
    from rnntk.corpora.images import ImageSet
    from rnntk.training import device

    device.ready("cpu", threads)
    from rnntk.storage.checkpoint import Progress
    from rnntk.training.row_task import RowTask

    x, y = images(count)
    settings = MnistConfig(
        batch_size=BATCH,
        val_size=0,
        units=UNITS,
        clip_norm=CLIP_NORM,
        learning_rate=RATE,
        bidirectional=bidirectional,
        cell=cell,
    )
    task = RowTask(settings, ImageSet(x, y, x[:1], y[:1], name="noise", title="noise"), {})
    progress = Progress()

    def run() -> float:
        logs: dict[str, float] = {}
        for progress.batch in range(task.steps_per_epoch):
            logs = task.step(progress)
            progress.step += 1
        progress.epoch += 1
        return logs["loss"]

    return run


def keras_slice(count: int, cell: str, bidirectional: bool, threads: int, jit: str | bool) -> Any:
    """Training as in the examples of Keras."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    x, y = images(count)
    x = x.astype("float32") / 255
    recurrent = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
    layer = recurrent[cell](UNITS)
    if bidirectional:
        layer = keras.layers.Bidirectional(layer)
    model = keras.Sequential([keras.Input((28, 28)), layer, keras.layers.Dense(10)])
    model.compile(
        optimizer=keras.optimizers.Adam(RATE, global_clipnorm=CLIP_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    return lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0).history["loss"][-1]


def work(variant: str, count: int, cell: str, bidirectional: bool, threads: int) -> None:
    """Train one slice per line on stdin; answer each with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of a framework must not mix with the answers
    if variant == "rnntk":
        run = rnntk_slice(count, cell, bidirectional, threads)
    else:
        run = keras_slice(
            count, cell, bidirectional, threads, "auto" if variant == "fit" else False
        )
    run()
    import keras
    import tensorflow as tf

    answers.write(
        json.dumps({"version": f"TensorFlow {tf.__version__}, Keras {keras.__version__}"})
    )
    answers.write("\n")
    answers.flush()
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = run()
        answers.write(json.dumps({"seconds": time.perf_counter() - start, "loss": loss}) + "\n")
        answers.flush()


# ---- in the main process ---------------------------------------------------------------------------


class Worker:
    """One variant in its own process, idle between its turns."""

    def __init__(self, *job: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "BENCH_DEBUG" not in os.environ else None,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self.version = self._read()["version"]

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended; run again with BENCH_DEBUG=1 to see why")
        return json.loads(line)

    def turn(self) -> float:
        """Seconds of one slice."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()["seconds"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(count: int, cell: str, both: bool, rounds: int, threads: int) -> dict[str, Any]:
    """Medians of alternating rounds."""
    workers = {v: Worker(v, count, cell, both, threads) for v in VARIANTS}
    try:
        times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for _ in range(rounds):
            for variant, worker in workers.items():
                times[variant].append(worker.turn())
        medians = {v: statistics.median(t) for v, t in times.items()}
        return {
            "cell": cell,
            "bidirectional": both,
            "units": UNITS,
            "batch_size": BATCH,
            "images": count,
            "version": workers["rnntk"].version,
            "seconds": medians,
            "rounds": times,
            "ratio": {v: medians[v] / medians["rnntk"] for v in VARIANTS[1:]},
        }
    finally:
        for worker in workers.values():
            worker.close()


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    head = ["model", *(f"{v} images/s" for v in VARIANTS), *(f"rnntk : {v}" for v in VARIANTS[1:])]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in results:
        name = f"{r['cell']} {r['units']}" + (", both directions" if r["bidirectional"] else "")
        row = [name, *(f"{r['images'] / r['seconds'][v]:,.0f}" for v in VARIANTS)]
        row += [f"{r['ratio'][v]:.2f}" for v in VARIANTS[1:]]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="alternating rounds (7)")
    parser.add_argument("--steps", type=int, default=60, help="steps per turn (60)")
    parser.add_argument("--cells", nargs="+", choices=("lstm", "gru", "rnn"), default=["lstm"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="file for the results as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*json.loads(options.worker))
        return
    results = []
    for cell in options.cells:
        for both in (False, True):
            found = measure(options.steps * BATCH, cell, both, options.rounds, options.threads)
            results.append(found)
            print(table(results[-1:]).splitlines()[-1], file=sys.stderr)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads")
    print(results[0]["version"])
    print()
    print(table(results))
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
