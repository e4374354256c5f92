"""Output of commands compared with kept text: in terminals of 80 and 50 columns, and piped.

After an intended change, `RNNTK_WRITE_SCREENS=1 pytest tests/cli/test_screens.py` rewrites the text; review the diff.
"""

from __future__ import annotations

import os
import re
import struct
import sys
import threading
import time
from pathlib import Path

import pytest
import wcwidth
from click.testing import CliRunner

from rnntk.cli.main import group

if os.name != "posix":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

KEPT = Path(__file__).parent / "screens"
TRAIN = (
    "train --input novel.txt --units 16 --layers 1 --embedding 8 --batch-size 4 --seq-length 16 --max-steps 120 "
    "--learning-rate 0.01 --val-fraction 0.1 --val-every 50 --sample-every 0 --log-every 50"
)
MNIST = "mnist --data digits --units 8 --batch-size 32 --max-steps 12 --val-size 100"
COMMANDS = {
    "train": TRAIN,
    "mnist": MNIST,
    "runs": "runs",
    "runs show": "runs show novel-1",
    "plot": "plot --terminal novel-1 novel-2",
    "plot grad_norm": "plot --terminal --y grad_norm novel-1",
}
WIDTHS = ("80", "50", "piped")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BEFORE = (  # replaced before a terminal breaks the lines
    (r" +\d+(\.\d+)? (kB|MB)", " # kB"),
    (r"\d{4}-\d\d-\d\dT\S+(?=,)", "DATE"),
    (r"(?<=sha256 )\w+", "SUM"),
    (r"\b(rnntk|python|tensorflow|keras|numpy) \d[\w.+-]*", r"\1 #"),
    (r"\d+\.\d+ % of", "# % of"),
    (r"\d+\.\d+ to \d+\.\d+ %", "# to # %"),
)
_LOSS = (r"(\d\.\d\d)(?:\d+|(?![\w.]))", r"\1..")  # the last digits differ between processors
_VARIABLE = (
    _LOSS,
    (r"\d+(\.\d+)?[kM]? (chars|images)/s", r"# \2/s"),
    (r"\b(\d+m)?\d+s left", "# left"),
    (r"\d+ s of", "# s of"),
    (r"^(100% █+)  step 12(?=  loss)", r"\1"),  # left out if the numbers after it are long
    (r", (\d+m)?\d+s\b", ", #s"),
    (r"^(  \d)[ \d.]+$", r"\1 ..."),  # rows of the confusion matrix
    ("█+", "█"),
    (" +$", ""),
)


def screen(output: str, width: int) -> list[str]:
    """The lines that a terminal of this width shows; longer ones are wrapped."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for character in _COLOUR.sub("", output):
        if character == "\r":
            column = 0
            continue
        if character == "\n" or column + wcwidth.wcwidth(character) > width:
            row, column = row + 1, 0
            rows += [[]] if row == len(rows) else []
            if character == "\n":
                continue
        assert character.isprintable(), repr(character)
        line = rows[row]
        line += [" "] * (column + 1 - len(line))
        line[column] = character
        column += 1
    return ["".join(line) for line in rows]


class Terminal:
    """Runs commands of this process in a pseudo-terminal of this width."""

    def __init__(self, width: int, patch: pytest.MonkeyPatch) -> None:
        self._width, self._patch = width, patch

    def run(self, command: str) -> str:
        import fcntl
        import pty
        import termios

        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, self._width, 0, 0))
        read: list[bytes] = []
        reader = threading.Thread(target=self._drain, args=(ours, read))
        reader.start()
        with self._patch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8") as stream:
            patch.setenv("COLUMNS", str(self._width))
            patch.setenv("LINES", "24")
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            try:
                group.main(command.split(), prog_name="rnntk", standalone_mode=False)
            finally:
                stream.flush()
        reader.join(60)
        os.close(ours)
        return b"".join(read).decode()

    def _drain(self, handle: int, read: list[bytes]) -> None:
        while True:
            try:
                data = os.read(handle, 1 << 16)
            except OSError:  # how Linux reports the end of a terminal
                return
            if not data:
                return
            read.append(data)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """Output of the commands, by command and width."""
    here = tmp_path_factory.mktemp("here")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for name in [
            name for name in os.environ if name.startswith("RNNTK_") or name == "NO_COLOR"
        ]:
            patch.delenv(name)
        patch.setenv("RNNTK_CACHE", str(here / "cache"))
        patch.setenv("RNNTK_OFFLINE", "1")
        text = "".join(f"{i} is the square root of {i * i}\n" for i in range(400))
        (here / "novel.txt").write_text(text)
        for name, command in COMMANDS.items():
            for width in WIDTHS:
                if width == "piped":
                    result = CliRunner().invoke(group, command.split(), prog_name="rnntk")
                    assert result.exit_code == 0, result.output
                    output = result.stderr + result.stdout
                else:
                    output = Terminal(int(width), patch).run(command)
                for pattern, instead in _BEFORE:
                    output = re.sub(pattern, instead, output)
                found[name, width] = output
            if name == "plot":
                with patch.context() as plain:
                    plain.setenv("NO_COLOR", "1")
                    found[name, "NO_COLOR"] = Terminal(80, patch).run(command)
            if name == "mnist":
                an_hour_ago = time.time() - 4000
                for path in (here / "runs").rglob("*"):
                    os.utime(path, (an_hour_ago, an_hour_ago))
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_screen_matches_the_kept_one(
    outputs: dict[tuple[str, str], str], name: str, width: str
) -> None:
    output = outputs[name, width]
    if name == "runs show":
        output = re.sub(*_LOSS, output)
    output = re.sub(r"\d+ s of training", "1 s of training", output)  # before lines are wrapped
    lines = output.splitlines() if width == "piped" else screen(output, int(width))
    text = "\n".join(lines)
    for pattern, instead in _VARIABLE:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    file = KEPT / f"{name.replace(' ', '-')}-{width}.txt"
    if os.environ.get("RNNTK_WRITE_SCREENS"):
        file.write_text(text.strip("\n") + "\n", encoding="utf-8")
    assert text.strip("\n") + "\n" == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", ["80", "50"])
@pytest.mark.parametrize("name", ["train", "mnist"])
def test_the_bar_stays_on_one_line_and_reaches_100_percent(
    outputs: dict[tuple[str, str], str], name: str, width: str
) -> None:
    output = outputs[name, width]
    frames = [frame for frame in re.split("[\r\n]", output) if re.match(r" *\d+% ", frame)]
    assert max(map(len, frames)) <= int(width)
    assert all(
        re.search(r"loss \d.* (left|validating)", frame) for frame in frames[1:] if "epoch" in frame
    )
    if name == "mnist":
        assert any("testing" in frame for frame in frames)
    bars = [line for line in screen(output, int(width)) if re.match(" *[0-9]+% ", line)]
    assert len(bars) == 1, "no wrapped line may remain"
    assert bars[0].startswith("100% █")


def test_every_command_shows_the_same_loss(outputs: dict[tuple[str, str], str]) -> None:
    def loss(name: str, width: str, pattern: str) -> float:
        found = re.findall(pattern, _COLOUR.sub("", outputs[name, width]))
        assert found, (name, pattern)
        return float(found[-1])

    shown = loss("train", "80", r"\nloss +(\d\.\d{3}) nats .*mean of the last 100 steps")
    assert loss("train", "80", r"100% .*loss (\d\.\d{3})") == shown
    assert loss("train", "piped", r"100% .*loss (\d\.\d{3})") == shown
    in_table = loss("runs", "80", r"novel-1 .*?(\d\.\d{4})")
    assert in_table == pytest.approx(shown, abs=6e-4)
    assert loss("runs show", "80", r"loss +(\d\.\d{4}) \(mean of the last 100 steps\)") == in_table
    found = loss("plot", "80", r"novel-1: train (\d\.\d+) \(mean of the last 100 steps\)")
    assert found == pytest.approx(in_table, abs=6e-4)


def test_a_plot_is_coloured_only_on_a_terminal(outputs: dict[tuple[str, str], str]) -> None:
    assert len(set(re.findall("\x1b\\[3[0-9]m⣿⣿", outputs["plot", "80"]))) == 4
    assert "\x1b" not in outputs["plot", "piped"]
    assert "\x1b" not in outputs["plot", "NO_COLOR"]
