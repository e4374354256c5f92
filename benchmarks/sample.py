"""Characters per second of rnntk's sampler, Keras and PyTorch on the same cores.

    python benchmarks/sample.py            # both models, every variant, a Markdown table
    python benchmarks/sample.py --quick    # few short rounds

Every variant samples from the full softmax of a model with random weights, one character after another, and
returns the text. Each has its own process and waits while another one runs. Rounds alternate the variants; a figure is
the median of its rounds, a ratio the median of the rounds' ratios. Machines are noisy: compare ratios within one run,
not figures of two runs.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Draw = Callable[[int], int]  # number of symbols -> symbols sampled


@dataclass(frozen=True)
class Model:
    """One model to sample from."""

    layers: int
    units: int
    vocabulary: int

    def __str__(self) -> str:
        return f"{self.layers}x{self.units}, {self.vocabulary} symbols"

    @property
    def alphabet(self) -> str:
        return "".join(chr(33 + k) for k in range(self.vocabulary))

    def weights(self) -> dict[str, np.ndarray]:
        """Weights of the size that training gives, so that zeros and denormals save no time."""
        rng = np.random.default_rng(0)
        V, H = self.vocabulary, self.units

        def draw(*shape: int) -> np.ndarray:
            return rng.normal(0, 1 / np.sqrt(H), shape).astype(np.float32)

        found = {"embedding/embeddings": draw(V, H)}
        for k in range(self.layers):
            found[f"rnn_{k}/kernel"] = draw(H, 4 * H)
            found[f"rnn_{k}/recurrent_kernel"] = draw(H, 4 * H)
            found[f"rnn_{k}/bias"] = draw(4 * H)
        return found | {"output/kernel": draw(H, V), "output/bias": draw(V)}


MODELS = {"2x128": Model(2, 128, 99), "3x512": Model(3, 512, 70)}
# Least speed-up over each peer, and of 64 streams in total over one stream.
TARGETS = {
    "2x128": {"keras-char": 15, "keras-graph": 3, "torch": 6, "rnntk-64": 10},
    "3x512": {"keras-char": 8, "keras-graph": 3, "torch": 15, "rnntk-64": 10},
}


# ---- in a worker process -------------------------------------------------------------------------


def rnntk(
    model: Model, num: int = 1, at_once: int | None = None, compiled: bool = True, **options: Any
) -> Draw:
    """Texts of `at_once` characters, or one text of all; options as for `SampleConfig`."""
    from rnntk.config import SampleConfig
    from rnntk.decoding.decoder import Decoder
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.text.preprocessors import Plain
    from rnntk.text.vocabulary import Vocabulary

    decoder = Decoder(model.weights(), "lstm", compiled=compiled)
    language_model = LanguageModel(decoder, Vocabulary(model.alphabet), Plain())
    prompt = language_model.prompt("ABC")

    def draw(count: int) -> int:
        length = at_once or count // num
        done = 0
        while done < count:
            config = SampleConfig(length=length, num=num, **options)
            pieces = language_model.pieces(prompt, config, seed=done)
            done += sum(len(piece.text) for piece in pieces)
        return done

    return draw


def rnntk_eval(model: Model) -> Draw:
    """The losses of a given text."""
    from rnntk.decoding.decoder import Decoder

    decoder = Decoder(model.weights(), "lstm")
    rng = np.random.default_rng(0)

    def draw(count: int) -> int:
        return len(decoder.costs(rng.integers(0, model.vocabulary, count + 1)))

    return draw


def keras_model(model: Model) -> tuple[Any, list[Any], Any]:
    import keras

    H = model.units
    embedding = keras.layers.Embedding(model.vocabulary, H)
    layers = [
        keras.layers.LSTM(H, return_sequences=True, return_state=True) for _ in range(model.layers)
    ]
    output = keras.layers.Dense(model.vocabulary)
    embedding.build((None, None))
    for layer in layers:
        layer.build((None, None, H))
    output.build((None, None, H))
    named = model.weights()
    embedding.set_weights([named["embedding/embeddings"]])
    for k, layer in enumerate(layers):
        layer.set_weights([named[f"rnn_{k}/{p}"] for p in ("kernel", "recurrent_kernel", "bias")])
    output.set_weights([named["output/kernel"], named["output/bias"]])
    return embedding, layers, output


def keras_char(model: Model) -> Draw:
    """One call of a `tf.function` per character, sampling included."""
    import tensorflow as tf

    embedding, layers, output = keras_model(model)

    @tf.function(autograph=False)
    def step(ids: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        x = embedding(ids)
        after = []
        for k, layer in enumerate(layers):
            x, h, c = layer(x, initial_state=states[2 * k : 2 * k + 2])
            after += [h, c]
        drawn = tf.random.categorical(output(x)[:, -1], 1, dtype=tf.int32)
        return drawn, after

    def draw(count: int) -> int:
        ids = tf.zeros((1, 1), tf.int32)
        states = [tf.zeros((1, model.units))] * (2 * model.layers)
        text = []
        for _ in range(count):
            ids, states = step(ids, states)
            text.append(model.alphabet[int(ids[0, 0])])
        return len("".join(text))

    return draw


def keras_graph(model: Model) -> Draw:
    """The whole loop in one `tf.function` on the layers' cells; the text comes only at the end."""
    import tensorflow as tf

    embedding, layers, output = keras_model(model)

    @tf.function(autograph=False)
    def loop(count: Any) -> Any:
        drawn = tf.TensorArray(tf.int32, count)

        def body(t: Any, ids: Any, drawn: Any, *states: Any) -> tuple[Any, ...]:
            x = embedding(ids)
            after: list[Any] = []
            for k, layer in enumerate(layers):
                x, new = layer.cell(x, states[2 * k : 2 * k + 2])
                after += new
            ids = tf.random.categorical(output(x), 1, dtype=tf.int32)[:, 0]
            return (t + 1, ids, drawn.write(t, ids[0]), *after)

        states = [tf.zeros((1, model.units))] * (2 * model.layers)
        start = (tf.constant(0), tf.zeros(1, tf.int32), drawn, *states)
        return tf.while_loop(lambda t, *_: t < count, body, start)[2].stack()

    def draw(count: int) -> int:
        ids = loop(tf.constant(count)).numpy()
        return len("".join([model.alphabet[k] for k in ids.tolist()]))

    return draw


def pytorch(model: Model) -> Draw:
    import torch

    H, V = model.units, model.vocabulary
    embedding = torch.nn.Embedding(V, H)
    lstm = torch.nn.LSTM(H, H, model.layers, batch_first=True)
    output = torch.nn.Linear(H, V)
    named = model.weights()

    @torch.inference_mode()
    def draw(count: int) -> int:
        ids = torch.zeros(1, 1, dtype=torch.long)
        states = None
        text = []
        for _ in range(count):
            x, states = lstm(embedding(ids), states)
            ids = torch.multinomial(torch.softmax(output(x[:, -1]), -1), 1)
            text.append(model.alphabet[int(ids)])
        return len("".join(text))

    with torch.no_grad():
        embedding.weight.copy_(torch.from_numpy(named["embedding/embeddings"]))
        output.weight.copy_(torch.from_numpy(named["output/kernel"].T.copy()))
        output.bias.copy_(torch.from_numpy(named["output/bias"]))
        for k in range(model.layers):  # PyTorch orders the gates i, f, g, o too
            for theirs, ours in (("weight_ih", "kernel"), ("weight_hh", "recurrent_kernel")):
                weight = torch.from_numpy(named[f"rnn_{k}/{ours}"].T.copy())
                getattr(lstm, f"{theirs}_l{k}").copy_(weight)
            getattr(lstm, f"bias_ih_l{k}").copy_(torch.from_numpy(named[f"rnn_{k}/bias"]))
            getattr(lstm, f"bias_hh_l{k}").zero_()
    return draw


VARIANTS: dict[str, Callable[[Model], Draw]] = {
    "rnntk": rnntk,
    "rnntk-1000": lambda model: rnntk(model, 1, 1000),
    "rnntk-top-k": lambda model: rnntk(model, 1, 1000, temperature=0.8, top_k=20),
    "rnntk-numpy": lambda model: rnntk(model, 1, 1000, compiled=False),
    "rnntk-eval": rnntk_eval,
    "rnntk-64": lambda model: rnntk(model, 64),
    "keras-char": keras_char,
    "keras-graph": keras_graph,
    "torch": pytorch,
}
NAMES = {
    "rnntk": "rnntk, one stream",
    "rnntk-1000": "rnntk, texts of 1,000 one after another (`rnntk sample`)",
    "rnntk-top-k": "the same with `--temperature 0.8 --top-k 20`",
    "rnntk-numpy": "the same in plain NumPy, without kernels",
    "rnntk-eval": "rnntk, a given text's losses (`rnntk eval`)",
    "rnntk-64": "rnntk, 64 streams in sum",
    "keras-char": "Keras, one `tf.function` call a character",
    "keras-graph": "Keras, loop inside the graph",
    "torch": "PyTorch `nn.LSTM`",
}


def work(variant: str, model: Model, seconds: float) -> None:
    """Answer each line on stdin with the characters per second of one round."""
    draw = VARIANTS[variant](model)
    count = 256
    while True:  # the first call also compiles
        start = time.perf_counter()
        draw(count)
        took = time.perf_counter() - start
        if took > seconds / 4 and count > 256:
            break
        count *= 2
    count = max(256, int(count * seconds / took) // 64 * 64)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        done = draw(count)
        print(done / (time.perf_counter() - start), flush=True)


# ---- in the main process -------------------------------------------------------------------------


class Worker:
    """A variant in its own process."""

    def __init__(self, variant: str, model: str, seconds: float) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, "--worker", variant, model, str(seconds)]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._answer() == "ready"

    def round(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.process.args} ended early")
        return line


def measure(model: str, variants: list[str], rounds: int, seconds: float) -> dict[str, list[float]]:
    workers = {variant: Worker(variant, model, seconds) for variant in variants}
    rates: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, worker in workers.items():
            time.sleep(0.3)  # until the other processes' threads stop spinning
            rates[variant].append(worker.round())
    for worker in workers.values():
        worker.close()
    return rates


def ratio(rates: dict[str, list[float]], variant: str) -> float | None:
    """The ratio of rnntk to a peer, or of many streams to one."""
    if "rnntk" not in rates:
        return None
    pairs = zip(rates["rnntk"], rates[variant], strict=True)
    many = variant.startswith("rnntk-64")
    return statistics.median(b / a if many else a / b for a, b in pairs)


def table(model: str, rates: dict[str, list[float]]) -> str:
    lines = [
        f"| {MODELS[model]} | characters per second | speed-up by rnntk | target |",
        "|---|---:|---:|---:|",
    ]
    for variant, found in rates.items():
        factor = ratio(rates, variant)
        target = TARGETS[model].get(variant)
        shown = "" if factor is None or variant == "rnntk" else f"{factor:.1f}"
        if variant.startswith("rnntk-64") and shown:
            shown += " (to one stream)"
        lines.append(
            f"| {NAMES[variant]} | {statistics.median(found):,.0f} | {shown} | {target or ''} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="per round")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 s")
    parser.add_argument("--json", type=Path, help="file for all rounds as JSON")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        variant, model, seconds = options.worker
        work(variant, MODELS[model], float(seconds))
        return
    if options.quick:
        options.rounds, options.seconds = 3, 0.3
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, ", end="")
    print(f"load {os.getloadavg()[0]:.1f} before\n", flush=True)
    everything = {}
    for model in options.models:
        rates = measure(model, options.variants, options.rounds, options.seconds)
        everything[model] = rates
        print(table(model, rates), "\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
