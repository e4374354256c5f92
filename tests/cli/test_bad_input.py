"""Bad input gets one clear message and an exit code, and loses nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from rnntk.installation import pip_command, upgrade_advice

SMALL = [
    "--units",
    "8",
    "--embedding",
    "6",
    "--batch-size",
    "4",
    "--seq-length",
    "20",
    "--sample-every",
    "0",
    "--max-steps",
    "4",
]


def refused(result, code: int, *parts: str) -> None:
    """One message on stderr, nothing on stdout, no traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    message = " ".join(result.stderr.split())
    assert "Traceback" not in message
    for part in parts:
        assert part in message, message


def test_a_missing_file(rnntk) -> None:
    for command in ("prep", "train"):
        refused(rnntk(command, "--input", "no.txt"), 1, "no.txt")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("empty",)),
        (bytes(range(256)) * 40, ("binary",)),
        (
            "안녕하세요 ".encode() * 50 + b"\xff\xfe\xff" + "하세요".encode(),
            ("--encoding", "--errors"),
        ),
    ],
    ids=["empty", "binary", "undecodable"],
)
def test_a_binary_file_is_refused(
    rnntk, here: Path, content: bytes, parts: tuple[str, ...]
) -> None:
    (here / "x.txt").write_bytes(content)
    for command in ("prep", "train"):
        more = (
            ("--encoding", "utf-8")
            if b"\xff\xfe\xff" in content[:2000] and len(content) < 2000
            else ()
        )
        refused(rnntk(command, "--input", "x.txt", *more), 1, *parts)
    assert (here / "x.txt").read_bytes() == content
    assert not (here / "runs").exists()


def test_undecodable_bytes_are_named_with_their_offset(rnntk, here: Path) -> None:
    (here / "x.txt").write_bytes(b"abc\xff\xfedef" * 3)
    refused(
        rnntk("prep", "--input", "x.txt", "--encoding", "utf-8"),
        1,
        "3",
        "ff",
        "--encoding",
        "--errors replace",
    )
    assert (
        rnntk("prep", "--input", "x.txt", "--encoding", "utf-8", "--errors", "replace").exit_code
        == 0
    )


def test_a_text_shorter_than_one_batch(rnntk, text: Path, here: Path) -> None:
    refused(
        rnntk("train", "--input", text, "--batch-size", 50, "--seq-length", 200),
        1,
        "needs 10,000",
        "--batch-size or --seq-length",
    )
    assert not (here / "runs").exists()


def test_an_unknown_corpus(rnntk) -> None:
    refused(rnntk("train", "--corpus", "linux_kernal"), 2, "linux_kernel")


def test_an_unavailable_corpus(rnntk) -> None:
    refused(
        rnntk("train", "--corpus", "tinyshakespeare"),
        1,
        "data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        "python_stdlib",
    )


def test_images_are_refused_as_text(rnntk) -> None:
    refused(rnntk("train", "--corpus", "mnist"), 2, "rnntk mnist")


def test_corpus_and_input_exclude_each_other(rnntk, text: Path) -> None:
    refused(rnntk("train", "--corpus", "linux_kernel", "--input", text), 2, "--corpus", "--input")


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--layers", 0, "at least 1 and at most 64"),
        ("--units", -1, "at least 1 and at most 65,536"),
        ("--dropout", 1.0, "at least 0 and below 1"),
        ("--learning-rate", 0, "above 0"),
        ("--decay-rate", 1.1, "above 0 and at most 1"),
        ("--val-fraction", 1, "at least 0 and below 1"),
        ("--clip-norm", 0, "above 0"),
        ("--batch-size", 0, "at least 1"),
        ("--epochs", 0, "at least 1"),
        ("--seed", -1, "at least 0"),
        ("--cell", "lstn", "'lstm'"),
        ("--device", "tpu", "'gpu'"),
    ],
)
def test_a_value_out_of_range_names_flag_and_range(
    rnntk, text: Path, flag: str, value: object, told: str
) -> None:
    refused(rnntk("train", "--input", text, flag, value), 2, flag, told)


def test_a_missing_gpu_is_refused(rnntk, text: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    refused(
        rnntk("train", "--input", text, "--device", "gpu", *SMALL),
        2,
        "No GPU found. Set --device cpu",
        pip_command("tensorflow[and-cuda]"),
    )


def test_a_run_folder_that_exists(rnntk, trained: Path, text: Path) -> None:
    before = (trained / "run.json").read_bytes()
    refused(
        rnntk("train", "--input", text, "--run", trained, *SMALL),
        1,
        "exists already",
        "--resume",
        "--run",
    )
    refused(rnntk("mnist", "--data", "digits", "--run", trained), 1, "exists already")
    assert (trained / "run.json").read_bytes() == before


def test_a_damaged_or_newer_run(rnntk, trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    (trained / "run.json").write_text(json.dumps({**record, "format_version": 99}))
    for command in (("sample", trained), ("train", "--resume", trained)):
        refused(rnntk(*command), 1, "newer rnntk", upgrade_advice())
    (trained / "run.json").write_text("{")
    refused(rnntk("sample", trained), 1, "is damaged")
    (trained / "run.json").write_text(json.dumps(record))
    for file in trained.glob("checkpoints/*/weights.safetensors"):
        file.write_bytes(file.read_bytes()[:-5])
    refused(rnntk("sample", trained), 1, "weights.safetensors", "No checkpoint")


def test_a_vocabulary_that_does_not_match(rnntk, trained: Path, text: Path) -> None:
    text.write_text(text.read_text().replace("fox", "FOX"))
    refused(
        rnntk("train", "--resume", trained, "--input", text, "--max-steps", 9),
        1,
        "The vocabulary of ",
        " is not that of ",
        "Only in the text: 'F'",
    )


def test_settings_of_the_run_cannot_be_changed_on_resume(rnntk, trained: Path) -> None:
    refused(rnntk("train", "--resume", trained, "--units", 9), 2, "leave out --units")
    refused(rnntk("mnist", "--resume", trained), 2, "rnntk train --resume")


def test_settings_of_the_run_may_be_repeated_on_resume(
    rnntk, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may come from the environment or a file, where the user has not thought of this run."""
    monkeypatch.setenv("RNNTK_UNITS", "8")
    Path("c.toml").write_text("layers = 2\n")
    words = ("train", "--resume", trained, "--config", "c.toml", "--max-steps")
    done = rnntk(*words, 5, "--embedding", 6)
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("RNNTK_UNITS", "9")
    Path("c.toml").write_text("layers = 3\n")
    places = "leave out --embedding, 'layers' in c.toml, line 1, RNNTK_UNITS in the environment, or"
    refused(rnntk(*words, 6, "--embedding", 7), 2, places)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder in use")
def test_a_removed_working_folder(rnntk, here: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        result = rnntk("train", "x.txt")
    finally:
        os.chdir(here)
    refused(result, 1, "Error: The current folder no longer exists. Change to another folder.")


def test_a_finished_run(rnntk, trained: Path) -> None:
    refused(
        rnntk("train", "--resume", trained, "--max-steps", 4), 2, "is finished", "raise --max-steps"
    )


def test_a_prompt_with_unknown_characters(rnntk, trained: Path) -> None:
    refused(rnntk("sample", trained, "--prime", "fox é Ω"), 2, "'é'", "'Ω'", "--on-unknown skip")
    result = rnntk("sample", trained, "--prime", "fox é", "--on-unknown", "skip", "--length", 5)
    assert result.exit_code == 0


def test_no_run_yet(rnntk) -> None:
    refused(rnntk("sample"), 1, "There is no run", "rnntk train")
    refused(rnntk("sample", "nowhere"), 1, "There is no run nowhere")
    refused(rnntk("train", "--resume"), 1, "There is no run")


def test_no_such_checkpoint(rnntk, trained: Path) -> None:
    refused(rnntk("sample", trained, "--checkpoint", "77"), 1, "no checkpoint '77'", "4")
    refused(rnntk("sample", trained, "--checkpoint", "worst"), 1, "best, last")


def test_a_full_disk_ends_training_with_a_message(warm, here: Path, text: Path) -> None:
    """A limit on the size of files acts like a full disk."""
    code = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000)); "
        "runpy.run_module('rnntk', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, "train", "--input", str(text), "--run", "full", *SMALL]
    done = warm.run(
        [*command, "--units", "500", "--layers", "1"], capture_output=True, text=True, cwd=here
    )
    assert done.returncode == 1, done.stderr
    assert "No space is left" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unwritable_run_folder(rnntk, here: Path, text: Path) -> None:
    (here / "file").write_text("mine")
    for more in ((), ("--dry-run",)):
        result = rnntk("train", "--input", text, "--run", "file/r", "--quiet", *SMALL, *more)
        refused(result, 1, "file/r cannot be written (Not a directory)", "--run")
    assert (here / "file").read_text() == "mine"


def test_a_diverged_training(rnntk, here: Path, text: Path) -> None:
    exploding = ["--learning-rate", 30, "--checkpoint-every", 1, "--explosion-steps", 10]
    exploding += ["--weight-decay", 0]
    result = rnntk("train", "--input", text, *SMALL[:-2], "--quiet", "--run", "r", *exploding)
    refused(
        result, 1, "twice the uniform loss", "Checkpoint 1 of r was saved before that",
        "rnntk train --init-from r", "--resume r --explosion-steps 0",
    )  # fmt: skip
    on = rnntk("train", "--resume", "r", "--explosion-steps", 0, "--max-steps", 20, "--quiet")
    assert on.exit_code == 0
    assert "step 20" in on.stdout
