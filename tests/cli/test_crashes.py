"""Every failure is one message and an exit code: unexpected errors, memory, disks, names, closed streams."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest

from rnntk.cli.main import LazyGroup
from rnntk.errors import os_error

LONG = "x" * 300
RUN = [sys.executable, "-m", "rnntk"]
TINY = "--units 8 --layers 1 --embedding 4 --batch-size 4 --seq-length 16 --max-steps 3 -q".split()  # noqa: SIM905

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits and descriptors")


def failing(error: Exception) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("runs", callback=fail)


def refused(result, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in " ".join(result.stderr.split())


class ResourceExhaustedError(Exception):
    """Like TensorFlow's, with several lines in `message`."""

    message = "Graph execution error:\n\n{{function_node x}} OOM when allocating tensor with shape[9]\n\t more"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("facts"), "Unexpected error at main.py, line "),
        (RecursionError(), " (RecursionError). Run it again with RNNTK_CRASH_FILE=crash.txt"),
        (ValueError("a\nb " * 1000), "(ValueError: a b a b"),
        (
            MemoryError(),
            "Not enough memory. Lower the batch size, length or number of texts.",
        ),
        (
            ResourceExhaustedError(),
            "Not enough memory (OOM when allocating tensor with shape[9]). Lower",
        ),
        (OSError(errno.EACCES, "Permission denied", "a/b"), "Error: a/b: Permission denied."),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"\xff"), ": File name too long."),
        (OSError("no number"), "Error: no number."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_is_one_message(rnntk, monkeypatch, here: Path, error, told: str) -> None:
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: failing(error))
    result = rnntk("runs")
    refused(result, 1, told)
    assert len(result.stderr) < 600
    assert ("report it with that file" in result.stderr) == isinstance(
        error, (KeyError, RecursionError, ValueError)
    )
    monkeypatch.setenv("RNNTK_CRASH_FILE", "crash.txt")
    refused(rnntk("runs"), 1, "The details are in crash.txt.")
    kept = (here / "crash.txt").read_text(encoding="utf-8")
    assert "rnntk 0" in kept
    assert "raise error" in kept
    monkeypatch.setenv("RNNTK_CRASH_FILE", "no/crash.txt")
    refused(rnntk("runs"), 1, "The details cannot be written: [Errno 2]")
    monkeypatch.setenv("RNNTK_DEBUG", "1")
    with pytest.raises(type(error)):
        rnntk("runs")


def test_disk_errors_of_tensorflow_are_recognized() -> None:
    class OpError(Exception):
        message = ""

    told = OpError()
    for message in (
        "{{function_node __wrapped__SaveV2_device_/job:a/cpu:0}} /a b/c.tmp; No space left on device [Op:SaveV2]",
        "/a b/c.tmp; No space left on device\n\tFailed to flush 4 events to /a b/c.tmp\n\tmore [Op:X] name: ",
    ):
        told.message = message
        found = os_error(told)
        assert found is not None
        assert (found.errno, found.filename) == (errno.ENOSPC, "/a b/c.tmp")
    for message in ("", "Matrix size-incompatible: In[0]: [2,3]", "a; b"):
        told.message = message
        assert os_error(told) is None
    assert os_error(ValueError("/x; No space left on device")) is None


@pytest.mark.parametrize(
    "args",
    [
        *(("prep", flag, LONG) for flag in ("--input", "--config", "--corpus")),
        ("prep", "--corpus", f"./{LONG}"),
        ("prep", "--input", "tiny.txt", "--output", LONG),
        ("prep", "--list", "--data-dir", LONG),
        *(("train", *TINY, "--input", "tiny.txt", flag, LONG) for flag in ("--run", "--runs-dir")),
        ("train", "--input", "tiny.txt", "--run", f"{LONG}/x", "--dry-run", *TINY),
        ("train", "--input", "tiny.txt", "--init-from", LONG),
        ("train", "--resume", LONG),
        *((command, LONG) for command in ("sample", "export", "import", "eval", "plot", "play")),
        ("sample", "r", "--prime-file", LONG),
        ("sample", "--runs-dir", LONG),
        ("export", "r", "--output", LONG, "--format", "savedmodel"),
        ("export", "r", "--output", f"{LONG}.npz", "--format", "npz"),
        ("eval", "r", "--input", LONG),
        ("eval", "r", "--split", "train", "--no-baselines", "--html", LONG),
        ("eval", "r", "--split", "train", "--no-baselines", "--costs", LONG),
        ("runs", "--runs-dir", LONG),
        ("runs", "show", LONG),
        ("plot", "r", "--output", f"{LONG}.png"),
        ("board", "--runs-dir", LONG),
        ("play", "r", "--report", LONG),
        ("minchar", "--input", LONG),
        ("mnist", "--data-dir", LONG),
    ],
    ids=lambda args: "-".join(word for word in args if LONG not in word)[:60],
)
def test_a_name_of_300_bytes_is_one_message(
    rnntk, untrained, text: Path, args: tuple[str, ...]
) -> None:
    run = untrained("r", input=("tiny.txt",))
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    result = rnntk(*args)
    assert result.exit_code in (1, 2)
    refused(result, result.exit_code)
    assert "name too long" in result.stderr or "is no" in result.stderr or "no c" in result.stderr


def test_a_network_too_large_for_memory_is_refused_before_it_is_built(
    rnntk, text: Path, here: Path
) -> None:
    large = ["--input", text, *TINY, "--units", 30000, "--layers", 60, "--quiet"]
    for more in ([], ["--dry-run"]):
        refused(
            rnntk("train", *large, *more), 1, "428,408,460,130 parameters and batches of 4 x 16 need at",
            "GB are free. Lower --units, --layers or --batch-size.",
        )  # fmt: skip
    assert not (here / "runs").exists()
    mnist = ("mnist", "--data", "digits", "--units", 60000, "--layers", 60, "--quiet")
    refused(rnntk(*mnist), 1, "GB of memory")


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: RLIMIT_AS")
@pytest.mark.skipif(
    metadata.version("tensorflow").startswith("2.18."), reason="TensorFlow 2.18 aborts itself"
)
def test_a_memory_limit_of_the_system_is_one_message(warm, text: Path, here: Path) -> None:
    """The first size passes the check of available memory, and an allocation fails; the second does not pass."""
    code = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (6_144_000_000,) * 2); "
        "runpy.run_module('rnntk', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "train", "--input", str(text), *TINY, "--run", "r"]
    for size in (["--units", "600", "--embedding", "60000"], ["--units", "9000"]):
        done = warm.run([*command, *size], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        refusal = "Not enough memory (", "GB are free. Lower --units"
        assert any(told in done.stderr for told in refusal)
        assert "Traceback" not in done.stderr


@posix
def test_a_full_disk_met_by_tensorflow_is_one_message(
    warm, untrained, text: Path, here: Path
) -> None:
    """TensorFlow itself writes the events of a run and the parts of a SavedModel."""
    untrained("r", input=("tiny.txt",))
    limited = (
        "import resource, runpy, sys; limit = int(sys.argv.pop(1)); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); "
        "runpy.run_module('rnntk', run_name='__main__')"
    )
    tiny = [word.replace("3", "60") for word in TINY]
    train = ["train", "--input", str(text), "--run", "full", *tiny]
    export = ["export", "r", "--format", "savedmodel", "--output", "sm"]
    for limit, command, code, told in (
        (
            20_000,
            train,
            0,
            "Warning: full/logs cannot be written (File too large). Training continues",
        ),
        (30_000, export, 1, "Error: No space is left to write sm (File too large)."),
    ):
        done = warm.run(
            [sys.executable, "-c", limited, str(limit), *command], capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert not (here / "sm").exists()


@posix
@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(untrained, text: Path, closed: str) -> None:
    untrained("r", input=("tiny.txt",))
    for words in ("sample r --length 3", "sample r -i", "sample r --prime-file -", "runs"):
        line = f'"{sys.executable}" -m rnntk {words} {closed}'
        done = subprocess.run(["sh", "-c", line], capture_output=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, (words, done.stderr)
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("prep", "--input", ".", "--glob", "/a*"), 2, "--glob must be a pattern such as *.txt"),
        (("prep", "--input", ".", "--glob", ""), 1, "--glob"),
        (("train", "--input", "tiny.txt", "--threads", "9" * 11), 2, "at most 1,024"),
        (("import", ".index"), 2, "There is no folder .index and no file "),
        (("import", ".meta"), 2, "There is no folder .meta and no file "),
        (("import", "/"), 2, "No file in / ends in .index or .ckpt-<step>"),
        (
            ("export", "r", "--format", "savedmodel", "--output", "/"),
            2,
            "is a folder. Name a file or folder in it",
        ),
        (
            ("export", "r", "--format", "savedmodel", "--output", "."),
            2,
            "is a folder. Name a file or folder in it",
        ),
        (("export", "r", "--format", "savedmodel", "--output", ".."), 2, "exists already"),
        (("play", "r", "--host", ""), 2, "--host '' is not an address"),
        (("play", "r", "--host", LONG), 2, "is not an address (too long"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_values_that_python_refuses_are_one_message(
    rnntk, untrained, text: Path, args, code, told
) -> None:
    untrained("r", input=("tiny.txt",))
    refused(rnntk(*args), code, told)


def test_any_beam_alpha_works(rnntk, untrained, text: Path) -> None:
    untrained("r", input=("tiny.txt",))
    texts = []
    for alpha in ("0", "400", "1e300"):
        beam = ("--beam", 8, "--stop", "x", "--beam-alpha", alpha, "--length", 40, "--num", 8)
        result = rnntk("sample", "r", "--prime", "a", *beam, "-q")
        assert result.exit_code == 0, result.stderr
        texts.append(result.stdout)
    assert texts[0] != texts[1]


def test_the_list_of_corpora_respects_offline(rnntk, monkeypatch) -> None:
    monkeypatch.delenv("RNNTK_OFFLINE")
    assert "download from" in rnntk("prep", "--list").stdout
    offline = rnntk("prep", "--list", "--offline").stdout
    assert "needs the network, which is off" in offline
    assert "download from" not in offline
