"""Pictures of curves. Matplotlib is in the dev extra."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from rnntk.errors import DataError, RnntkError, UsageError
from rnntk.installation import install_command
from rnntk.monitoring import picture
from rnntk.monitoring.curves import Curve, Line


def curve(name: str = "r", level: float = 1.0, n: int = 300, validation: bool = True) -> Curve:
    x = np.arange(1.0, n + 1)
    line = Line(x, level + 3 / np.sqrt(x))
    held_out = Line(x[49::50], line.y[49::50] + 0.2) if validation else Line(x[:0], x[:0])
    return Curve(name, line, line, held_out, 0)


def inked(path: Path, colour: str) -> int:
    """How many pixels are of just this colour."""
    wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    with Image.open(path) as image:
        assert image.size == (960, 540)
        pixels = np.asarray(image.convert("RGB"))
    return int((pixels == wanted).all(axis=2).sum())


def test_a_png_shows_every_run_in_its_colour(tmp_path: Path) -> None:
    picture.draw(tmp_path / "a.png", [curve("a", validation=False)])
    assert inked(tmp_path / "a.png", picture.COLOURS[0]) > 100
    assert inked(tmp_path / "a.png", picture.COLOURS[1]) == 0
    picture.draw(tmp_path / "b.png", [curve("a"), curve("b", 2)], log=True)
    assert all(inked(tmp_path / "b.png", c) > 100 for c in picture.COLOURS[:2])


def test_an_svg_is_xml_small_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        picture.draw(tmp_path / name, [curve(n=200_000)])
    ElementTree.parse(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size < 150_000


@pytest.mark.parametrize("name", ["소설-1", "_hidden", "$a$_{b", "a\\b"])
def test_any_name_can_be_drawn(tmp_path: Path, name: str) -> None:
    picture.draw(tmp_path / "a.png", [curve(name)])
    picture.draw(tmp_path / "b.png", [curve(name), curve("other")])


def test_what_cannot_be_drawn_or_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in .png or .svg"):
        picture.draw(tmp_path / "a.gif", [curve()])
    with pytest.raises(UsageError, match="there is no folder"):
        picture.draw(tmp_path / "no" / "a.png", [curve()])
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        picture.draw(tmp_path / "a.png", [curve()])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    command = re.escape(install_command("plot"))
    with pytest.raises(RnntkError, match=rf"Install it: {command}\n.*--terminal"):
        picture.draw(tmp_path / "a.png", [curve()])
    assert not list(tmp_path.iterdir())
