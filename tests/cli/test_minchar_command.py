"""`rnntk minchar` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rnntk import minchar
from rnntk.cli import minchar as minchar_command
from rnntk.minchar import MinChar


def test_without_input_it_trains_on_its_own_source(rnntk) -> None:
    result = rnntk("minchar", "--iterations", 150)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("--- iteration 0: smoothed loss")
    assert result.stdout.count("smoothed loss") == 3
    assert "its own source" in result.stderr


def test_json_is_repeatable_with_a_seed(rnntk, text: Path) -> None:
    def run(seed: int) -> dict:
        result = rnntk("minchar", "--input", text, "--iterations", 200, "--seed", seed, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    one, two, other = run(1), run(1), run(2)
    assert one["command"] == "minchar"
    assert one["characters"] == len(text.read_text())
    assert [r["iteration"] for r in one["reports"]] == [0, 100, 200]
    assert one["last_loss"] < one["first_loss"]
    assert one["reports"] == two["reports"]
    assert one["reports"][-1]["sample"] != other["reports"][-1]["sample"]


def test_check_gradients_fails_on_a_large_error(
    rnntk, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = rnntk("minchar", "--input", text, "--check-gradients", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["passed"]
    assert 0 < found["gradient_error"] < 1e-6
    monkeypatch.setattr(MinChar, "check_gradients", lambda self: 1e-3)
    result = rnntk("minchar", "--check-gradients")
    assert result.exit_code == 1
    assert "WRONG" in result.stdout


def test_korean_in_cp949_and_stdin_are_read(rnntk, here: Path) -> None:
    words = "나는 오늘 아침에 학교에 갔다. 그리고 친구를 만났다.\n" * 40
    (here / "ko.txt").write_bytes(words.encode("cp949"))
    result = rnntk("minchar", "--input", "ko.txt", "--iterations", 1, "--json")
    assert json.loads(result.stdout)["characters"] == len(words)
    result = rnntk("minchar", "--input", "-", "--iterations", 1, "--json", stdin=words)
    assert json.loads(result.stdout)["text"] == "standard input"


def test_undecodable_bytes_get_advice_that_minchar_can_follow(rnntk, here: Path) -> None:
    (here / "bad.txt").write_bytes(("가나다라 " * 100).encode() + b"\xff")
    for more in ([], ["--encoding", "utf-8"]):
        result = rnntk("minchar", "--input", "bad.txt", *more)
        assert result.exit_code == 1
        assert "--encoding" in result.stderr
        assert "--errors" not in result.stderr


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"a" * 10 + b"b" * 15, r"25 characters and needs 26"),
        (b"a" * 100, "has only the character 'a'"),
        (b"\x7fELF\x00\x01\x02" * 20, "not text"),
    ],
)
def test_bad_input_is_one_message(rnntk, here: Path, data: bytes, said: str) -> None:
    import re

    (here / "bad.txt").write_bytes(data)
    result = rnntk("minchar", "--input", "bad.txt")
    assert result.exit_code == 1
    assert re.search(said, result.stderr), result.stderr
    assert result.stdout == ""


def test_a_missing_file_and_a_bad_number_are_refused(rnntk) -> None:
    result = rnntk("minchar", "--input", "nowhere.txt")
    assert result.exit_code == 1
    assert "nowhere.txt" in result.stderr
    assert rnntk("minchar", "--iterations", 0).exit_code == 2


def test_ctrl_c_prints_the_iteration(rnntk, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: MinChar, iterations: int, every: int):
        yield 0, 1.0, "x"
        raise KeyboardInterrupt

    monkeypatch.setattr(minchar.MinChar, "train", interrupted)
    result = rnntk("minchar")
    assert result.exit_code == 130
    assert "Stopped after iteration 0" in result.stderr


def test_few_samples_are_printed_but_json_has_every_report(rnntk, text: Path) -> None:
    long = ("minchar", "--input", text, "--iterations", 1100)
    printed = re.findall(r"--- iteration ([\d,]+): smoothed loss", rnntk(*long).stdout)
    assert printed == ["0", "100", "200", "500", "1,000", "1,100"]
    reports = json.loads(rnntk(*long, "--json").stdout)["reports"]
    assert [report["iteration"] for report in reports] == [*range(0, 1100, 100), 1100]


def test_the_loss_is_printed_between_rare_samples(rnntk, text: Path, monkeypatch) -> None:
    monkeypatch.setattr(minchar_command, "QUIET_SECONDS", 0.0)
    result = rnntk("minchar", "--input", text, "--iterations", 400)
    assert re.search(r"^iteration 300: smoothed loss", result.stderr, re.MULTILINE)
    assert "iteration 300" not in result.stdout
