"""`rnntk export`: export a trained network for other programs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rnntk.cli.console import Console, shown
from rnntk.cli.model import find_run, model_options
from rnntk.cli.options import PATH, Args, command_named, given, option
from rnntk.run import Run

if TYPE_CHECKING:
    from rnntk.exchange.html import Rounding

# Code that opens each format without rnntk.
OPEN_WITH = {
    "keras": "keras.models.load_model({!r})",
    "savedmodel": 'tf.saved_model.load({!r}).signatures["serving_default"]',
    "onnx": "onnxruntime.InferenceSession({!r})",
    "npz": "numpy.load({!r})",
    "html": "{} in any browser, with a double click",
}


@command_named("export")
@model_options
@option(
    "--format format",
    "Format of the export; html is a page that runs the model.  [default: by --output, else keras]",
    choices=list(OPEN_WITH),
    default="keras",
)
@option(
    "--weights",
    "Number format of the weights in an html page; auto: the smallest that changes the loss by at most 0.002 nats.",
    choices=["auto", "float32", "float16", "int8"],
)
@option("--output", "File to write; savedmodel: a folder.  [default: the run's name]", type=PATH)
def command(args: Args, console: Console) -> None:
    """Export RUN, a run's folder or name (default: the latest run), to use without rnntk.

    After writing, rnntk checks that the export computes the same outputs as the run, and deletes it if not. A JSON file
    beside it describes symbols, inputs and outputs. An html page works offline: it generates text, shades a text by
    surprise, and shows the units; its outputs differ slightly where its weights are rounded (--weights). The format
    onnx needs the packages onnx and onnxruntime.

    Examples:
      rnntk export
      rnntk export runs/linux_kernel-1 --checkpoint last --output kernel.keras
      rnntk export runs/linux_kernel-1 --format onnx
      rnntk export --format html --output my_model.html
    """
    from rnntk.exchange import export

    found = find_run(args.run, args.runs_dir, corpus=args.corpus)
    if args.output and not given("format"):  # the name tells the format
        args.format = export.format_of(args.output)
    target = export.target(found, args.format, args.output)
    if export.needs_tensorflow(found, args.format):
        from rnntk.training import device

        # On the CPU: a graph traced with a GPU may hold cuDNN operators.
        device.ready("cpu", None)
    exported = Run(found, args.checkpoint).export(args.format, target, weights=args.weights)
    facts = {
        "run": f"{shown(found.path)} at step {exported.step}",
        "exported": f"{shown(exported.path)} ({args.format})",
    }
    if exported.sidecar:
        facts["described_in"] = shown(exported.sidecar)
    if rounding := exported.rounding:
        facts["exported"] += f", {exported.path.stat().st_size / 1000:,.0f} kB"
        facts |= _rounded(rounding)
    facts["checked"] = f"differs from the run's own logits by at most {exported.difference:.2g}"
    console.facts(**facts)
    console.note(f"Open it: {OPEN_WITH[args.format].format(exported.path.as_posix())}")
    console.json(
        "export", run=found.path, step=exported.step, format=args.format,
        output=exported.path, description=exported.sidecar, largest_difference=exported.difference,
        rounding=dataclasses.asdict(rounding) if rounding else None,
    )  # fmt: skip


def _rounded(rounding: Rounding) -> dict[str, str]:
    """Facts about the weights and the text of an html page."""
    part = "training" if rounding.split == "train" else "held-out"
    if rounding.loss_change is None:
        return {
            "weights": f"{rounding.weights}; effect on the loss unknown, as the run's text is missing"
        }
    change = f"{round(rounding.loss_change, 4) + 0.0:+.4f} nats on {rounding.symbols:,} symbols of {part} text"
    return {
        "weights": f"{rounding.weights}, which changes the loss by {change}",
        "text": f"{rounding.excerpt:,} characters of the {part} text, shown first in Read and Inside",
    }
