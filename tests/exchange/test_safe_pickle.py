"""Pickles of plain data are read; anything that could run code is refused and does not run."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnntk.errors import DataError
from rnntk.exchange import safe_pickle, tf1_files

PLAIN = st.recursive(
    st.text() | st.integers(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


def load(tmp_path: Path, data: bytes) -> object:
    path = tmp_path / "vocab.pkl"
    path.write_bytes(data)
    return safe_pickle.load(path)


@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_plain_data_comes_back_in_every_protocol(
    tmp_path: Path, value: object, protocol: int
) -> None:
    assert load(tmp_path, pickle.dumps(value, protocol)) == value


def test_strings_of_python_2_are_read(tmp_path: Path) -> None:
    assert load(tmp_path, b"(S'a'\np1\nS'\\n'\np2\nVb\np3\ntp4\n.") == ("a", "\n", "b")
    assert load(tmp_path, b"\x80\x02U\x01aq\x01U\x01bq\x02\x86q\x03.") == ("a", "b")
    with pytest.raises(DataError, match="Python 2 byte strings that are not ASCII"):
        load(tmp_path, b"\x80\x02U\x01\xebq\x01.")


@pytest.mark.parametrize(
    "data", [b"\x80\x02U\x01\xebq\x01.", b"S'\\xeb'\np1\n."], ids=["binary", "repr"]
)
def test_byte_strings_of_python_2_are_decoded(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bytes.pkl"
    path.write_bytes(data)
    assert safe_pickle.holds_bytes(path)
    assert safe_pickle.load(path, encoding="latin-1") == "\xeb"
    path.write_bytes(b"S'a'\np1\n.")
    assert not safe_pickle.holds_bytes(path)
    path.write_bytes(b"S'\\xeb'\np1\n.cos\nsystem\n.")
    assert safe_pickle.load(path, encoding="latin-1") == "\xeb"
    path.write_bytes(b"cos\nsystem\n(S'\\xeb'\ntR.")
    assert not safe_pickle.holds_bytes(path)
    with pytest.raises(DataError, match="GLOBAL"):
        safe_pickle.load(path, encoding="latin-1")


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    data = pickle.dumps(("a", {"b": [Evil(canary)]}), protocol)
    with pytest.raises(DataError, match=r"refused.*instruction.*Nothing was run"):
        load(tmp_path, data)
    assert not canary.exists()
    pickle.loads(data)  # the canary works
    assert canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nmkdir\n(S'CANARY'\ntR.",
        b"(S'CANARY'\nios\nmkdir\n.",
        b"(cos\nmkdir\nS'CANARY'\no.",
        b"\x80\x02cos\nmkdir\nU\x06CANARY\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x06CANARY\x85R.",
    ],
)
def test_every_instruction_that_calls_is_refused(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="refused"):
        load(tmp_path, data)
    assert not Path("CANARY").exists()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(collections.OrderedDict(a=1)),
        pickle.dumps(collections.Counter("aab")),
        pickle.dumps({"a"}),
        pickle.dumps(b"a"),
        pickle.dumps(bytearray(b"a")),
        pickle.dumps(1.5),
        b"\x80\x02\x82\x01.",  # an extension
        b"Pother\n.",  # an object outside the pickle
        b"\x80\x02K\x01Q.",
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"]0.",
        b")2.",
    ],
)
def test_objects_that_are_not_plain_data_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="refused"):
        load(tmp_path, data)


def test_the_unpickler_refuses_calls_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        safe_pickle, "_PLAIN", safe_pickle._PLAIN | {"GLOBAL", "REDUCE", "STACK_GLOBAL"}
    )
    canary = tmp_path / "canary"
    with pytest.raises(DataError, match="it asks for"):
        load(tmp_path, pickle.dumps(Evil(canary), 2))
    assert not canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle at all",
        pickle.dumps(["a", "b"])[:-3],
        pickle.dumps(["a", "b"])[:-1],
        b"(Va\nr\xff\xff\xff\x7f.",  # would allocate two thousand million objects
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.",
        b"h\x07.",
        b"...",
        b"(K\x00q\x00"
        + b"K\x01q\x00"
        + b"\x94]\x94" * 3
        + b"h\x02h\x02t.",  # memo indices out of order
    ],
)
def test_a_damaged_pickle_is_one_message(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"vocab\.pkl is not a pickle, or is damaged"):
        load(tmp_path, data)


def doubled(times: int, end: bytes) -> bytes:
    """Nested pairs, `times` deep: 2 ** `times` empty tuples from a few bytes."""
    steps = (b"q%cph%c\x86" % (k, k) for k in range(times))
    return b"\x80\x02)" + b"".join(steps).replace(b"p", b"") + end


@pytest.mark.parametrize(
    "data",
    [
        doubled(26, b"."),  # 140 bytes that take forever to walk through
        b"\x80\x02}" + doubled(26, b"K\x01s.")[2:],  # as a key, its hash takes forever
        b"]q\x00h\x00a.",  # a list that holds itself
        b")" + b"\x85" * 100_000 + b".",
        b"}" + b")" + b"\x85" * 100_000 + b"K\x00s.",
        b"(" + b"]" * 501 + b"t.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"I" + b"9" * 5000 + b"\n.",
    ],
)
def test_a_pickle_that_would_run_forever_is_refused_at_once(tmp_path: Path, data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match=r"vocab\.pkl is not a pickle, or is damaged"):
        load(tmp_path, data)
    with pytest.raises(DataError):
        tf1_files.read_vocabulary(tmp_path / "vocab.pkl")
    assert time.monotonic() - began < 5


@given(value=st.recursive(PLAIN | st.none() | st.booleans(), st.tuples, max_leaves=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_vocabulary_of_any_shape_is_read_or_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(value))
    with contextlib.suppress(DataError):
        assert tf1_files.read_vocabulary(tmp_path / "vocab.pkl").symbols


@given(data=st.binary(max_size=200), at=st.integers(0, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes, at: int) -> None:
    whole = pickle.dumps((("a", "b"), {"a": 0, "b": 1}), 2)
    (tmp_path / "vocab.pkl").write_bytes(whole[:at] + data + whole[at + len(data) :])
    with contextlib.suppress(DataError):
        tf1_files.read_vocabulary(tmp_path / "vocab.pkl", encoding="latin-1")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vocab.pkl")
    for path in (tmp_path / "vocab.pkl", Path("/dev/zero"), tmp_path):
        with pytest.raises(DataError, match="is not a file"):
            safe_pickle.load(path)


def test_a_missing_or_too_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        safe_pickle.load(tmp_path / "none.pkl")
    huge = tmp_path / "huge.pkl"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # sparse on disk
    with pytest.raises(DataError, match="too many for a vocabulary"):
        safe_pickle.load(huge)
