"""Exports of both kinds of model: they compute the same, open without rnntk, and are removed if wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnntk.decoding.decoder import Decoder
from rnntk.errors import RnntkError, RunError, UsageError
from rnntk.exchange import export, network
from rnntk.installation import install_command
from rnntk.storage import folder

# From Keras' convert_to_numpy with NumPy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

# HTML rounds weights; test_html.py and tests/play/test_exported.py test it.
NETWORKS = [format for format in export.FORMATS if format != "html"]
CHAR, ROWS = folder.CHAR_RNN, folder.ROW_CLASSIFIER
MODELS = [
    (CHAR, {"cell": "lstm"}),
    (CHAR, {"cell": "gru"}),
    (CHAR, {"cell": "gru", "reset_after": False}),
    (CHAR, {"cell": "rnn", "layers": 1}),
    (CHAR, {"cell": "lstm", "layer_norm": True}),
    (CHAR, {"cell": "gru", "layers": 3, "layer_norm": True}),
    (ROWS, {"cell": "lstm", "bidirectional": True}),
    (ROWS, {"cell": "gru", "layers": 1}),
    (ROWS, {"cell": "rnn", "bidirectional": True}),
]


def onnx_if_there(format: str) -> str:
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    return format


@pytest.mark.parametrize("format", NETWORKS)
@pytest.mark.parametrize(("kind", "arguments"), MODELS)
def test_an_export_computes_what_the_run_does(
    make_run, tmp_path: Path, kind: str, arguments: dict, format: str
) -> None:
    run = make_run(kind, **arguments)
    output = tmp_path / "out" / f"model{export.FORMATS[onnx_if_there(format)]}"
    made = export.export(run, run.checkpoint(), format, output)
    assert made.path == output
    assert made.step == 30
    assert made.difference < 1e-5
    assert sorted(p.name for p in output.parent.iterdir()) == [output.name, f"{output.name}.json"]
    description = json.loads(made.sidecar.read_text(encoding="utf-8"))
    assert description["kind"] == kind
    assert description["largest_difference"] == made.difference
    if kind == CHAR:
        assert "".join(description["symbols"]) == run.vocabulary().symbols


@pytest.mark.parametrize(("kind", "arguments"), MODELS)
def test_an_onnx_graph_has_no_unused_constants(
    make_run, tmp_path: Path, kind: str, arguments: dict
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    run = make_run(kind, **arguments)
    export.export(run, run.checkpoint(), "onnx", tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert {c.name for c in graph.initializer} <= {name for n in graph.node for name in n.input}


@pytest.fixture
def run_without_rnntk(warm_tensorflow: Any) -> Callable[..., None]:
    """Runs Python code in a process in which rnntk cannot be imported."""

    def run(code: str, *arguments: object) -> None:
        blocked = "import sys; sys.modules['rnntk'] = None\n"
        command = [sys.executable, "-c", blocked + code, *map(str, arguments)]
        start = subprocess if "onnxruntime" in code else warm_tensorflow
        done = start.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


LOAD = {
    "keras": """
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
assert all(type(layer).__module__.startswith("keras.") for layer in model.layers), model.layers
carrying = model.get_layer("with_states")
call = lambda inputs: {k: np.asarray(v) for k, v in carrying(inputs).items()}
""",
    "savedmodel": """
import numpy as np, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
call = lambda inputs: {k: v.numpy() for k, v in serve(**{k: tf.constant(v) for k, v in inputs.items()}).items()}
""",
    "onnx": """
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
names = [o.name for o in session.get_outputs()]
call = lambda inputs: dict(zip(names, session.run(names, inputs)))
""",
}

# Reads a text in two pieces and carries the states, as the description beside the file says.
READ_ON = """
import json
description = json.load(open(sys.argv[1] + ".json"))
ids = np.load(sys.argv[2])
shapes = {k: (len(ids), shape[1]) for k, (_, shape) in description["inputs"].items() if k != "ids"}
states = {k: np.zeros(shape, np.float32) for k, shape in shapes.items()}
parts = []
for piece in (ids[:, :9], ids[:, 9:]):
    answer = call({"ids": piece, **states})
    states = {k: answer["new_" + k] for k in states}
    parts.append(answer["logits"])
np.save(sys.argv[3], np.concatenate(parts, axis=1))
"""


@pytest.mark.parametrize("format", LOAD)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_an_export_opens_without_rnntk_and_carries_its_states(
    make_run, run_without_rnntk, tmp_path: Path, format: str, layer_norm: bool
) -> None:
    run = make_run(CHAR, "lstm", layer_norm=layer_norm)
    output = tmp_path / f"model{export.FORMATS[onnx_if_there(format)]}"
    export.export(run, run.checkpoint(), format, output)
    ids = np.random.default_rng(0).integers(0, 13, (2, 20), np.int32)
    np.save(tmp_path / "ids.npy", ids)
    run_without_rnntk(LOAD[format] + READ_ON, output, tmp_path / "ids.npy", tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    decoder = Decoder(run.checkpoint().weights(), "lstm", layer_norm=layer_norm)
    for row in range(2):
        own = np.concatenate(list(decoder.forward(ids[row], decoder.initial_states())))
        np.testing.assert_allclose(found[row], own, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (CHAR, "rng.integers(0, 13, (32, 6)), rng.integers(0, 13, (32, 6))"),
        (ROWS, "rng.random((32, 6, 6), np.float32), np.arange(32) % 13"),
    ],
)
def test_a_stock_keras_file_trains_on_bare_arrays(
    make_run, run_without_rnntk, tmp_path: Path, kind: str, data: str
) -> None:
    run = make_run(kind, "lstm", bidirectional=kind == ROWS)
    export.export(run, run.checkpoint(), "keras", tmp_path / "model.keras")
    code = f"""
import warnings; warnings.simplefilter("error", UserWarning)
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
rng = np.random.default_rng(0)
x, y = {data}
assert model.predict(x, verbose=0).shape == (*y.shape, 13)
losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
"""
    run_without_rnntk(code, tmp_path / "model.keras")


def test_npz_holds_the_weights(make_run, tmp_path: Path) -> None:
    run = make_run(CHAR, "gru")
    made = export.export(run, run.checkpoint(), "npz", tmp_path / "m.npz")
    weights = run.checkpoint().weights()
    with np.load(made.path) as held:
        assert set(held) == set(weights)
        for name, value in weights.items():
            np.testing.assert_array_equal(held[name], value)
    description = json.loads(made.sidecar.read_text())
    assert description["weights"]["rnn_0/bias"] == [2, 21]
    assert description["preprocessor"] == "plain"


@pytest.mark.parametrize("format", NETWORKS)
def test_an_export_that_disagrees_is_removed(
    make_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    run = make_run(CHAR, "lstm")
    own = network.of_run(run, run.checkpoint())
    wrong = {**own.weights, "rnn_1/bias": own.weights["rnn_1/bias"] + np.float32(0.01)}
    backend = export._backend(onnx_if_there(format), own)

    def write_wrongly(net: network.PlainNetwork, path: Path) -> None:
        backend[0](network.PlainNetwork(net.kind, net.cell, net.layers, net.units, wrong), path)

    monkeypatch.setattr(export, "_backend", lambda *_: (write_wrongly, backend[1]))
    output = tmp_path / "out" / f"m{export.FORMATS[format]}"
    with pytest.raises(RunError, match=r"removed: its logits differs from the run's own by 0\.0"):
        export.export(run, run.checkpoint(), format, output)
    assert not list(output.parent.iterdir())


def test_a_nan_difference_fails_the_comparison() -> None:
    own = {"logits": np.zeros((2, 3), np.float32)}
    assert export.compare(own, {"logits": np.full((2, 3), 5e-5, np.float32)}, Path("m")) < 1e-4
    with pytest.raises(RunError, match="differs"):
        export.compare(own, {"logits": np.full((2, 3), np.nan, np.float32)}, Path("m"))
    with pytest.raises(RunError, match="shape"):
        export.compare(own, {"logits": np.zeros((3, 2), np.float32)}, Path("m"))
    with pytest.raises(RunError, match="shape"):
        export.compare(own, {}, Path("m"))


def test_existing_files_are_never_overwritten(make_run, tmp_path: Path) -> None:
    run = make_run(CHAR, "rnn")
    output = tmp_path / "m.npz"
    for path in (output, tmp_path / "m.npz.json"):
        path.write_text("mine")
        with pytest.raises(UsageError, match="exists already. Remove it, or choose another name."):
            export.export(run, run.checkpoint(), "npz", output)
        assert path.read_text() == "mine"
        path.unlink()
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        export.export(run, run.checkpoint(), "npz", tmp_path / "m.keras")


def test_an_unwritable_path_is_one_message(make_run, tmp_path: Path) -> None:
    run = make_run(CHAR, "rnn")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written.*another place"):
        export.export(run, run.checkpoint(), "npz", tmp_path / "file" / "m.npz")


def test_without_its_package_onnx_names_the_install_command(
    make_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(CHAR, "rnn")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "rnntk.exchange.onnx_graph", raising=False)
    monkeypatch.delattr("rnntk.exchange.onnx_graph", raising=False)
    with pytest.raises(RnntkError, match=f"Install them: {re.escape(install_command('onnx'))}$"):
        export.export(run, run.checkpoint(), "onnx", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_only_keras_and_savedmodel_need_tensorflow(make_run) -> None:
    run = make_run(CHAR, "rnn")
    assert [f for f in export.FORMATS if export.needs_tensorflow(run, f)] == ["keras", "savedmodel"]
