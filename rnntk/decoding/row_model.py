"""A trained row classifier in NumPy, one step at a time, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import CELLS
from rnntk.corpora.images import SIDE, PixelOrder
from rnntk.decoding.reference import Floats, LayerWeights
from rnntk.decoding.strategies import log_softmax
from rnntk.errors import RunError
from rnntk.storage import folder
from rnntk.storage.checkpoint import PROGRESS, WEIGHTS, Progress
from rnntk.storage.folder import RunFolder


class RowModel:
    """The classifier of a run; `weights` are named as by `models.weights.named_weights`.

    Raises `RunError` if the run is not a row classifier, or its weights are incomplete.
    """

    def __init__(
        self, run: RunFolder, weights: Mapping[str, np.ndarray], progress: Progress | None = None
    ) -> None:
        if run.kind != folder.ROW_CLASSIFIER:
            raise RunError(f"{run.path} is a {run.kind}, not a classifier. Train one: rnntk mnist")
        record: dict[str, Any] = run.record["model"]
        self.run, self.progress, self.cell = run, progress, CELLS[record["cell"]]
        seed = int(run.settings.get("seed") or 0)
        self.order = PixelOrder(record.get("order", "rows"), (SIDE, SIDE), seed)
        if record.get("permutation_sha256") != self.order.to_json().get("permutation_sha256"):
            raise RunError(
                f"With seed {seed}, this rnntk permutes the pixels differently than {run.path}. Train a new run."
            )
        self.bidirectional = bool(record.get("bidirectional"))
        directions = ("forward", "backward") if self.bidirectional else ("forward",)
        parts = ("kernel", "recurrent_kernel", "bias")
        try:
            self.layers = [
                [
                    LayerWeights(self.cell, *(weights[f"{way}_{k}/{part}"] for part in parts))
                    for way in directions
                ]
                for k in range(record.get("layers", 1))
            ]
            self._output = weights["output/kernel"], weights["output/bias"]
        except KeyError as error:
            raise RunError(f"{run.path} is damaged: its weights lack {error}.") from error
        self.units = self.layers[0][0].units

    @classmethod
    def load(cls, run: RunFolder, checkpoint: str | int = "best") -> RowModel:
        """The classifier of a checkpoint (`last`, `best` or a step); errors as of the class and `run.checkpoint`."""
        saved = run.checkpoint(str(checkpoint), only=(WEIGHTS, PROGRESS))
        return cls(run, saved.mapped_weights(), saved.progress)

    @property
    def step(self) -> int:
        return self.progress.step if self.progress else 0

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities `(N, 10)` of the digits on images `(N, 28, 28)`."""
        return np.exp(log_softmax(self._logits(self._steps(images))[-1]))

    def beliefs(self, image: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """Probabilities `(28, 10)` of the digits after reading only a part of an image `(28, 28)`, by the part's
        position.

        Row k of `first` is the output on the first k + 1 of 28 equal parts of the sequence alone; a bidirectional
        classifier also has `last`, its output on the last k + 1 parts.
        """
        x = self._steps(image[None])
        ends = range(len(x) // SIDE, len(x) + 1, len(x) // SIDE)
        if not self.bidirectional:  # no step depends on later ones, so one pass is enough
            found = {"first": self._logits(x)[[k - 1 for k in ends]]}
        else:
            found = {
                "first": np.stack([self._logits(x[:k])[-1] for k in ends]),
                "last": np.stack([self._logits(x[-k:])[-1] for k in ends]),
            }
        return {where: np.exp(log_softmax(logits[:, 0])) for where, logits in found.items()}

    def _steps(self, images: NDArray[np.uint8]) -> Floats:
        return self.order(images).transpose(1, 0, 2)

    def _logits(self, x: Floats) -> Floats:
        """Logits of a sequence `(T, N, F)`: `(T, N, 10)` after each step, or `(1, N, 10)` of both directions."""
        for k, layer in enumerate(self.layers):
            outputs = [_over_time(layer[0], x)]
            if self.bidirectional:
                outputs.append(_over_time(layer[1], x[::-1])[::-1])
                if k == len(self.layers) - 1:  # each direction's output at its end
                    outputs = [outputs[0][-1:], outputs[1][:1]]
            x = np.concatenate(outputs, axis=-1)
        kernel, bias = self._output
        return x @ kernel + bias


def _over_time(layer: LayerWeights, x: Floats) -> Floats:
    """Outputs `(T, N, H)` of inputs `(T, N, F)`."""
    zeros: Floats = np.zeros((x.shape[1], layer.units), np.float32)
    states = dict.fromkeys(layer.cell.states, zeros)
    outputs = np.empty((*x.shape[:2], layer.units), np.float32)
    for t, inputs in enumerate(x):
        states = layer.step(inputs, states)
        outputs[t] = states["h"]
    return outputs
