"""Shell commands that install packages into the environment of rnntk."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.errors import quoted

if TYPE_CHECKING:
    from importlib import metadata


def install_command(extra: str) -> str:
    """Command that installs the packages of an extra of rnntk, such as `plot`.

    It names the packages, not `rnntk[plot]`, so it works however rnntk was installed: from a folder, a wheel, a
    repository or an index. If rnntk is not installed, it installs the folder that rnntk runs from.
    """
    from packaging.requirements import Requirement  # slow

    found = _installed()
    required = [Requirement(text) for text in (found.requires if found else None) or ()]
    packages = [
        str(r).partition(";")[0].strip()
        for r in required
        if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    ]
    return pip_command(*packages or ["-e", f"{Path(__file__).parent.parent}[{extra}]"])


def upgrade_advice() -> str:
    """Sentence with the command that upgrades rnntk."""
    found = _installed()
    origin = found and found.read_text("direct_url.json")  # PEP 610; none from an index
    if found is None or origin:
        place = json.loads(origin)["url"] if origin else Path(__file__).parent.parent
        return f"Upgrade rnntk from {place}"
    if _is_pipx():
        return f"Upgrade with: {quoted('pipx', 'upgrade', Path(sys.prefix).name)}"
    return f"Upgrade with: {pip_command('-U', 'rnntk')}"


def pip_command(*arguments: str) -> str:
    """Command `pip install` with these arguments, or its counterpart for pipx or uv."""
    if _is_pipx():
        return quoted("pipx", "inject", Path(sys.prefix).name, *arguments)
    # Not `importlib.util.find_spec`, which older setuptools answer with a warning.
    if PathFinder.find_spec("pip") is None:
        return quoted("uv", "pip", "install", "-p", sys.executable, *arguments)
    name = Path(sys.executable).name
    on_path = os.path.normcase(shutil.which(name) or "") == os.path.normcase(sys.executable)
    return quoted(name if on_path else sys.executable, "-m", "pip", "install", *arguments)


def _installed() -> metadata.Distribution | None:
    from importlib import metadata  # slow

    return next(iter(metadata.distributions(name="rnntk")), None)


def _is_pipx() -> bool:
    return Path(sys.prefix, "pipx_metadata.json").exists()
