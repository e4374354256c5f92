from __future__ import annotations

import re
from pathlib import Path

import pytest

from rnntk.config import shipped_config
from rnntk.corpora import registry
from rnntk.corpora.card import Card, read_card
from rnntk.errors import UsageError
from rnntk.text import preprocessors

CARDS = registry.all_cards()

GOOD = """
name = "novel"
title = "My novel"
language = "ko"
encoding = "cp949"
prime = "그 "

[[sources]]
kind = "file"
path = "novel.txt"
"""


def test_the_nine_corpora_have_cards():
    assert [card.name for card in CARDS] == [
        *("demo_ko", "digits", "invisible_dragon", "linux_kernel", "man_ko", "mnist"),
        *("nine_dreams", "python_stdlib", "tinyshakespeare"),
    ]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_shipped_card_is_complete(card):
    assert (Path(registry.__file__).parent / "cards" / f"{card.name}.toml").is_file()
    assert card.sources
    assert card.title != card.name
    assert card.note
    # Downloads are always checked; an exact hash needs an exact size.
    if any(source.kind == "url" for source in card.sources):
        assert card.sha256
        assert card.bytes
    # A text that may not be redistributed needs consent before a download.
    if not card.redistributable and any(source.needs_network for source in card.sources):
        assert card.needs_consent
    if card.kind == "text":
        assert card.encoding
        preprocessors.get(card.preprocessor)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_configs_named_by_shipped_cards_exist(card):
    assert shipped_config(card.config) is not None


def test_a_card_can_be_given_by_path(tmp_path: Path):
    path = tmp_path / "novel.toml"
    path.write_text(GOOD, encoding="utf-8")
    card = registry.load_card(str(path))
    assert (card.name, card.encoding, card.prime) == ("novel", "cp949", "그 ")
    assert card.sources[0].target == str(tmp_path / "novel.txt")
    assert card.licence == "LicenseRef-unknown"
    assert card.size == "unknown"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title =", "titel ="), "unknown key titel. Did you mean 'title'?"),
        (('kind = "file"', 'kind = "fill"'), "Did you mean 'file'?"),
        (("path =", "url ="), "unknown key url"),
        (('path = "novel.txt"', ""), "needs the key path"),
        (('name = "novel"', ""), "it has no name"),
        (('name = "novel"', 'name = "../novel"'), "name must be letters"),
        (('name = "novel"', "name = 3"), "name must be text in quotes, not 3"),
        (('language = "ko"', 'sha256 = "dd63"'), "sha256 must be 64 hex digits"),
        (('language = "ko"', "bytes = -1"), "bytes must be 0 or more"),
        (('language = "ko"', "bytes = true"), "bytes must be a whole number"),
        (('language = "ko"', 'needs_consent = "no"'), "needs_consent must be true or false"),
        (('language = "ko"', 'files = ["../x"]'), "plain file names"),
        (('language = "ko"', 'kind = "txet"'), "Did you mean 'text'?"),
        (('language = "ko"', "language = ko"), "is not a TOML file"),
    ],
)
def test_an_invalid_card_names_the_problem(tmp_path: Path, change, message):
    path = tmp_path / "novel.toml"
    path.write_text(GOOD.replace(*change), encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_card(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_an_unknown_builder_is_refused_when_the_card_is_read(tmp_path: Path):
    path = tmp_path / "novel.toml"
    path.write_text('name = "a"\n[[sources]]\nkind = "system"\nbuilder = "kernel"\n')
    with pytest.raises(UsageError, match="builder must be one of kernel_source"):
        registry.load_card(path)


def test_an_unknown_corpus_suggests_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'linux_kernel'"):
        registry.load_card("linux_kernal")


def test_a_missing_card_is_refused():
    with pytest.raises(UsageError, match=r"none\.toml"):
        registry.load_card("./none.toml")


def test_sizes_are_exact_only_with_a_hash():
    assert Card("a", (), bytes=1_234_567, sha256="0" * 64).size == "1,234,567 bytes"
    assert Card("a", (), bytes=1_234_567).size == "about 1.2 MB"
    assert Card("a", (), bytes=204_800).size == "about 205 kB"


def test_the_card_in_the_docs_is_valid(tmp_path: Path):
    page = Path(__file__).parents[2] / "data" / "README.md"
    shown = re.search(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    path = tmp_path / "novel.toml"
    path.write_text(shown[1], encoding="utf-8")
    card = registry.load_card(path)
    assert shipped_config(card.config) is not None
    assert [source.kind for source in card.sources] == ["file", "url"]
