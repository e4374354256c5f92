import errno
import gzip
import io
import json
import lzma
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rnntk import stored
from rnntk.config import TextConfig
from rnntk.corpora import encoding
from rnntk.errors import DataError, EncodingError, RunError, UsageError
from rnntk.text import counting, prepared, preparing, preprocessors
from rnntk.text.prepared import Prepared
from rnntk.text.vocabulary import Vocabulary

needs_data = pytest.mark.skipif(
    not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: the folder of the real corpora"
)
TEXT = st.text(
    st.sampled_from("가각ㄱㅏᴥ😀漢\r\n\0a") | st.characters(exclude_categories=["Cs"]), min_size=1
)


def prepare(paths: Iterable[str | Path], *, cache_dir: Path, **options: Any) -> Prepared:
    more = {k: options.pop(k) for k in ("output", "progress", "stated_by") if k in options}
    config = TextConfig(input=tuple(map(str, paths)), **options)
    return prepared.prepare(config, cache_dir=cache_dir, **more)


class Making:
    """Writes files and prepares them in one cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"

    def file(self, content: str | bytes, name: str = "text.txt") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def __call__(self, content: str | bytes, **options) -> Prepared:
        return prepare([self.file(content)], cache_dir=self.cache, **options)


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path)


def everything(made: Prepared) -> str:
    return made.preprocessor.decode(made.vocabulary.decode(made.ids))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TEXT, st.sampled_from(["plain", "hangul", "hangul-slides"]), st.integers(1, 9))
@example("ㅏ", "hangul", 1)
@example("가ᴥ", "hangul", 1)
@example("aㅏᴥ", "hangul", 1)
@example("漢ㅏᴥ", "hangul", 1)
@example("값 삶을", "hangul", 1)  # a final cluster: the syllable ends with its marker, not before
def test_ids_vocabulary_and_ranges(making, monkeypatch, text: str, name: str, small: int) -> None:
    monkeypatch.setattr(encoding, "CHUNK", small)
    monkeypatch.setattr(counting, "PIECE", 3)
    codec = preprocessors.get(name)
    symbols = codec.encode(text)
    if not symbols:
        with pytest.raises(DataError, match="drops the whole text"):
            making(text, encoding="utf-8", preprocessor=name)
        return
    made = making(text, encoding="utf-8", preprocessor=name)
    if text.startswith("\ufeff"):
        text = text[1:]
        symbols = codec.encode(text)
    assert made.vocabulary == Vocabulary.from_counts(Counter(symbols))
    assert made.vocabulary.decode(made.ids) == symbols
    assert made.ids.dtype == made.vocabulary.dtype
    assert made.facts["characters"] == made.original_characters() == len(text)
    whole = len(made.ids)
    if name == "hangul-slides":
        assert made.characters(0, whole) == sum(bool(codec.encode(c)) for c in text)
        return
    ends = list(accumulate(len(codec.encode(c)) for c in text))
    for cut in range(len(symbols) + 1):
        before = sum(end <= cut for end in ends)
        assert made.original_characters(0, cut) == before
        assert made.original_characters(cut) == len(text) - before
        assert made.characters(0, cut) == before
        assert made.characters(cut, whole) == len(text) - before


def test_a_character_of_several_rare_symbols_counts_once(making: Making) -> None:
    made = making("가가가나값", preprocessor="hangul", min_count=2, unknown_symbol="?")
    assert "?" in made.preprocessor.decode(made.vocabulary.decode(made.ids))
    assert made.characters(0, len(made.ids)) == 5


def test_facts_of_a_small_text(making: Making) -> None:
    made = making("aabab\x07\n한\x1a", preprocessor="hangul")
    facts = made.facts
    assert facts["encoding"] == "utf-8"
    assert facts["bytes"] == 11
    assert (facts["characters"], facts["distinct_characters"]) == (9, 6)
    assert (facts["symbols"], facts["vocabulary_size"]) == (12, 9)
    assert facts["most_frequent"][:2] == [["a", 3], ["b", 2]]
    assert facts["least_frequent"][0] == ["\x1a", 1]
    assert [(e["kind"], e["count"], e["examples"]) for e in facts["unusual"]] == [
        ("control characters", 1, ["U+0007"]),
        ("DOS end of file (0x1A)", 1, ["U+001A"]),
    ]
    assert facts["warnings"] == []
    assert facts["sources"][0]["trailing_sub"]
    shares = [3 / 12, 2 / 12] + [1 / 12] * 7
    assert facts["entropy_bits"] == pytest.approx(-sum(p * math.log2(p) for p in shares))
    assert facts["bits_per_character"] == pytest.approx(facts["entropy_bits"] * 12 / 9)
    assert made.characters(0, len(made.ids)) == 9
    assert json.loads(json.dumps(facts)) == facts


def test_characters_of_a_range(making: Making) -> None:
    made = making("가나다", preprocessor="hangul")
    assert made.characters(3, 9) == 2
    assert made.characters(0, 2) == 0


@pytest.mark.parametrize("count", [256, 257, 65_536, 65_537])
def test_ids_use_the_narrowest_type(making: Making, count: int, monkeypatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK", 100_000)
    text = "".join(map(chr, range(0x10000, 0x10000 + count)))
    made = making(text + text)
    assert made.ids.dtype.itemsize == (1 if count <= 256 else 2 if count <= 65_536 else 4)
    assert made.vocabulary.symbols == text
    assert made.vocabulary.decode(made.ids) == text + text


def test_a_prepared_text_is_reused_unless_something_changed(making: Making) -> None:
    first = making("text one")
    stamp = (first.folder / "ids.bin").stat().st_mtime_ns
    again = making("text one")
    assert (first.reused, again.reused) == (False, True)
    assert again.folder == first.folder
    assert (again.folder / "ids.bin").stat().st_mtime_ns == stamp
    folders = {first.folder}
    for content, options in [
        ("text two", {}),
        ("text one", {"preprocessor": "hangul"}),
        ("text one", {"newline": "lf"}),
        ("text one", {"encoding": "latin-1"}),
        ("text one", {"normalize": True}),
        ("text one", {"errors": "replace"}),
        ("text one", {"min_count": 2, "unknown_symbol": "?"}),
    ]:
        made = making(content, **options)
        assert not made.reused
        folders.add(made.folder)
    assert len(folders) == 8


def test_another_preprocessor_version_is_another_corpus(making: Making, monkeypatch) -> None:
    class Next(preprocessors.Plain):
        version = 2

    old = making("text")
    monkeypatch.setattr(preprocessors, "get", lambda _: Next())
    new = making("text")
    monkeypatch.undo()
    assert old.folder != new.folder
    with pytest.raises(DataError, match="Version 2 of .*; version 1 is installed"):
        _ = new.preprocessor


def test_facts_of_a_reused_corpus_name_this_file(making: Making) -> None:
    making("text")
    path = making.file("text", "other.txt")
    made = prepare([path], cache_dir=making.cache, encoding="utf-8", stated_by="the card")
    assert made.reused
    assert made.facts["sources"][0]["name"] == str(path)
    assert made.facts["sources"][0]["how"] == "stated by the card"


def test_files_folders_and_stdin_are_joined(making: Making, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from stdin\n")))
    first = making.file("하나\n".encode("cp949") * 20, "1.txt")
    making.file("둘\n", "folder/b.txt")
    making.file("셋\n", "folder/a/c.txt")
    making.file("no", "folder/a/c.dat")
    paths = [first, "-", making.folder / "folder"]
    made = prepare(paths, cache_dir=making.cache)
    assert everything(made) == "하나\n" * 20 + "from stdin\n셋\n둘\n"
    names = [source["name"] for source in made.facts["sources"]]
    assert names[1] == "standard input"
    assert made.facts["encoding"] == "cp949, utf-8"
    other = prepare([making.folder / "folder"], cache_dir=making.cache, glob="*.dat")
    assert everything(other) == "no"


def test_the_key_depends_on_the_files(making: Making) -> None:
    one = prepare([making.file("ab", "1")], cache_dir=making.cache)
    two = prepare([making.file("a", "2"), making.file("b", "3")], cache_dir=making.cache)
    assert one.key != two.key
    assert one.ids.tolist() == two.ids.tolist()


def test_missing_inputs_are_refused(making: Making, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    for paths, message in [
        ([making.folder / "absent"], "no file"),
        ([making.folder], r"has no file ending in .*glob"),
        ([], "No text is given"),
        (["-", "-"], "can be read only once"),
    ]:
        with pytest.raises(DataError, match=message):
            prepare(paths, cache_dir=making.cache)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_compressed_text_equals_a_plain_one(making: Making, pack) -> None:
    assert making("한글 text\n").folder == making(pack("한글 text\n".encode())).folder


def test_replaced_bytes_are_counted(making: Making) -> None:
    with pytest.raises(EncodingError, match=": ff at byte 1"):
        making(b"a\xffb\xff", encoding="utf-8")
    made = making(b"a\xffb\xff", encoding="utf-8", errors="replace")
    assert made.facts["replaced"] == 2
    assert "2 undecodable byte sequences" in made.facts["warnings"][0]
    again = making(b"a\xffb\xff", encoding="utf-8", errors="replace")
    assert again.reused
    assert again.facts["sources"][0]["replaced"] == 2


def test_newlines_and_normalize_are_applied(making: Making) -> None:
    text = unicodedata.normalize("NFD", "한글") + "\r\ne\u0301"
    assert everything(making(text)) == text
    assert everything(making(text, newline="lf", normalize=True)) == "한글\ne\u0301"
    assert "6 conjoining jamo" in making(text).facts["warnings"][0]
    assert making(text, normalize=True).facts["warnings"] == []


def test_only_jamo_that_normalize_composes_are_warned_of(making: Making) -> None:
    old = "나랏〮말〯ᄊᆞ미〮 듀ᇰ귁〮에〮 달아〮 ᄒᆞᆫ글\n"  # old vowels and finals do not compose
    for text in (old, "\u1100 \u1161 \u11a8", "\u1140\u1161", "\u11a2"):
        facts = making(text * 20).facts
        assert facts["warnings"] == []
        assert facts["unusual"][0]["kind"] == "conjoining jamo"
        assert everything(making(text * 20, normalize=True)) == text * 20
    mixed = making(old * 20 + unicodedata.normalize("NFD", "한글 가") + "\uac00\u11a8").facts
    assert mixed["warnings"][0].startswith("The text has 9 conjoining jamo (Hangul in NFD). ")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("normalize", [False, True])
def test_korean_is_recognized_composed_or_not(making: Making, form: str, normalize: bool) -> None:
    text = unicodedata.normalize(form, "옛날 어느 마을에 한 아이가 살았다.\n" * 40)
    made = making(text, preprocessor="auto", normalize=normalize)
    assert made.preprocessor.name == "hangul"
    assert everything(made) == (unicodedata.normalize("NFC", text) if normalize else text)
    advised = ["`normalize=True` composes them" in told for told in made.facts["warnings"]]
    assert advised == [True] * (form == "NFD" and not normalize)
    assert (
        making("An English text, résumé.\n" * 40, preprocessor="auto").preprocessor.name == "plain"
    )


def test_rare_symbols_become_unknown(making: Making) -> None:
    made = making("aaabbcd", min_count=2, unknown_symbol="?")
    assert made.vocabulary == Vocabulary("ab?", unknown="?")
    assert everything(made) == "aaabb??"
    assert made.facts["rare"] == {"count": 2, "distinct": 2}
    assert Prepared.open(made.folder).vocabulary.encode("z").tolist() == [2]
    none_rare = making("aabb", min_count=2, unknown_symbol="?")
    assert none_rare.vocabulary == Vocabulary("ab")
    both = making("a?a?b", min_count=2, unknown_symbol="?")
    assert both.vocabulary == Vocabulary("?a", unknown="?")
    assert "also occurs in the text" in both.facts["warnings"][0]


def test_characters_that_do_not_round_trip_are_reported(making: Making) -> None:
    made = making("가ㅋㅋ漢", preprocessor="hangul-slides")
    assert made.facts["changed"]["count"] == 3
    assert made.facts["changed"]["examples"][0] == ["ㅋ", "굓", 2]
    assert "does not restore 3 characters (2 distinct)." in made.facts["warnings"][0]


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"errors": "ignore"}, "errors must be one of"),
        ({"newline": "crlf"}, "newline must be one of"),
        ({"min_count": 0}, "min_count must be at least 1"),
        ({"min_count": 2}, "unknown_symbol"),
        ({"unknown_symbol": "?"}, "min_count"),
        ({"min_count": 2, "unknown_symbol": "??"}, "unknown_symbol must be one character"),
        ({"preprocessor": "hangel"}, "preprocessor 'hangel'"),
        ({"encoding": "cp494"}, "encoding"),
    ],
)
def test_wrong_settings_name_the_field(making: Making, options: dict, flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        making("text", **options)


def test_a_preprocessor_that_breaks_its_rules_is_refused(making: Making, monkeypatch) -> None:
    class Backwards(preprocessors.Plain):
        name = "backwards"

        def encode(self, text: str) -> str:
            return text[::-1]

    monkeypatch.setattr(preprocessors, "get", lambda _: Backwards())
    with pytest.raises(UsageError, match="'backwards' must encode each"):
        making("text", preprocessor="backwards")


def test_output_names_the_folder(making: Making) -> None:
    output = making.folder / "made" / "here"
    first = making("text", output=output)
    assert first.folder == output
    assert making("text", output=output).reused
    assert not making.cache.exists()
    with pytest.raises(DataError, match="is not this prepared text"):
        making("other", output=output)
    assert everything(Prepared.open(output)) == "text"
    mine = making.file("mine", "mine/file").parent
    with pytest.raises(DataError, match="is not this prepared text"):
        making("text", output=mine)
    assert [p.name for p in mine.iterdir()] == ["file"]
    empty = making.folder / "empty"
    empty.mkdir()
    assert everything(making("text", output=empty)) == "text"


def leftovers(making: Making) -> list[str]:
    return [p.name for p in (making.cache / "prepared").iterdir()]


def test_an_interrupted_preparation_leaves_nothing(making: Making, monkeypatch) -> None:
    real = preparing.write

    def interrupted(folder, *args):
        real(folder, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        making("text")
    assert leftovers(making) == []


def test_a_full_disk_leaves_nothing(making: Making, monkeypatch) -> None:
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(preparing, "write", full)
    with pytest.raises(DataError, match="Free some space on the disk"):
        making("text")
    assert leftovers(making) == []


def test_another_process_may_finish_first(making: Making, monkeypatch) -> None:
    real = preparing.write

    def overtaken(folder, *args):
        monkeypatch.setattr(preparing, "write", real)
        making("text")
        real(folder, *args)

    monkeypatch.setattr(preparing, "write", overtaken)
    made = making("text")
    assert everything(made) == "text"
    assert leftovers(making) == [made.folder.name]


def test_a_damaged_cached_text_is_prepared_again(making: Making) -> None:
    folder = making("text").folder
    (folder / "ids.bin").write_bytes(b"\0")
    with pytest.raises(DataError, match="damaged"):
        Prepared.open(folder)
    assert everything(making("text")) == "text"


def seal(folder: Path) -> None:
    """Write checksums that match the current files."""
    names = [p for p in folder.iterdir() if p.name != "manifest.json"]
    (folder / "manifest.json").write_text(json.dumps(stored.file_sums(names)))


FILES = ["ids.bin", "index.bin", "vocabulary.json", "meta.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-2],
        lambda _: b"",
        lambda _: None,
        lambda _: b"[" * 100_000,
        lambda _: b'{"format_version": ' + b"9" * 5000 + b"}",
        lambda _: b'{"format_version": 1, "dtype": "|V0", "length": 0}',
        lambda _: b"{}",
    ],
)
def test_any_damage_in_the_cache_is_reported_and_repaired(
    making: Making, caplog: pytest.LogCaptureFixture, name: str, damage: Callable
) -> None:
    whole = making("값 text", preprocessor="hangul")
    before, file = whole.ids.tolist(), whole.folder / name
    changed = damage(file.read_bytes())
    file.unlink()
    if changed is not None:
        file.write_bytes(changed)
    made = making("값 text", preprocessor="hangul")
    assert made.ids.tolist() == before
    assert not made.reused
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert f"{whole.folder} is damaged (" in warnings[0]
    assert "\n" not in warnings[0]
    assert making("값 text", preprocessor="hangul").reused


def test_every_flipped_bit_is_detected(making: Making) -> None:
    rng = np.random.default_rng(0)
    folder = making("값 text", preprocessor="hangul").folder
    for name in FILES:
        file = folder / name
        data = file.read_bytes()
        content = [json.loads(data)] if name == "manifest.json" else []
        for _ in range(40):
            flipped = bytearray(data)
            flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
            file.write_bytes(flipped)
            if content and content == [_json_or_none(flipped)]:
                continue  # a space became another
            with pytest.raises((DataError, RunError)):
                Prepared.open(folder)
        file.write_bytes(data)
    assert making("값 text", preprocessor="hangul").reused


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_manifest_lists_every_file(making: Making, name: str) -> None:
    folder = making("값 text", preprocessor="hangul").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=f"its manifest lacks {name}"):
        Prepared.open(folder)


def test_an_empty_index_is_damage(making: Making) -> None:
    folder = making("값 text", preprocessor="hangul").folder
    (folder / "index.bin").write_bytes(b"")
    (folder / "manifest.json").unlink()  # as of rnntk before 1.0
    with pytest.raises(DataError, match=r"index\.bin is empty"):
        Prepared.open(folder)


def _json_or_none(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_a_file_in_place_of_the_folder_is_replaced(making: Making) -> None:
    folder = making("text").folder
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    assert everything(making("text")) == "text"


def test_a_damaged_output_folder_is_reported_and_kept(making: Making) -> None:
    output = making.folder / "out"
    making("text", output=output)
    (output / "ids.bin").write_bytes(b"abcd")
    with pytest.raises(DataError, match="is damaged: the content of ids.bin has changed"):
        making("text", output=output)
    assert (output / "ids.bin").read_bytes() == b"abcd"


@pytest.mark.parametrize("preprocessor", ["plain", "bytes"])
def test_a_text_that_changes_while_read_is_an_error(
    making: Making, monkeypatch: pytest.MonkeyPatch, preprocessor: str
) -> None:
    """Otherwise the cache would keep the new text under the old hash."""
    path, real = making.file("text one"), preparing.examine

    def examine(*args: Any, **named: Any) -> Any:
        found = real(*args, **named)
        path.write_text("text two")
        return found

    monkeypatch.setattr(preparing, "examine", examine)
    with pytest.raises(DataError, match=r"text.txt changed while it was read"):
        prepare([path], cache_dir=making.cache, preprocessor=preprocessor)
    assert leftovers(making) == []


@pytest.mark.skipif(os.name != "posix", reason="needs SIGBUS")
def test_a_truncated_mapped_file_ends_the_program_with_a_message(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from rnntk import stored
        path = Path(sys.argv[1])
        path.write_bytes(bytes(1 << 25))
        found = stored.array(path, "u1")
        with path.open("r+b") as file:
            file.truncate(5)
        print(found.sum())
        """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "ids.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: \S+/ids.bin was cut short while it was read\..*\n", done.stderr)


@pytest.mark.parametrize("place", [0, -1])
def test_an_id_outside_the_vocabulary_is_damage(making: Making, place: int) -> None:
    folder = making("text").folder
    ids = np.zeros(len(np.fromfile(folder / "ids.bin", np.uint8)), np.uint8)
    ids[place] = 200
    ids.tofile(folder / "ids.bin")
    with pytest.raises(DataError, match="the content of ids.bin has changed"):
        Prepared.open(folder)
    (folder / "manifest.json").unlink()  # as of rnntk before 1.0
    with pytest.raises(DataError, match=r"damaged.*the id 200, for 3 symbols"):
        Prepared.open(folder)
    assert everything(making("text")) == "text"


def test_a_missing_or_newer_folder_is_refused(making: Making) -> None:
    with pytest.raises(DataError, match=r"not a prepared corpus.*rnntk prep"):
        Prepared.open(making.folder)
    folder = making("text").folder
    meta = json.loads((folder / "meta.json").read_text())
    for change, error, message in [
        ({"format_version": 99}, RunError, "newer rnntk"),
        ({"dtype": "<u2"}, DataError, "damaged"),
        ({"facts": None}, DataError, "damaged"),
        ({"facts": {}}, DataError, "damaged"),
        ({"length": "x"}, DataError, "damaged"),
        ({"format_version": "x"}, DataError, "damaged"),
    ]:
        (folder / "meta.json").write_text(json.dumps(meta | change))
        seal(folder)
        with pytest.raises(error, match=message):
            Prepared.open(folder)
    (folder / "meta.json").write_text("[")
    with pytest.raises(DataError, match="damaged"):
        Prepared.open(folder)


def test_files_of_a_prepared_text(making: Making) -> None:
    plain, hangul = making("ab가"), making("ab가", preprocessor="hangul")
    assert sorted(p.name for p in plain.folder.iterdir()) == [
        "ids.bin",
        "manifest.json",
        "meta.json",
        "vocabulary.json",
    ]
    index = np.fromfile(hangul.folder / "index.bin", "<u8").reshape(-1, 2)
    assert index.tolist() == [[0, 0], [5, 3]]
    assert not plain.ids.flags.writeable


def test_progress_reaches_the_end(making: Making) -> None:
    seen: list[tuple[int, int]] = []
    paths = [making.file("x" * 3_000_000, "1"), making.file("y" * 10, "2")]
    prepare(paths, cache_dir=making.cache, progress=lambda *p: seen.append(p))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (6_000_020, 6_000_020)


def test_memory_does_not_grow_with_the_text(making: Making) -> None:
    # Not getrusage: its figure starts at the parent's peak.
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux: reads the peak memory from /proc/self/status")
    program = """
        import sys
        from pathlib import Path
        from rnntk.config import TextConfig
        from rnntk.text.prepared import prepare
        made = prepare(TextConfig(input=sys.argv[1], preprocessor="hangul"), cache_dir=Path(sys.argv[2]))
        status = dict(line.split(":") for line in open("/proc/self/status"))
        print(status["VmHWM"].split()[0])
        """
    peaks = []
    for size in (8, 60):
        line = "한글 text, 그리고 other words.\n"
        path = making.file(line * (size * 1_000_000 // len(line.encode())), f"{size}.txt")
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), path, making.cache],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.2 * peaks[0]


@needs_data
class TestRealFiles:
    data = Path(os.environ.get("RNNTK_DATA", "."))

    def test_linux_kernel(self, tmp_path: Path) -> None:
        path = self.data / "linux_kernel/input.txt"
        utf8 = prepare([path], cache_dir=tmp_path)
        latin = prepare([path], cache_dir=tmp_path, encoding="latin-1")
        assert (len(utf8.ids), len(utf8.vocabulary)) == (1_708_870, 98)
        assert (len(latin.ids), len(latin.vocabulary)) == (1_708_871, 99)
        assert utf8.vocabulary.symbols[:5] == " etri"
        for made in (utf8, latin):
            assert made.ids[:10].tolist() == [36, 22, 7, 0, 22, 0, 0, 13, 4, 8]

    @pytest.mark.parametrize(
        ("name", "symbols", "size"), [("hangul", 65_362, 87), ("hangul-slides", 65_814, 84)]
    )
    def test_invisible_dragon(self, tmp_path: Path, name: str, symbols: int, size: int) -> None:
        path = self.data / "invisible_dragon/rawtext.txt"
        made = prepare([path], cache_dir=tmp_path, preprocessor=name)
        assert (len(made.ids), len(made.vocabulary)) == (symbols, size)
        assert made.facts["encoding"] == "cp949"
        assert made.original_characters() == 27_642
        if name == "hangul":
            assert everything(made) == path.read_bytes().decode("cp949")
