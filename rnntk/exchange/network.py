"""A trained network as plain arrays, and its outputs, which exports are checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.cells import CELLS
from rnntk.decoding.decoder import Decoder
from rnntk.errors import RunError
from rnntk.storage import folder
from rnntk.storage.checkpoint import Checkpoint
from rnntk.storage.folder import RunFolder

Arrays = Mapping[str, NDArray[Any]]
Specs = dict[str, tuple[str, tuple[int | str, ...]]]  # types and shapes by name

_SIZES = {"batch": 3, "time": 16}  # of `probe`'s inputs


@dataclass(frozen=True)
class PlainNetwork:
    """A trained network as plain arrays."""

    kind: str  # `char-rnn` or `row-classifier`
    cell: str  # `lstm`, `gru` or `rnn`
    layers: int
    units: int
    weights: Arrays  # by name, as in docs/formats.md
    layer_norm: bool = False  # on each layer's outputs (`rnntk.layer_norm`)

    @property
    def directions(self) -> tuple[str, ...]:
        """Name prefixes of the recurrent layers: `rnn`, or `forward` and perhaps `backward`."""
        if self.kind == folder.CHAR_RNN:
            return ("rnn",)
        return ("forward", "backward") if "backward_0/kernel" in self.weights else ("forward",)

    @property
    def reset_after(self) -> bool:
        """Whether a GRU applies its reset gate after the recurrent product."""
        return self.weights[f"{self.directions[0]}_0/bias"].ndim == 2

    @property
    def features(self) -> int:
        """Input width of the first recurrent layer."""
        return int(self.weights[f"{self.directions[0]}_0/kernel"].shape[0])

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return int(self.weights["output/bias"].shape[0])

    def state_names(self, layer: int) -> list[str]:
        """Names of a layer's state inputs: `rnn_0_h`, and `rnn_0_c` for an LSTM; none for a classifier."""
        states = CELLS[self.cell].states if self.kind == folder.CHAR_RNN else ""
        return [f"rnn_{layer}_{state}" for state in states]

    @property
    def all_states(self) -> list[str]:
        """Names of all state inputs, in the decoder's order."""
        return [name for layer in range(self.layers) for name in self.state_names(layer)]

    def input_specs(self) -> Specs:
        """Type and shape of each input; variable dimensions are named `batch` and `time`."""
        if self.kind != folder.CHAR_RNN:
            return {"rows": ("float32", ("batch", "time", self.features))}
        specs: Specs = {"ids": ("int32", ("batch", "time"))}
        return specs | dict.fromkeys(self.all_states, ("float32", ("batch", self.units)))

    def output_specs(self) -> Specs:
        time = ("time",) if self.kind == folder.CHAR_RNN else ()
        specs: Specs = {"logits": ("float32", ("batch", *time, self.outputs))}
        return specs | {after(name): ("float32", ("batch", self.units)) for name in self.all_states}

    def probe(self) -> dict[str, NDArray[Any]]:
        """Fixed random inputs, with non-zero states."""
        rng = np.random.default_rng(20170719)
        found: dict[str, NDArray[Any]] = {}
        for name, (kind, shape) in self.input_specs().items():
            size = [_SIZES[n] if isinstance(n, str) else n for n in shape]
            numbers = rng.integers(0, self.outputs, size) if kind == "int32" else rng.random(size)
            found[name] = numbers.astype(kind)
        return found

    def answers(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name of the run's own model, the NumPy decoder or the row classifier."""
        if self.kind != folder.CHAR_RNN:
            from rnntk.models.weights import rebuild

            record = {"features": self.features, "cell": self.cell, "layers": self.layers}
            record |= {"units": self.units, "bidirectional": len(self.directions) == 2}
            return {"logits": np.asarray(rebuild(record, self.weights)(inputs["rows"]))}
        decoder = Decoder(self.weights, self.cell, layer_norm=self.layer_norm)
        states = decoder.initial_states(len(inputs["ids"]))
        views = dict(zip(self.all_states, states.arrays(), strict=True))
        for name, view in views.items():
            view[:] = inputs[name]
        logits = np.stack([states.step(ids).copy() for ids in inputs["ids"].T], axis=1)
        return {"logits": logits, **{after(name): view.copy() for name, view in views.items()}}


def after(state: str) -> str:
    """Name of the output that holds a state's new value: `rnn_0_h` -> `new_rnn_0_h`."""
    return f"new_{state}"


def of_run(run: RunFolder, saved: Checkpoint) -> PlainNetwork:
    """The network of a checkpoint; `RunError` if the weights do not fit the run's record."""
    model, weights = run.record["model"], saved.weights()
    if run.kind == folder.CHAR_RNN:
        kernels = [w for name, w in weights.items() if name.endswith("/recurrent_kernel")]
        if [w.shape[:1] for w in kernels] != [(model.get("units"),)] * model.get("layers", 0):
            raise RunError(f"{run.path} is damaged: its weights do not fit run.json.")
    shape = model["cell"], model["layers"], model["units"]
    return PlainNetwork(run.kind, *shape, weights, bool(model.get("layer_norm", False)))
