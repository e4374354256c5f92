"""The notebooks in docs/notebooks, executed with a small model."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"
SMALL = {
    "linux_kernel": 'CORPUS, MAX_TIME, UNITS, LENGTH = "python_stdlib", "2s", 8, 30',
    "korean_novel": 'CORPUS, MAX_TIME, UNITS, LAYERS, LENGTH = "demo_ko", "2s", 8, 1, 30',
}


def test_every_notebook_is_tested() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    monkeypatch.delenv("RNNTK_DATA", raising=False)
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    [at] = [
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    ]
    # Like papermill.
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(SMALL[name]))
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    assert any("text/html" in data and "<svg" in data["text/html"] for data in shown), "the run"
    assert any("image/png" in data for data in shown), "the plot"
    printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    assert "bits per character" in printed
