from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rnntk.corpora import registry, search
from rnntk.corpora.card import Card, CardSource
from rnntk.corpora.registry import resolve
from rnntk.corpora.system import Machine
from rnntk.errors import CorpusError, UsageError

TEXT = b"/* a text of its own */\n" * 40
SHA = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def card(server) -> Card:
    """A corpus on the loopback server, with the system's headers as a stand-in."""
    server.pages["/input.txt"] = TEXT
    return Card(
        "small",
        (CardSource("url", server.url + "/input.txt"), CardSource("system", "kernel_headers")),
        sha256=SHA,
        bytes=len(TEXT),
        encoding="cp949",
    )


@pytest.fixture
def with_headers(bare_machine: Machine) -> Machine:
    bare_machine.headers.mkdir(parents=True)
    (bare_machine.headers / "a.h").write_bytes(b"/* a header */\n")
    return bare_machine


def put(folder: Path, data: bytes = TEXT, name: str = "input.txt") -> Path:
    path = folder / "small" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_data_folders_are_searched_first_in_order(alone, card, bare_machine, monkeypatch):
    given, named, here = alone / "given", alone / "named", Path("data")
    monkeypatch.setenv("RNNTK_DATA", str(named))
    for folder in (here, named, given):
        path = put(folder)
        found = resolve(card, data_dir=given if folder == given else None, machine=bare_machine)
        assert (found.source, found.path, found.same_bytes) == ("data-dir", path, True)
        assert found.encoding == "cp949"
        assert str(path) in found.detail


def test_a_data_folder_without_the_corpus_is_skipped(alone, card, bare_machine):
    (alone / "empty").mkdir()
    path = put(Path("data"))
    assert resolve(card, data_dir=alone / "empty", machine=bare_machine).path == path


def test_a_missing_data_dir_is_refused(alone, card):
    with pytest.raises(UsageError, match="data_dir: there is no folder none"):
        resolve(card, data_dir=Path("none"))


def test_rawtext_is_a_valid_file_name_too(alone, card, bare_machine):
    path = put(Path("data"), name="rawtext.txt")
    assert resolve(card, machine=bare_machine).path == path


def test_a_different_text_in_a_data_folder_is_used_and_reported(alone, card, bare_machine):
    path = put(Path("data"), b"mine\n")
    found = resolve(card, machine=bare_machine)
    assert found.path == path
    assert not found.same_bytes
    assert found.sha256 == hashlib.sha256(b"mine\n").hexdigest()
    assert found.bytes == 5
    assert "not the card's text (SHA-256" in found.detail
    # Its encoding differs from the card's and must be detected.
    assert found.encoding is None
    assert path.read_bytes() == b"mine\n"


def test_a_download_is_cached(alone, card, bare_machine, server):
    told = []
    first = resolve(card, machine=bare_machine, notify=told.append)
    assert (first.source, first.same_bytes, first.sha256) == ("url", True, SHA)
    assert first.path.read_bytes() == TEXT
    assert alone / "cache" in first.path.parents
    assert len(told) == 1
    assert "Downloading small (960 bytes)" in told[0]
    second = resolve(card, machine=bare_machine)
    assert (second.source, second.path) == ("cache", first.path)
    assert len(server.asked) == 1


def test_the_cache_works_offline(alone, card, bare_machine, monkeypatch):
    resolve(card, machine=bare_machine)
    monkeypatch.setenv("RNNTK_OFFLINE", "1")
    assert resolve(card, machine=bare_machine).source == "cache"


def test_a_damaged_cache_is_downloaded_again(alone, card, bare_machine, server):
    path = resolve(card, machine=bare_machine).path
    path.write_bytes(b"damaged")
    told = []
    assert resolve(card, machine=bare_machine, notify=told.append).source == "url"
    assert path.read_bytes() == TEXT
    assert "damaged" in told[0]


def test_cards_of_one_name_do_not_share_a_cached_file(card):
    other = replace(card, sha256="0" * 64)
    unchecked = replace(card, sha256="")
    assert len({search.cache_path(each) for each in (card, other, unchecked)}) == 3


@pytest.mark.parametrize("how", ["flag", "environment", "404", "wrong bytes"])
def test_without_the_download_a_stand_in_is_built(
    alone, card, with_headers, server, monkeypatch, how
):
    reason = "the network is off"
    if how == "environment":
        monkeypatch.setenv("RNNTK_OFFLINE", "1")
    elif how == "404":
        server.pages.clear()
        reason = "the server answered 404"
    elif how == "wrong bytes":
        server.pages["/input.txt"] = b"something else"
        reason = "its SHA-256 is"
    found = resolve(card, offline=how == "flag", machine=with_headers)
    assert found.source == "system"
    assert found.path.read_bytes() == b"/* a header */\n"
    assert found.path.parent == alone / "cache" / "built"
    assert found.sha256[:12] in found.path.name
    assert not found.same_bytes
    assert found.encoding == "cp949"  # built texts are written as the card says
    assert reason in found.detail
    assert "1 files of" in found.detail
    assert "; a similar text replaces it" in found.detail
    assert server.asked == ([] if how in ("flag", "environment") else ["/input.txt"])


def test_a_built_stand_in_is_never_used_as_the_corpus(alone, card, with_headers):
    built = resolve(card, offline=True, machine=with_headers)
    found = resolve(card, machine=with_headers)
    assert (found.source, built.source) == ("url", "system")
    assert found.path != built.path


def test_local_sources_are_tried_before_the_network(alone, card, with_headers, server):
    first = replace(card, sources=card.sources[::-1])
    assert resolve(first, machine=with_headers).source == "system"
    assert server.asked == []


def test_a_download_that_needs_consent_is_refused_without_it(alone, card, bare_machine, server):
    guarded = replace(card, needs_consent=True)
    with pytest.raises(CorpusError, match="set accept_licence"):
        resolve(guarded, machine=bare_machine)
    assert server.asked == []
    assert resolve(guarded, accept_licence=True, machine=bare_machine).source == "url"


def test_when_every_source_fails_each_is_reported(alone, card, bare_machine, server):
    server.pages.clear()
    with pytest.raises(CorpusError) as raised:
        resolve(card, machine=bare_machine)
    text = str(raised.value)
    for part in (
        f"{Path('data') / 'small'}: no file input.txt or rawtext.txt",
        "cache ",
        f"{server.url}/input.txt: the server answered 404",
        "system kernel_headers: there are no C headers in",
        f"960 bytes, SHA-256 {SHA}",
        str(Path("data") / "small" / "input.txt"),
        "Available without the network: demo_ko, python_stdlib.",
    ):
        assert part in text
    assert raised.value.exit_code == 1


def test_a_file_at_the_advised_path_is_found(alone, card, bare_machine, monkeypatch):
    monkeypatch.setenv("RNNTK_DATA", "mine")
    path = registry.user_path(card)
    path.parent.mkdir(parents=True)
    path.write_bytes(TEXT)
    assert resolve(card, machine=bare_machine).path == path


def test_an_unreadable_file_is_reported_and_skipped(alone, card, bare_machine, monkeypatch):
    path = put(Path("data"))
    real = search.sha256_of

    def refuse(asked: Path) -> str:
        if asked == path:
            raise PermissionError(13, "Permission denied")
        return real(asked)

    monkeypatch.setattr(search, "sha256_of", refuse)
    told = []
    assert resolve(card, machine=bare_machine, notify=told.append).source == "url"
    assert f"{path} cannot be read: Permission denied" in told[0]


def test_an_unwritable_cache_is_reported(alone, card, with_headers, monkeypatch):
    (alone / "file").write_text("")
    monkeypatch.setenv("RNNTK_CACHE", str(alone / "file"))
    with pytest.raises(CorpusError, match="Name another folder with RNNTK_CACHE"):
        resolve(card, machine=with_headers)


def test_a_card_of_the_user_uses_its_file_in_place(alone, bare_machine):
    (alone / "cards").mkdir()
    (alone / "cards" / "novel.txt").write_text("글\n", encoding="utf-8")
    (alone / "cards" / "novel.toml").write_text(
        'name = "novel"\n[[sources]]\nkind = "file"\npath = "novel.txt"\n'
    )
    card = registry.load_card("cards/novel.toml")
    assert registry.availability(card).available
    found = resolve(card, offline=True, machine=bare_machine)
    assert (found.source, found.path) == ("file", Path("cards") / "novel.txt")
    assert found.encoding is None
    (alone / "cards" / "novel.txt").unlink()
    assert not registry.availability(card).available
    with pytest.raises(CorpusError, match=r"novel\.txt: no such file"):
        resolve(card, machine=bare_machine)


def test_a_file_url_works_offline(alone, bare_machine):
    (alone / "a text.txt").write_bytes(TEXT)
    card = Card("mine", (CardSource("url", (alone / "a text.txt").as_uri()),), sha256=SHA)
    found = resolve(card, offline=True, machine=bare_machine)
    assert (found.source, found.path) == ("file", alone / "a text.txt")
    assert found.same_bytes


def test_the_default_is_linux_kernel_if_available(alone, with_headers):
    found = registry.resolve_default(offline=True, machine=with_headers)
    assert found.card.name == "linux_kernel"
    assert found.source == "system"
    assert found.encoding == "utf-8"


def test_the_default_is_otherwise_the_standard_library(alone, bare_machine):
    found = registry.resolve_default(offline=True, machine=bare_machine)
    assert found.card.name == "python_stdlib"
    assert found.detail.startswith("Using python_stdlib: the default corpus, linux_kernel, is not")
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}." in found.detail


def test_availability_of_every_corpus_without_the_network(alone, bare_machine, monkeypatch):
    def no_network(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    found = {
        card.name: registry.availability(card, machine=bare_machine)
        for card in registry.all_cards()
    }
    here = {name for name, each in found.items() if each.available}
    assert here == {"demo_ko", "digits", "python_stdlib"}
    consent = "download from raw.githubusercontent.com, with `accept_licence`"
    assert found["nine_dreams"].detail == consent
    assert found["linux_kernel"].detail == "download from raw.githubusercontent.com"
    assert found["man_ko"].source == ""
    off = registry.availability(found["mnist"].card, offline=True, machine=bare_machine)
    assert (off.available, off.source) == (False, "")


def test_availability_names_the_file_that_would_be_used(alone, card, with_headers):
    assert registry.availability(card, machine=with_headers).source == "system"
    assert "a similar text" in registry.availability(card, machine=with_headers).detail
    cached = resolve(card, machine=with_headers).path
    assert registry.availability(card, machine=with_headers).source == "cache"
    assert registry.availability(card, machine=with_headers).detail == str(cached)
    path = put(Path("data"), b"mine\n")
    found = registry.availability(card, machine=with_headers)
    assert (found.source, found.detail, found.bytes) == ("data-dir", str(path), 5)


def test_a_run_can_record_the_source(alone, card, bare_machine):
    record = resolve(card, machine=bare_machine).to_json()
    assert record["corpus"] == "small"
    assert record["sha256"] == SHA
    assert record["source"] == "url"


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_network_can_be_switched_off(monkeypatch, value, off):
    monkeypatch.setenv("RNNTK_OFFLINE", value)
    assert registry.is_offline() is off
    assert registry.is_offline(True)


@pytest.mark.skipif(
    not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: the published corpora"
)
@pytest.mark.parametrize(
    "name", ["linux_kernel", "tinyshakespeare", "invisible_dragon", "nine_dreams"]
)
def test_the_published_texts_match_their_cards(name):
    card = registry.load_card(name)
    found = resolve(card, offline=True)
    assert (found.source, found.same_bytes, found.bytes) == ("data-dir", True, card.bytes)
    data = found.path.read_bytes()
    data.decode(card.encoding)
    assert (b"\r\n" in data) == (card.newline == "crlf")
