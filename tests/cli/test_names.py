"""Unusual files and names: pipes, empty files, names that are not UTF-8 or that a shell would split."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rnntk.cli import stream
from rnntk.cli.console import Console
from rnntk.cli.main import load_command
from rnntk.cli.table import Column, table
from rnntk.cli.train import prime_option
from rnntk.errors import shown

SMALL = (
    "--units 8 --embedding 6 --batch-size 4 --seq-length 20 --sample-every 0 --max-steps 4".split()  # noqa: SIM905
)
LINE = "the quick brown fox jumps. "
ODD = os.fsdecode(b"caf\xe9.txt")

not_windows = pytest.mark.skipif(os.name == "nt", reason="needs FIFOs and names of bytes")


@pytest.fixture
def program(warm) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs `rnntk` in its own process, with pipes of bytes."""
    return lambda *args, **options: warm.run(
        [sys.executable, "-m", "rnntk", *args], capture_output=True, timeout=300, **options
    )


def test_empty_files_are_ignored_and_reported(rnntk, here: Path) -> None:
    (here / "src").mkdir()
    (here / "src/a.py").write_text("x = 1\n" * 200)
    alone = json.loads(rnntk("prep", "--input", "src/a.py", "--json").stdout)
    (here / "src/__init__.py").write_bytes(b"")
    (here / "src/b.py").write_bytes(b"\xef\xbb\xbf")
    made = rnntk("prep", "--input", "src", "--glob", "*.py", "--json")
    assert json.loads(made.stdout)["corpus"]["sha256"] == alone["corpus"]["sha256"]
    assert "2 of 3 files have no text: src/__init__.py is empty" in made.stderr
    (here / "src/a.py").write_bytes(b"")
    refused = rnntk("prep", "--input", "src", "--glob", "*.py")
    assert refused.exit_code == 1
    assert "is empty" in refused.stderr


@not_windows
def test_a_pipe_is_read_like_standard_input(rnntk, program, here: Path) -> None:
    data = (LINE * 400).encode()
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    prepared = rnntk("prep", "--input", f"/dev/fd/{reading}", "--json")
    os.close(reading)
    piped = json.loads(prepared.stdout)["corpus"]
    (here / "t.txt").write_bytes(data)
    plain = json.loads(rnntk("prep", "--input", "t.txt", "--json").stdout)["corpus"]
    assert piped["sha256"] == plain["sha256"]
    assert piped["name"] == "stdin"
    done = program("prep", "--input", "/dev/stdin", "--json", input=data, cwd=here)
    assert json.loads(done.stdout)["corpus"]["sha256"] == plain["sha256"]


@not_windows
def test_a_fifo_given_twice_is_refused(rnntk, here: Path) -> None:
    os.mkfifo(here / "fifo")
    writer = subprocess.Popen(["sh", "-c", "echo some text > fifo"], cwd=here)
    result = rnntk("prep", "--input", "fifo", "--input", "fifo")
    writer.wait(timeout=60)
    assert result.exit_code == 1
    assert "fifo can be read only once. Give it once." in result.stderr


@not_windows
def test_file_names_may_be_invalid_utf8(program, here: Path) -> None:
    (here / ODD).write_text(LINE * 400)
    made = program("prep", "--input", ODD, "--json", cwd=here)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout.decode("utf-8"))["corpus"]["path"] == ODD
    shown = program("prep", "--input", ODD, cwd=here)
    assert b"rnntk train --input 'caf\xe9.txt'" in shown.stderr
    trained = program("train", "--input", ODD, *SMALL, cwd=here)
    assert trained.returncode == 0, trained.stderr
    run = os.fsdecode(b"runs/caf\xe9-1")
    assert b"rnntk sample 'runs/caf\xe9-1'" in trained.stderr
    commands = [
        ["sample", run, "--length", "5", "--json"],
        ["eval", run, "--split", "train", "--no-baselines", "--html", "page.html", "--json"],
        ["runs", "--json"],
        ["runs", "show", run, "--json"],
        ["train", "--resume", run, "--max-steps", "6", "--json"],
        ["play", run, "--report", "report.html"],
        *(["export", run, "--format", name, "--json"] for name in ("keras", "savedmodel", "npz")),
    ]
    for command in commands:
        done = program(*command, cwd=here)
        assert done.returncode == 0, (command, done.stderr)
        if "--json" in command:
            json.loads(done.stdout.decode("utf-8"))


@pytest.mark.parametrize("name", ["novel(1)", "a&b", "it's", "a $b", "two words"])
def test_printed_commands_can_be_pasted(rnntk, here: Path, name: str) -> None:
    (here / f"{name}.txt").write_text(LINE * 40)
    prepared = rnntk("prep", "--input", f"{name}.txt")
    train = shlex.split(prepared.stderr.split("Train on it: ")[1])
    assert train[:2] == ["rnntk", "train"]
    trained = rnntk(*train[1:], *SMALL)
    sample = shlex.split(trained.stderr.split("Sample from it: ")[1].splitlines()[0])
    assert sample == ["rnntk", "sample", f"runs/{name}-1"]
    exported = rnntk("export", f"runs/{name}-1", "--format", "npz")
    assert f"numpy.load({f'{name}-1.npz'!r})" in exported.stderr


@not_windows
@pytest.mark.parametrize(
    "prompt",
    [
        "$HOME `id` $(id)",
        'it\'s "so"',
        "-n",
        "--num=3",
        "a\nb\tc\r",
        "\\n \\\\ \\",
        "no! !! !x",
        "/* ",
        "누구 ",
        "*",
    ],
)
def test_the_suggested_prompt_can_be_pasted(prompt: str) -> None:
    option = prime_option(prompt)
    assert option.isprintable(), "one line"
    shell = ["sh", "-c", f"printf '%s\\0'{option}"]
    words = subprocess.run(shell, capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert words == shlex.split(option)
    params = load_command("sample").make_context("sample", words).params
    assert stream.unescaped("--prime", params["prime"], Console(quiet=True)) == prompt


def test_training_suggests_the_prompt_of_its_corpus(rnntk, here: Path) -> None:
    (here / "odd").mkdir()
    (here / "odd/input.txt").write_text(LINE * 40)
    facts = {
        "name": "odd",
        "title": "Odd",
        "kind": "text",
        "licence": "CC0-1.0",
        "prime": "it's $5\n",
    }
    lines = [f"{name} = {json.dumps(fact)}" for name, fact in facts.items()]
    (here / "odd.toml").write_text("\n".join([*lines, 'files = ["input.txt"]']))
    trained = rnntk("train", "--corpus", "./odd.toml", "--data-dir", ".", *SMALL)
    sample = shlex.split(trained.stderr.split("Sample from it: ")[1].splitlines()[0])
    assert sample == ["rnntk", "sample", "runs/odd-1", "--prime", "it's $5\\n"]


def test_paths_in_the_environment_may_have_spaces(rnntk, here: Path, monkeypatch) -> None:
    (here / "my novel.txt").write_text(LINE)
    (here / "b.txt").write_text(LINE)
    monkeypatch.setenv("RNNTK_INPUT", os.pathsep.join(["my novel.txt", "b.txt"]))
    made = json.loads(rnntk("prep", "--json").stdout)["corpus"]
    assert [Path(p).name for p in made["inputs"]] == ["my novel.txt", "b.txt"]


def test_toml_may_have_a_utf8_byte_order_mark_but_not_be_utf16(rnntk, here: Path) -> None:
    (here / "t.txt").write_text(LINE * 40)
    (here / "c.toml").write_bytes(b"\xef\xbb\xbf[train]\nlayers = 1\n")
    assert (
        rnntk("train", "--config", "c.toml", "--input", "t.txt", "--dry-run", *SMALL).exit_code == 0
    )
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):  # the last two have no byte order mark
        (here / "c.toml").write_bytes("[train]\nlayers = 1\n".encode(codec))
        refused = rnntk("train", "--config", "c.toml", "--input", "t.txt", "--dry-run")
        assert refused.exit_code == 2
        assert "UTF-16" in refused.stderr


def test_training_uses_float32_whatever_keras_json_says(here: Path) -> None:
    (here / "t.txt").write_text(LINE * 40)
    (here / "keras.json").write_text(json.dumps({"floatx": "float16", "backend": "torch"}))
    done = subprocess.run(
        [sys.executable, "-m", "rnntk", "train", "--input", "t.txt", *SMALL],
        env={**os.environ, "KERAS_HOME": str(here)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_text_of_rare_symbols_only_is_refused_before_training(rnntk, here: Path) -> None:
    (here / "t.txt").write_text(LINE * 40)
    rare = ["--min-count", "100000", "--unknown-symbol", "?"]
    for _ in range(2):
        for command in (["prep"], ["train", *SMALL]):
            refused = rnntk(*command, "--input", "t.txt", *rare)
            assert refused.exit_code == 1
            assert "No symbol occurs 100,000 times. Lower --min-count." in refused.stderr
    assert not (here / "runs").exists()


def test_every_command_that_reads_text_warns_of_a_doubtful_encoding(rnntk, here: Path) -> None:
    (here / "t.txt").write_text(LINE * 40)
    (here / "doubt.txt").write_bytes("the fox in the café jumps. ".encode("cp850") * 4)
    assert "warning       doubt.txt is read as" in rnntk("prep", "--input", "doubt.txt").stdout
    assert (
        "Warning: doubt.txt is read" in rnntk("train", "--input", "doubt.txt", "--dry-run").stderr
    )
    rnntk("train", "--input", "t.txt", *SMALL, "--run", "one")
    evaluated = rnntk(
        "eval", "one", "--input", "doubt.txt", "--on-unknown", "skip", "--no-baselines"
    )
    assert evaluated.exit_code == 0, evaluated.stderr
    assert "doubt.txt is read as" in evaluated.stderr


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("한글", 4),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", 4),  # the same in NFD
        ("café", 4),
        ("cafe\u0301", 4),
        ("👍🏽", 2),
        ("👨‍👩‍👧", 2),
        ("🇰🇷", 2),
        ("❤️", 2),
        ("a\u200bb", 2),
        ("日本", 4),
    ],
)
def test_table_columns_line_up_for_wide_characters(text: str, columns: int) -> None:
    """A table counts the columns that a terminal gives a name."""
    heading, row = table([Column("RUN"), Column("STEPS")], [[text, "1"]], None, [None])
    assert row == text + " " * (heading.index("STEPS") - columns) + "1"


def test_escape_sequences_in_names_are_not_printed(rnntk, untrained, here: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202egpj\x7f"
    (here / "t.txt").write_text((LINE + "\x1b[31m\x07\x9b") * 40)
    run = untrained("runs/one", input=("t.txt",))
    record = json.loads((run / "run.json").read_text())
    record["corpus"] |= {"name": evil, "path": evil, "detail": evil, "source": evil, "prime": evil}
    record["versions"] = {evil: evil}
    (run / "run.json").write_text(json.dumps(record))
    run.rename(run.with_name(f"a{evil}"))
    (here / f"c{evil}.toml").write_text(f'name = "c"\ntitle = {json.dumps(evil)}\nlanguage = 3\n')
    commands = (
        ("runs",),
        ("runs", "--corpus", "x"),
        ("runs", "show"),
        ("runs", "show", "--json"),
        ("sample", "--prime", "q", "--length", 5),
        ("prep", "--input", "t.txt"),
        ("prep", "--input", "t.txt", "--json"),
        ("prep", "--corpus", f"./c{evil}.toml"),
        ("train", "--resume", "--corpus", "x"),
        ("plot", "--terminal"),
    )
    for command in commands:
        result = rnntk(*command)
        out = "" if command[0] == "sample" else result.stdout
        for character in set(evil) - set(" " + "abcdefghijklmnopqrstuvwxyz0123456789;[]JM"):
            assert character not in out + result.stderr, (command, character)
    assert "\\x1b]0;owned" in rnntk("runs").stdout
    assert json.loads(rnntk("runs", "--json").stdout)["runs"][0]["corpus"] == evil


def test_escape_sequences_in_a_sample_are_not_printed_on_a_terminal(monkeypatch, capsys) -> None:
    from rnntk.cli import stream
    from rnntk.decoding.generate import Piece

    pieces = [Piece("a\x1b[2J\r\n\x9b", "", (), 0)]
    stream.show(pieces, False, False)
    assert capsys.readouterr().out == "a\x1b[2J\r\n\x9b\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    stream.show(pieces, False, False)
    assert capsys.readouterr().out == "a\\x1b[2J\r\n\\x9b\n"


def test_a_file_name_like_an_option_is_shown_with_dot_slash() -> None:
    assert shown(Path("-y")) == "./-y"
