"""`rnntk prep`: its report on a text."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import chardet
import pytest


def test_a_guessed_encoding_warns_until_it_is_given(rnntk, here: Path, monkeypatch) -> None:
    answer = {"encoding": "Windows-1252", "confidence": 0.11, "language": ""}
    monkeypatch.setattr(chardet, "detect", lambda _: answer)
    (here / "a.txt").write_bytes("The café was closed. ".encode("cp1252") * 20)
    for _ in range(2):  # the second time, the cached one
        result = rnntk("prep", "--input", "a.txt")
        assert result.exit_code == 0
        assert "warning       a.txt is read as cp1252, which is a guess" in result.stdout
    trained = rnntk("train", "--input", "a.txt", "--dry-run")
    assert "Warning: a.txt is read as cp1252, which is a guess" in trained.stderr
    assert "warning" not in rnntk("prep", "--input", "a.txt", "--encoding", "cp1252").stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--input", "two words/it's.txt", "--input", "tiny.txt"],
        ["--input", "two words", "--glob", "*.md", "--normalize", "--newline", "lf"],
        ["--input", "tiny.txt", "--encoding", "latin-1", "--errors", "replace", "--accept-licence"],
        ["--input", "tiny.txt", "--min-count", "2", "--unknown-symbol", "?"],
        ["--input", "tiny.txt", "--preprocessor", "hangul"],
        ["--corpus", "demo_ko", "--preprocessor", "plain"],
        ["--corpus", "demo_ko"],
    ],
    ids=lambda options: " ".join(options[2:4]),
)
def test_the_printed_command_trains_on_the_same_text(
    rnntk, text: Path, here: Path, options: list[str]
) -> None:
    (here / "two words").mkdir()
    (here / "two words/it's.txt").write_bytes(b"one $HOME\r\n" * 100)
    (here / "two words/b.md").write_bytes(b"another `one`\r\n" * 100)
    result = rnntk("prep", *options, "--output", "to", "--json")
    assert result.exit_code == 0, result.output
    before, _, command = result.stderr.splitlines()[-1].partition(": rnntk ")
    assert before == "Train on it"
    words = shlex.split(command)
    assert words[0] == "train"
    assert sorted(words[1:]) == sorted(options), "only the given settings"
    again = rnntk("prep", *words[1:], "--json")
    assert again.exit_code == 0, again.output
    first, second = (json.loads(r.stdout)["corpus"]["facts"] for r in (result, again))
    assert first == second


@pytest.mark.parametrize(("symbols", "number"), [(1, "1 symbol"), (99, "99 symbols"), (100, "")])
def test_no_training_on_a_text_that_is_too_short(
    rnntk, here: Path, symbols: int, number: str
) -> None:
    (here / "one.txt").write_text("ab" * (symbols // 2) + "a" * (symbols % 2))
    result = rnntk("prep", "one.txt")
    assert result.exit_code == 0, result.output
    told = f"Too short to train on. The text has {number} and needs 100, better a few thousand. Add more text.\n"
    assert result.stderr.endswith(told if number else "Train on it: rnntk train one.txt\n")
    refused = rnntk("train", "one.txt", "--dry-run") if number else result
    assert refused.exit_code == (1 if number else 0)


def test_the_printed_command_includes_settings_of_the_environment(rnntk, here, monkeypatch) -> None:
    (here / "src").mkdir()
    (here / "src/a.py").write_text("x = 1\n" * 100)
    monkeypatch.setenv("RNNTK_GLOB", "*.py")
    monkeypatch.setenv("RNNTK_NEWLINE", "lf")
    result = rnntk("prep", "--input", "src")
    assert "Train on it: rnntk train --input src --glob '*.py' --newline lf\n" in result.stderr


def test_the_printed_command_includes_settings_of_a_config_file(
    rnntk, text: Path, here: Path
) -> None:
    (here / "c.toml").write_text('[prep]\ninput = ["tiny.txt"]\nnewline = "lf"\nnormalize = true\n')
    result = rnntk("prep", "--config", "c.toml")
    assert result.stderr.endswith(
        "Train on it: rnntk train --input tiny.txt --newline lf --normalize\n"
    )
    result = rnntk("prep", "--input", "-", stdin="a text\n" * 100)
    assert result.stderr.endswith("train --input - (with the same text on standard input)\n")


def test_only_earlier_replacement_characters_are_called_already_in_the_text(
    rnntk, here: Path
) -> None:
    (here / "a.txt").write_bytes(("가나다라 " * 200).encode() + b"\xff \xfe" + "\ufffd".encode())
    shown = rnntk("prep", "--input", "a.txt", "--errors", "replace").stdout
    assert "replaced      2 undecodable byte sequences" in shown
    assert "unusual       1 replacement characters already in the text" in shown
    (here / "b.txt").write_bytes(("가나다라 " * 200).encode() + b"\xff")
    assert "unusual" not in rnntk("prep", "--input", "b.txt", "--errors", "replace").stdout


def test_a_pattern_that_the_shell_left_is_expanded(rnntk, here: Path) -> None:
    for name in ("b.txt", "a.txt", "other.md", "[1].txt"):
        (here / name).write_text(f"{name} " * 400)
    done = rnntk("prep", "--input", "?.txt", "--output", "both", "--json")
    assert done.exit_code == 0, done.stderr
    sources = json.loads(Path("both/meta.json").read_text())["facts"]["sources"]
    assert [Path(source["name"]).name for source in sources] == ["a.txt", "b.txt"]
    assert rnntk("prep", "--input", "[1].txt", "--output", "one").exit_code == 0, (
        "a literal name works, too"
    )
    none = rnntk("prep", "--input", "*.tex")
    assert none.exit_code == 1
    advice = "Name the files, or give their folder and a pattern: . with --glob '*.tex'."
    assert none.stderr == f"Error: No file matches *.tex. {advice}\n"


def test_an_unwritable_cache_names_its_variable(
    rnntk, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "text.txt").write_text("to be or not to be " * 400)
    (here / "file").write_text("no folder")
    small = ("--units", 8, "--layers", 1, "--batch-size", 2, "--seq-length", 8, "--max-steps", 1)
    commands = [
        ("prep", "--input", "text.txt"),
        ("prep", "--corpus", "demo_ko"),
        ("train", "--input", "text.txt", "--run", "r", *small),
        ("mnist", "--data", "digits", "--run", "m", "--max-steps", "1"),
    ]
    monkeypatch.setenv("RNNTK_CACHE", str(here / "file" / "cache"))
    for command in commands:
        done = rnntk(*command)
        assert done.exit_code == 1
        assert "Name another folder with RNNTK_CACHE." in done.stderr, command
    monkeypatch.setenv("RNNTK_CACHE", str(here / "elsewhere"))
    for command in commands:
        done = rnntk(*command)
        assert done.exit_code == 0, done.stderr
