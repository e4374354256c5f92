"""A model from its run folder: streaming, evaluation, unknown characters, and refusals."""

import math
from pathlib import Path

import numpy as np
import pytest

import rnntk
from rnntk.decoding.language_model import LanguageModel
from rnntk.decoding.reference import States
from rnntk.errors import RunError, UsageError
from rnntk.storage import checkpoint, directory, folder
from rnntk.text.vocabulary import Vocabulary


def load(path: Path | str, checkpoint: str | int = "last") -> LanguageModel:
    return LanguageModel.load(directory.find(Path("runs"), Path(path)), checkpoint)


@pytest.fixture
def make(tmp_path: Path, random_weights):
    def run(
        name="r", preprocessor="plain", symbols="abcdefgh \n.", cell="gru", settings=None, **corpus
    ) -> Path:
        made = folder.create(
            tmp_path / name,
            kind=folder.CHAR_RNN,
            settings=settings or {},
            model={"cell": cell},
            corpus={"preprocessor": preprocessor, "preprocessor_version": 1, **corpus},
            versions={},
            vocabulary=Vocabulary(symbols),
        )
        checkpoint.write(
            made.checkpoints,
            weights=random_weights(cell, V=len(symbols), scale=0.3),
            optimizer={},
            states={},
            progress=checkpoint.Progress(step=3),
        )
        return made.path

    return run


@pytest.fixture
def model(make):
    return load(make())


def test_sample_is_an_iterator_of_strings(model) -> None:
    pieces = model.stream("abc", length=40, seed=1)
    assert iter(pieces) is pieces
    parts = list(pieces)
    assert all(isinstance(part, str) and part for part in parts)
    assert len("".join(parts)) == 40
    assert "".join(model.stream("abc", length=40, seed=1)) == "".join(parts)
    assert "".join(model.stream("abc", length=40, seed=2)) != "".join(parts)


def test_symbols_are_generated_on_demand(model, monkeypatch) -> None:
    sizes = []
    sample = model.decoder.sample

    def counted(*args):
        for ids, losses in sample(*args):
            sizes.append(len(ids))
            yield ids, losses

    monkeypatch.setattr(model.decoder, "sample", counted)
    pieces = model.stream("abc", length=10**6)
    for _ in range(3):
        next(pieces)
    assert sum(sizes) <= 4, "blocks of one symbol, one and two"


def test_hangul_is_streamed_in_whole_syllables(make) -> None:
    model = load(make(preprocessor="hangul", symbols="ᴥㅏㄱㄴㅣ .\n"))
    pieces = list(model.stream("가", length=200, seed=3))
    assert any("가" <= character <= "힣" for character in "".join(pieces))
    assert len("".join(pieces)) == 200
    drawn = "".join(model.stream("가", length=800, seed=3, raw=True))
    assert len(drawn) == 800
    assert "".join(pieces) == model.preprocessor.decode(drawn)[:200]


def test_generation_ends_when_symbols_form_no_characters(make, monkeypatch) -> None:
    """Markers alone never form a character."""
    model = load(make(preprocessor="hangul-slides", symbols="ᴥㅏㄱ"))
    monkeypatch.setattr(model.decoder, "output_bias", np.array([99, 0, 0], np.float32))
    model.decoder._new_states = States
    assert "".join(model.stream("가", length=50)) == ""
    assert "".join(model.stream("가", length=50, beam=2)) == ""


def test_settings_match_those_of_the_command(model) -> None:
    greedy = "".join(model.stream("a", length=20, temperature=0))
    assert "".join(model.stream("a", length=20, temperature=1e-9, seed=8)) == greedy
    assert "".join(model.stream("a", length=20, top_k=1, seed=9)) == greedy
    assert "".join(model.stream("a", length=20, min_p=1.0)) == greedy
    assert "".join(model.stream("a", length=20, beam=1)) == greedy
    guarded = "".join(model.stream("a", length=20, temperature=0, no_repeat=3))
    assert len({guarded[k : k + 3] for k in range(18)}) == 18
    assert "".join(model.stream("a", length=500, stop="b", seed=1)).endswith("b")


def test_errors_are_raised_at_the_call(model) -> None:
    for wrong in (
        {"temperature": -1}, {"top_p": 2.0}, {"beam": 2, "top_k": 1}, {"seed": -1}, {"length": 10**26},
        {"length": 10**400}, {"beam": 10**20, "length": 3}, {"no_repeat": 10**20},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            model.stream("a", **wrong)
    with pytest.raises(UsageError, match=r"temperature.*must be at least 0 and finite"):
        model.stream("a", temperature=math.inf)
    with pytest.raises(UsageError, match="Ω"):
        model.stream("Ω")
    assert len("".join(model.stream("Ωa", length=3, on_unknown="skip"))) == 3
    with pytest.raises(UsageError, match="Did you mean .temperature"):
        model.stream("a", temprature=1)


def test_the_prompt_of_the_corpus_is_used_if_known(make) -> None:
    known, unknown = (load(make(p, prime=p, opening="a\nb\n")) for p in ("abc", "xyz"))
    assert known.default_prompt == "abc"
    assert unknown.default_prompt == ""
    assert list(known.stream(length=9)) == list(known.stream("abc", length=9))
    # Else the text begins after a line end, which is not printed.
    assert list(unknown.stream(length=9, echo=True)) == list(known.stream("a\nb\n", length=9))


@pytest.mark.parametrize(
    ("symbols", "corpus", "before"),
    [
        ("ab\n", {}, "\n"),
        ("a\r\nb", {}, "\r\n"),
        ("a\nb\r", {}, "\n"),
        ("ab\r", {}, "\r"),
        ("ba", {}, "b"),
        ("ab\n", {"opening": "no\n"}, "\n"),
    ],
)
def test_without_a_corpus_prompt_the_text_begins_after_a_line_end(
    make, symbols: str, corpus: dict, before: str
) -> None:
    model = load(make(symbols=symbols, **corpus))
    assert model.vocabulary.decode(model.prompt("").ids) == before
    assert model.prompt("").text == ""


def test_generated_text_has_the_surprisal_that_evaluate_gives(model) -> None:
    from rnntk.config import SampleConfig

    settings = SampleConfig(length=30)
    pieces = list(model.pieces(model.prompt("abc"), settings, 5, surprisal=True))
    drawn = [nats for piece in pieces for nats in piece.nats]
    found = model.evaluate("abc" + "".join(piece.text for piece in pieces))
    np.testing.assert_allclose(found.nats[2:], drawn, rtol=1e-5, atol=1e-6)
    assert found.bits_per_character == pytest.approx(np.mean(found.nats) / math.log(2))


def test_a_damaged_checkpoint_is_skipped(make) -> None:
    path = make()
    weights = next(path.glob("checkpoints/*/weights.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    with pytest.raises(RunError, match="weights"):
        load(path)
    weights.write_bytes(whole)
    (weights.parent / "optimizer.safetensors").write_bytes(b"")
    assert load(path).progress.step == 3, "sampling needs no optimizer"


def test_another_version_of_the_preprocessor_is_refused(make) -> None:
    with pytest.raises(RunError, match="version 2"):
        load(make(preprocessor_version=2))


@pytest.mark.parametrize("name", [None, "morse"])
def test_a_missing_preprocessor_is_refused(make, name) -> None:
    with pytest.raises(UsageError, match="is not installed"):
        load(make(preprocessor=name))


def test_a_run_is_found_by_name_in_runs(make, tmp_path: Path, monkeypatch) -> None:
    path = make("runs/novel-1")
    monkeypatch.chdir(tmp_path)
    assert load("novel-1").run.path == path.relative_to(tmp_path)
    assert load("runs/novel-1").run.path == path.relative_to(tmp_path)
    with pytest.raises(
        RunError, match=r"no run novell, here or in runs\. Did you mean 'novel-1'\?"
    ):
        load("novell")


def test_rnntk_load_finds_a_run_by_name(make) -> None:
    assert rnntk.load(make()).model.step == 3


def test_a_checkpoint_may_be_a_number(make) -> None:
    path = make()
    assert load(path, checkpoint=3).progress.step == 3
    with pytest.raises(RunError, match="no checkpoint '5'"):
        load(path, checkpoint=5)


def test_a_prompt_is_normalized_like_the_training_text(make) -> None:
    nfd = "\u1112\u1161\u11ab\r\n"
    kept = load(make("a", symbols="한 \n"))
    with pytest.raises(UsageError, match=r"U\+1112.*U\+000D"):
        kept.stream(nfd)
    model = load(make("b", symbols="한 \n", settings={"normalize": True, "newline": "lf"}))
    assert model.prompt(nfd).text == "한\n"
    assert list(model.stream(nfd, length=9)) == list(model.stream("한\n", length=9))
    assert model.evaluate(nfd).text == "한\n"
    found = ["".join(model.stream(length=99, stop=stop)) for stop in (nfd, "한\n")]
    assert found[0] == found[1]
    assert found[0].endswith("한\n")


def test_a_corpus_prompt_of_a_wrong_type_is_damage(make) -> None:
    path = make()
    record = path / "run.json"
    record.write_text(record.read_text().replace('"preprocessor"', '"opening": 5, "preprocessor"'))
    with pytest.raises(RunError, match="opening"):
        load(path)
