"""`rnntk runs`, `rnntk plot` and `rnntk board` on trained runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import pytest
import wcwidth
from click.testing import CliRunner

from rnntk import signals
from rnntk.cli import table
from rnntk.cli.main import group

SMALL = [
    "--layers", 2, "--units", 8, "--embedding", 6, "--batch-size", 4, "--seq-length", 20, "--sample-every", 0,
    "--max-steps", 6, "--val-fraction", 0.2, "--val-every", 3, "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a tiny text, trained once; the tests use copies."""
    folder = tmp_path_factory.mktemp("once")
    text = folder / "tiny.txt"
    text.write_text("".join(f"line {i}: a fox {i * i} jumps\n" for i in range(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNTK_CACHE", str(folder / "cache"))
        args = ["train", "--input", text, "--run", folder / "run", *SMALL]
        result = CliRunner().invoke(group, [str(a) for a in args])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def two(trained_once: Path, here: Path) -> Path:
    """Two runs; the second is the newest."""
    for name, when in (("one", 1.8e9), ("two", 1.9e9)):
        run = shutil.copytree(trained_once, here / "runs" / name)
        for file in [run, *run.rglob("*")]:
            os.utime(file, (when, when))
    return here / "runs"


def test_runs_lists_the_newest_first(rnntk, two: Path) -> None:
    result = rnntk("runs")
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "RUN",
        "CORPUS",
        "MODEL",
        "STEPS",
        "LOSS",
        "VALIDATION",
        "AGE",
        "SIZE",
    ]
    assert [line.split()[0] for line in lines[1:]] == ["two", "one"]
    assert lines[1].split()[1:5] == ["tiny", "lstm", "2x8", "6"]
    found = json.loads(rnntk("runs", "--json").stdout)
    assert [r["name"] for r in found["runs"]] == ["two", "one"]
    last = json.loads((two / "two" / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["runs"][0]["loss"] == pytest.approx(last["loss"], abs=1e-6)
    lines_of_metrics = (two / "two" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines_of_metrics]
    mean = sum(losses) / len(losses)
    assert found["runs"][0]["mean_loss"] == pytest.approx(mean)
    assert lines[1].split()[5] == f"{mean:.4f}"
    assert (
        result.stderr == "Loss: mean of the last 100 steps; validation: the lowest; both in nats.\n"
    )
    assert found["runs"][0]["best_val_loss"] == pytest.approx(last["val_loss"], abs=0.5)


def test_runs_can_be_filtered_and_damaged_ones_are_shown(rnntk, two: Path) -> None:
    (two / "two" / "run.json").write_text("{")
    result = rnntk("runs", "--corpus", "tiny", "--kind", "char-rnn")
    assert result.exit_code == 0
    assert "run.json cannot be read" in result.stdout
    assert "one" in result.stdout
    classifiers = json.loads(rnntk("runs", "--kind", "row-classifier", "--json").stdout)["runs"]
    assert [r["name"] for r in classifiers] == ["two"], "what it is cannot be known"


def test_without_runs_the_list_names_the_train_command(rnntk) -> None:
    for args, command in (
        ((), "rnntk train"),
        (("--kind", "row-classifier"), "rnntk mnist"),
        (("--corpus", "demo_ko"), "rnntk train --corpus demo_ko"),
    ):
        result = rnntk("runs", *args)
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"Train one: {command}\n" in result.stderr
    assert json.loads(rnntk("runs", "--json").stdout)["runs"] == []


def test_show_prints_all_facts_of_a_run(rnntk, two: Path) -> None:
    file = two / "one" / "checkpoints" / "step-00000006" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    result = rnntk("runs", "show", "one")
    assert result.exit_code == 0
    out = " ".join(result.stdout.split())
    for part in (
        "lstm 2x8, embedding 6", "tiny", "--units 8", "--val-fraction 0.2", "best validation", "tensorflow",
        "split train", "checkpoint step 6", "damaged: weights.safetensors has", "checkpoint step 3",
    ):  # fmt: skip
        assert part in out, part
    assert "--cell" not in out, "a default"
    assert "rnntk sample runs/one" in result.stderr
    assert "rnntk train --resume runs/one" in result.stderr
    found = json.loads(rnntk("runs", "show", two / "one", "--json").stdout)
    assert found["changed_settings"]["units"] == 8
    assert [bool(c["problem"]) for c in found["checkpoints"]] == [False, True]
    assert json.loads(rnntk("runs", "--json", "show").stdout)["name"] == "two", "the latest"


def test_show_refuses_a_folder_that_is_not_a_run(rnntk, two: Path) -> None:
    result = rnntk("runs", "show", "tow")
    assert result.exit_code == 1
    assert "Did you mean 'two'?" in result.stderr


def test_a_table_fits_the_given_width() -> None:
    columns = [
        table.Column("RUN"),
        table.Column("CORPUS", drop=2),
        table.Column("STEPS", right=True, drop=1),
    ]
    rows = [["소설-1", "소설", "1,000"], ["a-very-long-name", "tiny", "5"]]
    notes = ["a sentence that is long enough to be wrapped", None]
    whole = table.table(columns, rows, None, notes)
    assert whole[:2] == ["RUN               CORPUS  STEPS", "소설-1            소설    1,000"]
    assert whole[2] == "  " + notes[0]
    for width in range(22, 60):
        lines = table.table(columns, rows, width, notes)
        assert max(map(wcwidth.width, lines)) <= width
    assert table.table(columns, rows, 26, notes)[0].split() == ["RUN", "STEPS"]
    assert table.table(columns, rows, 10, [None, None])[-1] == "a-very-lo…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "now"), (59, "59 seconds"), (60, "1 minute"), (7300, "2 hours"), (86400 * 800, "2 years")],
)
def test_ages(seconds: float, text: str) -> None:
    assert table.age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (7_240_000, "7.24 MB"),
        (10**13, "10 TB"),
    ],
)
def test_sizes_are_shown_with_units(count: int, text: str) -> None:
    assert table.size(count) == text


def test_plot_writes_a_picture_of_the_latest_or_of_several(rnntk, two: Path, here: Path) -> None:
    result = rnntk("plot")
    assert result.stdout == "drawn         loss.png\n"
    assert (here / "loss.png").read_bytes().startswith(b"\x89PNG")
    result = rnntk(
        "plot", "one", two / "two", "--x", "time", "--y", "bits", "--output", "a.svg", "--json"
    )
    assert [r["name"] for r in json.loads(result.stdout)["runs"]] == ["one", "two"]
    ElementTree.parse(here / "a.svg")


def test_plot_in_the_terminal(rnntk, two: Path, here: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    result = rnntk("plot", "--terminal", "--smooth", 1)
    lines = result.stdout.splitlines()
    assert lines[0] == "loss (nats) against steps"
    assert lines[-1].strip().startswith("aa two: validation ")
    assert max(map(len, lines)) == 60
    assert not list(here.glob("*.png"))
    assert rnntk("plot", "--terminal", "--ascii", "--log").stdout.isascii()


def test_plot_of_a_run_in_training_and_of_a_damaged_file(rnntk, two: Path) -> None:
    with (two / "two" / "metrics.jsonl").open("a") as file:
        file.write('nonsense\n{"step": 7, "lo')
    result = rnntk("plot", "--terminal")
    assert result.exit_code == 0
    assert "skipped 1 damaged lines of metrics.jsonl" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("nothing",), 1, "There is no run nothing"),
        (("--output", "a.gif"), 2, "must end in .png or .svg"),
        (("--output", "no/a.png"), 2, "there is no folder no"),
        (("--y", "los"), 2, "Did you mean 'loss'?"),
        (("--y", "accuracy"), 2, "has no accuracy"),
        (("--smooth", 0), 2, "--smooth"),
    ],
)
def test_plot_refuses_bad_input(
    rnntk, two: Path, args: tuple[object, ...], code: int, message: str
) -> None:
    result = rnntk("plot", *args)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_board_without_runs_is_refused(rnntk) -> None:
    result = rnntk("board", "--no-open")
    assert result.exit_code == 1
    assert "No run in runs has TensorBoard events." in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="on Windows, a signal ends the process")
@pytest.mark.parametrize("number", signals.ENDING)
def test_board_serves_the_runs_until_a_signal(warm, two: Path, number: signal.Signals) -> None:
    with warm.Popen(
        [sys.executable, "-m", "rnntk", "board", "--port", "0", "--no-open"],
        stdout=warm.PIPE,
        stderr=warm.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
            names: list[str] = []
            end = time.monotonic() + 60
            while len(names) < 2 and time.monotonic() < end:
                with urllib.request.urlopen(url + "data/runs", timeout=30) as answer:
                    names = json.load(answer)
                time.sleep(0.2)
            assert sorted(names) == ["one/logs", "two/logs"]
            for host, status in (("localhost", 200), ("evil.example", 403), ("", 403)):
                asked = urllib.request.Request(url + "data/runs", headers={"Host": host})
                try:
                    with urllib.request.urlopen(asked, timeout=30) as answer:
                        got = answer.status
                except urllib.error.HTTPError as error:
                    got = error.code
                    told = error.read()
                assert got == status, host
            assert b"Open the address that rnntk board printed" in told
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("host", "code", "told"),
    [
        ("192.0.2.1", 1, "cannot listen at 192.0.2.1: Cannot assign requested address. Choose"),
        ("no.such.name.invalid", 2, "--host 'no.such.name.invalid' is not an address"),
        ("", 2, "--host '' is not an address"),
    ],
)
def test_board_refuses_an_address_it_cannot_listen_at(
    warm, two: Path, host: str, code: int, told: str
) -> None:
    done = warm.run(
        [sys.executable, "-m", "rnntk", "board", "--no-open", "--host", host],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_board_names_a_port_in_use(warm, two: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        # In another process: importing TensorBoard emits deprecation warnings.
        done = warm.run(
            [sys.executable, "-m", "rnntk", "board", "--no-open", "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}" in done.stderr
    assert "Choose another" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["runs", "plot", "sample"])
def test_the_advice_for_an_empty_folder_fills_that_folder(rnntk, here: Path, command: str) -> None:
    result = rnntk(command, "--runs-dir", "all mine")
    assert "There is no run in all mine. Train one: rnntk train" in result.stderr
    assert "--runs-dir 'all mine'" in result.stderr
    assert "--runs-dir" not in rnntk(command).stderr
