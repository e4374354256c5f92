"""`--init-from` through the library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnntk.errors import RunError
from rnntk.models.char_rnn import CharRNN
from rnntk.models.weights import named_weights
from rnntk.storage import checkpoint, folder
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder
from rnntk.text.vocabulary import Vocabulary
from rnntk.training import transfer


def saved(path: Path, symbols: str, **model: object) -> RunFolder:
    vocabulary = Vocabulary(symbols)
    run = folder.create(
        path,
        kind=folder.CHAR_RNN,
        settings={},
        model=model,
        corpus={},
        versions={},
        vocabulary=vocabulary,
    )
    made = CharRNN(len(vocabulary), units=5, embedding=4, seed=1, **model)  # type: ignore[arg-type]
    weights = {name: v.numpy() for name, v in named_weights(made).items()}
    checkpoint.write(
        run.checkpoints, weights=weights, optimizer={}, states={}, progress=Progress(step=3)
    )
    return run


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_weights_follow_their_symbols(
    tmp_path: Path, cell: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = saved(tmp_path / "r", "abcd", cell=cell)
    old = run.checkpoint().weights()
    model = CharRNN(5, units=5, embedding=4, seed=2, cell=cell)
    fresh = {name: v.numpy() for name, v in named_weights(model).items()}
    transfer.take_weights(model, Vocabulary("xcbay"), run)
    new = {name: v.numpy() for name, v in named_weights(model).items()}
    for i, symbol in enumerate("xcbay"):
        source, j = (old, "abcd".index(symbol)) if symbol in "abcd" else (fresh, i)
        np.testing.assert_array_equal(
            new["embedding/embeddings"][i], source["embedding/embeddings"][j]
        )
        np.testing.assert_array_equal(new["output/kernel"][:, i], source["output/kernel"][:, j])
        assert new["output/bias"][i] == source["output/bias"][j]
    for name in old:
        if name.startswith("rnn_"):
            np.testing.assert_array_equal(new[name], old[name])
    assert "3 of 5 symbols match; new: 'x', 'y'; dropped: 'd'" in caplog.text


def test_a_step_can_be_chosen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = saved(tmp_path / "r", "abcd")
    early = run.checkpoint().weights()
    checkpoint.write(
        run.checkpoints,
        weights={name: value + 1 for name, value in early.items()},
        optimizer={},
        states={},
        progress=Progress(step=9),
    )
    model = CharRNN(4, units=5, embedding=4, seed=2)
    for which, added in (("3", 0), ("last", 1)):
        transfer.take_weights(model, Vocabulary("abcd"), run, which)
        for name, variable in named_weights(model).items():
            np.testing.assert_array_equal(variable.numpy(), early[name] + added)
    assert f"Weights of {run.path} at step 3: 4 of 4" in caplog.text
    assert "at step 9: 4 of 4" in caplog.text
    with pytest.raises(RunError, match="has no checkpoint '4'"):
        transfer.take_weights(model, Vocabulary("abcd"), run, "4")


@pytest.mark.parametrize("other", [{"layers": 1}, {"layers": 3}, {"cell": "gru"}])
def test_a_different_network_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    run = saved(tmp_path / "r", "abcd", **other)
    model = CharRNN(4, units=5, embedding=4)
    with pytest.raises(RunError, match="do not fit"):
        transfer.take_weights(model, Vocabulary("abcd"), run)


@pytest.mark.parametrize("theirs", [True, False])
def test_layer_norm_must_be_the_same(tmp_path: Path, theirs: bool) -> None:
    run = saved(tmp_path / "r", "abcd", layer_norm=theirs)
    model = CharRNN(4, units=5, embedding=4, layer_norm=not theirs)
    with pytest.raises(RunError, match=f"layer normalisation. Set layer_norm={theirs}"):
        transfer.take_weights(model, Vocabulary("abcd"), run)
    same = CharRNN(4, units=5, embedding=4, layer_norm=theirs)
    transfer.take_weights(same, Vocabulary("abcd"), run)
