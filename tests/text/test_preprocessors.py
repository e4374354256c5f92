import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rnntk
from rnntk.errors import UsageError
from rnntk.text import preprocessors
from rnntk.text.hangul import Hangul, HangulSlides
from rnntk.text.preprocessors import Plain, Preprocessor

MODULE = """
    class _Decoder:
        def feed(self, symbols):
            return symbols.swapcase()

        def flush(self):
            return ""

    class Swapped:
        name = "swapped"
        version = 3

        def encode(self, text):
            return text.swapcase() if text.isascii() else text

        decode = encode

        def decoder(self):
            return _Decoder()

    class Lacking:
        name = "lacking"
    """


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package as pip installs it: a module, and metadata with entry points."""
    folder = tmp_path / "site"
    metadata = folder / "tiny-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "tiny.py").write_text(textwrap.dedent(MODULE))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[rnntk.preprocessors]\n"
        "swapped = tiny:Swapped\n"
        "lacking = tiny:Lacking\n"
        "gone = tiny_gone:Nothing\n"
        "plain = tiny:Swapped\n"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [("plain", Plain), ("ascii", Plain), ("hangul", Hangul), ("hangul-slides", HangulSlides)],
)
def test_built_in_preprocessors_are_listed(name: str, kind: type) -> None:
    found = preprocessors.get(name)
    assert isinstance(found, kind)
    assert isinstance(found, Preprocessor)
    assert found.name == ("plain" if name == "ascii" else name)


def test_plain_changes_nothing() -> None:
    text = "가\r\n\0😀"
    decoder = Plain().decoder()
    assert Plain().encode(text) == Plain().decode(text) == text
    assert decoder.feed(text) + decoder.flush() == text


@pytest.mark.parametrize(
    ("name", "symbols", "foreign"),
    [
        ("plain", "a가\ud83dᴥ", ""),
        ("bytes", "a\xff\xc0é가ㄱ", "가ㄱ"),
        ("hangul", "aㄱᴥ漢가", "가"),
        ("hangul-slides", "aéㄱᴥ漢가", "漢가"),
    ],
)
def test_symbols_of_no_text_are_foreign(name: str, symbols: str, foreign: str) -> None:
    assert preprocessors.foreign(preprocessors.get(name), symbols) == foreign


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        UsageError, match="Did you mean 'hangul'.*ascii, bytes, hangul, hangul-slides"
    ):
        preprocessors.get("hangeul")
    with pytest.raises(UsageError, match="preprocessor 'zzz' is not installed"):
        preprocessors.get("zzz")


def test_a_preprocessor_of_another_package_is_found(package: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Abc aBC\n")
    program = f"""
        from pathlib import Path
        from rnntk.config import TextConfig
        from rnntk.text import preprocessors
        from rnntk.text.prepared import prepare
        assert "swapped" in preprocessors.installed()
        config = TextConfig(input={str(text)!r}, preprocessor="swapped")
        made = prepare(config, cache_dir=Path({str(tmp_path)!r}))
        print(made.vocabulary.decode(made.ids), made.facts["preprocessor"], made.preprocessor.name)
        """
    paths = os.pathsep.join([str(package), str(Path(rnntk.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": paths, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "aBC Abc\n {'name': 'swapped', 'version': 3} swapped\n"


def test_a_broken_package_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    with pytest.raises(UsageError, match=r"'gone' \(tiny_gone:Nothing\) does not load: ModuleNot"):
        preprocessors.get("gone")
    with pytest.raises(UsageError, match="'lacking' .* lacks some of name, version"):
        preprocessors.get("lacking")


def test_built_in_names_cannot_be_shadowed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    assert preprocessors.get("swapped").encode("Ab") == "aB"
    assert isinstance(preprocessors.get("plain"), Plain)
