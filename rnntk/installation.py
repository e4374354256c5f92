"""Commands for the user's shell that install packages into the environment that rnntk runs in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.errors import quoted

if TYPE_CHECKING:
    from importlib import metadata


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra of rnntk, such as `plot`.

    It names the packages themselves, not `rnntk[plot]`, so it works wherever rnntk came from: a folder, a wheel, a
    repository or an index. If rnntk runs from a folder without being installed, it installs that folder.
    """
    from packaging.requirements import Requirement  # slow, and rarely needed

    found = _installed()
    required = [Requirement(text) for text in (found.requires if found else None) or ()]
    packages = [
        str(r).partition(";")[0].strip()
        for r in required
        if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    ]
    return pip_command(*packages or ["-e", f"{Path(__file__).parent.parent}[{extra}]"])


def upgrade_advice() -> str:
    """A sentence that says how to get a newer rnntk."""
    found = _installed()
    origin = found and found.read_text("direct_url.json")  # PEP 610; none from an index
    if found is None or origin:
        place = json.loads(origin)["url"] if origin else Path(__file__).parent.parent
        return f"Upgrade it where it came from: {place}"
    if _is_pipx():
        return f"Upgrade with: {quoted('pipx', 'upgrade', Path(sys.prefix).name)}"
    return f"Upgrade with: {pip_command('-U', 'rnntk')}"


def pip_command(*arguments: str) -> str:
    """The command that runs `pip install` with these arguments, or their counterpart of pipx and uv."""
    if _is_pipx():
        return quoted("pipx", "inject", Path(sys.prefix).name, *arguments)
    if find_spec("pip") is None:
        return quoted("uv", "pip", "install", "-p", sys.executable, *arguments)
    name = Path(sys.executable).name
    on_path = os.path.normcase(shutil.which(name) or "") == os.path.normcase(sys.executable)
    return quoted(name if on_path else sys.executable, "-m", "pip", "install", *arguments)


def _installed() -> metadata.Distribution | None:
    from importlib import metadata  # slow

    return next(iter(metadata.distributions(name="rnntk")), None)


def _is_pipx() -> bool:
    return Path(sys.prefix, "pipx_metadata.json").exists()
