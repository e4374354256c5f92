"""`rnntk sample`: shading, probabilities, prompts, and endings."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

import rnntk as rnntk_package
from rnntk.cli import shading, stream
from rnntk.cli.console import Console
from rnntk.cli.sample import command
from rnntk.errors import RunError
from rnntk.kernels import native
from rnntk.storage import folder

CODE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def trained(untrained, text: Path) -> Path:
    """Random weights: the text does not matter."""
    return untrained("r", input=(str(text),))


def draw(rnntk, run: Path, *args: object, stdin: str | None = None) -> str:
    result = rnntk("sample", run, "--prime", "a fox ", "--length", 30, *args, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_strategy_reaches_the_model(rnntk, trained: Path) -> None:
    plain = draw(rnntk, trained, "--seed", 1)
    greedy = draw(rnntk, trained, "--greedy")
    assert draw(rnntk, trained, "--seed", 1, "--min-p", 0) == plain
    assert draw(rnntk, trained, "--seed", 1, "--min-p", 1) == greedy
    assert draw(rnntk, trained, "--temperature", 0) == greedy
    assert draw(rnntk, trained, "--beam", 1) == greedy
    assert draw(rnntk, trained, "--seed", 1, "--no-repeat", 2) != plain
    guarded = draw(rnntk, trained, "--greedy", "--no-repeat", 2).removeprefix("a fox ").rstrip("\n")
    pairs = [guarded[k : k + 2] for k in range(len(guarded) - 1)]
    assert len(set(pairs)) == len(pairs)


def test_beam_search_prints_the_best_first(rnntk, trained: Path) -> None:
    result = rnntk("sample", trained, "--beam", 4, "--num", 3, "--length", 6, "--json")
    drawn = json.loads(result.stdout)["parts"]
    nats = [-sum(math.log(p) for part in text for p in part["probabilities"]) for text in drawn]
    assert len(nats) == 3
    assert nats == sorted(nats)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--beam", 2, "--temperature", 0.5), "does not sample; leave out --temperature"),
        (("--beam", 2, "--top-k", 3), "does not sample; leave out --top-k"),
        (("--beam", 2, "--greedy"), "Give --greedy or --beam, not both"),
        (("--beam", 2, "--num", 3), "--num must be at most --beam (2), got 3."),
        (("--beam", 2, "--length", 0), "--length of at least 1"),
        (("--beam-alpha", 2), "--beam-alpha needs --beam."),
        (("--no-repeat", 1), "--no-repeat"),
        (("--min-p", 1.5), "--min-p"),
        (("--stop", ""), "--stop is empty"),
        (
            ("--length", 10**19),
            "'--length': must be at least 0 and at most 1,000,000,000, got 10000000000000000000",
        ),
        (("--num", 10**19), "--num"),
        (("--beam", 10**19, "--length", 3), "--beam"),
        (("--no-repeat", 10**19), "--no-repeat"),
        (("--num", 100_000, "--length", 10_000), "--num 100000 with --length 10000 needs"),
        (("--beam", 2, "--length", 10**9), "the limit is 10,000,000. Lower one"),
        (("--temperature", "inf"), "must be at least 0 and finite, got inf"),
        (("--interactive", "--json"), "--json"),
        (("--interactive", "--prime-file", "-"), "stdin"),
    ],
)
def test_contradicting_options_are_refused(rnntk, trained: Path, args: tuple, told: str) -> None:
    result = rnntk("sample", trained, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in " ".join(result.stderr.split())


def test_the_longest_text_allocates_no_memory_at_the_start(trained: Path) -> None:
    args = [sys.executable, "-m", "rnntk", "sample", trained, "--length", 10**9, "--color", "-q"]
    process = subprocess.Popen([*map(str, args)], stdout=subprocess.PIPE)
    with process, process.stdout as out:
        assert len(out.read(100)) == 100
        out.close()
        assert process.wait(timeout=30) == 141


def test_too_little_memory_is_one_message(rnntk, trained: Path, monkeypatch) -> None:
    from rnntk.decoding.language_model import LanguageModel

    def refuse(*args: object, **more: object) -> None:
        raise MemoryError("9 GiB")

    monkeypatch.setattr(LanguageModel, "pieces", refuse)
    result = rnntk("sample", trained, "-q")
    told = "Error: Not enough memory (9 GiB). Lower the batch size, length or number of texts.\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_json_has_the_probability_of_every_symbol(rnntk, trained: Path) -> None:
    result = rnntk("sample", trained, "--json", "--length", 7, "--num", 2, "--seed", 5)
    found = json.loads(result.stdout)
    assert set(found) == {
        "schema_version", "command", "run", "step", "seed", "prime", "texts", "parts",
    }  # fmt: skip
    for text, parts in zip(found["texts"], found["parts"], strict=True):
        assert "".join(part["text"] for part in parts) == text
        assert "".join(part["symbols"] for part in parts) == text
        for part in parts:
            assert set(part) == {"text", "symbols", "probabilities"}
            assert len(part["probabilities"]) == len(part["symbols"]) == 1
            assert 0 < part["probabilities"][0] < 1
    # Evaluating the text gives the surprisal it had when sampled.
    from rnntk.decoding.language_model import LanguageModel

    model = LanguageModel.load(folder.open_run(trained))
    assert found["prime"] == ""
    before = model.vocabulary.decode(model.prompt("").ids)
    whole = model.evaluate(before + found["texts"][0])
    drawn = [-math.log(part["probabilities"][0]) for part in found["parts"][0]]
    assert whole.nats[len(before) - 1 :].tolist() == pytest.approx(drawn, rel=1e-4, abs=1e-5)


def test_color_paints_the_same_text_and_ends_without_colour(rnntk, trained: Path) -> None:
    plain = draw(rnntk, trained, "--seed", 1)
    painted = draw(rnntk, trained, "--seed", 1, "--color")
    assert CODE.sub("", painted) == plain
    codes = CODE.findall(painted)
    assert len(codes) > 5
    assert codes[-1] == shading.RESET
    assert not re.search(r"48;5;\d+m[^\x1b]*\n", painted), "no line end may be shaded"
    several = in_terminal(trained, "--seed", 1, "--color", "--num", 2, coded=True)
    assert "---" in several
    assert not re.search(r"48;5;\d+m[^\x1b]*---", several), "no heading may be shaded"


def test_only_a_typed_color_reaches_a_pipe(rnntk, trained: Path, here: Path, monkeypatch) -> None:
    monkeypatch.setenv("RNNTK_COLOR", "1")
    assert not CODE.search(draw(rnntk, trained, "--seed", 1))
    (here / "c.toml").write_text("[sample]\ncolor = true\n")
    monkeypatch.delenv("RNNTK_COLOR")
    assert not CODE.search(draw(rnntk, trained, "--config", here / "c.toml"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert CODE.search(draw(rnntk, trained, "--color"))


@pytest.mark.parametrize(("no_color", "expected"), [(None, True), ("1", False)])
def test_a_configured_color_needs_a_terminal_and_no_no_color(
    monkeypatch, no_color: str | None, expected: bool
) -> None:
    monkeypatch.setenv("RNNTK_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ctx = command.make_context("sample", [])
    assert isinstance(ctx, click.Context)
    with ctx:
        assert shading.wanted(ctx.params["color"]) is expected


def test_every_shade_can_be_read() -> None:
    """Black has WCAG's contrast of 4.5 on each of the palette's colours."""
    steps = (0, 95, 135, 175, 215, 255)

    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    for colour in shading._PALETTE:
        red, green, blue = (steps[(colour - 16) // n % 6] for n in (36, 6, 1))
        light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
        assert (light + 0.05) / 0.05 >= 4.5, colour


def test_shades_grow_with_surprise() -> None:
    shades = [shading.shade(bits / 4) for bits in range(60)]
    assert shades == sorted(shades)
    assert set(shades) == set(range(len(shading.BITS) + 1))
    assert shading.paint("x", 0.0, 0) == ("x", 0)


def test_the_terminal_is_left_clean_when_the_text_is_stopped(capsys) -> None:
    from rnntk.decoding.generate import Piece

    def pieces():
        yield Piece("a", "a", (9.0,), 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.show(pieces(), False, True)
    assert capsys.readouterr().out.endswith(f"a{shading.RESET}\n")


def talk(rnntk, run: Path, *lines: str, args: tuple = ()) -> tuple[str, str]:
    result = rnntk("sample", run, "--interactive", *args, stdin="".join(f"{x}\n" for x in lines))
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_interactive_continues_each_line(rnntk, trained: Path) -> None:
    out, _ = talk(
        rnntk, trained, ":len 20", ":seed 3", "a fox", ":seed 3", "a fox", "line", ":quit", "x"
    )
    expected = rnntk("sample", trained, "--prime", "a fox", "--seed", 3, "--length", 20).stdout
    then = rnntk("sample", trained, "--prime", "line", "--seed", 4, "--length", 20).stdout
    assert out == expected + expected + then


@pytest.mark.parametrize("line", [":q", ": quit", ":quit now", ":exit  0"])
def test_quit_leaves_with_words_after_it(rnntk, trained: Path, line: str) -> None:
    out, err = talk(rnntk, trained, line, "a fox")
    assert out == ""
    assert "There is no" not in err


def test_interactive_settings_change_the_sample(rnntk, trained: Path) -> None:
    greedy = rnntk("sample", trained, "--prime", "a fox", "--greedy", "--length", 9).stdout
    assert talk(rnntk, trained, ":length 9", ":t 0", "a fox")[0] == greedy
    assert talk(rnntk, trained, ":len 9", ":top-k 1", "a fox")[0] == greedy
    assert talk(rnntk, trained, ":len 9", ":greedy on", "a fox")[0] == greedy
    undone = talk(rnntk, trained, ":len 9", ":top-k 1", ":top-k off", ":seed 1", "a fox")[0]
    plain = rnntk("sample", trained, "--prime", "a fox", "--seed", 1, "--length", 9).stdout
    assert undone == plain
    assert talk(rnntk, trained, ":len 9", ":t 0", ":t off", ":seed 1", "a fox")[0] == plain
    assert CODE.search(talk(rnntk, trained, ":color on", "a fox")[0])


def test_an_empty_line_continues_the_text_before(rnntk, trained: Path) -> None:
    out, _ = talk(rnntk, trained, ":greedy on", ":len 10", "a fox", "")
    first, rest = out[:16], out[16:]
    assert rnntk("sample", trained, "--prime", "a fox", "--greedy", "--length", 20).stdout == (
        first.removesuffix("\n") + rest
    )


def test_interactive_reports_bad_commands_and_continues(rnntk, trained: Path) -> None:
    out, err = talk(
        rnntk, trained, ":tempature 3", ":t hot", ":t -1", ":greedy maybe", ":len off", "Ω", ":len 2", "::",
        ":t", ":settings", ":help", "a",
        args=("--on-unknown", "error"),
    )  # fmt: skip
    for told in (
        "Did you mean :temperature?",
        ":temperature must be a number, got 'hot'",
        ":temperature must be at least 0, got -1.0.",
        "on or off",
        "'Ω'",
        "temperature 1.0",
        ":top-k off",
        "Ctrl-D",
    ):
        assert told in err
    assert out.splitlines()[0].startswith(":"), "two colons stand for one"
    assert "a" in out


def test_a_byte_order_mark_is_not_part_of_the_prompt(rnntk, trained: Path, here: Path) -> None:
    (here / "p.txt").write_bytes(b"\xef\xbb\xbfa fox")
    result = rnntk("sample", trained, "--prime-file", "p.txt", "--length", 0)
    assert result.stdout == "a fox\n"


def test_a_line_that_is_not_utf8_is_reported_and_skipped(rnntk, trained: Path) -> None:
    result = rnntk("sample", trained, "-i", "-q", stdin=b":len 0\na fox\xff\na line\r\n")
    told = "Error: The line is not UTF-8: bytes ff at offset 5. Convert it, for example with iconv."
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith(told)
    assert result.stdout == "a line\n"


def test_interactive_takes_a_first_prompt_and_a_length(rnntk, trained: Path) -> None:
    out, _ = talk(rnntk, trained, args=("--prime", "a fox", "--length", 4, "--seed", 1))
    assert out == rnntk("sample", trained, "--prime", "a fox", "--length", 4, "--seed", 1).stdout


def test_ctrl_c_ends_quietly(trained: Path) -> None:
    args = [sys.executable, "-m", "rnntk", "sample", str(trained), "--length", "100000000", "-q"]
    # Unbuffered, since `communicate` would not see what a buffer has read.
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    process.stdout.read(100)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b""
    assert out.endswith(b"\n")


def test_a_closed_pipe_ends_quietly(trained: Path) -> None:
    args = [sys.executable, "-m", "rnntk", "sample", str(trained), "--length", "100000000", "-q"]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(100)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(timeout=30) == 141


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_interactive_ctrl_c_stops_the_text_and_not_the_program(trained: Path) -> None:
    import pty
    import select

    parent, child = pty.openpty()
    args = [sys.executable, "-m", "rnntk", "sample", str(trained), "-i", "--length", "100000000"]
    # A dumb terminal, so that readline sends no codes between the characters.
    process = subprocess.Popen(
        args,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(child)

    def until(wanted: bytes) -> None:
        seen = b""
        deadline = time.monotonic() + 60
        while wanted not in seen:
            assert time.monotonic() < deadline, seen[-1000:]
            ready, _, _ = select.select([parent], [], [], 30)
            assert ready, seen[-1000:]
            seen = (seen + os.read(parent, 65536))[-20000:]

    try:
        until(b"> ")
        os.write(parent, b"a fox\n")
        until(b"a fox\r\na fox")
        process.send_signal(signal.SIGINT)
        until(b"> ")
        time.sleep(0.5)  # readline loses a signal while it starts
        process.send_signal(signal.SIGINT)
        until(b"Ctrl-D or :quit leaves.")
        os.write(parent, b":t 0.5\n")
        until(b"temperature 0.5")
        # readline loses a Ctrl-D while it starts.
        deadline = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < deadline
            os.write(parent, b"\x04")
            while select.select([parent], [], [], 0.5)[0]:
                try:
                    if not os.read(parent, 65536):
                        break
                except OSError:  # how Linux says that the other side has closed
                    break
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def test_sampling_imports_nothing_slow(trained: Path) -> None:
    """A cold start is mostly imports; each of these takes tens of milliseconds and is not needed."""
    native.kernels.__wrapped__()  # as from the second start on
    slow = (
        "tensorflow", "keras", "tqdm", "filelock", "chardet", "platformdirs", "safetensors", "importlib.metadata",
        "tomllib", "readline", "rnntk.corpora.registry", "rnntk.kernels.cells", "rnntk.kernels.product",
    )  # fmt: skip
    code = (
        "import sys\nfrom rnntk.cli.main import group\n"
        f"try: group(['sample', {str(trained)!r}, '--length', '1', '--seed', '1'])\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(*(set({slow!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == ""


def test_several_texts_have_headings_on_a_terminal_only(rnntk, trained: Path) -> None:
    args = ("--num", 3, "--seed", 1)
    found = json.loads(draw(rnntk, trained, *args, "--json"))["texts"]
    piped = draw(rnntk, trained, *args)
    assert piped == "".join(f"a fox {text}".removesuffix("\n") + "\n" for text in found)
    lines = draw(rnntk, trained, *args, "--stop", r"\n", "--length", 2000)
    assert len(lines.splitlines()) == 3, "a text that ends in a line end gets no second one"
    shown = in_terminal(trained, *args)
    assert [line for line in shown.splitlines() if line.startswith("---")] == [
        "--- 1 ---", "--- 2 ---", "--- 3 ---",
    ]  # fmt: skip
    assert "---" not in in_terminal(trained, *args, "-q")


def in_terminal(run: Path, *args: object, coded: bool = False) -> str:
    """The output of `rnntk sample` in a terminal, with its colours if `coded`."""
    import pty

    parent, child = pty.openpty()
    words = [sys.executable, "-m", "rnntk", "sample", run, "--prime", "a fox ", "--length", 30]
    streams = {"stdin": child, "stdout": child, "stderr": child}
    process = subprocess.Popen([*map(str, words), *map(str, args)], **streams)
    os.close(child)
    shown = b""
    try:
        while part := os.read(parent, 65536):
            shown += part
    except OSError:  # how Linux says that the other side has closed
        pass
    os.close(parent)
    assert process.wait(timeout=60) == 0, shown
    text = shown.decode().replace("\r\n", "\n")
    return text if coded else CODE.sub("", text)


@pytest.mark.parametrize("args", [(), ("--num", 2), ("--lines", 3), ("--json",)])
def test_output_goes_to_a_file_and_notes_to_stderr(rnntk, trained: Path, here: Path, args) -> None:
    args = ("sample", trained, "--length", 200, "--seed", 1, *args)
    expected = rnntk(*args)
    (here / "out.txt").write_text("before", encoding="utf-8")
    result = rnntk(*args, "-o", "out.txt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (here / "out.txt").read_bytes() == expected.stdout.encode()
    assert result.stderr == expected.stderr + "Written to out.txt\n"
    assert rnntk(*args, "--output", "-").stdout == expected.stdout
    assert [p for p in here.iterdir() if ".tmp" in p.name] == []


def test_unwritable_output_is_reported_and_loses_nothing(
    rnntk, trained: Path, here: Path, monkeypatch
) -> None:
    result = rnntk("sample", trained, "-o", "no/such/out.txt")
    assert result.exit_code == 2
    assert "--output no/such/out.txt: there is no folder no/such. Create it first." in result.stderr
    (here / "out.txt").write_text("before", encoding="utf-8")
    assert rnntk("sample", trained, "-o", "out.txt", "--prime", "Ω").exit_code == 2
    assert (here / "out.txt").read_text(encoding="utf-8") == "before"
    assert "is a directory" in rnntk("sample", trained, "-o", here).stderr


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/stdout")
def test_output_never_replaces_the_prompt_or_the_training_text(
    rnntk, trained: Path, here: Path
) -> None:
    prompt = here / "prompt.txt"
    prompt.write_text("a fox")
    learned = folder.open_run(trained).settings["input"][0]
    for given in (["--prime-file", prompt, "-o", "prompt.txt"], ["-o", learned]):
        before = Path(given[-1]).read_bytes()
        result = rnntk("sample", trained, *given, "--length", 5)
        assert result.exit_code == 2
        assert "would replace a text. Name another file." in result.stderr
        assert Path(given[-1]).read_bytes() == before


def test_output_to_dev_stdout_appends(trained: Path, here: Path) -> None:
    args = [
        sys.executable,
        "-m",
        "rnntk",
        "sample",
        trained,
        "--length",
        9,
        "-q",
        "-o",
        "/dev/stdout",
    ]
    with (here / "out.txt").open("w", encoding="utf-8") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([*map(str, args)], stdout=file, check=True)
        file.write("after\n")
    found = (here / "out.txt").read_text(encoding="utf-8")
    assert re.fullmatch("before\n(?s:.{9})\n?after\n", found)


def test_escapes_on_the_command_line_are_read_and_reported(
    rnntk, trained: Path, here: Path
) -> None:
    args = ("sample", trained, "--length", 0)
    result = rnntk(*args, "--prime", r"line 1\nfox", "--on-unknown", "skip")
    assert result.stdout == "line 1\nfox\n"
    told = "--prime: \\n is a line end. For a backslash, type \\\\.\n"
    assert result.stderr.startswith(told)
    (here / "p.txt").write_text(r"a\nfox", encoding="utf-8")
    literal = rnntk(*args, "--prime-file", "p.txt", "--on-unknown", "skip")
    assert literal.stdout == "anfox\n", "the text has no backslash"
    assert "line end" not in literal.stderr
    silent = rnntk(*args, "--prime", "a fox", "--stop", "x")
    assert "backslash" not in silent.stderr
    (here / "c.toml").write_text("[sample]\nprime = 'a\\nfox'\n", encoding="utf-8")
    assert "'\\\\'" in rnntk(*args, "--config", "c.toml").stderr, "a file has escapes of its own"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (r"a\nb\tc\rd", "a\nb\tc\rd"),
        (r"\\newcommand", r"\newcommand"),
        (r"\\\n", "\\\n"),
        (r"\frac \d \x41 \u0041 \ ", r"\frac \d \x41 \u0041 \ "),
        ("\\", "\\"),
        ("가\\n각", "가\n각"),
    ],
)
def test_unknown_escapes_stay_as_typed(typed: str, text: str) -> None:
    assert stream.unescaped("--stop", typed, Console(quiet=True)) == text


def test_interactive_lines_are_literal_but_stop_has_escapes(rnntk, trained: Path) -> None:
    out, err = talk(
        rnntk, trained, r":stop \n", ":len 2000", ":on-unknown skip", r"a\nfox", args=("--seed", 1)
    )
    assert out.startswith("anfox")
    assert out.count("\n") == 1
    assert r"stop \n" in err
    assert r"in :stop, \n is a line end" in " ".join(talk(rnntk, trained, ":help")[1].split())


@pytest.mark.parametrize(
    ("table", "flags", "same"),
    [
        ("greedy = true", "--temperature 0.9", "--temperature 0.9"),
        ("temperature = 0.5", "--greedy", "--greedy"),
        ("temperature = 0.5", "--beam 2 --length 5", "--beam 2 --length 5"),
        ("prime = 'li'", "--prime-file p.txt", "--prime-file p.txt"),
        ("stop = 'x'", "--lines 2 --allow-copies", "--lines 2 --allow-copies"),
        ("lines = 2", "--beam 2 --length 5", "--beam 2 --length 5"),
        ("color = true", "--lines 2 --allow-copies", "--lines 2 --allow-copies"),
    ],
)
def test_a_flag_replaces_what_excludes_it_in_a_file_or_variable(
    rnntk, untrained, here: Path, monkeypatch, table: str, flags: str, same: str
) -> None:
    (here / "words.txt").write_text("a\nb\nli\nx\n" * 20)
    run = untrained("r", input=("words.txt",))
    (here / "p.txt").write_text("a")
    (here / "c.toml").write_text(f"[sample]\n{table}\n")
    common = ("sample", run, "--seed", 3, "-q")
    wanted = rnntk(*common, *same.split())
    assert wanted.exit_code == 0, wanted.stderr
    result = rnntk(*common, "--config", "c.toml", *flags.split())
    assert (result.exit_code, result.stdout) == (0, wanted.stdout), result.stderr
    key, _, value = table.partition(" = ")
    monkeypatch.setenv(f"RNNTK_{key.upper()}", value.strip("'"))
    result = rnntk(*common, *flags.split())
    assert (result.exit_code, result.stdout) == (0, wanted.stdout), result.stderr


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ("--greedy --temperature 0.5", "--greedy or --temperature"),
        ("--greedy --beam 2", "--greedy or --beam"),
        ("--lines 2 --color", "--lines or --color"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    rnntk, trained: Path, flags: str, names: str
) -> None:
    result = rnntk("sample", trained, *flags.split())
    assert result.exit_code == 2
    assert f"Give {names}, not both." in result.stderr


def test_a_deleted_run_is_named(trained: Path) -> None:
    run = rnntk_package.load(trained)
    shutil.rmtree(trained)
    with pytest.raises(RunError, match="r was moved or deleted"):
        run.evaluate()


def test_json_from_the_environment_excludes_prompts(rnntk, trained: Path, monkeypatch) -> None:
    monkeypatch.setenv("RNNTK_JSON", "1")
    result = rnntk("sample", trained, "--interactive", stdin="a\n")
    assert result.exit_code == 2
    assert "Give --interactive or --json, not both." in result.stderr
