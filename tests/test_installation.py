"""Commands that install missing packages, for each way of installing rnntk."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnntk import errors, installation
from rnntk.installation import install_command, pip_command, upgrade_advice

ROOT = Path(__file__).parent.parent
PYTHON = [sys.executable, "-m", "pip", "install"]
REQUIREMENTS = """\
Requires-Dist: click>=8.1
Requires-Dist: tomli>=2; python_version < '3.11'
Requires-Dist: starlette>=0.40; extra == 'play'
Requires-Dist: uvicorn!=0.31,>=0.30; (python_version >= '3.8') and extra == 'play'
Requires-Dist: winpty; (sys_platform == 'none') and extra == 'play'
Requires-Dist: matplotlib[qt]>=3.8; extra == 'plot'
"""
ORIGINS = {
    "index": None,
    "editable": {"url": "file:///src/my%20rnntk", "dir_info": {"editable": True}},
    "folder": {"url": "file:///src/my%20rnntk", "dir_info": {}},
    "wheel": {"url": "file:///tmp/rnntk-0.2.0-py3-none-any.whl", "archive_info": {}},
    "repository": {
        "url": "https://host.example/rnntk.git",
        "vcs_info": {"vcs": "git", "commit_id": "ab12"},
    },
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with pip, a POSIX shell and no `python` on the PATH, so that commands use the full path."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(errors, "os", SimpleNamespace(name="posix"))
    monkeypatch.setattr(
        installation, "PathFinder", SimpleNamespace(find_spec=lambda name: object())
    )


@pytest.fixture(params=ORIGINS)
def origin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An rnntk installed from there."""
    info = tmp_path / "site" / "rnntk-0.2.0.dist-info"
    info.mkdir(parents=True)
    head = "Metadata-Version: 2.4\nName: rnntk\nVersion: 0.2.0\n"
    (info / "METADATA").write_text(head + REQUIREMENTS)
    if ORIGINS[request.param]:
        (info / "direct_url.json").write_text(json.dumps(ORIGINS[request.param]))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return request.param


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distributions", lambda name: [])


def test_an_extra_is_installed_by_its_packages(origin: str) -> None:
    assert shlex.split(install_command("plot")) == [*PYTHON, "matplotlib[qt]>=3.8"]
    assert shlex.split(install_command("play")) == [
        *PYTHON, "starlette>=0.40", "uvicorn!=0.31,>=0.30",
    ]  # fmt: skip


def test_an_upgrade_uses_the_source_of_rnntk(origin: str) -> None:
    advice = f"Upgrade with: {shlex.join(PYTHON)} -U rnntk"
    if found := ORIGINS[origin]:
        advice = f"Upgrade rnntk from {found['url']}"
    assert upgrade_advice() == advice


def test_without_an_installation_the_command_installs_the_folder(not_installed: None) -> None:
    assert shlex.split(install_command("play")) == [*PYTHON, "-e", f"{ROOT}[play]"]
    assert upgrade_advice() == f"Upgrade rnntk from {ROOT}"


def test_an_extra_missing_in_the_metadata_is_installed_from_the_folder(origin: str) -> None:
    assert shlex.split(install_command("onnx")) == [*PYTHON, "-e", f"{ROOT}[onnx]"]


def test_pipx_and_uv_have_their_own_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "PathFinder", SimpleNamespace(find_spec=lambda name: None))
    assert shlex.split(pip_command("numpy>=2")) == [
        "uv", "pip", "install", "-p", sys.executable, "numpy>=2",
    ]  # fmt: skip
    (tmp_path / "rnntk-lab").mkdir()
    (tmp_path / "rnntk-lab" / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "rnntk-lab"))
    fake = SimpleNamespace(read_text=lambda name: None)
    monkeypatch.setattr(metadata, "distributions", lambda name: [fake])
    assert pip_command("numpy>=2") == "pipx inject rnntk-lab 'numpy>=2'"
    assert upgrade_advice() == "Upgrade with: pipx upgrade rnntk-lab"


def test_python_is_named_python_only_if_the_path_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path(sys.executable).name
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert pip_command("numpy") == f"{name} -m pip install numpy"
    other = tmp_path / name
    other.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shlex.split(pip_command("numpy")) == [*PYTHON, "numpy"]


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("plain.txt", "plain.txt"),
        ("my novel.txt", '"my novel.txt"'),
        ("numpy>=2", '"numpy>=2"'),
        ("a&b", '"a&b"'),
        ('say "hi"', '"say \\"hi\\""'),
        (r"C:\data", r"C:\data"),
    ],
)
def test_windows_commands_are_quoted_for_its_shell(
    word: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "os", SimpleNamespace(name="nt"))
    assert errors.quoted("rnntk", word) == f"rnntk {typed}"


@pytest.mark.skipif(
    os.name != "posix" or PathFinder.find_spec("pip") is None, reason="needs pip and a POSIX shell"
)
@pytest.mark.parametrize("extra", ["play", "plot", "onnx"])
def test_pip_accepts_the_command(extra: str) -> None:
    """All packages are installed, so pip downloads nothing."""
    command = f"{install_command(extra)} --dry-run --no-index --disable-pip-version-check"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "already satisfied" in done.stdout
    assert "Would install" not in done.stdout


def test_no_other_module_builds_install_commands() -> None:
    for path in (ROOT / "rnntk").rglob("*.py"):
        if path.name != "installation.py":
            text = path.read_text(encoding="utf-8")
            assert "pip install" not in text, path
            assert "rnntk[" not in text.replace("`rnntk[play]`", ""), path
