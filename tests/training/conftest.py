"""TensorFlow for training tests: silent, on the CPU, with the thread pools of a real run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnntk.training import device

device.ready("cpu", None)


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, and no TF_CONFIG."""
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TF_CONFIG", raising=False)
