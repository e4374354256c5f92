"""Initialize a model with another run's weights, matched symbol by symbol."""

from __future__ import annotations

import logging

import numpy as np

from rnntk.errors import RunError, listed
from rnntk.models.char_rnn import CharRNN
from rnntk.models.weights import named_weights
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary

# Axis of the symbols in these weights.
_SYMBOL_AXIS = {"embedding/embeddings": 0, "output/kernel": 1, "output/bias": 0}


log = logging.getLogger(__name__)


def take_weights(
    model: CharRNN, vocabulary: Vocabulary, run: RunFolder, which: str = "last"
) -> None:
    """Copy a run's weights into a model; `RunError` if the networks differ in more than their symbols.

    Symbols in both vocabularies get their embedding and output weights; new symbols keep their initial ones. `which` is
    the checkpoint, as in `RunFolder.checkpoint`.
    """
    misfit = f"The weights of {run.path} do not fit:"
    theirs = bool(run.record["model"].get("layer_norm", False))
    if theirs != model.layer_norm:
        raise RunError(
            f"{misfit} it was trained with{'' if theirs else 'out'} layer normalisation. Set "
            f"`layer_norm={theirs}`, or leave it out."
        )
    old = run.vocabulary()
    saved = run.checkpoint(which)
    weights = saved.weights()
    variables = named_weights(model)
    for name, variable in variables.items():
        axis = _SYMBOL_AXIS.get(name)
        shape = list(variable.shape)
        if axis is not None:
            shape[axis] = len(old)
        if name not in weights or list(weights[name].shape) != shape:
            there = "is missing"
            if name in weights:
                there = f"has shape {list(weights[name].shape)}, not {shape}"
            raise RunError(
                f"{misfit} {name} {there}. Leave out `cell`, `layers`, `units` and `embedding`."
            )
    if extra := sorted(set(weights) - set(variables)):
        raise RunError(f"{misfit} it has more layers ({', '.join(extra)}). Leave out `layers`.")
    both = [symbol for symbol in vocabulary.symbols if symbol in old]
    new = [symbol for symbol in vocabulary.symbols if symbol not in old]
    gone = [symbol for symbol in old.symbols if symbol not in vocabulary]
    to, where = (np.array([v.symbols.index(s) for s in both], np.intp) for v in (vocabulary, old))
    for name, variable in variables.items():
        axis = _SYMBOL_AXIS.get(name)
        if axis is None:
            variable.assign(weights[name])
            continue
        value = variable.numpy()
        np.moveaxis(value, axis, 0)[to] = np.moveaxis(weights[name], axis, 0)[where]
        variable.assign(value)
    log.info(
        f"Weights of {run.path} at step {saved.progress.step:,}: "
        f"{len(both)} of {len(vocabulary)} symbols match"
        + (f"; new: {listed([*map(repr, new)])}" if new else "")
        + (f"; dropped: {listed([*map(repr, gone)])}" if gone else "")
        + "."
    )
