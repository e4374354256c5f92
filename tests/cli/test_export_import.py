"""`rnntk export` and `rnntk import` on the command line."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from rnntk.corpora.images import PixelOrder

pytestmark = [
    pytest.mark.usefixtures("warm_reader"),
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]


def test_export_takes_the_latest_run(rnntk, trained: Path, here: Path) -> None:
    (here / "runs").mkdir()
    trained.rename(here / "runs" / "tiny-1")
    result = rnntk("export")
    assert result.exit_code == 0, result.output
    assert "tiny-1.keras (keras)" in result.stdout
    assert "differs from the run's own logits by at most" in result.stdout
    assert "keras.models.load_model('tiny-1.keras')" in result.stderr
    assert sorted(p.name for p in here.glob("tiny-1*")) == ["tiny-1.keras", "tiny-1.keras.json"]

    again = rnntk("export")
    assert again.exit_code == 2
    assert "tiny-1.keras exists already. Remove it, or choose another name." in again.stderr

    found = json.loads(rnntk("export", "--format", "npz", "--checkpoint", 4, "--json").stdout)
    assert (found["command"], found["step"], found["output"]) == ("export", 4, "tiny-1.npz")
    assert found["largest_difference"] == 0
    assert (here / found["description"]).is_file()


def test_export_writes_a_page(rnntk, untrained, text: Path, here: Path) -> None:
    untrained("runs/tiny-1", val=0.2, input=(text.name,))
    result = rnntk("export", "--format", "html")
    assert result.exit_code == 0, result.output
    assert re.search(r"exported +tiny-1\.html \(html\), \d+ kB", result.stdout)
    assert re.search(
        r"weights +(int8|float16), which changes the loss by [+-]0\.00\d\d nats on [\d,]+ symbols of held-out text",
        result.stdout,
    )
    assert re.search(
        r"text +\d+ characters of the held-out text, shown first in Read", result.stdout
    )
    assert "tiny-1.html in any browser, with a double click" in result.stderr
    assert [p.name for p in here.glob("tiny-1*")] == ["tiny-1.html"]
    assert (
        "tiny-1.html exists already. Remove it, or choose another name."
        in rnntk("export", "--format", "html").stderr
    )

    arguments = "--format", "html", "--weights", "float32", "--output", "a/b.html", "--json"
    found = json.loads(rnntk("export", *arguments).stdout)
    assert found["description"] is None
    assert found["largest_difference"] == 0
    assert found["rounding"]["weights"] == "float32"
    assert found["rounding"]["loss_change"] == 0
    assert found["rounding"]["split"] == "val"
    assert (here / found["output"]).is_file()


def test_export_writes_a_savedmodel_and_a_classifier(rnntk, trained: Path, here: Path) -> None:
    assert rnntk("export", trained, "--format", "savedmodel").exit_code == 0
    assert (here / "r-savedmodel" / "saved_model.pb").is_file()
    made = rnntk("mnist", "--data", "digits", "--units", 6, "--max-steps", 2, "--run", "rows")
    assert made.exit_code == 0, made.output
    result = rnntk("export", "rows", "--output", "out/rows.keras")
    assert result.exit_code == 0, result.output
    assert (here / "out" / "rows.keras").is_file()


def test_the_description_of_a_classifier_says_what_it_reads(rnntk, here: Path) -> None:
    small = ["--data", "digits", "--units", 4, "--max-steps", 1, "--val-size", 0]
    expected = {
        "rows": "an image's rows, from top to bottom; values from 0 to 1",
        "permuted": "an image's pixels, one per time step, in the order of `permutation`",
    }
    for order, meaning in expected.items():
        made = rnntk("mnist", *small, "--order", order, "--seed", 3, "--run", order)
        assert made.exit_code == 0, made.output
        assert rnntk("export", order, "--format", "npz").exit_code == 0
        described = json.loads((here / f"{order}.npz.json").read_text())
        assert described["rows"].startswith(meaning)
    permutation = PixelOrder("permuted", (28, 28), 3).permutation
    assert permutation is not None
    assert described["permutation"] == permutation.tolist()


def test_the_name_of_an_export_tells_its_format(rnntk, trained: Path, here: Path) -> None:
    result = rnntk("export", "r", "--output", "weights.npz", "--json")
    assert json.loads(result.stdout)["format"] == "npz"
    assert np.load(here / "weights.npz").files
    result = rnntk("export", "r", "--output", "W.NPZ", "--json")
    assert json.loads(result.stdout)["format"] == "npz", result.output
    assert np.load(here / "W.NPZ").files
    assert rnntk("export", "r", "--output", "Page.Html").exit_code == 0
    assert {"Page.Html", "W.NPZ", "W.NPZ.json"} <= {p.name for p in here.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "There is no run nowhere"),
        (["r", "--checkpoint", "99"], 1, "has no checkpoint '99'"),
        (["r", "--format", "npz", "--output", "m.keras"], 2, "must end in .npz"),
        (["r", "--format", "tflite"], 2, "tflite"),
        (["r", "--format", "html", "--output", "m.htm"], 2, "must end in .html"),
        *(
            (
                ["r", "--output", name],
                2,
                f"{name} has no ending of an export: .keras, .onnx, .npz or .html. Rename it, or "
                "give --format savedmodel for a folder.",
            )
            for name in ("x.htm", "x.h5", "x")
        ),
        (["r", "--output", "X.KERAS"], 2, "must end in .keras, got X.KERAS."),
        (["r", "--format", "html", "--weights", "int4"], 2, "int4"),
        (["r", "--format", "npz", "--weights", "int8"], 2, "--weights is for --format html"),
        ([], 1, "There is no run in runs"),
    ],
)
def test_export_refuses_bad_input(rnntk, trained: Path, arguments, code, message) -> None:
    result = rnntk("export", *arguments)
    assert result.exit_code == code
    assert message in result.stderr


SYMBOLS = "e af\nlinxjumps:o0123456789"


def write_checkpoint(folder: Path, cell: str) -> Path:
    """A checkpoint with TensorFlow 1's names, and its vocabulary pickled as by Python 2."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    V, E, H = len(SYMBOLS), 6, 8
    scope = "rnnlm/multi_rnn_cell/cell_0/"
    shapes: dict[str, tuple[int, ...]] = {
        "rnnlm/embedding": (V, E),
        "rnnlm/softmax_w": (H, V),
        "rnnlm/softmax_b": (V,),
        "rnnlm/softmax_b/Adam": (V,),
        "Variable": (),
    }
    if cell == "gru":
        for part, gates in (("gates", 2), ("candidate", 1)):
            shapes[f"{scope}gru_cell/{part}/kernel"] = (E + H, gates * H)
            shapes[f"{scope}gru_cell/{part}/bias"] = (gates * H,)
    else:
        gates = 4 if cell == "lstm" else 1
        shapes[f"{scope}basic_{cell}_cell/kernel"] = (E + H, gates * H)
        shapes[f"{scope}basic_{cell}_cell/bias"] = (gates * H,)
    folder.mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt-24"),
        tensor_names=list(shapes),
        shape_and_slices=[""] * len(shapes),
        tensors=[tf.constant(rng.normal(0, 0.5, s), tf.float32) for s in shapes.values()],
    )
    (folder / "checkpoint").write_text('model_checkpoint_path: "/old/place/model.ckpt-24"\n')
    (folder / "vocab.pkl").write_bytes(pickle.dumps(tuple(SYMBOLS), 0))
    return folder


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_an_imported_run_can_be_sampled_exported_and_trained(
    rnntk, text: Path, here: Path, cell: str
) -> None:
    write_checkpoint(here / "old", cell)
    result = rnntk("import", "old")
    assert result.exit_code == 0, result.output
    assert "old/model.ckpt-24, step 24" in result.stdout
    assert f"{cell}, 1 layers of 8, embedding 6" in result.stdout
    assert f"{len(SYMBOLS)} symbols of" in result.stdout
    assert "rnntk sample runs/old-1" in result.stderr

    drawn = rnntk("sample", "--prime", "fox", "--length", 30, "--seed", 1)
    assert drawn.exit_code == 0, drawn.output
    assert len(drawn.stdout) == 3 + 30 + 1
    assert "runs/old-1 at step 24" in drawn.stderr
    assert rnntk("export", "--format", "npz").exit_code == 0
    page = rnntk("export", "--format", "html")
    assert page.exit_code == 0, page.output
    assert "float16; effect on the loss unknown" in page.stdout
    assert (here / "old-1.html").is_file()

    resumed = rnntk("train", "--resume", "runs/old-1")
    assert resumed.exit_code == 1
    assert "was imported" in resumed.stderr
    assert "--init-from runs/old-1" in resumed.stderr
    small = ["--batch-size", 4, "--seq-length", 20, "--sample-every", 0, "--max-steps", 2]
    trained = rnntk("train", "--init-from", "runs/old-1", "--input", text, "--run", "new", *small)
    assert trained.exit_code == 0, trained.output
    model = json.loads((here / "new" / "run.json").read_text())["model"]
    assert (model["cell"], model["units"], model["embedding"]) == (cell, 8, 6)
    assert model["gru_reset"] == ("before" if cell == "gru" else "after")
    assert rnntk("sample", "new", "--length", 5).exit_code == 0


def test_import_takes_a_prefix_and_options(rnntk, here: Path) -> None:
    write_checkpoint(here / "old", "rnn")
    (here / "old" / "vocab.pkl").rename(here / "v.pkl")
    missing = rnntk("import", "old")
    assert missing.exit_code == 2
    assert "Give its path with" in missing.stderr
    result = rnntk(
        "import", "old/model.ckpt-24.index", "--vocab", "v.pkl", "--corpus", "foxes",
        "--preprocessor", "hangul", "--json",
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert (found["run"], found["step"]) == (str(Path("runs", "foxes-1")), 24)
    assert (found["preprocessor"], found["vocabulary_size"]) == ("hangul", len(SYMBOLS))
    assert rnntk("sample", "--corpus", "foxes", "--length", 3).exit_code == 0
    again = rnntk("import", "old", "--vocab", "v.pkl", "--run", "runs/foxes-1")
    assert again.exit_code == 1
    assert "exists already" in again.stderr


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", ""])
def test_import_refuses_a_corpus_that_is_no_name(rnntk, here: Path, name: str) -> None:
    result = rnntk("import", write_checkpoint(here / "save", "rnn"), "--corpus", name)
    assert result.exit_code == 2
    told = f"{name!r} cannot name a run. Give a visible name" if name else "must not be empty"
    assert told in result.stderr


def test_import_refuses_a_malicious_vocabulary(rnntk, here: Path) -> None:
    write_checkpoint(here / "old", "rnn")
    (here / "old" / "vocab.pkl").write_bytes(b"cos\nmkdir\n(S'canary'\ntR.")
    result = rnntk("import", "old")
    assert result.exit_code == 1
    assert "os.mkdir" in result.stderr
    assert "Nothing was run" in result.stderr
    assert not (here / "canary").exists()
    assert not (here / "runs").exists()


def test_import_refuses_a_vocabulary_of_another_size(rnntk, here: Path) -> None:
    write_checkpoint(here / "old", "rnn")
    (here / "old" / "vocab.pkl").write_bytes(pickle.dumps(("a", "b"), 2))
    result = rnntk("import", "old")
    assert result.exit_code == 1
    assert (
        f"The vocabulary has 2 symbols, but old/model.ckpt-24 was trained on {len(SYMBOLS)}"
        in result.stderr
    )
    assert not (here / "runs").exists()
    assert rnntk("import", "nothing").exit_code == 2


def test_import_refuses_another_file_and_a_forget_bias_that_is_not_finite(
    rnntk, here: Path
) -> None:
    write_checkpoint(here / "old", "lstm")
    for name in ("checkpoint", "vocab.pkl"):
        result = rnntk("import", f"old/{name}")
        assert result.exit_code == 2
        told = f"old/{name} holds no weights. Give its folder, old, or a prefix such as"
        assert told in result.stderr
    result = rnntk("import", "old", "--forget-bias", "nan")
    assert result.exit_code == 2
    assert "--forget-bias must be finite, got nan." in result.stderr
    assert not (here / "runs").exists()
