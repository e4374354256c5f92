"""Bytes as symbols, from the file to the sampled text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
SMALL = "--units 8 --embedding 6 --batch-size 4 --seq-length 20 --sample-every 0 --max-steps 4"


@pytest.fixture
def binary(here: Path) -> Path:
    """Text in two encodings, and bytes that are not text."""
    path = here / "any.bin"
    path.write_bytes(
        "한글 and ASCII\n".encode() * 40 + "한글".encode("cp949") * 9 + bytes(range(256))
    )
    return path


def test_any_file_trains_and_samples_have_whole_characters(
    rnntk: Run, binary: Path, here: Path
) -> None:
    made = rnntk("prep", "--input", binary, "--preprocessor", "bytes")
    assert made.exit_code == 0, made.output
    assert "encoding      bytes (not decoded" in made.stdout
    assert "by bytes, 256 in the vocabulary" in made.stdout
    assert "0xed 4" in made.stdout
    assert "bytes are not UTF-8; text shows them as U+FFFD." in made.stdout
    trained = rnntk(
        "train", "--input", binary, "--preprocessor", "bytes", "--run", "r", *SMALL.split(),
        "--val-fraction", "0.2", "--val-every", "4",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    # In bits: at most eight per byte for a uniform model.
    said = [float(n) for n in re.findall(r"\(([\d.]+) bits per byte\)", trained.stdout)]
    assert len(said) == 3  # training, validation, best validation
    assert max(said) < 8.1
    found = rnntk("eval", "r", "--split", "val")
    a_byte = re.search(r"([\d.]+) per byte \(\d+ of them\)", found.stdout)
    assert a_byte is not None, found.stdout
    assert float(a_byte[1]) == pytest.approx(said[1], abs=1e-3)
    drawn = rnntk("sample", "r", "--prime", "글😀é", "--length", "300", "--seed", "1")
    assert drawn.exit_code == 0, drawn.output
    assert drawn.stdout.startswith("글😀é")
    again = json.loads(
        rnntk("sample", "r", "--prime", "글", "--length", 50, "--seed", 1, "--json").stdout
    )
    assert again["prime"] == "글"


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x80 abc" * 9, "가나다".encode() * 9], ids=["odd", "utf-8"]
)
def test_a_byte_model_evaluates_any_file(
    rnntk: Run, binary: Path, untrained: Callable[..., Path], here: Path, data: bytes
) -> None:
    untrained("r", input=(str(binary),), preprocessor="bytes", val=0.3)
    (here / "other").write_bytes(data)
    for what in (["--input", "other"], ["--split", "val"]):
        done = rnntk("eval", "r", *what, "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)["model"]
        assert found["nats_per_symbol"] > 0
        assert found["characters"] <= found["symbols"]
        if what == ["--input", "other"]:
            assert found["symbols"] == len(data)
            assert found["characters"] == len(data.decode("utf-8", "surrogateescape"))
    page = rnntk("eval", "r", "--input", "other", "--html", "page.html")
    assert page.exit_code == 0, page.output
    shown = re.search(r'"read":\{"text":"(.*?)"', (here / "page.html").read_text("utf-8"))
    assert shown
    assert ("\\ufffd" in shown[1]) == (b"\xff" in data)
    assert "\\udc" not in shown[1]


def test_contradicting_settings_are_refused(rnntk: Run, binary: Path) -> None:
    for flags, message in (
        (["--encoding", "cp949"], "--encoding cp949 has no effect"),
        (["--errors", "replace"], "--errors replace has no effect"),
    ):
        done = rnntk("prep", "--input", binary, "--preprocessor", "bytes", *flags)
        assert done.exit_code == 2
        assert message in done.stderr
