"""Time a training step and its all-reduce with 1, 2 and 4 worker processes on this machine.

    python benchmarks/scaling.py                       # the table, and a model of larger clusters
    python benchmarks/scaling.py --workers 1 2 --steps 5

Each worker has one thread; one worker is also timed with two threads, the usual setting on two cores. With fewer
cores than workers, the time of a step is that of an overloaded machine; only the all-reduce and the equality of the
weights are meaningful.
`docs/scaling.md` explains the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnntk.cores import available_cores

VOCABULARY = 99


@dataclass(frozen=True)
class Shape:
    """A model, and the rows of the whole batch."""

    layers: int
    units: int
    batch: int
    length: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.units}, B={self.batch}, T={self.length}"


SHAPES = (Shape(2, 128, 48, 200), Shape(3, 512, 12, 100))


# ---- in a worker process -------------------------------------------------------------------------


def work(shape: Shape, workers: str, index: int, threads: int, steps: int) -> dict[str, Any]:
    """Seconds of one worker for a step, an all-reduce of its gradients' size, and an empty all-reduce."""
    from rnntk.config import DistributeConfig
    from rnntk.training import device

    device.ready("cpu", threads)  # first, because it silences TensorFlow
    import keras
    import numpy as np
    import tensorflow as tf

    from rnntk.models.char_rnn import CharRNN
    from rnntk.training import distribute
    from rnntk.training.job import ALONE

    job = ALONE
    if "," in workers:
        settings = DistributeConfig(distribute="multiworker", workers=workers, index=index)
        job = distribute.start(settings)
    with job.scope():
        model = CharRNN(VOCABULARY, "lstm", shape.layers, shape.units, shape.units)
        optimizer = keras.optimizers.Adam(0.002)
        optimizer.build(model.trainable_variables)
    step = job.step(model, optimizer, shape.batch)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCABULARY, (shape.batch, shape.length + 1)).astype(np.int32)
    states = step.zero_states(shape.batch)
    times = []
    for number in range(steps + 2):
        begin = time.perf_counter()
        loss, _, states = step(ids[:, :-1], ids[:, 1:], states, [0, number])
        float(loss)
        times.append(time.perf_counter() - begin)
    weights = np.concatenate([v.numpy().ravel() for v in model.trainable_variables])
    found = {
        "step": statistics.median(times[2:]),
        "parameters": int(model.count_params()),
        "weights": float(np.abs(weights).sum(dtype=np.float64)),
    }
    if job is ALONE:
        return found

    def add_up(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce("sum", tf.identity(values))[:1]

    @tf.function(autograph=False)
    def reduced(values: tf.Tensor) -> tf.Tensor:
        return job.strategy.run(add_up, (values,))

    for name, size in (("all_reduce", found["parameters"]), ("latency", 1)):
        values = tf.ones([size])
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            job.strategy.experimental_local_results(reduced(values))[0].numpy()
            times.append(time.perf_counter() - begin)
        found[name] = statistics.median(times[3:])
    return found


# ---- in the main process -------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def measure(shape: Shape, count: int, threads: int, steps: int) -> dict[str, Any]:
    """Start the workers and return the figures of the first."""
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
    job = {"shape": shape, "workers": workers, "threads": threads, "steps": steps}
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--work",
                json.dumps({**job, "index": index}, default=asdict),
            ],
            stdout=subprocess.PIPE,
            env=environment,
        )
        for index in range(count)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"a worker failed: {[p.returncode for p in processes]}")
    found = [json.loads(line.splitlines()[-1]) for line in said]
    if len({one["weights"] for one in found}) != 1:
        raise SystemExit("the workers' weights differ")
    return found[0]


def ring(size: float, count: int, per_message: float, per_byte: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes among `count` workers.

    The data travels around the ring twice, in 2 (n - 1) messages of size / n bytes (Thakur et al., 2005).
    """
    return 2 * (count - 1) * (per_message + per_byte * size / count)


LINKS = {
    "1 Gbit/s, 100 us": (100e-6, 1 / 0.125e9),
    "10 Gbit/s, 50 us": (50e-6, 1 / 1.25e9),
    "100 Gbit/s, 10 us": (10e-6, 1 / 12.5e9),
}
COUNTS = (1, 2, 4, 8, 16, 32, 64)


def predict(rows: list[dict[str, Any]]) -> None:
    """Print predicted speed-ups over one worker, for a batch that grows with the workers and for a fixed one.

    TensorFlow's time per message and per byte is measured with two workers on loopback; a link adds its latency
    and limits the bytes per second.
    """
    print("| model, batch of all | link | " + " | ".join(f"{n}" for n in COUNTS) + " |")
    print("|---|---" + "|---" * len(COUNTS) + "|")
    one = {row["shape"]: row for row in rows if (row["workers"], row["threads"]) == (1, 1)}
    two = {row["shape"]: row for row in rows if row["workers"] == 2}
    for shape in (name for name in one if name in two):
        step, size = one[shape]["step"], 4 * one[shape]["parameters"]
        message = two[shape]["latency"] / 2
        byte = max(0.0, (two[shape]["all_reduce"] - two[shape]["latency"]) / size)
        for link, (latency, per_byte) in LINKS.items():
            reduces = [ring(size, n, message + latency, max(byte, per_byte)) for n in COUNTS]
            for kind, speeds in {
                "grows": [n * step / (step + r) for n, r in zip(COUNTS, reduces, strict=True)],
                "stays": [step / (step / n + r) for n, r in zip(COUNTS, reduces, strict=True)],
            }.items():
                cells = " | ".join(f"{speed:.1f}" for speed in speeds)
                print(f"| {shape}, {kind} | {link} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--output", type=Path, help="file for the figures as JSON")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        job = json.loads(given.work)
        print(json.dumps(work(Shape(**job.pop("shape")), **job)))
        return
    cores = available_cores()
    print(
        f"{platform.processor() or platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "| model, whole batch | gradients | workers | threads each | step | all-reduce | empty all-reduce |"
    )
    print("|---|---|---|---|---|---|---|")
    rows = []
    for shape in SHAPES:
        for count, threads in [(1, 2), *((count, 1) for count in given.workers)]:
            found = measure(shape, count, threads, given.steps)
            rows.append({"shape": str(shape), "workers": count, "threads": threads, **found})
            reduces = [
                f"{1000 * found[k]:.2f} ms" if k in found else "-"
                for k in ("all_reduce", "latency")
            ]
            megabytes = f"{4 * found['parameters'] / 1e6:.1f} MB"
            cells = [shape, megabytes, count, threads, f"{1000 * found['step']:.0f} ms", *reduces]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(
        "\nSpeed-up over one worker, computed from the steps of one and the all-reduces of two:\n"
    )
    predict(rows)
    if given.output:
        given.output.write_text(json.dumps({"cores": cores, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
