"""`rnntk prep`: what it says of a text."""

from __future__ import annotations

from pathlib import Path

import chardet


def test_an_encoding_that_is_a_guess_is_doubted_until_it_is_stated(
    rnntk, here: Path, monkeypatch
) -> None:
    answer = {"encoding": "Windows-1252", "confidence": 0.11, "language": ""}
    monkeypatch.setattr(chardet, "detect", lambda _: answer)
    (here / "a.txt").write_bytes("The café was closed. ".encode("cp1252") * 20)
    for _ in range(2):  # the second time it is found prepared
        result = rnntk("prep", "--input", "a.txt")
        assert result.exit_code == 0
        assert "warning       a.txt is read as cp1252, which is a guess" in result.stdout
    trained = rnntk("train", "--input", "a.txt", "--dry-run")
    assert "Warning: a.txt is read as cp1252, which is a guess" in trained.stderr
    assert "warning" not in rnntk("prep", "--input", "a.txt", "--encoding", "cp1252").stdout
