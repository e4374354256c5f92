import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.errors import DataError, RunError
from rnntk.text.vocabulary import Vocabulary, id_dtype

TEXT = st.text(st.characters(), min_size=1)


def test_symbols_are_ordered_by_count_then_first_appearance() -> None:
    assert Vocabulary.from_counts(Counter("cabbacd\n\n")).symbols == "cab\nd"


@given(TEXT)
def test_ids_round_trip(text: str) -> None:
    vocabulary = Vocabulary.from_counts(Counter(text))
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert ids.dtype == vocabulary.dtype
    counts = Counter(text)
    assert [counts[s] for s in vocabulary.symbols] == sorted(counts.values(), reverse=True)


@given(TEXT, st.booleans())
def test_json_round_trips(text: str, with_unknown: bool) -> None:
    symbols = Vocabulary.from_counts(Counter(text)).symbols
    vocabulary = Vocabulary(symbols, unknown=symbols[-1] if with_unknown else None)
    content = vocabulary.to_json()
    assert content.isascii()
    assert Vocabulary.from_json(content) == vocabulary


@given(TEXT, TEXT)
def test_unknown_lists_each_symbol_once_in_order(known: str, text: str) -> None:
    vocabulary = Vocabulary.from_counts(Counter(known))
    missing = vocabulary.unknown(text)
    assert missing == list(dict.fromkeys(c for c in text if c not in known))
    if missing:
        with pytest.raises(DataError, match="Not in the vocabulary"):
            vocabulary.encode(text)
    else:
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_the_error_names_the_characters() -> None:
    with pytest.raises(DataError, match=r"of 2 symbols: 'é' \(U\+00E9\), '😀' \(U\+1F600\)\."):
        Vocabulary("ab").encode("aé😀é")


def test_the_unknown_symbol_replaces_the_rest() -> None:
    vocabulary = Vocabulary("ab?", unknown="?")
    assert vocabulary.encode("aé😀b?").tolist() == [0, 2, 2, 1, 2]
    assert vocabulary.unknown("aé") == ["é"]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65536, 65537])
def test_ids_use_the_narrowest_type(size: int) -> None:
    dtype = id_dtype(size)
    assert np.iinfo(dtype).max >= size - 1
    assert dtype.itemsize == 1 if size <= 256 else dtype.itemsize == (2 if size <= 65536 else 4)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    for ids in ([0, 2], [-1]):
        with pytest.raises(DataError, match=f"Ids must be 0 to 1, got {min(ids)} to {max(ids)}"):
            Vocabulary("ab").decode(ids)
    assert Vocabulary("ab").decode([]) == ""


@pytest.mark.parametrize(
    ("symbols", "unknown"), [([], None), (["a", "a"], None), (["ab"], None), (["a"], "b")]
)
def test_invalid_symbols_are_refused(symbols: list[str], unknown: str | None) -> None:
    with pytest.raises(DataError):
        Vocabulary(symbols, unknown=unknown)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format_version": 1, "symbols": [1]}', "7"])
def test_damaged_json_is_refused(content: str) -> None:
    with pytest.raises(DataError, match="damaged"):
        Vocabulary.from_json(content)


def test_newer_json_is_refused() -> None:
    content = json.loads(Vocabulary("ab").to_json()) | {"format_version": 2}
    with pytest.raises(RunError, match="newer rnntk"):
        Vocabulary.from_json(json.dumps(content))


def test_in_finds_symbols() -> None:
    assert "a" in Vocabulary("ab")
    assert "c" not in Vocabulary("ab")
    assert len(Vocabulary("ab")) == 2
    assert Vocabulary("ab") != Vocabulary("ba")
