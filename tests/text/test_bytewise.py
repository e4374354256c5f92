"""Bytes as symbols: any file round-trips, and a stream never shows half a character."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.config import TextConfig
from rnntk.errors import DataError, UsageError
from rnntk.text import preprocessors
from rnntk.text.bytewise import ALPHABET, Bytes
from rnntk.text.prepared import Prepared, prepare

CODEC = Bytes()


def read(data: bytes) -> str:
    """Decode bytes as files are read for this preprocessor."""
    return data.decode("utf-8", "surrogateescape")


# Random bytes, and near-UTF-8: whole and cut characters.
ODD = st.lists(
    st.one_of(st.binary(max_size=3), st.text(max_size=3).map(lambda s: s.encode()[:-1])),
    max_size=8,
).map(b"".join)


def made_of(
    data: bytes, folder: Path, *, stated_by: str = "the user", **options: object
) -> Prepared:
    path = folder / "input"
    path.write_bytes(data)
    config = TextConfig(input=str(path), preprocessor="bytes", **options)
    return prepare(config, stated_by=stated_by, cache_dir=folder / "cache")


@given(ODD)
def test_any_bytes_round_trip(data: bytes) -> None:
    symbols = CODEC.encode(read(data))
    assert symbols == data.decode("latin-1")


@given(st.text())
def test_text_round_trips(text: str) -> None:
    assert CODEC.encode(text).encode("latin-1") == text.encode("utf-8")
    assert CODEC.decode(CODEC.encode(text)) == text


ANY = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@given(ANY, ANY)
def test_encoding_is_by_characters(one: str, two: str) -> None:
    assert CODEC.encode(one + two) == CODEC.encode(one) + CODEC.encode(two)


@given(ANY)
def test_decoding_accepts_any_string_and_gives_no_surrogate(symbols: str) -> None:
    CODEC.decode(symbols).translate(dict.fromkeys(map(ord, symbols))).encode("utf-8")


@given(ODD)
def test_each_invalid_byte_is_one_replacement_character(data: bytes) -> None:
    shown = CODEC.decode(data.decode("latin-1"))
    assert len(shown) == len(read(data))
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert data.decode("utf-8", "ignore") == "".join(
        c for c, source in zip(shown, read(data), strict=True) if c == source
    )


@given(ODD.map(lambda b: b.decode("latin-1")) | ANY, st.lists(st.integers(1, 4), max_size=12))
def test_a_stream_decodes_the_same_however_it_is_cut(symbols: str, sizes: list[int]) -> None:
    decoder, given_out, rest = CODEC.decoder(), "", symbols
    for size in sizes:
        given_out += decoder.feed(rest[:size])
        rest = rest[size:]
        # Decoded text never changes later.
        assert CODEC.decode(symbols).startswith(given_out)
    given_out += decoder.feed(rest) + decoder.flush()
    assert given_out == CODEC.decode(symbols)


def test_a_character_is_shown_once_complete() -> None:
    decoder = CODEC.decoder()
    first, second, third = CODEC.encode("가")
    assert decoder.feed(first) == decoder.feed(second) == ""
    assert decoder.feed(third) == "가"
    assert decoder.feed(first) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.feed("a") == "a"


def test_the_preprocessor_is_found_by_name_and_another_symbol_ends_a_character() -> None:
    assert isinstance(preprocessors.get("bytes"), Bytes)
    assert CODEC.decode("\xea가x") == "\ufffd가x"


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 3,
        "\ufeff가나다 plain\r\n".encode() * 20,
        "가나다 한글".encode("cp949") * 30,
        "UTF-16 text".encode("utf-16") * 9,
        b"%PDF-1.7 \0\0\0",
        b"x",
    ],
    ids=["all values", "with a mark", "cp949", "utf-16", "binary", "one byte"],
)
def test_any_file_is_prepared_and_round_trips(data: bytes, tmp_path: Path) -> None:
    made = made_of(data, tmp_path)
    assert made.vocabulary.decode(made.ids).encode("latin-1") == data
    assert set(made.vocabulary.symbols) == set(ALPHABET)
    assert made.ids.dtype == "uint8"
    assert made.facts["bytes"] == made.facts["symbols"] == len(data)
    assert made.facts["characters"] == len(read(data)) == made.original_characters()
    assert made.facts["encoding"] == "bytes"
    assert made.facts["changed"]["count"] == 0
    odd = sum("\udc80" <= c <= "\udcff" for c in read(data))
    assert any(f"{odd:,} bytes are not UTF-8" in w for w in made.facts["warnings"]) == (odd > 0)


WHOLE = ("가a".encode() + b"\xff\xea\xb0" + "😀é".encode()) * 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return made_of(WHOLE, tmp_path_factory.mktemp("whole"))


@given(st.lists(st.integers(0, len(WHOLE)), min_size=2, max_size=2).map(sorted))
def test_characters_of_ranges_add_up(whole: Prepared, cuts: list[int]) -> None:
    counts = [
        whole.original_characters(a, b) for a, b in itertools.pairwise([0, *cuts, len(WHOLE)])
    ]
    assert sum(counts) == whole.original_characters() == len(read(WHOLE))
    # As many characters end before the position as are whole in the bytes before it.
    assert counts[0] == len(CODEC.decoder().feed(WHOLE[: cuts[0]].decode("latin-1")))


def test_compressed_files_are_read_by_their_content(tmp_path: Path) -> None:
    made = made_of(gzip.compress(b"\xff\xfe abc"), tmp_path)
    assert made.vocabulary.decode(made.ids).encode("latin-1") == b"\xff\xfe abc"


def test_contradicting_settings_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"encoding=.cp949.*preprocessor bytes, which does not decode"
    ):
        made_of(b"abc", tmp_path, encoding="cp949")
    with pytest.raises(
        UsageError, match=r'errors="replace".*preprocessor bytes, which does not decode'
    ):
        made_of(b"abc", tmp_path, errors="replace")
    with pytest.raises(DataError, match="is empty"):
        made_of(b"", tmp_path)
    card = TextConfig(input=str(tmp_path / "input"), preprocessor="bytes", encoding="cp949")
    (tmp_path / "input").write_bytes(b"abc")
    # An encoding from a corpus card is ignored.
    assert len(prepare(card, cache_dir=tmp_path, stated_by="the card of x").ids) == 3


def test_rare_bytes_become_the_unknown_symbol(tmp_path: Path) -> None:
    made = made_of(b"aaabbbcd", tmp_path, min_count=2, unknown_symbol="?")
    assert sorted(made.vocabulary.symbols) == ["?", "a", "b"]
    assert made.preprocessor.decode(made.vocabulary.decode(made.ids)) == "aaabbb??"
