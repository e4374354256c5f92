"""Facts about a run for its page."""

from __future__ import annotations

import json

import pytest

from rnntk.decoding.language_model import LanguageModel
from rnntk.play.models import Models
from rnntk.storage import folder


@pytest.mark.parametrize(
    ("source", "corpus", "expected"),
    [
        ("file", "linux_kernel", False),
        ("file", None, False),  # the default corpus
        ("file", "cards/tiny.toml", True),
        ("input", None, True),
        (folder.IMPORTED, None, True),
    ],
)
def test_corpora_are_told_from_files(tmp_path, make_run, source, corpus, expected) -> None:
    """A command for another run names a corpus only if rnntk knows it."""
    run = make_run(tmp_path / "r")
    record = json.loads((run.path / "run.json").read_text())
    record["corpus"]["source"] = source
    record["settings"]["corpus"] = corpus
    (run.path / "run.json").write_text(json.dumps(record))
    models = Models(LanguageModel.load(folder.open_run(run.path)))
    assert models.describe()["own_file"] is expected
