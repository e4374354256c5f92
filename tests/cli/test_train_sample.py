"""`rnntk prep`, `train` and `sample` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

SMALL = [
    "--units",
    "8",
    "--embedding",
    "6",
    "--batch-size",
    "4",
    "--seq-length",
    "20",
    "--max-steps",
    "4",
]


def test_prep_prints_the_facts_of_the_text(rnntk, text: Path) -> None:
    result = rnntk("prep", "--input", text)
    assert result.exit_code == 0
    assert "utf-8" in result.stdout or "ascii" in result.stdout
    assert f"{len(text.read_text()):,} characters" in result.stdout
    assert "Train on it: rnntk train --input" in result.stderr
    facts = json.loads(rnntk("prep", "--input", text, "--json").stdout)
    assert facts["schema_version"] == 1
    assert facts["corpus"]["facts"]["characters"] == len(text.read_text())


def test_prep_reads_stdin_and_writes_to_output(rnntk, here: Path) -> None:
    result = rnntk(
        "prep",
        "--input",
        "-",
        "--output",
        "made",
        "--preprocessor",
        "plain",
        stdin="안녕하세요 " * 30,
    )
    assert result.exit_code == 0, result.output
    assert (here / "made" / "ids.bin").stat().st_size == 180
    assert rnntk("prep", "--input", "-", "--preprocessor", "hangul", stdin="각시").exit_code == 0
    result = rnntk("prep", "--input", "-", "--output", "korean", stdin="안녕하세요 " * 30)
    assert "by hangul" in result.stdout
    assert (here / "korean" / "ids.bin").stat().st_size == 540


def test_prep_lists_all_corpora(rnntk) -> None:
    listed = json.loads(rnntk("prep", "--list", "--json").stdout)["corpora"]
    by_name = {row["name"]: row for row in listed}
    assert {"linux_kernel", "python_stdlib", "tinyshakespeare", "mnist", "digits"} <= set(by_name)
    assert by_name["python_stdlib"]["available"]
    assert not by_name["tinyshakespeare"]["available"]
    table = rnntk("prep", "--list").stdout
    assert all(name in table for name in by_name)


def test_prep_names_the_option_for_an_unknown_licence(rnntk, monkeypatch) -> None:
    monkeypatch.delenv("RNNTK_OFFLINE", raising=False)
    consent = "download from raw.githubusercontent.com, with --accept-licence"
    listed = json.loads(rnntk("prep", "--list", "--json").stdout)["corpora"]
    assert next(c for c in listed if c["name"] == "nine_dreams")["detail"] == consent
    assert consent in rnntk("prep", "--list").stdout


def test_the_best_validation_counts_bits_of_the_held_out_text(rnntk, here: Path) -> None:
    # Three symbols per character at the start, one at the end, so bits per character depend on the part.
    (here / "mixed.txt").write_text("한글을 쓴다. " * 60 + "plain letters " * 60, encoding="utf-8")
    result = rnntk(
        "train", "--input", "mixed.txt", "--preprocessor", "hangul", *SMALL, "--val-fraction", 0.2, "--val-every", 2,
        "--run", "r",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (here / "r" / "metrics.jsonl").read_text().splitlines()]
    best = min((line for line in lines if "val_loss" in line), key=lambda line: line["val_loss"])
    assert f"({best['val_bits_per_character']:.3f} bits per character) at step" in result.stdout
    steps = {
        name: json.loads(rnntk("sample", "r", "--json", "--length", 5, *words).stdout)["step"]
        for name, words in (("default", ()), ("last", ("--checkpoint", "last")))
    }
    assert steps == {"default": best["step"], "last": lines[-1]["step"]}


def test_sample_takes_the_latest_run(rnntk, text: Path) -> None:
    result = rnntk("train", "--input", text, *SMALL, "--sample-every", 2)
    assert result.exit_code == 0, result.output
    assert "runs/tiny-1" in result.stdout
    assert "--- sample at step 2 ---" in result.stderr
    assert "Sample from it: rnntk sample runs/tiny-1" in result.stderr
    one = rnntk("sample", "--prime", "fox", "--seed", 1, "--length", 50)
    two = rnntk("sample", "--prime", "fox", "--seed", 1, "--length", 50)
    assert one.stdout == two.stdout
    assert one.stdout.startswith("fox")
    assert len(one.stdout) == 3 + 50 + 1
    assert "seed 1" in one.stderr
    other = rnntk("sample", "--prime", "fox", "--seed", 2, "--length", 50)
    assert other.stdout != one.stdout


def test_offline_defaults_are_reported(rnntk) -> None:
    result = rnntk("train", *SMALL, "--sample-every", 0)
    assert result.exit_code == 0, result.output
    assert "a similar text replaces it" in result.stderr or "python_stdlib" in result.stderr


def test_resume_continues_the_latest(rnntk, text: Path) -> None:
    rnntk("train", "--input", text, *SMALL, "--sample-every", 0)
    result = rnntk("train", "--resume", "--max-steps", 6, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["step"] == 6
    assert "Continuing" in result.stderr


def test_json_is_one_object_and_notes_go_to_stderr(rnntk, text: Path) -> None:
    result = json.loads(rnntk("train", "--input", text, *SMALL, "--json").stdout)
    assert {"schema_version", "command", "run", "step", "losses", "reason"} <= set(result)
    drawn = json.loads(rnntk("sample", "--json", "--length", 5, "--num", 3, "--seed", 0).stdout)
    assert len(drawn["texts"]) == 3
    assert len({len(t) for t in drawn["texts"]}) == 1


def test_quiet_prints_the_result_only(rnntk, text: Path) -> None:
    assert rnntk("train", "--input", text, *SMALL, "--quiet").stderr == ""
    assert rnntk("sample", "--quiet", "--length", 5).stderr == ""


def test_sample_strategies(rnntk, trained: Path) -> None:
    def draw(*args: object) -> str:
        result = rnntk("sample", trained, "--prime", "fox", "--length", 30, *args)
        assert result.exit_code == 0, result.output
        return result.stdout

    greedy = draw("--greedy", "--seed", 1)
    assert greedy == draw("--greedy", "--seed", 2)
    assert greedy == draw("--temperature", 0, "--seed", 3)
    assert greedy == draw("--top-k", 1, "--seed", 4)
    assert draw("--seed", 5, "--top-p", 0.9) == draw("--seed", 5, "--top-p", 0.9)
    several = draw("--num", 2, "--seed", 1)
    assert several.count("fox") >= 2
    assert "---" not in several


def test_sample_reads_its_prompt_from_a_file_or_stdin(rnntk, trained: Path, here: Path) -> None:
    (here / "prime.txt").write_text("a fox")
    assert rnntk("sample", trained, "--prime-file", "prime.txt", "--length", 3).stdout.startswith(
        "a fox"
    )
    assert rnntk(
        "sample", trained, "--prime-file", "-", "--length", 3, stdin="a fox"
    ).stdout.startswith("a fox")
    assert rnntk("sample", trained, "--prime-file", "no.txt").exit_code == 2
    assert rnntk("sample", trained, "--prime-file", "prime.txt", "--prime", "x").exit_code == 2


def test_korean_end_to_end(rnntk) -> None:
    result = rnntk("train", "--corpus", "demo_ko", *SMALL, "--sample-every", 0)
    assert result.exit_code == 0, result.output
    drawn = rnntk("sample", "--corpus", "demo_ko", "--seed", 1, "--length", 40)
    assert drawn.exit_code == 0, drawn.output
    raw = rnntk("sample", "--corpus", "demo_ko", "--seed", 1, "--length", 40, "--raw", "--json")
    assert len(json.loads(raw.stdout)["texts"][0]) == 40
    for args in ((), ("--num", 3), ("--beam", 2)):
        found = rnntk("sample", "--corpus", "demo_ko", "--seed", 1, "--length", 40, "--json", *args)
        assert {len(text) for text in json.loads(found.stdout)["texts"]} == {40}, args


def test_init_from_copies_network_preprocessor_and_weights(rnntk, text: Path, here: Path) -> None:
    first = rnntk(
        "train",
        "--input",
        text,
        "--preprocessor",
        "hangul",
        *SMALL,
        "--run",
        "one",
        "--sample-every",
        0,
    )
    assert first.exit_code == 0, first.output
    (here / "other.txt").write_text(text.read_text().replace("fox", "FOX"))
    more = ["--batch-size", 4, "--seq-length", 20, "--max-steps", 1, "--sample-every", 0, "--json"]
    second = rnntk("train", "--input", "other.txt", "--init-from", "one", *more)
    assert second.exit_code == 0, second.output
    record = json.loads((Path(json.loads(second.stdout)["run"]) / "run.json").read_text())
    assert record["settings"]["units"] == 8
    assert record["settings"]["preprocessor"] == "hangul"
    assert "symbols match; new: " in second.stderr
    assert "'F'" in second.stderr
    refused = rnntk("train", "--input", "other.txt", "--init-from", "one", "--units", 9, *more)
    assert refused.exit_code == 1
    told = "The weights of one do not fit: they need --units 8, not 9. Set this, or leave it out."
    assert told in refused.stderr
    refused = rnntk("train", "nowhere.txt", "--init-from", "one", "--units", 9, *more)
    assert told in refused.stderr, "before the text is read"
    (here / "c.toml").write_text("[train]\nunits = 8\nembedding = 7\ncell = 'rnn'\n")
    refused = rnntk(
        "train", "other.txt", "--config", "c.toml", "--init-from", "one", "--no-layer-norm", *more
    )
    assert refused.exit_code == 1
    told = (
        "do not fit: they need --cell lstm, not rnn; --embedding 6, not 7; --layer-norm. Set these, "
        "or leave them out."
    )
    assert told in refused.stderr


def test_dry_run_measures_but_writes_nothing(rnntk, text: Path, here: Path) -> None:
    result = rnntk("train", "--input", text, *SMALL, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["dry_run"]
    assert found["steps"] == 4
    assert found["memory"] is None or found["memory"] > 1e7
    assert not (here / "runs").exists()
    assert "parameters" in rnntk("train", "--input", text, *SMALL, "--dry-run").stdout


def test_layer_norm_gives_the_same_loss_in_training_and_eval(rnntk, text: Path) -> None:
    result = rnntk(
        "train", "--input", text, *SMALL, "--layer-norm", "--val-fraction", 0.2, "--val-every", 4, "--run", "r",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in Path("r/metrics.jsonl").read_text().splitlines()]
    evaluated = json.loads(rnntk("eval", "r", "--split", "val", "--json").stdout)
    (cost,) = (line["val_loss"] for line in lines if "val_loss" in line)
    assert abs(evaluated["model"]["nats_per_symbol"] - cost) < 1e-5
    assert "layer normalisation" in rnntk("runs", "show", "r").stdout
    assert rnntk("sample", "r", "--length", 20).exit_code == 0
    on = rnntk("train", "--init-from", "r", "--input", text, *SMALL, "--run", "on")
    assert on.exit_code == 0, on.output
    assert json.loads(Path("on/run.json").read_text())["model"]["layer_norm"] is True


def test_quiet_still_warns(rnntk, here: Path) -> None:
    """A guessed encoding is always reported."""
    (here / "zh.txt").write_bytes("你好\n".encode("gbk") * 500)
    result = rnntk("train", "--input", "zh.txt", "--run", "r", "-q", *SMALL)
    assert result.exit_code == 0, result.output
    assert "Warning: " in result.stderr
    assert "parameters" not in result.stderr
