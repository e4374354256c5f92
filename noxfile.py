"""`make matrix`: run the tests under each Python, with the pinned and with the lowest versions of dependencies.

    nox                               every cell that has not passed at this commit
    nox -s pinned-3.12 lowest-3.10    these cells
    nox -s pinned-3.12 -- tests/text  part of a cell; not written to docs/portability.md

Needs uv and the interpreters: uv python install 3.10 3.11 3.12 3.13
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
RESULTS = ROOT / ".nox" / "results"
PAGE = ROOT / "docs" / "portability.md"
TABLE = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- /matrix -->)", re.DOTALL)
SHOWN = ("tensorflow", "keras", "numpy", "click")  # packages whose versions the table shows


@nox.session(python=["3.10", "3.11", "3.12", "3.13"])
def pinned(session: nox.Session) -> None:
    """Run `make test`, which sets up an environment with the versions in constraints.txt."""
    folder = Path(session.virtualenv.location, "make")
    make = ["make", f"PYTHON={session.virtualenv.bin}/python", f"VENV={folder}"]
    _run(session, f"{folder}/bin/python", [*make, f"{folder}/.installed-dev"], [*make, "test"])


@nox.session(python=["3.10", "3.12"])
def lowest(session: nox.Session) -> None:
    """Run the tests, without the campaigns, with the lowest versions that pyproject.toml allows."""
    install = ["uv", "pip", "install", "-e", ".[dev]", "--resolution", "lowest-direct"]
    pytest = ["python", "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal"]
    pytest.append("--ignore=tests/acceptance")
    _run(session, f"{session.virtualenv.bin}/python", install, pytest)


@nox.session(python=["3.10", "3.13"])
def wheel_lowest(session: nox.Session) -> None:
    """Install the wheel with the lowest versions, and use every command away from the checkout."""
    _use_wheel(session, "lowest-direct")


@nox.session(python=["3.10", "3.13"])
def wheel_newest(session: nox.Session) -> None:
    """Install the wheel with the newest versions, and use every command away from the checkout."""
    _use_wheel(session, "highest")


def _use_wheel(session: nox.Session, resolution: str) -> None:
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder)
    folder.mkdir()
    session.run("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    (wheel,) = folder.glob("*.whl")
    install = ["uv", "pip", "install", "--reinstall-package", "rnntk", "--upgrade"]
    install += [f"{wheel}[play]", "--resolution", resolution]
    # The wheel's requirements are direct ones only if they are listed, too.
    install += ["-r", f"{ROOT}/pyproject.toml", "--extra", "play"]
    python = f"{session.virtualenv.bin}/python"
    session.chdir(folder)
    _run(session, python, install, [python, f"{ROOT}/tests/acceptance/wheel.py"])


def _run(session: nox.Session, python: str, install: list[str], test: list[str]) -> None:
    """Install, run the tests, and write the result into the page."""
    name, commit = session.name, _commit()
    path, report = RESULTS / f"{name}.json", RESULTS / f"{name}.txt"
    last = json.loads(path.read_text()) if path.exists() else {}
    if commit and last.get("commit") == commit and last["passed"] and not session.posargs:
        session.skip(f"passed at {commit}; remove {path} to run it again")
    session.run(*install, external=True)
    if session.posargs:
        session.run(python, "-m", "pytest", "-q", *session.posargs, external=True)
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    passed = True
    with report.open("w") as file:
        try:
            session.run(*test, external=True, stdout=file, stderr=subprocess.STDOUT)
        except CommandFailed:
            passed = False
    session.log(report.read_text()[-3000:])
    counts = re.findall(r"^[= ]*(\d+ .*?) in [\d.]+s", report.read_text(), re.MULTILINE)  # pytest's
    freeze = session.run("uv", "pip", "freeze", "-p", python, external=True, silent=True)
    versions = dict(re.findall(r"^(\S+)==(\S+)$", str(freeze), re.MULTILINE))
    record = {
        "commit": commit,
        "date": datetime.date.today().isoformat(),
        "passed": passed,
        "summary": counts[-1] if counts else "",
        "versions": {package: versions.get(package, "") for package in SHOWN},
    }
    path.write_text(json.dumps(record, indent=2))
    _write_table()
    if not passed:
        session.error(f"failed; see {report}")


def _commit() -> str:
    """The commit, or "" if files have changed since."""
    changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT, text=True)
    others = [line for line in changed.splitlines() if not line.endswith(PAGE.name)]
    head = ["git", "rev-parse", "--short", "HEAD"]
    return "" if others else subprocess.check_output(head, cwd=ROOT, text=True).strip()


def _write_table() -> None:
    """Write the last results of all cells into the page."""
    rows = [f"| cell | {' | '.join(SHOWN)} | result | commit |", "|---" * (len(SHOWN) + 3) + "|"]
    for path in sorted(RESULTS.glob("*.json")):
        last = json.loads(path.read_text())
        versions = " | ".join(last["versions"][package] for package in SHOWN)
        result = ": ".join(
            filter(None, ["passed" if last["passed"] else "**failed**", last["summary"]])
        )
        commit = f"{last['commit'] or 'uncommitted'}, {last['date']}"
        rows.append(f"| {path.stem} | {versions} | {result} | {commit} |")
    table = "\n".join(rows) + "\n"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table, page), encoding="utf-8")
