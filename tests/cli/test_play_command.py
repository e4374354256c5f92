"""`rnntk play` from the command line."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.installation import install_command
from rnntk.play import serve
from rnntk.play.models import Models
from rnntk.play.own_text import OwnText
from rnntk.storage import folder


@pytest.fixture
def trained(untrained, text: Path) -> Path:
    """A run with random weights; tests/play tests the page."""
    return untrained("r", input=(str(text),))


def test_play_serves_until_ctrl_c(trained: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rnntk", "play", str(trained), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        shown = ""
        while not shown.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            shown += line
        found = json.loads(shown)
        assert found["step"] == 4
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", found["url"])
        with urllib.request.urlopen(found["url"] + "api/run", timeout=20) as answer:
            assert json.load(answer)["name"] == "r"
        process.send_signal(signal.SIGINT)
        _, notes = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "Ended." in notes
    assert "Traceback" not in notes


def test_a_report_is_written(rnntk, trained: Path, here: Path) -> None:
    result = rnntk(
        "play", trained, "--report", "out.html", "--input", "-", "--json", stdin="a fox 9漢\n"
    )
    assert result.exit_code == 0, result.output
    assert "Not in the vocabulary, left out: '漢'" in result.stderr
    found = json.loads(result.stdout)
    page = (here / "out.html").read_bytes()
    assert found["bytes"] == len(page)
    assert b"a fox 9" in page


def test_a_report_of_the_latest_run_needs_no_text(
    rnntk, here: Path, text: Path, trained: Path
) -> None:
    (here / "runs").mkdir()
    trained.rename(here / "runs" / "tiny-1")
    result = rnntk("play", "--report", "out.html")
    assert result.exit_code == 0, result.output
    assert (here / "out.html").stat().st_size > 10_000


def test_missing_packages_are_named_with_the_install_command(
    rnntk, here: Path, monkeypatch
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    result = rnntk("play")
    assert result.exit_code == 1
    assert "needs starlette and uvicorn" in result.stderr
    assert result.stderr.endswith(f": {install_command('play')}\n")


def test_a_public_host_warns_and_opens_no_browser(rnntk, trained: Path, monkeypatch) -> None:
    opened: list[str] = []
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(name, "1")  # the command sets them; this undoes it
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(serve, "run", lambda app, bound: bound.close())
    result = rnntk("play", trained, "--host", "0.0.0.0", "--port", "0")
    assert result.exit_code == 0, result.output
    assert "Warning: with --host 0.0.0.0, whoever can reach port" in result.stderr
    assert opened == []
    result = rnntk("play", trained, "--port", "0", "--open")
    assert "Warning" not in result.stderr
    assert opened == [result.stdout.strip()]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "There is no run nowhere"),
        (["r", "--checkpoint", "7"], 1, "has no checkpoint '7'"),
        (["r", "--input", "tiny.txt"], 2, "--input needs --report"),
        (["r", "--report", "o.html", "--input", "none.txt"], 2, "--input none.txt cannot be read"),
        (
            ["r", "--report", "o.html", "--input", "bad.txt"],
            1,
            "is not UTF-8: bytes ff at offset 1",
        ),
        (
            ["r", "--report", "o.html", "--input", "empty.txt"],
            1,
            "fewer than two symbols that the model knows",
        ),
    ],
)
def test_bad_input_is_one_message(
    rnntk, trained: Path, here: Path, arguments: list[str], code: int, message: str
) -> None:
    (here / "bad.txt").write_bytes(b"a\xff")
    (here / "empty.txt").touch()
    result = rnntk("play", *arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.output
    assert not (here / "o.html").exists()


def test_a_row_classifier_has_no_report_and_needs_its_weights(
    rnntk, here: Path, trained: Path
) -> None:
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    record["kind"] = "row-classifier"
    (trained / "run.json").write_text(json.dumps(record), encoding="utf-8")
    result = rnntk("play", trained, "--report", "out.html")
    assert result.exit_code == 1
    assert "only character models generate text" in result.stderr
    result = rnntk("play", trained)
    assert result.exit_code == 1
    assert "its weights lack 'forward_0/kernel'" in result.stderr


def test_numpy_is_not_loaded_before_its_threads_are_set() -> None:
    code = (
        "import sys, rnntk.cli.play, rnntk.play.serve as s\n"
        "assert 'numpy' not in sys.modules\n"
        "s.single_threaded_products()\nimport os; print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == os.environ.get("OPENBLAS_NUM_THREADS", "1"), done.stderr


def test_the_page_opens_on_held_out_text_with_baselines(
    untrained, text: Path, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 60)
    run = untrained("r", val=0.3, input=(str(text),))
    own = OwnText(Models(LanguageModel.load(folder.open_run(run))))
    found = own.excerpt()
    assert found["of"] == "held-out text"
    assert found["text"].startswith("the quick")
    assert len(found["text"]) <= len(text.read_text()) * 0.3
    assert own.baselines()["baselines"][0]["title"] == "uniform guess"
    losses = {row["title"]: row["nats"] for row in own.baselines(wait=True)["baselines"]}
    assert losses["uniform guess"] == pytest.approx(math.log(28), abs=1e-4)
    assert losses["n-grams up to 6"] < losses["letter frequencies"] < losses["uniform guess"]
    # They are cached for the next page.
    (kept,) = (tmp_path / "cache" / "baselines").iterdir()
    kept.write_text(json.dumps({"letter frequencies": 1.5}))
    again = OwnText(Models(LanguageModel.load(folder.open_run(run)))).baselines(wait=True)
    assert again["baselines"][1] == {"title": "letter frequencies", "nats": 1.5}


def test_without_its_text_the_page_opens_on_generated_text(
    untrained, text: Path, monkeypatch, tmp_path
) -> None:
    run = untrained("r", val=0.3, input=(str(text),))
    text.unlink()
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "empty"))
    own = OwnText(Models(LanguageModel.load(folder.open_run(run))))
    assert own.excerpt()["of"] == "generated text"
    assert len(own.excerpt()["text"]) > 900
    assert len(own.baselines(wait=True)["baselines"]) == 1
