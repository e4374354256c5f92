"""`rnntk mnist` on the command line, with the digits that rnntk draws."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

SMALL = ["--units", "8", "--batch-size", "32", "--max-steps", "6", "--val-size", "100"]


def test_without_network_and_data_it_falls_back_with_a_note(rnntk, here: Path) -> None:
    result = rnntk("mnist", *SMALL)
    assert result.exit_code == 0, result.output
    assert "not MNIST" in result.stderr + result.stdout
    assert "% of" in result.stdout
    assert "95 % interval" in result.stdout
    assert "confusion" in result.stdout
    assert "Testing on 2,000 images.\n" in result.stderr
    curves = "Its curves: rnntk plot --terminal runs/digits-1, or rnntk board\n"
    assert result.stderr.endswith(curves)
    file = here / "runs" / "digits-1" / "run.json"
    record = json.loads(file.read_text("utf-8"))
    record["corpus"]["sha256"] = "0" * 64  # as under another Python, which writes other bytes
    file.write_text(json.dumps(record), "utf-8")
    again = rnntk("mnist", "--resume", "--max-steps", 8)
    assert again.exit_code == 0, again.output
    record["corpus"]["detail"] = record["corpus"]["detail"].replace("arrays ", "arrays 0")
    file.write_text(json.dumps(record), "utf-8")
    assert "was trained on other images" in rnntk("mnist", "--resume", "--max-steps", 9).stderr


def test_json_describes_a_run_and_its_resume(rnntk) -> None:
    first = json.loads(
        rnntk("mnist", "--data", "digits", "--bidirectional", *SMALL, "--json").stdout
    )
    assert first["step"] == 6
    assert sum(map(sum, first["confusion"])) == first["test_images"]
    low, high = first["test_interval"]
    assert low < first["test_accuracy"] < high
    again = rnntk("mnist", "--resume", "--max-steps", 8, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["step"] == 8


def test_resume_is_bit_identical(rnntk, here: Path) -> None:
    from rnntk.storage import folder

    args = [
        "mnist",
        "--data",
        "digits",
        "--units",
        8,
        "--dropout",
        0.1,
        "--batch-size",
        512,
        "--quiet",
    ]
    assert rnntk(*args, "--max-steps", 9, "--run", "whole").exit_code == 0
    assert rnntk(*args, "--max-steps", 4, "--run", "part").exit_code == 0
    assert rnntk("mnist", "--resume", "part", "--max-steps", 9, "--quiet").exit_code == 0
    one, two = (folder.open_run(here / name).checkpoint().weights() for name in ("whole", "part"))
    assert all((one[key] == two[key]).all() for key in one)


def test_resume_finds_the_images_where_they_were(rnntk, here: Path, monkeypatch) -> None:
    """From another folder, too; images that have changed are refused."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 28, 28), np.uint8), rng.integers(0, 10, 40, np.uint8)
    images = Path("elsewhere", "digits", "digits.npz")
    images.parent.mkdir(parents=True)
    np.savez(images, x_train=x, y_train=y, x_test=x, y_test=y)
    small = ["--run", "r", "--units", 4, "--val-size", 0, "--max-steps", 1]
    first = rnntk("mnist", "--data", "digits", "--data-dir", "elsewhere", *small)
    assert first.exit_code == 0, first.output
    (here / "other").mkdir()
    monkeypatch.chdir(here / "other")
    again = rnntk("mnist", "--resume", "../r", "--max-steps", 2)
    assert again.exit_code == 0, again.output
    assert "Testing on 40 images.\n" in again.stderr
    np.savez(here / images, x_train=x, y_train=y, x_test=x[::-1], y_test=y)
    changed = rnntk("mnist", "--resume", "../r", "--max-steps", 3)
    assert changed.exit_code == 1
    assert "../r was trained on other images" in changed.stderr.replace("\\", "/")


def test_holding_out_everything_is_refused(rnntk) -> None:
    result = rnntk("mnist", "--data", "digits", "--val-size", 1_000_000)
    assert result.exit_code == 1
    assert "--val-size" in result.stderr


def test_plot_writes_a_picture_and_checks_its_path_before_training(rnntk, here: Path) -> None:
    result = rnntk("mnist", "--data", "digits", *SMALL, "--plot", "worst.png", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["plot"] == "worst.png"
    assert (here / "worst.png").read_bytes().startswith(b"\x89PNG")
    for path, said in (
        ("worst.doc", "must end in a picture format"),
        ("nowhere/worst.png", "there is no folder nowhere. Create it first."),
    ):
        result = rnntk("mnist", "--data", "digits", *SMALL, "--plot", path)
        assert result.exit_code == 2
        assert said in result.stderr
    assert [p.name for p in (here / "runs").iterdir()] == ["digits-1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_picture_that_cannot_be_written_loses_no_result(rnntk, here: Path) -> None:
    Path("full.png").symlink_to("/dev/full")
    result = rnntk("mnist", "--data", "digits", *SMALL, "--plot", "full.png")
    assert result.exit_code == 1
    told = "Error: No space is left to write full.png (No space left on device). Name another file with --plot."
    assert told in result.stderr
    first = re.findall(r"^test .*", result.stdout, re.MULTILINE)
    assert len(first) == 1
    assert "mistakes" not in result.stdout
    again = rnntk("mnist", "--resume", "--plot", "full.png", "--json")
    assert again.exit_code == 1
    found = json.loads(again.stdout)
    assert (found["plot"], found["reason"], found["step"]) == (None, "max-steps", 6)
    weights = sorted((here / "runs/digits-1").rglob("*.safetensors"))
    result = rnntk("mnist", "--resume", "--plot", "worst.png")
    assert result.exit_code == 0, result.output
    assert re.findall(r"^test .*", result.stdout, re.MULTILINE) == first
    assert Path("worst.png").is_file()
    assert sorted((here / "runs/digits-1").rglob("*.safetensors")) == weights


def test_resume_keeps_the_order_and_can_plot(rnntk, here: Path) -> None:
    kind = ["--order", "permuted", "--cell", "gru", "--units", 4, "--val-size", 0]
    result = rnntk("mnist", "--data", "digits", *kind, "--max-steps", 1, "--json")
    assert result.exit_code == 0, result.output
    run = json.loads((here / "runs/digits-1/run.json").read_text())
    assert run["model"]["order"] == "permuted"
    assert len(run["model"]["permutation_sha256"]) == 64
    result = rnntk("mnist", "--resume", "--max-steps", 2, "--plot", "p.png")
    assert result.exit_code == 0, result.output
    assert (here / "p.png").is_file()
    result = rnntk("mnist", "--resume", "--order", "rows")
    assert result.exit_code == 2
    assert "--order" in result.stderr
    result = rnntk("mnist", "--resume", "--max-steps", 2)
    assert result.exit_code == 2
    assert "is finished: 2 of 2 steps" in result.stderr


def drawn_seven(side: int, ink: int, paper: int) -> Image.Image:
    """A thin seven, off centre."""
    picture = Image.new("L", (side, side), paper)
    points = [(side * x, side * y) for x, y in ((0.2, 0.2), (0.6, 0.2), (0.35, 0.8))]
    ImageDraw.Draw(picture).line(points, fill=ink, width=max(1, side // 60))
    return picture


def test_an_image_of_any_size_and_format_is_classified(rnntk, here: Path) -> None:
    """Dark on light too."""
    trained = ["--data", "digits", "--units", 32, "--batch-size", 64, "--val-size", 100]
    assert rnntk("mnist", *trained, "--max-steps", 150, "--quiet").exit_code == 0
    drawn_seven(400, 0, 255).save("dark.png")
    drawn_seven(40, 255, 0).save("light.pgm")
    drawn_seven(300, 20, 230).convert("RGB").save("photo.jpg")
    transparent = Image.new("RGBA", (200, 200), (255, 255, 255, 0))
    transparent.paste((0, 0, 0, 255), mask=drawn_seven(200, 255, 0))
    transparent.save("through.png")
    names = ["dark.png", "light.pgm", "photo.jpg", "through.png"]
    given = [word for name in names for word in ("--image", name)]
    shown = rnntk("mnist", *given)
    assert shown.exit_code == 0, shown.output
    assert re.findall(r"^(\S+): .*? (\d), else \d$", shown.stdout, re.MULTILINE) == [
        (name, "7") for name in names
    ]
    assert len(re.findall(r"^  \d +\d+\.\d %", shown.stdout, re.MULTILINE)) == 40
    found = json.loads(rnntk("mnist", *given, "--run", "runs/digits-1", "--json").stdout)
    assert [image["file"] for image in found["images"]] == names
    assert all(abs(sum(image["probabilities"]) - 1) < 1e-5 for image in found["images"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text.png", "or damaged. Give a PNG, JPEG, PGM, PPM, BMP, GIF, WEBP or TIFF file."),
        ("blank.png", "is blank"),
        ("huge.png", "8,000 x 8,000 pixels; the limit is 50 million"),
        ("bomb.ppm", "far too many pixels"),
        ("cut.png", "not a picture, or damaged"),
    ],
)
def test_a_bad_image_is_refused(rnntk, here: Path, name: str, said: str) -> None:
    Path("text.png").write_text("no picture")
    Image.new("L", (50, 50), 200).save("blank.png")
    Image.new("1", (8000, 8000)).save("huge.png")
    Path("bomb.ppm").write_bytes(b"P5 40000 40000 255 ")
    drawn_seven(300, 0, 255).save("whole.png")
    Path("cut.png").write_bytes(Path("whole.png").read_bytes()[:300])
    result = rnntk("mnist", "--image", name)
    assert result.exit_code == 1
    assert said in result.stderr
    assert name in result.stderr


def test_an_image_is_read_with_a_run_on_the_given_images(rnntk, here: Path, monkeypatch) -> None:
    drawn_seven(100, 0, 255).save("seven.png")
    assert rnntk("mnist", "--data", "digits", *SMALL, "--quiet").exit_code == 0
    read = ["mnist", "--image", "seven.png"]
    for machine in ((), ("--device", "cpu", "--threads", 1, "--offline")):
        result = rnntk(*read, "--data", "digits", *machine)
        assert result.exit_code == 0, result.output
    result = rnntk(*read, "--data", "mnist")
    assert result.exit_code == 1
    assert (
        "There is no run on mnist in runs. Train one: rnntk mnist --data mnist\n" in result.stderr
    )
    result = rnntk(*read, "--data", "mnist", "--run", "digits-1")
    assert result.exit_code == 2
    told = "was trained on digits, not on mnist. Leave out --data, or name another run.\n"
    assert told in result.stderr
    result = rnntk(*read, "--epochs", 3, "--bidirectional", "--resume")
    assert result.exit_code == 2
    told = "Error: --image trains nothing. Leave out --resume, --epochs, --bidirectional.\n"
    assert told in result.stderr
    monkeypatch.setenv("RNNTK_MNIST_EPOCHS", "3")
    assert rnntk(*read).exit_code == 0


def test_classifying_an_image_needs_a_classifier(rnntk, here: Path) -> None:
    drawn_seven(100, 0, 255).save("seven.png")
    result = rnntk("mnist", "--image", "seven.png")
    assert result.exit_code == 1
    assert "rnntk mnist" in result.stderr
    result = rnntk("mnist", "--image", "seven.png", "--plot", "x.png")
    assert result.exit_code == 2
    assert "Error: --image trains nothing. Leave out --plot.\n" in result.stderr
    missing = rnntk("mnist", "--image", "missing.png")
    assert missing.exit_code == 1
    assert "missing.png cannot be read: No such file or directory.\n" in missing.stderr
