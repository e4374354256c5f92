"""A trained network as plain arrays, with reference outputs to check an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.decoder import Decoder
from rnntk.storage import folder
from rnntk.storage.checkpoint import Checkpoint
from rnntk.storage.folder import RunFolder

Arrays = Mapping[str, NDArray[Any]]
Specs = dict[str, tuple[str, tuple[int | str, ...]]]  # types and shapes by name

_BATCH, _STEPS = 3, 16


@dataclass(frozen=True)
class PlainNetwork:
    """A network as arrays."""

    kind: str  # `char-rnn` or `row-classifier`
    cell: str  # `lstm`, `gru` or `rnn`
    layers: int
    units: int
    weights: Arrays  # by name, as in docs/formats.md
    layer_norm: bool = False  # each layer's outputs are normalised (`rnntk.layer_norm`)

    @property
    def directions(self) -> tuple[str, ...]:
        """Prefixes of the recurrent layers' names, the forward direction first."""
        if self.kind == folder.CHAR_RNN:
            return ("rnn",)
        return ("forward", "backward") if "backward_0/kernel" in self.weights else ("forward",)

    @property
    def reset_after(self) -> bool:
        """Whether a GRU's reset gate acts after the recurrent product."""
        return self.weights[f"{self.directions[0]}_0/bias"].ndim == 2

    @property
    def features(self) -> int:
        """Input width of the first recurrent layer."""
        return int(self.weights[f"{self.directions[0]}_0/kernel"].shape[0])

    @property
    def outputs(self) -> int:
        """Number of logits: V, or the classes."""
        return int(self.weights["output/bias"].shape[0])

    def state_names(self, layer: int) -> list[str]:
        """Names of a layer's states: `rnn_0_h`, and `rnn_0_c` for an LSTM."""
        if self.kind != folder.CHAR_RNN:
            return []
        return [f"rnn_{layer}_{part}" for part in ("hc" if self.cell == "lstm" else "h")]

    @property
    def all_states(self) -> list[str]:
        """Names of all states, in the decoder's order."""
        return [name for layer in range(self.layers) for name in self.state_names(layer)]

    def input_specs(self) -> Specs:
        """Type and shape of every input; lengths that vary between calls are words."""
        if self.kind != folder.CHAR_RNN:
            return {"rows": ("float32", ("batch", "time", self.features))}
        specs: Specs = {"ids": ("int32", ("batch", "time"))}
        return specs | dict.fromkeys(self.all_states, ("float32", ("batch", self.units)))

    def output_specs(self) -> Specs:
        """Type and shape of every output."""
        if self.kind != folder.CHAR_RNN:
            return {"logits": ("float32", ("batch", self.outputs))}
        specs: Specs = {"logits": ("float32", ("batch", "time", self.outputs))}
        return specs | {after(name): ("float32", ("batch", self.units)) for name in self.all_states}

    def probe(self) -> dict[str, NDArray[Any]]:
        """Fixed random inputs, with non-zero states."""
        rng = np.random.default_rng(20170719)
        if self.kind != folder.CHAR_RNN:
            return {"rows": rng.random((_BATCH, _STEPS, self.features), np.float32)}
        ids = rng.integers(0, self.outputs, (_BATCH, _STEPS), np.int32)
        found: dict[str, NDArray[Any]] = {"ids": ids}
        for name in self.all_states:
            found[name] = rng.uniform(-0.9, 0.9, (_BATCH, self.units)).astype(np.float32)
        return found

    def answers(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs of the run's own model, by the NumPy decoder or the row classifier."""
        if self.kind != folder.CHAR_RNN:
            return {"logits": self._classifier_logits(inputs["rows"])}
        decoder = Decoder(self.weights, self.cell, layer_norm=self.layer_norm)
        states = decoder.initial_states(len(inputs["ids"]))
        for name, view in zip(self.all_states, states.arrays(), strict=True):
            view[:] = inputs[name]
        logits = [decoder.step(ids, states).copy() for ids in inputs["ids"].T]
        found: dict[str, NDArray[Any]] = {"logits": np.stack(logits, axis=1)}
        for name, view in zip(self.all_states, states.arrays(), strict=True):
            found[after(name)] = view.copy()
        return found

    def _classifier_logits(self, rows: NDArray[Any]) -> NDArray[Any]:
        from rnntk.models import weights

        record = {name: getattr(self, name) for name in ("features", "cell", "layers", "units")}
        record["bidirectional"] = len(self.directions) == 2
        return np.asarray(weights.rebuild(record, self.weights)(rows))


def after(state: str) -> str:
    """The output to feed back as this state: `rnn_0_h` -> `new_rnn_0_h`."""
    return f"new_{state}"


def of_run(run: RunFolder, saved: Checkpoint) -> PlainNetwork:
    model = run.record["model"]
    return PlainNetwork(
        run.kind,
        str(model["cell"]),
        int(model["layers"]),
        int(model["units"]),
        saved.weights(),
        bool(model.get("layer_norm", False)),
    )
