"""Time one training step of rnntk, Keras and PyTorch on the same cores or the same GPU.

    python benchmarks/train_step.py                  # all shapes, a table and a JSON file
    python benchmarks/train_step.py --quick          # two shapes, few rounds
    python benchmarks/train_step.py --device gpu     # four large models, all with TF32

Every step reads its loss; on a GPU it copies its batch from host memory.

Each variant has its own process, so that thread pools do not compete, and waits while another one runs. Rounds
alternate the variants; a figure is the median of the rounds' medians. Machines are noisy: compare ratios within one
run, not times of two runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIANTS = ("rnntk", "keras", "torch")
CLIP_NORM = 5.0
LEARNING_RATE = 0.002


@dataclass(frozen=True)
class Shape:
    """One model and batch."""

    layers: int
    units: int
    batch: int
    length: int
    vocabulary: int

    @property
    def embedding(self) -> int:
        return self.units

    def __str__(self) -> str:
        return f"{self.layers}x{self.units} B{self.batch} T{self.length}"

    def flops(self, cell: str) -> float:
        """Floating-point operations of the products of one step, forward and backward; embedding not folded."""
        gates = 4 if cell == "lstm" else 3
        rows = self.batch * self.length
        per_row = self.units * self.vocabulary
        for layer in range(self.layers):
            inputs = self.embedding if layer == 0 else self.units
            per_row += (inputs + self.units) * gates * self.units
        return 3 * 2.0 * rows * per_row


SHAPES = (
    Shape(2, 128, 50, 200, 99),
    Shape(3, 512, 10, 100, 70),
    Shape(3, 512, 50, 50, 70),
    Shape(1, 128, 50, 50, 70),
    Shape(2, 1024, 64, 128, 100),
)

ROWS = {
    "cpu": [(cell, number) for cell in ("lstm", "gru") for number in range(4)],
    "gpu": [("lstm", 0), ("lstm", 1), ("lstm", 4), ("gru", 0)],
}
"""Default measurements of each device: a cell and an index into `SHAPES`."""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    cell: str
    shape: Shape
    device: str
    precision: str
    threads: int

    def __str__(self) -> str:
        return f"{self.cell} {self.shape} {self.precision}"


# ---- in a worker process -------------------------------------------------------------------------


def batches(shape: Shape) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(0, shape.vocabulary, (shape.batch, shape.length + 1)).astype(np.int32)
    return ids[:, :-1], ids[:, 1:]


def rnntk_step(case: Case) -> Any:
    from rnntk.training import device

    if case.device == "gpu":
        device.ready("gpu", case.threads)
    else:
        device.set_threads(case.threads)
    from rnntk.models.char_rnn import CharRNN
    from rnntk.training import optimizers
    from rnntk.training.step import TrainStep

    shape = case.shape
    model = CharRNN(
        shape.vocabulary,
        case.cell,
        shape.layers,
        shape.units,
        shape.embedding,
        precision=case.precision,
    )
    step = TrainStep(model, optimizers.make("adam", LEARNING_RATE), clip_norm=CLIP_NORM)
    batch = batches(shape)
    states = model.initial_states(shape.batch)
    seed = [0, 0]
    x, y = (step.put(ids) for ids in batch)

    def run() -> float:
        nonlocal states, x, y
        loss, _, states = step(x, y, states, seed)
        # Like `CharTask`: prepares the next batch while the GPU works.
        x, y = (step.put(ids) for ids in batch)
        return float(loss)

    return run


def keras_step(case: Case) -> Any:
    """Training as a careful user of Keras would write it."""
    import keras
    import tensorflow as tf

    shape, cell = case.shape, case.cell
    tf.config.threading.set_intra_op_parallelism_threads(case.threads)
    tf.config.threading.set_inter_op_parallelism_threads(case.threads)
    if case.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    embedding = keras.layers.Embedding(shape.vocabulary, shape.embedding)
    recurrent = [
        kind(shape.units, return_sequences=True, return_state=True) for _ in range(shape.layers)
    ]
    output = keras.layers.Dense(shape.vocabulary, dtype="float32")
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    per_layer = 2 if cell == "lstm" else 1

    def forward(x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        x = embedding(x)
        after: list[Any] = []
        for i, layer in enumerate(recurrent):
            x, *new = layer(x, initial_state=states[i * per_layer : (i + 1) * per_layer])
            after += new
        return output(x), after

    dtype = recurrent[0].compute_dtype
    states = [tf.zeros((shape.batch, shape.units), dtype) for _ in range(per_layer * shape.layers)]
    x, y = batches(shape)
    width = shape.embedding
    embedding.build((None, None))
    for layer in recurrent:
        layer.build((None, None, width))
        width = shape.units
    output.build((None, None, width))
    variables = [v for layer in (embedding, *recurrent, output) for v in layer.trainable_variables]
    optimizer.build(variables)

    @tf.function
    def step(x: Any, y: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            logits, after = forward(x, states)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
            )
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.apply(gradients, variables)
        return loss, after

    def run() -> float:
        nonlocal states
        loss, states = step(x, y, states)
        return float(loss)

    return run


def torch_step(case: Case) -> Any:
    import torch

    shape, cell = case.shape, case.cell
    torch.set_num_threads(case.threads)
    place = torch.device("cuda" if case.device == "gpu" else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    embedding = torch.nn.Embedding(shape.vocabulary, shape.embedding)
    recurrent = kind(shape.embedding, shape.units, shape.layers, batch_first=True)
    output = torch.nn.Linear(shape.units, shape.vocabulary)
    for module in (embedding, recurrent, output):
        module.to(place)
    parameters = [p for m in (embedding, recurrent, output) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)
    x, y = (torch.from_numpy(ids).long() for ids in batches(shape))
    zeros = torch.zeros(shape.layers, shape.batch, shape.units, device=place)
    states: Any = (zeros, zeros) if cell == "lstm" else zeros
    low = case.precision == "bfloat16"

    def run() -> float:
        nonlocal states
        optimizer.zero_grad()
        here, targets = x.to(place, non_blocking=True), y.to(place, non_blocking=True)
        with torch.autocast(place.type, torch.bfloat16, enabled=low):
            outputs, after = recurrent(embedding(here), states)
            logits = output(outputs)
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        states = tuple(s.detach() for s in after) if cell == "lstm" else after.detach()
        return float(loss.detach())

    return run


def large_product_rate() -> float:
    """FLOP/s of TensorFlow's 2048x2048 float32 product on the whole device, best of ten."""
    import tensorflow as tf

    size = 2048
    a = tf.random.stateless_normal((size, size), [0, 1])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    product().numpy()
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        product().numpy()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def peak_memory() -> int:
    """This process's peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def work(variant: str, case: Case) -> None:
    """Answer commands on stdin; each command and answer is one line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of a framework must not mix with the answers

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    if variant == "torch":
        import torch

        version = torch.__version__
    else:
        import keras
        import tensorflow as tf

        version = f"{tf.__version__}, Keras {keras.__version__}"
    start = time.perf_counter()
    if variant == "rnntk":
        # The compiler's library is imported beforehand; compiling counts to the first step.
        from llvmlite import binding  # noqa: F401
    before = peak_memory()
    make = {"rnntk": rnntk_step, "keras": keras_step, "torch": torch_step}[variant]
    run = make(case)
    loss = run()
    answer(version=version, first=time.perf_counter() - start, loss=loss)
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "time":
            times = []
            for _ in range(command["steps"]):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            answer(seconds=statistics.median(times))
        elif command["do"] == "memory":
            answer(bytes=peak_memory() - before)
        elif command["do"] == "rate":
            answer(rate=large_product_rate())


# ---- in the main process ---------------------------------------------------------------------------


class Worker:
    """One variant in its own process, idle between its turns."""

    def __init__(self, variant: str, case: Case) -> None:
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the workers share the memory of one GPU
            "OMP_NUM_THREADS": str(case.threads),
        }
        if case.device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = "-1"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps([variant, asdict(case)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "BENCH_DEBUG" not in os.environ else None,
            text=True,
            env=environment,
        )
        self.hello: dict[str, Any] = {}

    def wait(self) -> None:
        """Wait for its first step."""
        self.hello = self.hello or self._read()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a worker ended; run again with BENCH_DEBUG=1 to see why")
        return json.loads(line)

    def ask(self, **command: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(case: Case, variants: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Medians of alternating rounds of all variants."""
    workers = {}
    for variant in variants:
        workers[variant] = Worker(variant, case)
        if case.device == "cpu":
            workers[variant].wait()
    try:
        for worker in workers.values():
            worker.wait()
        steps = {}
        for variant, worker in workers.items():
            warm = worker.ask(do="time", steps=3)["seconds"]
            steps[variant] = max(2, round(seconds / warm))
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        for _ in range(rounds):
            for variant, worker in workers.items():
                times[variant].append(worker.ask(do="time", steps=steps[variant])["seconds"])
        result: dict[str, Any] = {
            "cell": case.cell,
            "shape": str(case.shape),
            "precision": case.precision,
            "flops": case.shape.flops(case.cell),
        }
        for variant, worker in workers.items():
            result[variant] = {
                "seconds": statistics.median(times[variant]),
                "rounds": times[variant],
                "peak_bytes": worker.ask(do="memory")["bytes"],
                "first_step_seconds": worker.hello["first"],
                "version": worker.hello["version"],
            }
        if "keras" in workers:
            result["product_rate"] = workers["keras"].ask(do="rate")["rate"]
        return result
    finally:
        for worker in workers.values():
            worker.close()


def table(results: list[dict[str, Any]], variants: list[str]) -> str:
    """The results as Markdown, with ratios to rnntk if it is among them."""
    ours = "rnntk" in variants
    peers = [variant for variant in variants if ours and variant != "rnntk"]
    head = [
        "cell",
        "shape",
        "precision",
        *(f"{v} ms" for v in variants),
        *(f"vs {v}" for v in peers),
    ]
    head += [*(["share of product rate"] if ours else []), *(f"{v} MiB" for v in variants)]
    head += [f"{v} first step s" for v in variants]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in results:
        row = [
            r["cell"],
            r["shape"],
            r["precision"],
            *(f"{r[v]['seconds'] * 1e3:.2f}" for v in variants),
        ]
        row += [f"{r[v]['seconds'] / r['rnntk']['seconds']:.2f}" for v in peers]
        if ours:
            rate = r.get("product_rate")
            row.append(f"{r['flops'] / r['rnntk']['seconds'] / rate:.0%}" if rate else "")
        row += [f"{r[v]['peak_bytes'] / 2**20:.0f}" for v in variants]
        row += [f"{r[v]['first_step_seconds']:.1f}" for v in variants]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two shapes, three short rounds")
    parser.add_argument("--rounds", type=int, help="alternating rounds (7; 3 when quick)")
    parser.add_argument("--seconds", type=float, help="of each variant's turn (2; 1 when quick)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32"]
    )
    parser.add_argument("--cells", nargs="+", choices=("lstm", "gru"))
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=int,
        choices=range(len(SHAPES)),
        help=", ".join(f"{number}: {shape}" for number, shape in enumerate(SHAPES)),
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, help="file for the results as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        variant, fields = json.loads(options.worker)
        work(variant, Case(**{**fields, "shape": Shape(**fields["shape"])}))
        return

    rounds = options.rounds or (3 if options.quick else 7)
    seconds = options.seconds or (1.0 if options.quick else 2.0)
    rows = ROWS[options.device]
    if options.cells or options.shapes or options.quick:
        numbers = options.shapes or ([0, 1] if options.quick else sorted({n for _, n in rows}))
        rows = [(cell, n) for cell in options.cells or ("lstm", "gru") for n in numbers]
    results = []
    for precision in options.precision:
        for cell, number in rows:
            case = Case(cell, SHAPES[number], options.device, precision, options.threads)
            results.append(measure(case, options.variants, rounds, seconds))
            print(table(results[-1:], options.variants).splitlines()[-1], file=sys.stderr)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads")
    for variant in options.variants:
        print(f"{variant}: {results[0][variant]['version']}")
    if "product_rate" in results[0]:
        rates = [result["product_rate"] / 1e9 for result in results]
        print(f"large product: {statistics.median(rates):.0f} GFLOP/s")
    print()
    print(table(results, options.variants))
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
