"""Commands run in this process, in an empty folder, without network and real data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rnntk.cli.main import group
from rnntk.corpora import digits
from rnntk.training import device

device.ready("cpu", None)

Run = Callable[..., Result]
draw_digits = functools.cache(digits.make)  # takes a second; most tests' caches are empty


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without the RNNTK_* variables of the user."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("RNNTK_DATA", "RNNTK_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNTK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(digits, "make", draw_digits)
    return folder


@pytest.fixture
def rnntk(here: Path) -> Run:
    """Run `rnntk ARGS...`; the result has stdout, stderr and exit_code."""

    def run(*args: object, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(group, [str(a) for a in args], input=stdin, prog_name="rnntk")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def text(here: Path) -> Path:
    """A small text for training."""
    path = here / "tiny.txt"
    path.write_text(
        "".join(f"line {i}: a fox {i * i} jumps\n" for i in range(60)), encoding="utf-8"
    )
    return path


SMALL = [
    "--layers",
    "2",
    "--units",
    "8",
    "--embedding",
    "6",
    "--batch-size",
    "4",
    "--seq-length",
    "20",
    "--sample-every",
    "0",
    "--max-steps",
    "4",
]


@pytest.fixture
def trained(rnntk: Run, text: Path, here: Path) -> Path:
    """The run folder of a tiny trained model."""
    result = rnntk("train", "--input", text, "--run", "r", *SMALL)
    assert result.exit_code == 0, result.output
    return here / "r"


@pytest.fixture
def untrained(here: Path, compiled_kernels: Callable[[], None]) -> Callable[..., Path]:
    """Writes a run folder with random weights, and compiled kernels to the cache, as training would.

    `untrained("runs/x", val=0.1, test=0.2, input=("a.txt",))`: the keywords are settings of the text.
    """
    import numpy as np

    from rnntk.config import TrainConfig
    from rnntk.storage import checkpoint, folder
    from rnntk.text import corpus as corpora
    from rnntk.training.batches import Split

    def make(path: str, val: float = 0.0, test: float = 0.0, **text: object) -> Path:
        compiled_kernels()
        settings = TrainConfig(val_fraction=val, test_fraction=test, **text)
        corpus = corpora.prepare_corpus(settings, corpora.find(settings))
        split = Split.of(len(corpus.prepared.ids), settings)
        run = folder.create(
            here / path,
            kind=folder.CHAR_RNN,
            settings=settings.to_json(),
            model={"cell": "rnn", "layers": 1, "units": 8, "embedding": 6},
            corpus={**corpus.record, "split": split.to_json()},
            versions={},
            vocabulary=corpus.prepared.vocabulary,
        )
        rng, V, H = np.random.default_rng(0), len(corpus.prepared.vocabulary), 8
        shapes = {
            "embedding/embeddings": (V, 6), "output/kernel": (H, V), "output/bias": (V,),
            "rnn_0/kernel": (6, H), "rnn_0/recurrent_kernel": (H, H), "rnn_0/bias": (H,),
        }  # fmt: skip
        checkpoint.write(
            run.checkpoints,
            weights={k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()},
            optimizer={},
            states={},
            progress=checkpoint.Progress(step=4),
        )
        return run.path

    return make
