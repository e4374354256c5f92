"""Batches of a text: each row continues in the next batch; on real corpora too."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnntk.errors import DataError
from rnntk.text.vocabulary import Vocabulary
from rnntk.training.batches import Batches


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 60))
def test_batches_read_the_text_in_order(batch_size: int, seq_length: int, more: int) -> None:
    ids = np.arange(batch_size * seq_length + more, dtype=np.uint16)
    batches = Batches(ids, batch_size, seq_length)
    assert len(batches) == len(ids) // (batch_size * seq_length)
    read = [batches[k] for k in range(len(batches))]
    x = np.concatenate([b[0] for b in read], axis=1)
    y = np.concatenate([b[1] for b in read], axis=1)
    # Row after row, the inputs are the text, and the targets the text shifted by one, wrapping.
    used = ids[: batches.symbols].astype(np.int32)
    np.testing.assert_array_equal(x.reshape(-1), used)
    np.testing.assert_array_equal(y.reshape(-1), np.roll(used, -1))
    assert all(
        part.dtype == np.int32 and part.shape == (batch_size, seq_length)
        for b in read
        for part in b
    )


def test_batches_do_not_copy_the_text() -> None:
    ids = np.zeros(10_000, np.uint8)
    assert np.shares_memory(Batches(ids, 4, 10)._rows, ids)


def test_a_text_shorter_than_one_batch_is_refused_with_advice() -> None:
    with pytest.raises(DataError, match=r"99 symbols.*needs 100.*batch_size or seq_length"):
        Batches(np.zeros(99, np.uint8), 10, 10)
    with pytest.raises(DataError, match="0 symbols"):
        Batches(np.zeros(0, np.uint8), 10, 10)
    with pytest.raises(IndexError):
        Batches(np.zeros(100, np.uint8), 10, 10)[1]


@pytest.mark.skipif(
    not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: linux_kernel/input.txt"
)
@pytest.mark.parametrize(
    ("encoding", "size", "symbols"), [("latin-1", 1_708_871, 99), ("utf-8", 1_708_870, 98)]
)
def test_the_batches_of_linux_kernel(encoding: str, size: int, symbols: int) -> None:
    raw = (Path(os.environ["RNNTK_DATA"]) / "linux_kernel" / "input.txt").read_bytes()
    text = raw.decode(encoding)
    assert len(text) == size
    vocabulary = Vocabulary.from_counts(Counter(text))
    assert len(vocabulary) == symbols
    assert "".join(vocabulary.symbols[:5]) == " etri"
    ids = vocabulary.encode(text)
    assert ids[:10].tolist() == [36, 22, 7, 0, 22, 0, 0, 13, 4, 8]
    batches = Batches(ids, 50, 200)
    assert (len(batches), batches.symbols) == (170, 1_700_000)
    (_, y0), (x1, _) = batches[0], batches[1]
    np.testing.assert_array_equal(y0[:, -1], x1[:, 0])
    assert batches[169][1][-1, -1] == ids[0]


@pytest.mark.skipif(not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: invisible_dragon")
def test_the_batches_of_invisible_dragon() -> None:
    text = (
        (Path(os.environ["RNNTK_DATA"]) / "invisible_dragon" / "expected_input.txt")
        .read_bytes()
        .decode()
    )
    ids = Vocabulary.from_counts(Counter(text)).encode(text)
    assert (len(Batches(ids, 50, 50)), len(Batches(ids, 10, 100))) == (26, 65)
