"""`rnntk cache`: listing and cleaning."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from rnntk import cache
from rnntk.files import _machine, remove


@pytest.fixture
def cached(rnntk, text: Path, here: Path) -> Path:
    """A cache with a prepared text, a kernel, a download, files of the user, and an unfinished file."""
    assert rnntk("prep", "--input", text).exit_code == 0
    folder = Path(os.environ["RNNTK_CACHE"])
    kernel = folder / "kernels" / f"{'a' * 32}.bin"
    download = folder / "corpora" / f"tale-{'b' * 12}" / "input.txt"
    for path, content in [
        (kernel, b"x" * 2000),
        (download, b"once upon a time"),
        (folder / "corpora" / "my-own" / "thesis.txt", b"mine"),
        (folder / "kernels" / "notes.bin", b"mine"),
        (folder / "prepared" / ".key.1" / "ids.bin", b"half"),
    ]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_entries_are_listed_with_sizes(rnntk, cached: Path, text: Path) -> None:
    shown = rnntk("cache").stdout
    assert "kernels   " + "a" * 32 + ".bin" in shown
    assert "2 kB" in shown
    assert f"{len(text.read_text()):,} symbols of {text}" in shown
    assert f"in {cached}\n" in shown
    assert "thesis" not in shown
    entries = json.loads(rnntk("cache", "--json").stdout)["entries"]
    assert [e["area"] for e in entries] == ["corpora", "prepared", "kernels"]
    assert entries[2]["bytes"] == 2000


def test_an_empty_cache(rnntk) -> None:
    result = rnntk("cache")
    assert (result.exit_code, result.stdout.startswith("0 bytes in ")) == (0, True)
    assert rnntk("cache", "clean").exit_code == 0


def test_cleaning_removes_named_areas_and_no_file_of_the_user(rnntk, cached: Path) -> None:
    before = files(cached)
    result = rnntk("cache", "clean")
    assert (result.exit_code, result.stdout) == (0, "")
    assert before - files(cached) == {"prepared/.key.1/ids.bin"}
    result = rnntk("cache", "clean", "kernels", "corpora", "--json")
    removed = json.loads(result.stdout)["removed"]
    assert [Path(e["path"]).name for e in removed] == ["a" * 32 + ".bin", "tale-" + "b" * 12]
    left = files(cached)
    assert {"corpora/my-own/thesis.txt", "kernels/notes.bin"} <= left
    assert any(name.startswith("prepared/") for name in left)
    result = rnntk("cache", "clean", "prepared")
    assert result.stdout.startswith("removed       ")
    assert files(cached) == {"corpora/my-own/thesis.txt", "kernels/notes.bin"}


def test_cleaning_passes_over_what_another_process_has_removed(
    rnntk, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = cache.entries

    def removed_meanwhile(*areas: str) -> list[cache.Entry]:
        found = entries(*areas)
        for entry in found:
            remove(entry.path)
        return found

    monkeypatch.setattr(cache, "entries", removed_meanwhile)
    result = rnntk("cache", "clean", "prepared", "kernels")
    assert (result.exit_code, "Error" in result.stderr) == (0, False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX to recognize dead processes")
def test_cleaning_removes_unfinished_downloads_and_copies(
    rnntk, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    name = f".rnntk-{_machine()}-{os.getpid()}-00000000-0.tmp"
    for download in (f"poem-{'c' * 12}", f"tale-{'b' * 12}"):
        (cached / "corpora" / download / name).mkdir(parents=True)
        (cached / "corpora" / download / name / "input.txt").write_bytes(b"half")
    (cached / "corpora" / f"news-{'d' * 12}").mkdir()
    (tmp_path / "temporary" / name).mkdir()
    assert rnntk("cache", "clean").exit_code == 0
    assert sorted(p.name for p in (cached / "corpora").iterdir()) == ["my-own", f"tale-{'b' * 12}"]
    assert [p.name for p in (cached / "corpora" / f"tale-{'b' * 12}").iterdir()] == ["input.txt"]
    assert "poem" not in rnntk("cache").stdout
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_unknown_area_and_an_unreadable_cache_are_refused(
    rnntk, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = rnntk("cache", "clean", "everything")
    assert result.exit_code == 2
    assert (
        "must be one of corpora, built, prepared, baselines, kernels, got 'everything'"
        in result.stderr
    )
    (here / "file").touch()
    monkeypatch.setenv("RNNTK_CACHE", str(here / "file"))
    assert rnntk("cache").exit_code == 0


@pytest.mark.parametrize("damage", ["{", "[]", '{"facts": 1}'])
def test_a_damaged_entry_is_listed_as_damaged(rnntk, cached: Path, damage: str) -> None:
    (meta,) = cached.glob("prepared/*/meta.json")
    meta.write_text(damage)
    assert "damaged" in rnntk("cache").stdout
