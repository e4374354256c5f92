"""`rnntk export`: export a trained network for other programs."""

from __future__ import annotations

from rnntk.cli.console import Console, shown
from rnntk.cli.model import chosen, model_options
from rnntk.cli.options import Args, command_named, option, path_option
from rnntk.run import Run

# Code that opens each format without rnntk.
OPEN_WITH = {
    "keras": "keras.models.load_model({!r})",
    "savedmodel": 'tf.saved_model.load({!r}).signatures["serving_default"]',
    "onnx": "onnxruntime.InferenceSession({!r})",
    "npz": "numpy.load({!r})",
}


@command_named("export")
@model_options("last", "Which checkpoint of the run.")
@option(
    "--format",
    "format",
    choices=list(OPEN_WITH),
    default="keras",
    help="Format of the file; onnx needs the packages onnx and onnxruntime.",
)
@path_option("--output", "PATH", "The file to write.  [default: the run's name, in this folder]")
def command(args: Args, console: Console) -> None:
    """Export RUN, a folder or a name in --runs-dir; without it, the run that was trained last.

    The file works without rnntk. It is loaded again and compared with the run's own logits, and removed if they
    differ. A JSON file beside it holds the symbols, inputs and outputs.

    Examples:
      rnntk export
      rnntk export runs/linux_kernel-1 --checkpoint best --output kernel.keras
      rnntk export runs/linux_kernel-1 --format onnx
    """
    from rnntk.exchange import export

    found = chosen(args.run, args.runs_dir, corpus=args.corpus)
    target = export.target(found, args.format, args.output)
    if export.needs_tensorflow(found, args.format):
        from rnntk.training import device

        # On the CPU: a graph traced with a GPU may hold cuDNN operators.
        device.ready("cpu", None)
    made = Run(found, args.checkpoint).export(args.format, target)
    console.facts(
        run=f"{shown(found.path)} at step {made.step}",
        exported=f"{shown(made.path)} ({args.format})",
        described_in=shown(made.sidecar),
        checked=f"differs from the run's own logits by at most {made.difference:.2g}",
    )
    console.note(f"Open it: {OPEN_WITH[args.format].format(made.path.as_posix())}")
    console.json(
        "export", run=found.path, step=made.step, format=args.format,
        output=made.path, description=made.sidecar, largest_difference=made.difference,
    )  # fmt: skip
