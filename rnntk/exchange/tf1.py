"""Import a TensorFlow 1 character model of the 2017 notebooks or char-rnn-tensorflow as a run folder.

Cells: `tensorflow/python/ops/rnn_cell_impl.py` of TensorFlow 1. TensorFlow 0.x has other names for the same arrays, and
before 0.12 a checkpoint is a single file (`SaverDef.V1`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from rnntk.config import ModelConfig, TrainConfig
from rnntk.decoding.decoder import Decoder
from rnntk.errors import DataError, RunError, TrainingError, UsageError, listed
from rnntk.exchange.network import PlainNetwork
from rnntk.files import temporary_folder
from rnntk.storage import checkpoint, folder
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.hangul import MARKER
from rnntk.text.vocabulary import Vocabulary

Arrays = dict[str, NDArray[np.float32]]

_CELLS = {"basic_lstm": "lstm", "lstm": "lstm", "gru": "gru", "basic_rnn": "rnn"}
_PARTS = {
    "lstm": ("kernel", "bias"),
    "gru": ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"),
    "rnn": ("kernel", "bias"),
}
_OUTSIDE = ("embedding", "softmax_w", "softmax_b")
_MOST_SECONDS = 600.0  # to read a checkpoint


def read_network(prefix: Path, *, forget_bias: float = 1.0) -> PlainNetwork:
    """Read the network of a checkpoint in another process; `RunError` if it is damaged or not a supported model.

    `prefix` is from `tf1_files.find_checkpoint`; `forget_bias` is that of the LSTM cell, which is not in checkpoints
    (`UsageError` if it is not a finite float32).
    """
    if not abs(forget_bias) <= float(np.finfo(np.float32).max):  # also catches NaN
        raise UsageError(
            f"`forget_bias` must be finite, got {forget_bias:g}. TensorFlow 1's default is 1."
        )
    reader = [sys.executable, str(Path(__file__).with_name("tf1_reader.py")), str(prefix)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    with temporary_folder() as aside:
        target = aside / "variables"
        try:
            done = subprocess.run(
                [*reader, str(target)], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=_MOST_SECONDS, check=False,
            )  # fmt: skip
            aborted = re.search(r"Check failed:.*", done.stderr.decode(errors="replace"))
            why = done.stdout.decode(errors="replace") or (aborted[0] if aborted else "")
            why = (why or f"its reader ended with {done.returncode}") if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"it cannot be read in {_MOST_SECONDS:.0f} seconds"
        if why:
            raise RunError(
                f"The checkpoint {prefix} is damaged or incomplete: {why.splitlines()[0]}. Copy its .index "
                "and .data-00000-of-00001 files again."
            )
        read = load_file(target)
    return convert(read, prefix, forget_bias=forget_bias)


def convert(
    variables: Mapping[str, NDArray[Any]], prefix: Path, *, forget_bias: float = 1.0
) -> PlainNetwork:
    """The network in Keras' layout; `RunError` if a variable is missing, duplicated, unknown or not finite."""
    try:
        return _convert(variables, forget_bias)
    except (ValueError, RunError) as error:
        raise RunError(
            f"{prefix} cannot be imported: {str(error).rstrip('.')}. Needed: "
            "embedding, stacked BasicLSTMCell, GRUCell or BasicRNNCell, softmax. Found: "
            f"{listed(sorted(variables), 12)}."
        ) from error


def _convert(variables: Mapping[str, NDArray[Any]], forget_bias: float) -> PlainNetwork:
    picked = _pick(variables)
    layers: dict[int, dict[str, Arrays]] = {}
    for (layer, cell, part), value in picked.items():
        if layer >= 0:
            layers.setdefault(layer, {}).setdefault(cell, {})[part] = value
    cells = {cell for held in layers.values() for cell in held}
    if len(cells) != 1 or sorted(layers) != list(range(len(layers))):
        raise ValueError("its recurrent layers are not a stack of one kind")
    cell = cells.pop()
    weights = {"embedding/embeddings": picked[-1, "", "embedding"]}
    inputs = weights["embedding/embeddings"].shape[-1]
    for layer in range(len(layers)):
        held = layers[layer][cell]
        missing = [part for part in _PARTS[cell] if part not in held]
        if missing or len(held) != len(_PARTS[cell]):
            parts = missing or sorted(set(held) - set(_PARTS[cell]))
            verb = "lacks" if missing else "also has"
            raise ValueError(f"layer {layer} {verb} {', '.join(parts)}")
        try:
            made = _keras_layout(cell, held, inputs, forget_bias)
        except ValueError as error:  # of NumPy
            raise ValueError(f"the shapes of layer {layer} do not fit") from error
        weights |= {f"rnn_{layer}/{part}": value for part, value in made.items()}
        inputs = made["recurrent_kernel"].shape[0]
    weights["output/kernel"] = picked[-1, "", "softmax_w"]
    weights["output/bias"] = picked[-1, "", "softmax_b"]
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise ValueError(f"it has values that are not finite, in {name}")
    units = weights["output/kernel"].shape[0]
    Decoder(weights, cell)  # checks the shapes
    return PlainNetwork(folder.CHAR_RNN, cell, len(layers), units, weights)


def _pick(
    variables: Mapping[str, NDArray[Any]],
) -> dict[tuple[int, str, str], NDArray[np.float32]]:
    """The parts of a character model by layer (-1: none), cell and name."""
    found: dict[tuple[int, str, str], str] = {}
    for name in variables:
        scopes = _scopes(name)
        is_cell = [s.endswith("_cell") and s != "multi_rnn_cell" for s in scopes[:-1]]
        at = is_cell.index(True) if any(is_cell) else None  # multi_rnn_cell/cell_0/gru_cell/bias: 2
        if at is None:
            if scopes[-1] not in _OUTSIDE:
                continue
            key = (-1, "", scopes[-1])
        else:
            cell = _CELLS.get(scopes[at].removesuffix("_cell"))
            if cell is None:
                raise ValueError(f"rnntk has no cell like {scopes[at]}")
            layer = re.fullmatch(r"cell_(\d+)", scopes[at - 1]) if at else None
            key = (int(layer[1]) if layer else 0, cell, "/".join(scopes[at + 1 :]))
        if key in found:
            raise ValueError(f"{found[key]} and {name} are the same part twice")
        found[key] = name
    if missing := [part for part in _OUTSIDE if (-1, "", part) not in found]:
        raise ValueError(f"it lacks {', '.join(missing)}")
    dimensions = {"bias": 1, "softmax_b": 1, "kernel": 2, "softmax_w": 2, "embedding": 2}
    for (_, _, part), name in found.items():
        wanted = dimensions.get(part.rpartition("/")[2])
        if wanted and (variables[name].ndim != wanted or not variables[name].size):
            raise ValueError(f"{name} has the shape {variables[name].shape}")
    with np.errstate(over="ignore"):  # infinite values are refused later
        return {key: np.asarray(variables[name], np.float32) for key, name in found.items()}


# Kernel and bias in TensorFlow 0.x and 1.0.
_OLD = {"matrix": "kernel", "w_0": "kernel", "weights": "kernel", "b": "bias", "biases": "bias"}


def _scopes(name: str) -> list[str]:
    """A variable's scopes in TensorFlow 1's names (0.x: `MultiRNNCell/Cell0/GRUCell/Gates/Linear/Matrix`)."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    scopes = [scope for scope in snake.split("/") if scope != "linear"]
    return [*scopes[:-1], _OLD.get(scopes[-1], scopes[-1])]


def _keras_layout(cell: str, held: Arrays, inputs: int, forget_bias: float) -> Arrays:
    """A layer's weights in Keras' order of gates: LSTM i, j, f, o to i, f, j, o; GRU r, u to u, r."""
    if cell == "lstm":
        gates = (np.split(held[part], 4, axis=-1) for part in ("kernel", "bias"))
        kernel, bias = (np.concatenate([i, f, j, o], axis=-1) for i, j, f, o in gates)
        bias[len(bias) // 4 : len(bias) // 2] += np.float32(forget_bias)
    elif cell == "gru":
        kernel, bias = (
            np.concatenate([u, r, held[f"candidate/{part}"]], axis=-1)
            for part in ("kernel", "bias")
            for r, u in [np.split(held[f"gates/{part}"], 2, axis=-1)]
        )
    else:
        kernel, bias = held["kernel"], held["bias"]
    return {"kernel": kernel[:inputs], "recurrent_kernel": kernel[inputs:], "bias": bias}


def import_run(
    network: PlainNetwork,
    vocabulary: Vocabulary,
    path: Path,
    *,
    source: Path,
    step: int,
    corpus: str,
    preprocessor: str | None,
    versions: dict[str, str],
) -> RunFolder:
    """Write an imported network to a new run folder at `path`.

    Args:
        source: prefix of the checkpoint.
        step: its training steps.
        corpus: name for its text.
        preprocessor: inferred from the vocabulary if None.

    Raises `UsageError` if the preprocessor is unknown or cannot make the vocabulary's symbols, `DataError` if the
    vocabulary does not fit the network, else as `folder.created`.
    """
    folder.refuse_existing(path)
    weights = network.weights
    V, E = weights["embedding/embeddings"].shape
    if len(vocabulary) != V:
        raise DataError(
            f"The vocabulary has {len(vocabulary)} symbols, but {source} was trained on {V}. Give its own "
            "with `vocab`."
        )
    # Only the 2017 notebooks use a marker.
    guess = "hangul-slides" if MARKER in vocabulary else "plain"
    chosen = preprocessors.get(preprocessor or guess)
    foreign = preprocessors.foreign(chosen, vocabulary.symbols) if preprocessor else ""
    if foreign:
        shown = listed([*map(repr, foreign)], 5)
        raise UsageError(
            f"`preprocessor` {chosen.name} cannot make {len(foreign)} of the vocabulary's "
            f"{len(vocabulary)} symbols: {shown}. Leave it out, or choose another."
        )
    settings = TrainConfig(
        preprocessor=chosen.name,
        cell=network.cell,
        layers=network.layers,
        units=network.units,
        embedding=E,
        gru_reset="before" if network.cell == "gru" else "after",
    )
    parameters = sum(int(w.size) for w in weights.values())
    with folder.created(
        path,
        kind=folder.CHAR_RNN,
        settings=settings.to_json(),
        model={**settings.part(ModelConfig), "parameters": parameters},
        corpus={
            "name": corpus,
            "source": folder.IMPORTED,
            "path": str(source),
            "detail": "a TensorFlow 1 checkpoint; its text is not known",
            "sha256": None,
            "preprocessor": chosen.name,
            "preprocessor_version": chosen.version,
            **dict.fromkeys(("prime", "prepared", "facts")),
        },
        versions=versions,
        vocabulary=vocabulary,
    ) as run:
        try:
            checkpoint.write(
                run.checkpoints,
                weights=weights,
                optimizer={},
                states={},
                progress=Progress(step=step),
            )
        except TrainingError:  # maybe after the checkpoint was in place
            shutil.rmtree(run.checkpoints, ignore_errors=True)
            raise
        return run
