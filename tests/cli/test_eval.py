"""`rnntk eval`: the figures, the baselines beside them, and the files it writes."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rnntk import files
from rnntk.config import typed_setting
from rnntk.errors import TrainingError
from rnntk.play import limits
from rnntk.storage import checkpoint, folder

SMALL = [
    "--units", "8", "--embedding", "6", "--batch-size", "4", "--seq-length", "20", "--sample-every", "0",
    "--max-steps", "6",
]  # fmt: skip


@pytest.fixture
def held(untrained, text: Path) -> Path:
    """A run with a validation and a test part."""
    return untrained("runs/held", val=0.1, test=0.2, input=(str(text),))


@pytest.fixture
def trained(untrained, text: Path) -> Path:
    """A run without a held-out part."""
    return untrained("r", input=(str(text),))


def figures(rnntk, *args: object) -> dict:
    result = rnntk("eval", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_default_is_the_validation_loss_of_training(rnntk, text: Path, here: Path) -> None:
    split = ("--val-fraction", "0.1", "--test-fraction", "0.2")
    result = rnntk("train", "--input", text, "--run", "runs/held", *SMALL, *split, "--val-every", 3)
    assert result.exit_code == 0, result.output
    found = figures(rnntk)
    assert set(found) == {
        "schema_version", "command", "run", "step", "split", "input", "model", "baselines", "dynamic", "novelty",
        "costs", "html",
    }  # fmt: skip
    assert found["split"] == "val"
    model = found["model"]
    last = max((here / "runs" / "held").glob("checkpoints/*/progress.json"))
    progress = json.loads(last.read_text())
    assert model["nats_per_symbol"] == pytest.approx(progress["best"]["val_loss"], rel=1e-4)
    assert model["perplexity"] == pytest.approx(math.exp(model["nats_per_symbol"]))
    assert model["bits_per_character"] == pytest.approx(model["nats_per_symbol"] / math.log(2))
    total = len(text.read_text())
    cuts = 7 * total // 10, 8 * total // 10
    assert model["characters"] == cuts[1] - cuts[0]
    tail = figures(rnntk, "--split", "test", "--no-baselines")["model"]
    assert tail["characters"] == total - cuts[1]


def test_baselines_are_printed_beside_the_loss(rnntk, held: Path, text: Path) -> None:
    result = rnntk("eval", held)
    rows = re.findall(r"^ +(\d+\.\d{3})  (.+?)(  <)?$", result.stdout, re.MULTILINE)
    names = {name for _, name, _ in rows}
    assert names == {
        "this model", "single characters", "xz", "xz after the training text",
        *(f"n-grams up to {k}" for k in range(2, 7)),
    }  # fmt: skip
    values = [float(value) for value, _, _ in rows]
    assert values == sorted(values, reverse=True)
    assert [name for _, name, mark in rows if mark] == ["this model"]
    # Unigrams by hand: Witten and Bell's mixture of counts and the uniform distribution.
    whole = text.read_text()
    start, end = 7 * len(whole) // 10, 8 * len(whole) // 10
    train, rest = whole[:start], whole[start:end]
    kinds, V = len(set(train)), len(set(whole))
    cost = [-math.log2((train.count(c) + kinds / V) / (len(train) + kinds)) for c in rest[1:]]
    assert figures(rnntk, held)["baselines"]["ngram_bits_per_symbol"]["1"] == pytest.approx(
        np.mean(cost)
    )


def test_no_floors_leaves_out_the_baselines(rnntk, held: Path) -> None:
    assert figures(rnntk, held, "--no-baselines")["baselines"] is None
    assert "n-grams" not in rnntk("eval", held, "--no-baselines").stdout


def test_the_training_part_gets_no_ngram_baseline(rnntk, held: Path) -> None:
    compared = figures(rnntk, held, "--split", "train")["baselines"]
    assert set(compared["ngram_bits_per_symbol"]) == {"1"}
    assert "xz_given_training_bits_per_character" not in compared


def test_any_file_can_be_evaluated(rnntk, held: Path, text: Path, here: Path) -> None:
    other = here / "other.txt"
    other.write_bytes("line 3: a fox 9 jumps\n".encode("utf-16"))
    found = figures(rnntk, held, "--input", other)
    assert found["split"] is None
    assert found["input"] == [str(other)]
    assert found["model"]["characters"] == 22
    assert len(found["baselines"]["ngram_bits_per_symbol"]) == 6
    piped = rnntk("eval", held, "--input", "-", "--json", stdin="line 3: a fox 9 jumps\n")
    assert json.loads(piped.stdout)["model"] == found["model"]


def test_unknown_characters_are_reported_or_skipped(rnntk, held: Path, here: Path) -> None:
    (here / "other.txt").write_text("a fox é jumps Ω\n", encoding="utf-8")
    refused = rnntk("eval", held, "--input", "other.txt")
    assert refused.exit_code == 1
    assert "'é'" in refused.stderr
    assert "'Ω'" in refused.stderr
    assert "--on-unknown skip" in refused.stderr
    result = rnntk("eval", held, "--input", "other.txt", "--on-unknown", "skip", "--json")
    assert json.loads(result.stdout)["model"]["characters"] == 14
    assert "Left out 2 characters" in result.stderr


def test_a_run_without_a_held_out_part_is_refused_with_advice(rnntk, trained: Path) -> None:
    result = rnntk("eval", trained)
    assert result.exit_code == 2
    for told in ("--val-fraction", "--split train", "--input"):
        assert told in result.stderr
    assert "--split test" not in result.stderr
    assert "--test-fraction" in rnntk("eval", trained, "--split", "test").stderr


def test_input_and_split_exclude_each_other(rnntk, held: Path, text: Path) -> None:
    result = rnntk("eval", held, "--input", text, "--split", "val")
    assert result.exit_code == 2
    assert "--split" in result.stderr


def test_a_config_with_the_training_text_still_evaluates_the_split(
    rnntk, held: Path, text: Path, here: Path
) -> None:
    (here / "c.toml").write_text(f"input = [{json.dumps(str(text))}]\n[eval]\nbaselines = false\n")
    found = figures(rnntk, held, "--config", "c.toml")
    assert (found["split"], found["baselines"]) == ("val", None)


def test_a_missing_prepared_text_is_prepared_again(
    rnntk, held: Path, text: Path, tmp_path: Path
) -> None:
    before = figures(rnntk, held)
    shutil.rmtree(tmp_path / "cache")
    assert figures(rnntk, held) == before
    shutil.rmtree(tmp_path / "cache")
    text.write_text(text.read_text().replace("fox", "cat"))
    result = rnntk("eval", held)
    assert result.exit_code == 1
    assert "The text has changed since" in result.stderr
    text.unlink()
    assert "There is no file" in rnntk("eval", held).stderr
    # Another text can be evaluated, but without n-grams of the training text.
    piped = rnntk("eval", held, "--input", "-", "--json", stdin="line 3: a fox 9 jumps\n")
    assert set(json.loads(piped.stdout)["baselines"]) == {"xz_bits_per_character"}
    assert "No n-gram baselines: " in piped.stderr


def test_a_different_text_in_the_prepared_folder_is_not_used(rnntk, held: Path, here: Path) -> None:
    record = json.loads((held / "run.json").read_text())
    before = figures(rnntk, held, "--no-baselines")
    (here / "x.txt").write_text("something else " * 50)
    made = rnntk("prep", "--input", "x.txt", "--json")
    record["corpus"]["prepared"] = json.loads(made.stdout)["folder"]
    (held / "run.json").write_text(json.dumps(record))
    result = rnntk("eval", held, "--no-baselines", "--json")
    assert json.loads(result.stdout) == before
    assert "holds another text now" in result.stderr


def test_a_run_on_standard_input(rnntk, held: Path, tmp_path: Path) -> None:
    record = json.loads((held / "run.json").read_text())
    record["settings"]["input"] = ["-"]
    (held / "run.json").write_text(json.dumps(record))
    assert figures(rnntk, held, "--no-baselines")["split"] == "val"
    shutil.rmtree(tmp_path / "cache")
    result = rnntk("eval", held)
    assert result.exit_code == 1
    assert "standard input" in result.stderr
    assert "--input" in result.stderr


def test_a_checkpoint_can_be_chosen(rnntk, trained: Path) -> None:
    for which in ("best", "last", "4"):
        assert figures(rnntk, trained, "--split", "train", "--checkpoint", which, "--no-baselines")[
            "step"
        ] == 4  # fmt: skip
    assert rnntk("eval", trained, "--checkpoint", "77").exit_code == 1


def test_the_loss_of_every_character_is_written(rnntk, held: Path, here: Path) -> None:
    found = figures(rnntk, held, "--costs", "c.json", "--no-baselines")
    costs = json.loads((here / "c.json").read_text(encoding="utf-8"))
    assert (costs["schema_version"], costs["unit"], costs["per"]) == (1, "bits", "character")
    assert len(costs["costs"]) == len(costs["text"]) == found["model"]["characters"]
    assert costs["costs"][0] is None
    mean = np.mean(costs["costs"][1:])
    assert mean == pytest.approx(found["model"]["bits_per_symbol"], abs=1e-3)


def test_an_unwritable_output_is_refused(rnntk, held: Path) -> None:
    for flag in ("--costs", "--html"):
        result = rnntk("eval", held, "--no-baselines", flag, "no/such/folder/x")
        problem = f"{flag} no/such/folder/x: there is no folder no/such/folder. Create it first."
        assert (result.exit_code, result.stdout) == (2, "")
        assert problem in result.stderr


def test_figures_are_printed_if_a_file_cannot_be_written(
    rnntk, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise TrainingError(f"No space is left to write {path}.")

    monkeypatch.setattr(files, "write_bytes", full)
    for flag in ("--costs", "--html"):
        command = ["eval", held, "--no-baselines", "--no-novelty", flag, "x"]
        result = rnntk(*command)
        assert (result.exit_code, result.stderr) == (1, "Error: No space is left to write x.\n")
        assert "bits" in result.stdout
        result = rnntk(*command, "--json")
        assert (result.exit_code, json.loads(result.stdout)["split"]) == (1, "val")
        result = rnntk(*command[:-1], "x" * 300)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "x cannot be written: File name too long. Choose another name." in result.stderr


def report_data(path: Path) -> dict:
    source = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', source)
    assert found
    return json.loads(found[1])


def test_the_html_report_shows_the_text_and_loads_nothing(rnntk, held: Path, here: Path) -> None:
    found = figures(rnntk, held, "--html", "p.html", "--costs", "c.json")
    source = (here / "p.html").read_text(encoding="utf-8")
    data = report_data(here / "p.html")
    costs = json.loads((here / "c.json").read_text(encoding="utf-8"))
    assert data["read"]["text"] == costs["text"]
    assert data["read"]["bits"][0] is None
    np.testing.assert_allclose(data["read"]["bits"][1:], costs["costs"][1:], atol=1e-3)
    assert not re.search(r"<(link|img|iframe)\b(?![^>]*data:)", source)
    assert not re.search(r"""(src|href)=["'](?!data:)""", source)
    assert "url(" not in source
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source
    evaluation = data["evaluation"]
    assert evaluation["of"] == "val"
    assert evaluation["characters"] == found["model"]["characters"]
    rows = dict(evaluation["bits_per_character"])
    assert rows["this model"] == found["model"]["bits_per_character"]
    assert rows["n-grams up to 6"] == found["baselines"]["ngram_bits_per_character"]["6"]


def test_a_long_text_is_shown_in_part_with_a_note(
    rnntk, held: Path, here: Path, monkeypatch
) -> None:
    monkeypatch.setattr(limits, "TEXT", 5)
    found = figures(rnntk, held, "--no-baselines", "--html", "p.html")["model"]
    data = report_data(here / "p.html")
    assert len(data["read"]["text"]) == 5
    assert data["evaluation"]["characters"] == found["characters"] > 5
    assert data["evaluation"]["bits_per_character"] == [["this model", found["bits_per_character"]]]
    # A model with more units allows fewer symbols in memory.
    monkeypatch.setattr(limits, "TRACE_BYTES", 3 * 4 * 8)
    assert rnntk("eval", held, "--no-baselines", "--html", "p.html").exit_code == 0
    assert len(report_data(here / "p.html")["read"]["text"]) == 3


def test_a_page_whose_losses_are_all_zero(rnntk, untrained, here: Path) -> None:
    (here / "a.txt").write_text("a" * 400)
    run = untrained("runs/a-1", val=0.5, input=("a.txt",))
    found = figures(rnntk, run, "--html", "one.html")
    assert found["model"]["bits_per_character"] == 0
    rows = dict(report_data(here / "one.html")["evaluation"]["bits_per_character"])
    assert rows["this model"] == rows["n-grams up to 6"] == 0


def test_a_perplexity_that_is_not_finite_is_null(rnntk, untrained, here: Path) -> None:
    (here / "ab.txt").write_text("ab" * 100)
    run = untrained("runs/ab-1", val=0.5, input=("ab.txt",))
    opened = folder.open_run(run)
    weights = dict(opened.checkpoint("last").weights())
    weights["output/bias"] = np.array([5000, 0], np.float32)
    progress = checkpoint.Progress(step=8)
    checkpoint.write(
        opened.checkpoints, weights=weights, optimizer={}, states={}, progress=progress
    )
    result = rnntk("eval", run, "--json", "--no-baselines")
    assert "Infinity" not in result.stdout
    assert json.loads(result.stdout)["model"]["perplexity"] is None
    assert "perplexity    inf" in rnntk("eval", run, "--no-baselines").stdout


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"preprocessor": "bytes"}, "한글 漢字가 é\n"),
        ({"preprocessor": "hangul", "normalize": True}, "\u1112\u1161\u11ab글 값이 a\n"),
        ({"preprocessor": "hangul-slides"}, "한글 漢字 a\n"),
        ({"preprocessor": "hangul", "min_count": 3, "unknown_symbol": "?"}, "한글 a\n"),
    ],
    ids=["bytes", "normalize", "slides", "rare"],
)
def test_validation_and_eval_count_the_same_characters_at_any_split(
    rnntk, here: Path, settings: dict, pattern: str
) -> None:
    (here / "t.txt").write_text(pattern * 40 + "뷁", encoding="utf-8")
    flags = [word for k, v in settings.items() for word in typed_setting(k, v)]
    for fraction in ("0.101", "0.105", "0.109", "0.113"):
        run = f"runs/r{fraction}"
        split = ("--val-fraction", fraction, "--val-every", 6)
        result = rnntk("train", "--input", "t.txt", "--run", run, *SMALL, *flags, *split)
        assert result.exit_code == 0, result.output
        lines = (here / run / "metrics.jsonl").read_text().splitlines()
        logged = [json.loads(x) for x in lines if "val_bits_per_character" in x][-1]
        found = figures(rnntk, run, "--checkpoint", "last", "--no-baselines")["model"]
        assert found["nats_per_symbol"] == pytest.approx(logged["val_loss"], rel=1e-5)
        assert found["bits_per_character"] == pytest.approx(
            logged["val_bits_per_character"], rel=1e-5
        )


def test_a_part_too_short_to_evaluate_is_refused(rnntk, untrained, here: Path) -> None:
    (here / "t.txt").write_text("abcdefghijklmnopqrst")
    run = untrained("runs/t-1", val=0.95, input=("t.txt",))
    result = rnntk("eval", run, "--split", "train")
    assert result.exit_code == 2
    assert f"The train part of {run} has 1 symbol; evaluation needs at least 2" in result.stderr
    assert "(--split val) or another text (--input)" in result.stderr
    # A run of an older rnntk may have such a short part.
    record = json.loads((run / "run.json").read_text())
    record["corpus"]["split"]["val"] = [1, 2]
    (run / "run.json").write_text(json.dumps(record))
    assert (
        f"The val part of {run} has 1 symbol; evaluation needs at least 2"
        in rnntk("eval", run).stderr
    )


def test_characters_the_preprocessor_drops_are_reported_or_skipped(
    rnntk, untrained, here: Path
) -> None:
    (here / "ko.txt").write_text("한글 漢字 a\n" * 40, encoding="utf-8")
    (here / "clean.txt").write_text("한글 a\n", encoding="utf-8")
    (here / "other.txt").write_text("한글漢 a字字\n", encoding="utf-8")
    run = untrained("runs/ko-1", input=("ko.txt",), preprocessor="hangul-slides")
    refused = rnntk("eval", run, "--input", "other.txt")
    assert refused.exit_code == 1
    assert "'漢' (U+6F22), '字' (U+5B57)" in refused.stderr
    skip = ("--on-unknown", "skip", "--no-baselines")
    result = rnntk("eval", run, "--input", "other.txt", *skip)
    assert "Left out 3 characters unknown to the model." in result.stderr
    assert (
        figures(rnntk, run, "--input", "other.txt", *skip)["model"]
        == figures(rnntk, run, "--input", "clean.txt", "--no-baselines")["model"]
    )


def test_hangul_has_bits_per_syllable(rnntk, untrained, here: Path) -> None:
    (here / "ko.txt").write_text("안녕하세요, 반갑습니다.\n" * 40, encoding="utf-8")
    untrained("runs/ko-1", val=0.2, input=("ko.txt",), preprocessor="hangul")
    found = figures(rnntk, "--corpus", "ko", "--no-baselines")["model"]
    assert found["symbols"] > found["characters"]
    assert found["bits_per_syllable"] > found["bits_per_symbol"]
    assert found["bits_per_character"] == pytest.approx(
        found["bits_per_symbol"] * found["symbols"] / found["characters"]
    )
    assert "per Hangul syllable" in rnntk("eval", "--corpus", "ko", "--no-baselines").stdout


def test_corpus_narrows_the_latest_run(rnntk, held: Path) -> None:
    assert rnntk("eval", "--corpus", "demo_ko").exit_code == 1
    assert figures(rnntk, "--corpus", "tiny", "--no-baselines")["run"].endswith("held")


def test_tensorflow_is_not_needed() -> None:
    import subprocess
    import sys

    code = (
        "import sys, rnntk.cli.eval, rnntk.play.report, rnntk.evaluation.baselines, rnntk.storage.splits\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_novelty_of_a_text_against_the_training_text(rnntk, held: Path, text: Path) -> None:
    found = figures(rnntk, held)["novelty"]
    assert (found["characters"], found["seed"], found["unit"]) == (10_000, 1, "symbols")
    assert found == figures(rnntk, held, "--no-baselines")["novelty"]
    # The held-out text by hand; random weights copy less.
    whole = text.read_text()
    train, rest = whole[: 7 * len(whole) // 10], whole[7 * len(whole) // 10 : 8 * len(whole) // 10]
    for n in (8, 16, 32):
        known = [rest[k : k + n] in train for k in range(len(rest) - n + 1)]
        assert found["held_out"][str(n)] == pytest.approx(np.mean(known))
    assert found["generated"]["8"] < found["held_out"]["8"]
    shown = rnntk("eval", held, "--no-baselines").stdout
    assert "\ncopied from the training text, of 10,000 generated characters\n" in shown
    beside = f"{found['held_out']['8']:.1%}"
    assert re.search(
        rf"^ +\d+\.\d%  of runs of  8 symbols   \(held-out text {beside}\)$", shown, re.M
    )
    assert "Far above the held-out text, the model copies" in shown


def test_novelty_is_computed_on_request_only(rnntk, held: Path, text: Path) -> None:
    assert figures(rnntk, held, "--no-novelty")["novelty"] is None
    assert figures(rnntk, held, "--input", text)["novelty"] is None
    assert "copied" not in rnntk("eval", held, "--no-novelty").stdout
    alone = rnntk("eval", held, "--split", "train", "--no-baselines")
    assert "held-out text" not in alone.stdout
    assert "long ones mean copying" in alone.stdout


def test_a_model_that_copies_its_text_is_detected(
    rnntk, held: Path, text: Path, monkeypatch
) -> None:
    from rnntk.decoding.generate import Piece
    from rnntk.decoding.language_model import LanguageModel

    known = text.read_text()[:1000]
    pieces = [Piece(known, known, (), k) for k in range(10)]
    monkeypatch.setattr(LanguageModel, "pieces", lambda *_: pieces)
    shares = figures(rnntk, held)["novelty"]["generated"]
    assert shares == {"8": 1.0, "16": 1.0, "32": 1.0}


def test_the_report_shows_the_novelty(rnntk, held: Path, here: Path) -> None:
    assert rnntk("eval", held, "--html", "e.html").exit_code == 0
    assert '"novelty"' in (here / "e.html").read_text(encoding="utf-8")


def test_dynamic_loss_is_printed_beside_the_static_one(rnntk, text: Path, here: Path) -> None:
    split = ("--val-fraction", "0.1", "--test-fraction", "0.2", "--dropout", "0.5")
    result = rnntk("train", "--input", text, "--run", "runs/held", *SMALL, *split)
    assert result.exit_code == 0, result.output
    static = figures(rnntk, "--no-baselines", "--no-novelty")
    assert static["dynamic"] is None
    still = figures(rnntk, "--no-baselines", "--no-novelty", "--dynamic", "--dynamic-rate", "1e-9")
    assert still["model"] == static["model"]
    assert still["dynamic"]["chosen"] == "given"
    for name in ("nats_per_symbol", "bits_per_character"):
        assert still["dynamic"][name] == pytest.approx(static["model"][name], rel=1e-5)
    adapted = rnntk("eval", "--split", "test", "--dynamic", "--no-baselines", "--no-novelty")
    assert "Choosing the learning rate on the validation text." in adapted.stderr
    assert re.search(r"learning rate +[0-9.]+, the best on the validation text", adapted.stdout)
    nats = [float(n) for n in re.findall(r"nats +([0-9.]+) per symbol", adapted.stdout)]
    assert nats[1] < nats[0]
    wild = rnntk("eval", "--json", "--no-novelty", "--dynamic", "--dynamic-rate", "1e37")
    assert json.loads(wild.stdout)["dynamic"] is None
    problem = "Warning: dynamic evaluation diverged with learning rate 1e+37. Lower --dynamic-rate."
    assert problem in wild.stderr
    default = rnntk("eval", "--dynamic", "--no-baselines", "--no-novelty")
    assert re.search(r"learning rate +0\.1, the default", default.stdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dynamic-rate", "0.1"], "--dynamic-rate needs --dynamic"),
        (["--dynamic", "--dynamic-rate", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_a_wrong_dynamic_rate_is_refused(rnntk, trained, options, message) -> None:
    result = rnntk("eval", "r", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_text_of_training_in_a_variable_is_not_another_text(
    rnntk, held: Path, text: Path, monkeypatch
) -> None:
    quick = ("--no-baselines", "--no-novelty")
    wanted = figures(rnntk, held, *quick)
    monkeypatch.setenv("RNNTK_INPUT", str(text))
    assert figures(rnntk, held, *quick) == wanted
    assert figures(rnntk, held, *quick, "--split", "val") == wanted


def test_a_flag_replaces_a_weaker_split(rnntk, held: Path, text: Path, here: Path) -> None:
    (here / "c.toml").write_text('[eval]\nsplit = "test"\n')
    found = figures(rnntk, held, "--config", "c.toml", "--input", text, "--no-baselines")
    assert (found["split"], found["input"]) == (None, [str(text)])


@pytest.mark.parametrize("option", ["--costs", "--html"])
def test_a_result_never_replaces_a_text(
    rnntk, held: Path, text: Path, here: Path, option: str
) -> None:
    other = here / "other.txt"
    other.write_text("a fox\n" * 20)
    trained = Path(folder.open_run(held).settings["input"][0])
    for given in (["--input", other, option, "other.txt"], [option, trained]):
        before = Path(given[-1]).read_bytes()
        result = rnntk("eval", held, *given, "--no-baselines")
        assert result.exit_code == 2
        assert "would replace a text. Name another file." in result.stderr
        assert Path(given[-1]).read_bytes() == before


def test_both_results_need_their_own_file(rnntk, held: Path, here: Path) -> None:
    result = rnntk("eval", held, "--costs", "same", "--html", "same")
    assert result.exit_code == 2
    assert "--costs and --html are both same. Give two files." in result.stderr
    assert not (here / "same").exists()


def test_the_dynamic_rate_in_a_file_is_a_number(rnntk, held: Path, here: Path) -> None:
    quick = ("--no-baselines", "--no-novelty")
    (here / "c.toml").write_text("[eval]\ndynamic = true\ndynamic_rate = 0.2\n")
    assert figures(rnntk, held, *quick, "--config", "c.toml")["dynamic"]["rate"] == 0.2
    (here / "c.toml").write_text('[eval]\ndynamic = true\ndynamic_rate = "0.2"\n')
    result = rnntk("eval", held, "--config", "c.toml")
    assert result.exit_code == 2
    assert "must be a number, got '0.2'" in result.stderr


def test_without_the_training_text_the_dynamic_rate_is_the_default(
    rnntk, untrained, text: Path, here: Path
) -> None:
    text.write_text(text.read_text() * 4)
    run = untrained("r", val=0.3, input=(str(text),))
    (here / "other.txt").write_text(text.read_text()[:500])
    text.unlink()
    shutil.rmtree(here.parent / "cache" / "prepared", ignore_errors=True)
    result = rnntk("eval", run, "--input", "other.txt", "--dynamic", "--no-baselines")
    assert result.exit_code == 0, result.stderr
    assert "It stays 0.1: There is no file" in result.stderr
    assert "0.1, the default" in result.stdout
