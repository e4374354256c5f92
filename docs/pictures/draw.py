"""Draw the pictures of docs/guide.md that `rnntk plot` cannot draw, from runs made with the guide's commands.

    python docs/pictures/draw.py RUNS_FOLDER [NAME...] [--output FOLDER]

Needs Matplotlib. `PICTURES` names the runs that each picture needs; without them the picture is skipped. Pictures are
written to the current folder, or to the folder of `--output`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

COLOURS = ["#2b6cb0", "#c05621", "#2f855a", "#6b46c1"]
TRACE_2017 = {0: 4.6006, 100: 3.1259, 200: 2.5992, 300: 2.4603, 400: 2.2591, 500: 2.0035}
# Minutes and validation loss on tiny-shakespeare, from nanoGPT's README.
NANOGPT = {"CPU": (3, 1.88), "A100 GPU": (3, 1.4697)}


def series(runs: Path, name: str, key: str, over: str = "step") -> tuple[np.ndarray, np.ndarray]:
    """The columns `over` and `key` of a run's metrics."""
    lines = [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
    pairs = [(line[over], line[key]) for line in lines if key in line]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def smooth(values: np.ndarray, over: int) -> np.ndarray:
    """Running mean over the last `over` values."""
    sums = np.cumsum(np.insert(values.astype(float), 0, 0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - over)
    return (sums[ends] - sums[starts]) / (ends - starts)


def kernel(runs: Path, axes: Any) -> None:
    steps, loss = series(runs, "kernel", "loss")
    axes[0].plot(steps, loss, color=COLOURS[0], lw=1, label="rnntk")
    axes[0].plot(
        *zip(*TRACE_2017.items(), strict=True), "o", color=COLOURS[1], label="2017 notebook"
    )
    axes[0].set(xlabel="step", ylabel="nats per character")
    axes[0].legend(frameon=False)


def vanishing(runs: Path, axes: Any) -> None:
    for i, cell in enumerate(("rnn", "gru", "lstm")):
        reach = gradient_reach(runs / f"cell-{cell}")
        axes[0].semilogy(np.arange(len(reach)), reach, color=COLOURS[i], lw=1.3, label=cell)
    axes[0].set(xlabel="characters back", ylabel="gradient, as a share of the last one's")
    axes[0].legend(frameon=False)


def gradient_reach(path: Path, windows: int = 50, length: int = 60) -> np.ndarray:
    """How strongly the loss at one character pulls at what was read k characters before, k from 0.

    The norm of its gradient for each step's embedded character, mean over windows of text, as a share of the
    one for the character just read.
    """
    import tensorflow as tf

    from rnntk.models.char_rnn import CharRNN
    from rnntk.models.weights import named_weights
    from rnntk.storage import folder
    from rnntk.training.session import load_weights

    run = folder.open_run(path)
    keys = ("cell", "layers", "units", "embedding")
    vocabulary = run.vocabulary()
    model = CharRNN(len(vocabulary), **{key: run.settings[key] for key in keys})
    load_weights(named_weights(model), run.checkpoint().weights())
    text = Path(json.__file__).with_name("decoder.py").read_text()  # like the training text
    ids = vocabulary.encode("".join(c for c in text if c in set(vocabulary.symbols)))
    starts = np.random.default_rng(0).integers(0, len(ids) - length, windows)
    x = np.stack([ids[s : s + length + 1] for s in starts]).astype(np.int32)

    @tf.function
    def gradient() -> tf.Tensor:
        embedded = tf.gather(model.embedding.embeddings.value, x[:, :-1])
        with tf.GradientTape() as tape:
            tape.watch(embedded)
            outputs = embedded
            for layer in model.recurrent:
                outputs = layer(outputs, initial_state=model.initial_states(windows))[0]
            logits = model.output_layer(outputs[:, -1])
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(x[:, -1], logits)
        return tape.gradient(loss, embedded)

    norms = np.linalg.norm(gradient().numpy(), axis=2).mean(axis=0)[::-1]
    return norms / norms[0]


def minchar(runs: Path, axes: Any) -> None:
    reports = json.loads((runs / "minchar.json").read_text())["reports"]
    axes[0].plot(
        [r["iteration"] for r in reports], [r["smoothed_loss"] for r in reports], color=COLOURS[0]
    )
    axes[0].set(xlabel="iteration", ylabel="smoothed loss, nats in 25 characters", ylim=(0, None))


def mnist(runs: Path, axes: Any) -> None:
    for i, (run, label) in enumerate({"one": "one direction", "both": "both directions"}.items()):
        steps, accuracy = series(runs, run, "accuracy")
        axes[0].plot(steps, smooth(1 - accuracy, 100) * 100, color=COLOURS[i], lw=1)
        steps, accuracy = series(runs, run, "val_accuracy")
        axes[0].plot(steps, (1 - accuracy) * 100, "o-", ms=3, color=COLOURS[i], label=label)
    axes[0].set(xlabel="step", ylabel="% wrong (dots: held-out images)", ylim=(0, 6))
    axes[0].legend(frameon=False)


def minutes(runs: Path, axes: Any) -> None:
    for i, (run, units) in enumerate({"small": 128, "best": 512}.items()):
        seconds, loss = series(runs, run, "val_loss", over="seconds")
        axes[0].semilogx(
            seconds / 60, loss, color=COLOURS[i], label=f"rnntk, 2 x {units}, 2 CPU cores"
        )
    for i, (device, (minute, loss)) in enumerate(NANOGPT.items(), 2):
        axes[0].plot(minute, loss, "o", color=COLOURS[i])
        axes[0].annotate(
            f"nanoGPT, {device}", (minute, loss - 0.02), va="top", ha="center", color=COLOURS[i]
        )
    ticks = [0.5, 1, 2, 5, 10, 20, 30]
    axes[0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].set(xlabel="minutes", ylabel="validation loss, nats per character", ylim=(1.38, 2.15))
    axes[0].legend(frameon=False, loc="upper left")


PICTURES = {
    "minutes": (minutes, 1, ["small", "best"]),
    "kernel": (kernel, 1, ["kernel"]),
    "vanishing": (vanishing, 1, ["cell-rnn", "cell-gru", "cell-lstm"]),
    "minchar": (minchar, 1, ["minchar.json"]),
    "mnist": (mnist, 1, ["one", "both"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw pictures of docs/guide.md from runs.")
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the pictures")
    args = parser.parse_args()
    runs, wanted = args.runs, args.names or list(PICTURES)
    if unknown := set(wanted) - set(PICTURES):
        parser.error(f"unknown picture {', '.join(unknown)}; choose from {', '.join(PICTURES)}")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    for name in wanted:
        draw, panels, needed = PICTURES[name]
        if not all((runs / one).exists() for one in needed):
            print(f"{name}: skipped, {runs} lacks {', '.join(needed)}")
            continue
        figure, axes = plt.subplots(1, panels, figsize=(4.6 * panels, 2.9), squeeze=False)
        draw(runs, axes[0])
        figure.tight_layout()
        figure.savefig(args.output / f"{name}.png", dpi=100)
        plt.close(figure)
        print(args.output / f"{name}.png")


if __name__ == "__main__":
    main()
