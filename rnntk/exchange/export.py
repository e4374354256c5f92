"""Export a run's network, and check the export against the run's own outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnntk import __version__
from rnntk.errors import RnntkError, RunError, UsageError, did_you_mean
from rnntk.exchange import network
from rnntk.exchange.network import Arrays, PlainNetwork
from rnntk.files import disk_errors, rename, scratch, write_bytes
from rnntk.installation import install_command
from rnntk.storage import folder
from rnntk.storage.checkpoint import Checkpoint
from rnntk.storage.folder import RunFolder

if TYPE_CHECKING:
    from rnntk.exchange.html import Rounding

# File suffixes; a SavedModel is a folder.
FORMATS = {"keras": ".keras", "savedmodel": "", "onnx": ".onnx", "npz": ".npz", "html": ".html"}
FORMAT_VERSION = 1
TOLERANCE = 1e-4  # relative to the largest output (at least 1): a few hundred float32 roundings

Write = Callable[[PlainNetwork, Path], None]
Run = Callable[[Path, Arrays], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Exported:
    """An export on disk."""

    path: Path  # the file, or the SavedModel's folder
    sidecar: Path | None  # JSON file next to it with symbols, inputs and outputs; None for HTML
    step: int  # of the checkpoint
    difference: float  # largest absolute difference from the run's own outputs
    rounding: Rounding | None = None  # of the weights, in HTML


def needs_tensorflow(run: RunFolder, format: str) -> bool:
    """Whether this export imports TensorFlow, whose device must then be set first."""
    return format in ("keras", "savedmodel") or run.kind != folder.CHAR_RNN


def target(run: RunFolder, format: str, path: str | Path | None = None) -> Path:
    """Path of a new export, by default named after the run; `UsageError` if it exists or does not fit `format`."""
    if not isinstance(format, str) or format not in FORMATS:
        hint = did_you_mean(str(format), FORMATS)
        raise UsageError(f"`format` must be one of {', '.join(FORMATS)}, got {format!r}.{hint}")
    ending = FORMATS[format]
    output = Path(path or run.path.resolve().name + (ending or "-savedmodel"))
    if not output.name:
        raise UsageError(f"{output} is a folder. Name a file or folder in it.")
    # Keras opens no other name; the other formats have endings in any case.
    suffix = output.suffix if format == "keras" else output.suffix.lower()
    if ending and suffix != ending:
        raise UsageError(f'With `format="{format}"` a name must end in {ending}, got {output}.')
    for taken in (output,) if format == "html" else (output, sidecar_of(output)):
        if taken.exists():
            advice = "Remove it, or choose another name."
            raise UsageError(f"{taken} exists already. {advice}")
    return output


def format_of(path: Path) -> str:
    """Format of an export by the ending of its name, in any case; `UsageError` if it has none of the endings."""
    endings = {ending: name for name, ending in FORMATS.items() if ending}
    if path.suffix.lower() not in endings:
        *most, last = endings
        raise UsageError(
            f"{path} has no ending of an export: {', '.join(most)} or {last}. Rename it, or give "
            '`format="savedmodel"` for a folder.'
        )
    return endings[path.suffix.lower()]


def sidecar_of(output: Path) -> Path:
    return output.with_name(output.name + ".json")


def export(
    run: RunFolder, saved: Checkpoint, format: str, output: Path, weights: str | None = None
) -> Exported:
    """Export a checkpoint. It is loaded again and must give the run's outputs before it is moved to `output`.

    `weights` is the type of the weights in HTML (see `html.build`); there the `difference` is due to their rounding.

    Raises `UsageError` as `target` and `html.build`, `RunError` if the export cannot be written or its outputs differ,
    `RnntkError` if the format's package is not installed.
    """
    target(run, format, output)
    if format == "html":
        return _html(run, saved, output, weights)
    if weights is not None:
        raise UsageError(f'`weights` is for `format="html"`; {format} always holds float32.')
    net = network.of_run(run, saved)
    write, run_written = _backend(format, net)
    inputs = net.probe()
    expected = net.answers(inputs)
    with disk_errors(output, advice="Choose another place.", error=RunError):
        output.parent.mkdir(parents=True, exist_ok=True)
        with scratch(output.parent) as aside:
            written = aside / f"export{FORMATS[format]}"  # NumPy appends a missing .npz
            write(net, written)
            difference = compare(expected, run_written(written, inputs), output)
            made = Exported(output, sidecar_of(output), saved.progress.step, difference)
            description = json.dumps(_describe(run, net, format, made), indent=2)
            sidecar_of(written).write_text(description + "\n", encoding="utf-8")
            rename(sidecar_of(written), sidecar_of(output))
            rename(written, output)
    return made


def _html(run: RunFolder, saved: Checkpoint, output: Path, weights: str | None) -> Exported:
    from rnntk.exchange import html

    page = html.build(run, saved, weights or html.AUTO)
    net = network.of_run(run, saved)
    inputs = net.probe()
    own, found = (n.answers(inputs)["logits"] for n in (net, replace(net, weights=page.weights)))
    with disk_errors(output, advice="Choose another place.", error=RunError):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, page.content)
    difference = float(np.max(np.abs(own - found)))
    return Exported(output, None, saved.progress.step, difference, page.rounding)


def compare(expected: Arrays, found: Arrays, output: Path) -> float:
    """Largest absolute difference of two models' outputs; `RunError` if it is not rounding or the shapes differ."""
    largest, problem = 0.0, ""
    for name, own in expected.items():
        shape = found[name].shape if name in found else None
        if shape != own.shape:
            problem = f"its {name} has shape {shape} instead of {own.shape}"
            break
        difference = float(np.max(np.abs(own - found[name])))
        allowed = TOLERANCE * max(1.0, float(np.max(np.abs(own))))
        if not difference <= allowed:  # also catches NaN
            problem = f"its {name} differs from the run's own by {difference:.3g}, more than {allowed:.1g}"
            break
        largest = max(largest, difference)
    if problem:
        advice = (
            "Choose another `format`, and report this with the versions of TensorFlow and Keras."
        )
        raise RunError(f"The export {output} was removed: {problem}. {advice}")
    return largest


def _backend(format: str, net: PlainNetwork) -> tuple[Write, Run]:
    if format == "npz":
        return _write_npz, partial(_run_npz, net)
    if format == "onnx":
        try:
            from rnntk.exchange import onnx_graph
        except ImportError as error:
            problem = f'`format="onnx"` needs the packages onnx and onnxruntime ({error}).'
            raise RnntkError(f"{problem} Install them: {install_command('onnx')}") from error
        return onnx_graph.write, onnx_graph.run
    from rnntk.exchange import stock_keras

    if format == "keras":
        return stock_keras.write_keras, stock_keras.run_keras
    return stock_keras.write_savedmodel, stock_keras.run_savedmodel


def _write_npz(net: PlainNetwork, path: Path) -> None:
    np.savez(path, **net.weights)  # type: ignore[arg-type]


def _run_npz(net: PlainNetwork, path: Path, inputs: Arrays) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as arrays:
        return replace(net, weights=dict(arrays)).answers(inputs)


def _describe(run: RunFolder, net: PlainNetwork, format: str, made: Exported) -> dict[str, Any]:
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "rnntk": __version__,
        "file": made.path.name,
        "format": format,
        "run": run.name,
        "step": made.step,
        "kind": run.kind,
        "model": run.record["model"],
        "largest_difference": made.difference,
    }
    if format == "npz":
        description["weights"] = {name: list(w.shape) for name, w in net.weights.items()}
    else:
        for key, specs in (("inputs", net.input_specs()), ("outputs", net.output_specs())):
            description[key] = {name: [kind, list(shape)] for name, (kind, shape) in specs.items()}
    if run.kind == folder.CHAR_RNN:
        vocabulary = run.vocabulary()
        description["symbols"] = list(vocabulary.symbols)
        description["unknown_symbol"] = vocabulary.unknown_symbol
        for key in ("preprocessor", "preprocessor_version"):
            description[key] = run.record["corpus"].get(key)
    else:
        description |= _rows(run)
    return description


def _rows(run: RunFolder) -> dict[str, Any]:
    """Meaning of a classifier's input in words; for pixels in a random order, also each step's index in the image."""
    from rnntk.corpora.images import SIDE, PixelOrder

    order = run.record["model"].get("order", "rows")
    found: dict[str, Any] = {"rows": f"an image's {_ORDERS[order]}; values from 0 to 1"}
    permutation = PixelOrder(order, (SIDE, SIDE), run.config.seed).permutation
    return found if permutation is None else {**found, "permutation": permutation.tolist()}


_ORDERS = {
    "rows": "rows, from top to bottom",
    "pixels": "pixels, one per time step, row by row from the top",
    "permuted": "pixels, one per time step, in the order of `permutation` (0: top left, row by row)",
}
