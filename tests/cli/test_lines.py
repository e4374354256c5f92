"""`rnntk sample --lines`: new lines, none twice and none from the training text."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

import rnntk as library
from rnntk.decoding import lines

# All words of one and two letters, so that random weights repeat many of them.
WORDS = [*"abcde", *map("".join, itertools.product("abcde", repeat=2))]


@pytest.fixture
def names(untrained, here: Path) -> Path:
    return made(untrained, here, "".join(f"{word}\n" for word in WORDS).encode())


def made(untrained, here: Path, text: bytes, **settings: object) -> Path:
    (here / "text.txt").write_bytes(text)
    return untrained("r", input=("text.txt",), **settings)


def lines_of(rnntk, run: Path, *args: object, count: int = 20) -> list[str]:
    result = rnntk("sample", run, "--lines", count, "--seed", 1, "--length", 30, *args)
    assert result.exit_code == 0, result.output
    found = result.stdout.split("\n")
    assert found.pop() == ""
    assert len(found) == count
    return found


def test_lines_are_new_names(rnntk, names: Path, here: Path) -> None:
    result = rnntk("sample", names, "--lines", 20, "--length", 30, "-o", "names.txt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.endswith("\nWritten to names.txt\n")
    found = (here / "names.txt").read_bytes().decode().split("\n")
    assert found.pop() == ""
    assert len(set(found)) == len(found) == 20
    assert not {*found} & {*WORDS}
    assert all(found)


def test_copies_are_kept_if_allowed_but_repeats_never(rnntk, names: Path) -> None:
    with_copies = lines_of(rnntk, names, "--allow-copies", "--temperature", 50)
    assert len(set(with_copies)) == 20
    assert set(with_copies) & {*WORDS}
    without = lines_of(rnntk, names, "--temperature", 50)
    assert len(set(without)) == 20
    assert not set(without) & {*WORDS}


def test_a_seed_repeats_the_lines_and_settings_reach_the_model(rnntk, names) -> None:
    assert lines_of(rnntk, names) == lines_of(rnntk, names)
    assert lines_of(rnntk, names) != lines_of(rnntk, names, "--seed", 2)
    assert lines_of(rnntk, names) != lines_of(rnntk, names, "--temperature", 0.5, "--top-p", 0.9)
    assert max(map(len, lines_of(rnntk, names, "--length", 5))) <= 4


def test_each_line_begins_with_the_prompt(rnntk, names: Path) -> None:
    found = lines_of(rnntk, names, "--prime", "ab")
    assert all(line.startswith("ab") for line in found)
    assert all(line.startswith("ab") for line in lines_of(rnntk, names, "--prime", r"c\nab"))


def test_json_and_python_give_the_same_lines(rnntk, names: Path) -> None:
    result = rnntk(
        "sample", names, "--lines", 5, "--seed", 1, "--length", 30, "--json", "--prime", "a"
    )
    found = json.loads(result.stdout)
    assert (found["prime"], found["parts"], found["seed"]) == ("a", None, 1)
    assert found["texts"] == lines_of(rnntk, names, "--prime", "a", count=5)
    assert library.load(names).lines(5, "a", seed=1, length=30) == found["texts"]


def test_skipped_characters_of_the_prompt_are_named(rnntk, names: Path) -> None:
    args = ("--seed", 1, "--length", 30, "--prime", "Ωa", "--on-unknown", "skip")
    result = rnntk("sample", names, "--lines", 5, *args, "--json")
    assert "\nLeft out of the prompt: 'Ω'\n" in result.stderr
    found = json.loads(result.stdout)
    assert found["prime"] == "a"
    assert found["texts"] == lines_of(rnntk, names, "--prime", "a", count=5)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("가나\n각ㄱ\n다\n", {"preprocessor": "hangul"}),
        ("가나\n é\n다\n", {"preprocessor": "bytes"}),
        ("ab\r\nba\r\n", {}),
        ("ab\rba\r", {}),
        ("ab\r\nba\r\n", {"newline": "lf"}),
        ("cde " * 30 + "\nd\n", {"min_count": 2, "unknown_symbol": "?"}),
    ],
)
def test_any_line_end_and_preprocessor_work(
    rnntk, untrained, here: Path, text: str, settings: dict
) -> None:
    run = made(untrained, here, text.encode(), **settings)
    found = lines_of(rnntk, run, "--length", 100, count=5)
    assert len({line.strip() for line in found}) == 5
    assert not {line.strip() for line in found} & {line.strip() for line in text.split()}
    assert all(line.strip() and not line.endswith("\r") for line in found)


@pytest.mark.parametrize(
    ("text", "preprocessor", "length"),
    [
        ("a\xa0\nb\nab\u3000\n\x0bba\n".encode(), "plain", 3),
        ("a\xa0\nb\nab\u3000\n가\n".encode(), "hangul", 3),
        (b"a\nb\xe9\n\xe9\nab\n", "bytes", 2),
    ],
    ids=["plain", "hangul", "Latin-1 as bytes"],
)
def test_blanks_and_undecodable_bytes_make_no_line_new(
    rnntk, untrained, here: Path, text: bytes, preprocessor: str, length: int
) -> None:
    run = made(untrained, here, text * 20, preprocessor=preprocessor)
    args = ("--lines", 200, "--seed", 1, "--length", length, "--temperature", 3)
    result = rnntk("sample", run, *args)
    assert "copied from the training text" in result.stderr
    found = [line.strip() for line in result.stdout.split("\n") if line]
    assert len({*found}) == len(found) > 1
    own = {line.strip() for line in text.decode(errors="replace").split("\n")}
    assert not {*found} & own


def test_the_training_text_is_read_in_chunks(rnntk, names: Path, monkeypatch) -> None:
    expected = lines_of(rnntk, names)
    for size in (1, 7, 64):
        monkeypatch.setattr(lines, "_AT_A_TIME", size)
        assert lines_of(rnntk, names) == expected


def test_a_text_that_left_the_cache_is_prepared_again(rnntk, names: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache" / "prepared")
    result = rnntk("sample", names, "--lines", 1)
    assert result.exit_code == 0, result.output
    told = "The prepared text is no longer in the cache. Preparing the text again.\n"
    assert result.stderr.count(told) == 1
    assert "rnntk prep" not in result.stderr
    assert "cache" not in rnntk("sample", names, "--lines", 1).stderr
    for file in (tmp_path / "cache").rglob("meta.json"):
        file.unlink()
    stderr = rnntk("sample", names, "--lines", 1).stderr
    assert stderr.count("preparing again, because") == 1
    assert "rnntk prep" not in stderr


def test_a_missing_training_text_is_refused_with_advice(
    rnntk, names: Path, here: Path, tmp_path
) -> None:
    (here / "text.txt").unlink()
    for file in (tmp_path / "cache").rglob("ids.bin"):
        file.unlink()
    result = rnntk("sample", names, "--lines", 3, "-o", "names.txt")
    assert result.exit_code == 1
    assert "left out: There is no file text.txt. Keep them with --allow-copies.\n" in result.stderr
    assert not (here / "names.txt").exists()
    assert len(set(lines_of(rnntk, names, "--allow-copies"))) == 20


def test_sampling_stops_when_no_new_lines_come(rnntk, untrained, here: Path) -> None:
    """Only twelve lines have one or two letters of "abc"."""
    run = made(untrained, here, b"a\nb\nc\n")
    args = ("sample", run, "--length", 3, "--temperature", 50, "--lines", 20, "-q")
    result = rnntk(*args, "-o", "names.txt")
    assert result.exit_code == 1
    told = "Warning: Only 9 of 20 lines: 2,000 tries in a row gave no new one ("
    assert result.stderr.startswith(told)
    assert "3 copied from the training text" in result.stderr
    assert result.stderr.endswith("or allow copies with --allow-copies.\n")
    assert len(set((here / "names.txt").read_text(encoding="utf-8").split())) == 9
    assert len(rnntk(*args, "--allow-copies").stdout.split()) == 12
    long = rnntk(*args[:2], "--length", 0, "--lines", 3)
    assert long.stderr.endswith("(2,000 too long). Raise --length.\n")
    none = rnntk(*args, "--prime", "a", "--length", 1, "-o", "none.txt")
    assert (none.exit_code, none.stdout) == (1, "")
    assert "Error: Only 0 of 20 lines" in none.stderr
    assert not (here / "none.txt").exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (
            ("--beam", 2),
            "--beam does not work with --lines. Leave it out.",
        ),
        (("--stop", "x"), "--stop does not work with --lines"),
        (("--num", 2), "--num does not work with --lines"),
        (("--raw",), "--raw does not work with --lines"),
        (("--interactive",), "Give --interactive or --lines, not both."),
        (("--prime", "Ω"), "'Ω'"),
    ],
)
def test_contradicting_options_are_refused(rnntk, names: Path, args: tuple, told: str) -> None:
    result = rnntk("sample", names, "--lines", 3, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_model_without_line_ends_is_refused(rnntk, untrained, here: Path) -> None:
    run = made(untrained, here, b"abc" * 50)
    result = rnntk("sample", run, "--lines", 3)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(
        "--lines needs a model that knows line ends. Leave it out, or train on several lines.\n"
    )
