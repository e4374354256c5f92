"""TensorFlow 1 checkpoints of every cell against the logits of TensorFlow 1's cells."""

from __future__ import annotations

import errno
import math
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rnntk import files
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import DataError, RunError, TrainingError, UsageError
from rnntk.exchange import tf1, tf1_files, tf1_reader
from rnntk.models.char_rnn import CharRNN
from rnntk.models.weights import named_weights
from rnntk.storage import folder
from rnntk.text.vocabulary import Vocabulary

warm_reader = pytest.mark.usefixtures("warm_reader")


@warm_reader
@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("lstm", 3), ("gru", 3), ("rnn", 1)])
def test_the_decoder_and_the_model_match_tensorflow_1(tf1_model, cell, layers) -> None:
    prefix, ids, expected = tf1_model(cell, layers)
    network = tf1.read_network(prefix)
    assert (network.cell, network.layers) == (cell, layers)
    decoder = Decoder(network.weights, cell)
    states = decoder.initial_states()
    found = np.concatenate([states.step(ids[t : t + 1]).copy() for t in range(len(ids))])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    whole = np.concatenate(list(decoder.forward(ids, decoder.initial_states())))
    np.testing.assert_allclose(whole, expected, rtol=0, atol=2e-5)

    model = CharRNN(11, cell, layers, units=7, embedding=5, gru_reset="before")
    for name, variable in named_weights(model).items():
        variable.assign(network.weights[name])
    logits, _ = model(ids[None].astype(np.int32))
    np.testing.assert_allclose(logits[0], expected, rtol=0, atol=2e-5)


@warm_reader
def test_the_forget_bias_can_be_given(tf1_model) -> None:
    prefix, _, _ = tf1_model("lstm", 1)
    one, none = (tf1.read_network(prefix, forget_bias=b).weights["rnn_0/bias"] for b in (1, 0))
    np.testing.assert_allclose(one - none, np.repeat([0, 1, 0, 0], 7), atol=1e-6)


def arrays(scope: str = "rnnlm/multi_rnn_cell/cell_0/basic_rnn_cell/") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "rnnlm/embedding": (4, 2),
        "rnnlm/softmax_w": (3, 4),
        "rnnlm/softmax_b": (4,),
        f"{scope}kernel": (5, 3),
        f"{scope}bias": (3,),
    }
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def test_variable_names_of_other_versions_are_read() -> None:
    expected = tf1.convert(arrays(), Path("m")).weights
    older = {
        name.replace("rnnlm/embedding", "embedding")
        .replace("/kernel", "/weights")
        .replace("/bias", "/biases"): value
        for name, value in arrays().items()
    }
    single = arrays("rnnlm/rnn/basic_rnn_cell/")
    for variables in (older, single, {**arrays(), "Variable": np.float32(0.002)}):
        found = tf1.convert(variables, Path("m")).weights
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


@warm_reader
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("version", ["V1", "V2"])
def test_a_checkpoint_of_tensorflow_0_is_read(
    tf1_model, tmp_path: Path, cell: str, version: str
) -> None:
    import tensorflow as tf

    prefix, _, _ = tf1_model(cell, 2)
    expected = tf1.read_network(prefix).weights
    reader = tf.train.load_checkpoint(str(prefix))
    renamed = {}
    for name in reader.get_variable_to_shape_map():
        old = re.sub(r"(gates|candidate|cell)/(kernel|bias)$", r"\1/Linear/\2", name)
        for now, before in OLD_NAMES.items():
            old = old.replace(now, before)
        if name.startswith("rnnlm/") and not tf1_reader.SLOT.fullmatch(name):
            renamed[old] = reader.get_tensor(name)
    assert any("Linear/Matrix" in name for name in renamed)
    v1 = tf.compat.v1
    folder = tmp_path / "old"
    folder.mkdir()
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(n, initializer=value) for n, value in renamed.items()]
        session.run([variable.initializer for variable in variables])
        saver = v1.train.Saver(variables, write_version=getattr(v1.train.SaverDef, version))
        for step in (8, 100):
            saver.save(session, str(folder / "model.ckpt"), step, write_meta_graph=False)
    (folder / "checkpoint").unlink()
    if version == "V1":  # one file, whose name does not matter
        shutil.copy(folder / "model.ckpt-8", folder / "renamed")
        assert tf1_files.find_checkpoint(folder / "renamed") == (folder / "renamed", 0)
    found, step = tf1_files.find_checkpoint(folder)
    assert (found.name, step) == ("model.ckpt-100", 100)
    network = tf1.read_network(found)
    assert (network.cell, network.layers) == (cell, 2)
    assert set(network.weights) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(network.weights[name], value)


OLD_NAMES = {
    "multi_rnn_cell": "MultiRNNCell", "cell_": "Cell", "basic_lstm_cell": "BasicLSTMCell", "gru_cell": "GRUCell",
    "basic_rnn_cell": "BasicRNNCell", "gates": "Gates", "candidate": "Candidate", "kernel": "Matrix", "bias": "Bias",
}  # fmt: skip


CELL = "rnnlm/multi_rnn_cell/cell_0/"


@pytest.mark.parametrize(
    ("extra", "gone", "message"),
    [
        ({}, "rnnlm/softmax_w", "it lacks softmax_w"),
        ({}, f"{CELL}basic_rnn_cell/bias", "layer 0 lacks bias"),
        ({f"{CELL}basic_rnn_cell/w_f_diag": (3,)}, "", "layer 0 also has w_f_diag"),
        ({f"{CELL}nas_cell/kernel": (2, 24)}, "", "no cell like nas_cell"),
        ({f"{CELL}gru_cell/gates/bias": (6,)}, "", "not a stack of one kind"),
        (
            {"rnnlm/multi_rnn_cell/cell_2/basic_rnn_cell/kernel": (6, 3)},
            "",
            "not a stack of one kind",
        ),
        ({"model/embedding": (4, 2)}, "", "the same part twice"),
        ({"rnnlm/softmax_b": (5,)}, "", "output/bias"),
        ({"rnnlm/softmax_b": ()}, "", r"rnnlm/softmax_b has the shape \(\)"),
        ({"rnnlm/embedding": (4, 0)}, "", r"rnnlm/embedding has the shape \(4, 0\)"),
        ({f"{CELL}basic_rnn_cell/kernel": (5, 3, 1)}, "", r"has the shape \(5, 3, 1\)"),
        ({f"{CELL}basic_rnn_cell/kernel": (1, 3)}, "", r"'rnn_0/kernel' has shape \(1, 3\)"),
    ],
)
def test_another_model_is_refused_with_the_odd_variable(extra, gone, message) -> None:
    variables = arrays() | {name: np.zeros(shape) for name, shape in extra.items()}
    variables.pop(gone, None)
    with pytest.raises(RunError, match=message) as caught:
        tf1.convert(variables, Path("save/model.ckpt-5"))
    assert "save/model.ckpt-5" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    variables = arrays()
    variables["rnnlm/softmax_b"][1] = value
    with pytest.raises(RunError, match="not finite, in output/bias"):
        tf1.convert(variables, Path("m"))


@warm_reader
def test_a_damaged_checkpoint_is_one_message(tf1_model) -> None:
    prefix, _, _ = tf1_model("rnn", 1)
    data = next(prefix.parent.glob("*.data-*"))
    content = data.read_bytes()
    data.write_bytes(content[:100])
    with pytest.raises(RunError, match="damaged or incomplete"):
        tf1.read_network(prefix)
    data.unlink()
    with pytest.raises(RunError, match="damaged or incomplete"):
        tf1.read_network(prefix)
    data.write_bytes(content)
    tf1.read_network(prefix)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_that_cannot_be_split_are_refused(cell: str) -> None:
    scope = "rnnlm/rnn/basic_lstm_cell/" if cell == "lstm" else "rnnlm/rnn/gru_cell/gates/"
    variables = arrays(scope)
    if cell == "gru":
        variables |= {
            name.replace("gates", "candidate"): value for name, value in variables.items()
        }
    with pytest.raises(RunError, match="the shapes of layer 0 do not fit"):
        tf1.convert(variables, Path("m"))


def crc32c(data: bytes) -> int:
    """The masked checksum of a block in TensorFlow's tables."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        # An entry that is not a valid message: TensorFlow aborts.
        (b"\x08\x01\x12\x08", b"\x08\x01\x12\x7f", "Check failed: entry.ParseFrom(String|Array)"),
        # An array of 2**34 numbers.
        (
            b"\x12\x02\x08\x04\x12\x02\x08\x02",
            b"\x12\x06\x08\x80\x80\x80\x80\x40",
            "it lists more numbers than its files have bytes",
        ),
    ],
)
def test_a_hostile_checkpoint_ends_only_its_reader(tmp_path: Path, before, after, told) -> None:
    """Its checksums are right."""
    import tensorflow as tf

    prefix, held = tmp_path / "model.ckpt-5", arrays()
    tensors = [value.astype(np.float32) for value in held.values()]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(held), shape_and_slices=[""] * 5, tensors=tensors
    )
    index = prefix.with_name(f"{prefix.name}.index")
    data = index.read_bytes()
    end = data.index(b"\0\0\0\0\x01\0\0\0\0") + 8  # the end of the entries
    entries = data[:end].replace(before, after, 1)
    assert entries != data[:end]
    assert data[end + 1 : end + 5] == crc32c(data[: end + 1]).to_bytes(4, "little")
    sealed = entries + data[end : end + 1]
    index.write_bytes(sealed + crc32c(sealed).to_bytes(4, "little") + data[end + 5 :])
    with pytest.raises(RunError, match=rf"damaged or incomplete: {told}"):
        tf1.read_network(prefix)


def test_a_checkpoint_is_found_by_folder_prefix_or_file(tmp_path: Path) -> None:
    for step in (8, 100, 20):
        for ending in ("index", "meta", "data-00000-of-00001"):
            (tmp_path / f"model.ckpt-{step}.{ending}").touch()
    expected = (tmp_path / "model.ckpt-20", 20)
    for name in ("model.ckpt-20", "model.ckpt-20.index", "model.ckpt-20.data-00000-of-00001"):
        assert tf1_files.find_checkpoint(tmp_path / name) == expected
    assert tf1_files.find_checkpoint(tmp_path) == (tmp_path / "model.ckpt-100", 100)
    listed = tmp_path / "checkpoint"
    for named in ("model.ckpt-20", "/home/somebody/save/model.ckpt-20", "C:\\save\\model.ckpt-20"):
        listed.write_text(f'model_checkpoint_path: "{named}"\n')
        assert tf1_files.find_checkpoint(tmp_path) == expected
    (tmp_path / "model.index").touch()
    assert tf1_files.find_checkpoint(tmp_path / "model") == (tmp_path / "model", 0)


def test_a_missing_checkpoint_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No file in .* ends in \.index"):
        tf1_files.find_checkpoint(tmp_path)
    with pytest.raises(
        UsageError, match="There is no folder .*model.ckpt-1 and no file .*model.ckpt-1.index"
    ):
        tf1_files.find_checkpoint(tmp_path / "model.ckpt-1")
    with pytest.raises(UsageError, match="Give its path with vocab"):
        tf1_files.find_vocabulary(tmp_path / "model.ckpt-1")


@pytest.mark.parametrize("name", ["checkpoint", "vocab.pkl", "empty"])
def test_another_file_of_the_folder_is_not_a_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.ckpt-8.index").touch()
    (tmp_path / name).write_bytes(b"" if name == "empty" else b"something else")
    with pytest.raises(UsageError) as raised:
        tf1_files.find_checkpoint(tmp_path / name)
    advice = f"Give its folder, {tmp_path}, or a prefix such as save/model.ckpt-24000."
    assert str(raised.value) == f"{tmp_path / name} holds no weights. {advice}"


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e39])
def test_a_forget_bias_must_be_finite(value: float) -> None:
    with pytest.raises(UsageError, match=re.escape(f"forget_bias must be finite, got {value:g}.")):
        tf1.read_network(Path("nowhere"), forget_bias=value)


@pytest.mark.parametrize(
    "held",
    [
        ("b", "a", "\n"),
        ["b", "a", "\n"],
        {"a": 1, "\n": 2, "b": 0},
        {0: "b", 2: "\n", 1: "a"},
        (("b", "a", "\n"), {"b": 0, "a": 1, "\n": 2}),
        [["b", "a", "\n"], {"b": 0, "a": 1, "\n": 2}],
        "ba\n",
    ],
)
def test_every_form_of_vocabulary_is_read(tmp_path: Path, held: object) -> None:
    path = tmp_path / "vocab.pkl"
    path.write_bytes(pickle.dumps(held, 2))
    assert tf1_files.read_vocabulary(path).symbols == "ba\n"


@pytest.mark.parametrize(
    "held", [(), 3, ("ab", "c"), ("a", "a"), ("a", 1), {"a": 0, "b": 2}, {"a": "b"}, {"a": None}]
)
def test_other_pickles_are_not_a_vocabulary(tmp_path: Path, held: object) -> None:
    path = tmp_path / "vocab.pkl"
    path.write_bytes(pickle.dumps(held, 2))
    with pytest.raises(DataError, match="is not a vocabulary"):
        tf1_files.read_vocabulary(path)


def imported(path: Path, vocabulary: Vocabulary, preprocessor: str | None = None):
    return tf1.import_run(
        tf1.convert(arrays(), Path("m")),
        vocabulary,
        path,
        source=Path("m-5"),
        step=5,
        corpus="old",
        preprocessor=preprocessor,
        versions={},
    )


def test_the_marker_decides_the_preprocessor(tmp_path: Path) -> None:
    assert imported(tmp_path / "a", Vocabulary("abcd")).record["corpus"]["preprocessor"] == "plain"
    korean = Vocabulary("ᴥㅏㄱ\n")
    assert imported(tmp_path / "b", korean).record["corpus"]["preprocessor"] == "hangul-slides"
    chosen = imported(tmp_path / "c", korean, "hangul").record
    assert chosen["corpus"]["preprocessor"] == chosen["settings"]["preprocessor"] == "hangul"
    assert LanguageModel.load(folder.open_run(tmp_path / "b")).progress.step == 5


def test_a_preprocessor_must_make_the_symbols(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        imported(tmp_path / "a", Vocabulary("ᴥㅏㄱ\n"), "bytes")
    assert str(raised.value) == (
        "preprocessor bytes cannot make 3 of the vocabulary's 4 symbols: 'ᴥ', 'ㅏ', 'ㄱ'. Leave it out, "
        "or choose another."
    )
    assert not (tmp_path / "a").exists()
    made = imported(tmp_path / "b", Vocabulary("\n\xc0\xe3\xff"), "bytes").record
    assert made["corpus"]["preprocessor"] == "bytes"
    # Found from the vocabulary, the preprocessor may lack rare symbols.
    assert (
        imported(tmp_path / "c", Vocabulary("ᴥㅏㄱ漢")).record["corpus"]["preprocessor"]
        == "hangul-slides"
    )


def test_a_full_disk_leaves_no_run_and_advises_no_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._write_synced

    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data)

    monkeypatch.setattr(files, "_write_synced", full)
    with pytest.raises(TrainingError, match=r"No space is left .*\. Free some space\.$") as caught:
        imported(tmp_path / "a", Vocabulary("abcd"))
    assert "resume" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_vocabulary_of_another_size_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 symbols, but m-5 was trained on 4"):
        imported(tmp_path / "a", Vocabulary("abc"))
    assert not (tmp_path / "a").exists()
    imported(tmp_path / "a", Vocabulary("abcd"))
    with pytest.raises(RunError, match="exists already"):
        imported(tmp_path / "a", Vocabulary("abcd"))


DATA = Path(os.environ.get("RNNTK_DATA", ".")) / "invisible_dragon"


@pytest.mark.skipif(
    not (DATA / "tf1_checkpoint").is_dir(), reason="needs RNNTK_DATA: invisible_dragon"
)
def test_the_model_of_2017_has_its_loss_and_writes_korean(tmp_path: Path) -> None:
    prefix, step = tf1_files.find_checkpoint(DATA / "tf1_checkpoint")
    vocabulary = tf1_files.read_vocabulary(tf1_files.find_vocabulary(prefix))
    run = tf1.import_run(
        tf1.read_network(prefix),
        vocabulary,
        tmp_path / "dragon",
        source=prefix,
        step=step,
        corpus="invisible_dragon",
        preprocessor=None,
        versions={},
    )
    model = LanguageModel.load(run)
    assert model.progress is not None
    assert model.progress.step == 24_000
    text = (DATA / "expected_input.txt").read_bytes().decode()
    costs = model.decoder.costs(vocabulary.encode(text))
    assert len(costs) == len(text) - 1
    assert costs.mean() == pytest.approx(0.19477, abs=5e-6)
    drawn = "".join(model.stream(length=400, seed=1))
    assert sum("가" <= c <= "힣" for c in drawn) > len(drawn) / 3
    assert "ᴥ" not in drawn
