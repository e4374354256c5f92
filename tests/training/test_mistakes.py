"""The picture of the worst mistakes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnntk.errors import DataError, UsageError
from rnntk.training import mistakes


def cases(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of one grey each, which identifies them in the picture; the first are classified wrongly."""
    images = np.arange(count, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    labels = np.zeros(count, np.uint8)
    logits = np.zeros((count, 10), np.float32)
    logits[:wrong, 3] = 1 + np.arange(wrong)  # later ones are more certain of a wrong label
    logits[wrong:, 0] = 20 - np.arange(count - wrong) * 0.1
    return images, labels, logits


def greys(path: Path, count: int) -> list[int]:
    """The image at each position."""
    side = 28 * mistakes.ZOOM
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    places = []
    for i in range(count):
        x = mistakes.MARGIN + i % mistakes.COLUMNS * (side + mistakes.MARGIN)
        y = mistakes.MARGIN + i // mistakes.COLUMNS * (side + mistakes.CAPTION + mistakes.MARGIN)
        places.append(255 - int(pixels[y + 40, x + 40, 0]))
    return places


def test_the_worst_mistakes_come_first_and_correct_images_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    assert mistakes.draw(path, *cases(30, 11)) == 11
    assert greys(path, 11) == list(range(10, -1, -1))


def test_a_picture_has_one_sheet_at_most(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    sheet = mistakes.COLUMNS * mistakes.ROWS
    assert mistakes.draw(path, *cases(100, 90)) == sheet
    assert greys(path, sheet) == list(range(89, 89 - sheet, -1))


def test_without_mistakes_the_least_certain_images_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    assert mistakes.draw(path, *cases(50, 0)) == 0
    assert greys(path, 3) == [49, 48, 47]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m", r"must end in a picture format such as .png, got .*m\.$"),
        ("m.doc", ".doc"),
        ("no/m.png", "there is no folder .*no. Create it first"),
    ],
)
def test_a_bad_path_is_refused_in_advance(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mistakes.check_path(tmp_path / name)
    mistakes.check_path(tmp_path / "m.PNG")


def test_an_unwritable_path_is_reported(tmp_path: Path) -> None:
    (tmp_path / "m.png").mkdir()
    with pytest.raises(
        DataError, match=r"m\.png cannot be written \(.+\)\. Name another file with plot\."
    ):
        mistakes.draw(tmp_path / "m.png", *cases(3, 1))


def test_a_full_disk_leaves_the_earlier_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.png"
    mistakes.draw(path, *cases(30, 11))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space is left to write .*m\.png \(.+ with plot\."):
        mistakes.draw(path, *cases(30, 12))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
