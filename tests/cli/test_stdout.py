"""Unwritable standard output: one message, or none for a closed pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnntk.cli import stdout

FULL = Path("/dev/full")


def run(*args: object, unbuffered: str, **streams: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rnntk", *map(str, args)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        check=False,
        **streams,  # type: ignore[call-overload]
    )


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["sample", "--json", "list", "minchar", "--help", "--version"])
def test_a_full_disk_is_reported_once(untrained, text: Path, command: str, unbuffered: str) -> None:
    args: dict[str, tuple[object, ...]] = {
        "sample": ("sample", "r", "--length", 20000, "-q"),
        "--json": ("sample", "r", "--length", 20, "--json", "-q"),
        "list": ("runs", "--runs-dir", "."),
        "minchar": ("minchar", "--iterations", 1, "-q"),
    }
    if command in ("sample", "--json", "list"):
        untrained("r", input=(str(text),))
    with FULL.open("w") as full:
        done = run(*args.get(command, (command,)), unbuffered=unbuffered, stdout=full)
    told = "Error: Cannot write to standard output (No space left on device).\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGPIPE")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [("--help",), ("runs", "--json"), ("nothing",)])
def test_a_pipe_closed_before_output_ends_quietly(
    here: Path, args: tuple[str, ...], unbuffered: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = run(*args, unbuffered=unbuffered, stdout=pipe)
    if args == ("nothing",):  # prints only to stderr
        assert done.returncode == 2
    else:
        assert (done.returncode, done.stderr.splitlines()[1:]) == (141, [])


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file descriptors")
def test_a_closed_stdout_does_no_harm(untrained, text: Path) -> None:
    untrained("r", input=(str(text),))
    shell = f'"{sys.executable}" -m rnntk sample r --length 20 -q >&-'
    done = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="needs Linux")
def test_a_pipe_without_a_reader_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = os.eventfd(0)  # a write of one byte fails with EINVAL, as on Windows
    with stdout._File(handle, "w") as file, monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        with pytest.raises(stdout.Closed):
            file.write(b"x")
    with stdout._File(os.eventfd(0), "w") as file, pytest.raises(stdout.Lost) as raised:
        file.write(b"x")
    assert not isinstance(raised.value, stdout.Closed)
