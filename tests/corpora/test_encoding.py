"""The encoding policy. Needs only chardet, pytest and NumPy, so that it runs under any chardet.

pytest tests/corpora/test_encoding.py
"""

import gzip
import hashlib
import io
import lzma
import os
import random
import re
import tarfile
import tempfile
import unicodedata
import zipfile
from array import array
from pathlib import Path

import pytest

from rnntk.corpora import encoding as module
from rnntk.corpora.encoding import EncodingReport, detect, iter_bytes, iter_text
from rnntk.corpora.plausibility import read
from rnntk.errors import DataError, EncodingError, UsageError

needs_data = pytest.mark.skipif(
    not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: the folder of the real corpora"
)
KOREAN = (
    "옛날 어느 마을에 마음씨 고운 아이가 살았다. 아이는 날마다 산에 올라 나무를 하였다.\r\n"
    "그러던 어느 날, 길을 잃은 사슴 한 마리를 만났다. 사슴은 배가 고프다고 말했다.\r\n"
    "아이는 제 도시락을 꺼내어 반을 나누어 주었다. 둘은 금세 친한 벗이 되었다.\r\n"
)


def detect_bytes(
    data: bytes, *, encoding: str | None = None, errors: str = "strict", name: str = "The text"
) -> EncodingReport:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(data)
        return detect(path, encoding=encoding, errors=errors, name=name)


def text_of(path: Path, report: EncodingReport, **options: str) -> str:
    return "".join(iter_text(path, report, **options))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "text.txt"


def test_utf8_is_found_without_guessing(file: Path) -> None:
    data = ("hello 한글 😀 漢字\r\n" * 3).encode()
    file.write_bytes(data)
    report = detect(file)
    assert (report.encoding, report.confidence) == ("utf-8", None)
    assert "valid UTF-8" in report.how
    assert report.bytes == len(data)
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert text_of(file, report) == data.decode()


def test_ascii_is_utf8() -> None:
    report = detect_bytes(b"plain text\n")
    assert report.encoding == "utf-8"
    assert "ASCII" in report.how


def test_korean_utf8_with_emoji_and_hanja() -> None:
    # chardet 5.2.0 detects Windows-1252.
    assert detect_bytes("그는 웃었다 😀 漢字도 썼다".encode()).encoding == "utf-8"


@pytest.mark.parametrize(
    ("codec", "found"),
    [
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
    ],
)
def test_a_byte_order_mark_decides_and_is_removed(codec: str, found: str, file: Path) -> None:
    file.write_bytes("a 한글\r\n".encode(codec))
    report = detect(file)
    assert report.encoding == found
    assert "byte order mark" in report.how
    assert text_of(file, report) == "a 한글\r\n"


@pytest.mark.parametrize("mark", [b"\xfe\xff", b"\x00\x00\xfe\xff"])
def test_big_endian_marks_are_recognized(mark: bytes, file: Path) -> None:
    codec = "utf-16-be" if len(mark) == 2 else "utf-32-be"
    file.write_bytes(mark + "한 글".encode(codec))
    assert text_of(file, detect(file)) == "한 글"


def test_wrong_bytes_after_a_mark_are_refused() -> None:
    with pytest.raises(EncodingError, match=r": ff at byte 4"):
        detect_bytes(b"\xef\xbb\xbfa\xffb")
    with pytest.raises(EncodingError, match="utf-16"):
        detect_bytes(b"\xff\xfea\x00\x00\xd8")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [KOREAN, "just ASCII, two lines\nof it\n"])
def test_utf16_and_utf32_are_found_without_a_mark(codec: str, text: str, file: Path) -> None:
    file.write_bytes(text.encode(codec))
    report = detect(file)
    assert report.encoding == codec
    assert text_of(file, report) == text


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 4,
        bytes(range(1, 256)) * 40,
        b"\x00\x01\x02\x03" * 50,
        bytes(1000),
        b"\x7fELF\x02\x01\x01" + bytes(50),
        "한글".encode("cp949") * 40 + b"\0",
    ],
)
def test_binary_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"not text"):
        detect_bytes(data, name="blob")


def test_a_stray_nul_in_utf8_is_text(file: Path) -> None:
    data = b"word " * 1000 + b"\0"
    file.write_bytes(data)
    report = detect(file)
    assert report.encoding == "utf-8"
    assert "NUL" in report.how
    assert text_of(file, report) == data.decode()


def test_compressed_bytes_are_refused_by_name() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("a", "b")
    for data, kind, tool in [
        (gzip.compress(gzip.compress(b"text")), "gzip", "gunzip"),
        (gzip.compress(lzma.compress(b"text")), "xz", "unxz"),
        (archive.getvalue(), "ZIP", "unzip"),
    ]:
        with pytest.raises(DataError, match=f"is .*{kind}.*not text.*{tool}"):
            detect_bytes(data)


def tarred(text: bytes, form: int = tarfile.PAX_FORMAT) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        member = tarfile.TarInfo("novel.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return data.getvalue()


def test_archives_of_text_are_refused(file: Path) -> None:
    """Their bytes are valid UTF-8, with NUL between the fields of a header."""
    text = b"The quick brown fox jumps over the lazy dog.\n" * 300
    old = bytearray(tarred(text, tarfile.USTAR_FORMAT))
    old[257:512] = bytes(255)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old[:512])
    tars = [tarred(text, form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT)]
    for data, told in [
        *((one, "a tar archive, not text. Unpack it first: tar xf ") for one in (*tars, old)),
        (gzip.compress(tarred(text)), "a tar archive, not text. Unpack it first: tar xf "),
        (b"!<arch>\nnovel.txt/ " + b"0 " * 21 + b"`\n" + text, "an ar archive, not text. Unpack"),
        (b"070701" + b"000081A4" * 13 + b"novel.txt\0" + text, "a cpio archive, not text. Unpack"),
        (b"070707" + b"0" * 70 + b"novel.txt\0" + text, "a cpio archive, not text. Unpack"),
        (b" " * 32769 + b"CD001" + text, "an image of a disk (ISO 9660), not text. Unpack"),
        (b"SQLite format 3\0" + text, "an SQLite database, not text. Give a text file."),
    ]:
        file.write_bytes(data)
        with pytest.raises(DataError, match=re.escape(f"{file} is {told}")):
            detect(file)


@pytest.mark.parametrize(
    ("pack", "name"), [(gzip.compress, "gzip"), (lzma.compress, "xz")], ids=["gzip", "xz"]
)
def test_gzip_and_xz_files_are_read_through(pack, name: str, file: Path) -> None:
    data = KOREAN.encode("cp949")
    file.write_bytes(pack(data))
    report = detect(file)
    assert (report.encoding, report.compression) == ("cp949", name)
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert text_of(file, report) == KOREAN
    file.write_bytes(pack(data)[:-20])
    with pytest.raises(DataError, match="damaged or cut short"):
        detect(file)
    file.write_bytes(pack(gzip.compress(data)))
    with pytest.raises(DataError, match="is gzip, not text"):
        detect(file)


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="empty"):
        detect_bytes(data)


def test_an_empty_gzip_a_missing_file_and_a_folder_are_refused(file: Path) -> None:
    file.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="empty"):
        detect(file)
    with pytest.raises(DataError, match="no file"):
        detect(file.with_name("absent"))
    with pytest.raises(DataError, match="folder"):
        detect(file.parent)


@pytest.mark.parametrize("codec", ["euc_kr", "cp949"])
def test_korean_is_always_cp949(codec: str, file: Path) -> None:
    file.write_bytes(KOREAN.encode(codec))
    report = detect(file)
    assert report.encoding == "cp949"
    assert report.confidence is not None
    assert text_of(file, report) == KOREAN


def test_johab_is_found(file: Path) -> None:
    file.write_bytes(KOREAN.encode("johab"))
    report = detect(file)
    assert report.encoding == "johab"
    assert text_of(file, report) == KOREAN


@pytest.mark.parametrize(("text", "codec"), [("뷁똠펲", "cp949"), ("안녕하세요", "euc_kr")])
def test_a_few_bytes_of_korean_are_enough(text: str, codec: str, file: Path) -> None:
    # For the first, 5.2.0 has no answer and 7.x detects cp775; no threshold fits the second.
    file.write_bytes(text.encode(codec))
    report = detect(file)
    assert report.encoding == "cp949"
    assert text_of(file, report) == text


def test_an_ascii_head_does_not_hide_the_korean(file: Path) -> None:
    text = "An English preface.\n" * 5000 + KOREAN
    file.write_bytes(text.encode("cp949"))
    report = detect(file)
    assert report.encoding == "cp949"
    assert text_of(file, report) == text


def test_a_trailing_sub_byte_is_kept_and_changes_nothing(file: Path) -> None:
    file.write_bytes(KOREAN.encode("cp949") + b"\x1a")
    report = detect(file)
    assert (report.encoding, report.trailing_sub) == ("cp949", True)
    assert text_of(file, report) == KOREAN + "\x1a"


WESTERN = (
    "Les élèves français étaient déjà arrivés à l'école, où le maître âgé lisait près de la fenêtre."
    " Noël approchait ; après le goûter, grand-mère préparait des crêpes, et le frère aîné rêvait.\n"
)
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。\n"
)
RUSSIAN = (
    "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"
)
CHINESE = "有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？学而时习之，不亦说乎？\n"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (WESTERN, "latin-1"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (CHINESE, "gb2312"),
    ],
    ids=lambda value: value if len(value) < 12 else "",
)
def test_other_languages_are_not_taken_for_korean(text: str, codec: str, file: Path) -> None:
    file.write_bytes((text * 5).encode(codec))
    report = detect(file)
    assert text_of(file, report) == text * 5


def test_nearly_utf8_is_not_taken_for_anything_else(file: Path) -> None:
    before = KOREAN[: KOREAN.index("사슴")].encode()
    broken = KOREAN.encode()
    broken = broken[: len(before) + 1] + broken[len(before) + 2 :]
    file.write_bytes(broken)
    with pytest.raises(
        EncodingError, match=f'Nearly all.*at byte {len(before)}\\. .*errors="replace"'
    ):
        detect(file)
    report = detect(file, errors="replace")
    assert report.encoding == "utf-8"
    text = text_of(file, report, errors="replace")
    assert text == broken.decode(errors="replace")
    assert report.replaced == text.count("\ufffd") > 0


def test_a_text_cut_inside_a_character_is_refused(file: Path) -> None:
    file.write_bytes(KOREAN.encode()[: -3 - 3] + "가".encode()[:2])
    with pytest.raises(EncodingError, match="Nearly all of it is UTF-8"):
        detect(file)


@pytest.mark.parametrize("codec", ["cp949", "euc_kr"])
def test_nearly_korean_is_not_taken_for_anything_else(codec: str, file: Path) -> None:
    # For one byte, chardet detected cp1006 (Urdu) or TIS-620 (Thai), which decode everything.
    text = KOREAN.replace("만났다.", "만났다 ㅋㅋㅋㅋㅋㅋ ㅠㅠㅠㅠ")
    before = (text * 20).encode(codec)
    file.write_bytes(before + b"\xff" + text.encode(codec))
    with pytest.raises(
        EncodingError,
        match=f'Nearly all.*cp949: ff.* at byte {len(before):,}.*errors="replace"',
    ):
        detect(file)
    report = detect(file, errors="replace")
    assert report.encoding == "cp949"
    assert text_of(file, report, errors="replace") == text * 20 + "\ufffd" + text
    assert report.replaced == 1


@pytest.mark.parametrize(
    "tail",
    [b"\xff" + "끝".encode("cp949"), "끝".encode("cp949")[:1]],
    ids=["far away", "cut short"],
)
def test_korean_damaged_after_the_sampled_part_is_refused(tail: bytes, file: Path) -> None:
    text = KOREAN * 400
    file.write_bytes(text.encode("cp949") + tail)
    with pytest.raises(EncodingError, match="Nearly all of it is cp949"):
        detect(file)
    assert detect(file, errors="replace").encoding == "cp949"


def test_damaged_utf8_of_mostly_ascii_is_recognized(file: Path) -> None:
    # chardet detects Windows-1252 or MacRoman, which turn é into two characters.
    data = ("They met in the café. " * 30).encode() + b"\xed\xa0\x80 \xff\xfe" + b" again"
    file.write_bytes(data)
    with pytest.raises(EncodingError, match="Nearly all of it is UTF-8"):
        detect(file)
    assert detect(file, errors="replace").encoding == "utf-8"


@pytest.mark.parametrize("text", [KOREAN, KOREAN[:30]])
def test_only_a_guess_on_little_evidence_is_in_doubt(text: str) -> None:
    assert not detect_bytes(text.encode("cp949")).unsure
    assert not detect_bytes(text.encode()).unsure
    assert EncodingReport("cp1006", "chardet says cp1006", 0.05, 9, "", False).unsure
    assert not EncodingReport("cp1251", "chardet says cp1251", 0.37, 9, "", False).unsure


def test_a_doubt_names_the_evidence_and_alternatives_with_samples() -> None:
    report = detect_bytes("They met in the café.".encode("cp850"))
    assert report.unsure
    assert "1 of 1 characters beyond ASCII fit English" in report.doubt
    assert "chardet" in report.doubt
    assert report.doubt.count(", as ") == 2
    assert "café" in report.doubt
    assert "encoding=" in report.doubt


@pytest.mark.parametrize(
    "data",
    [
        "今天天氣很好，我們去公園散步吧。\n".encode("big5") * 4000 + "嘅咗啲".encode("big5hkscs"),
        "今日は天気がいい。\n".encode("cp932") * 50 + b"\xff end",
        "你好\n".encode("gbk") * 500,
        "Chapter 1····12\n".encode("cp1252") * 40,
        "ab".encode("utf-16-le"),
    ],
    ids=["big5hkscs", "private use", "two characters", "dots", "utf-16"],
)
def test_every_doubt_has_two_alternatives_with_samples(data: bytes) -> None:
    doubt = detect_bytes(data).doubt
    assert re.search(r"\(.+\)\. As \S+ it reads '.+', as \S+ '.+', as \S+ '.+'\.", doubt), doubt
    first, *others = re.findall(r"\b[Aa]s ([a-z0-9_-]+) ", doubt)
    choices = " or ".join(f'`encoding="{codec}"`' for codec in others)
    assert doubt.endswith(f" If that is wrong, set {choices}.")
    assert len({data.decode(codec) for codec in (first, *others)}) == 3


def reads(data: bytes) -> tuple[str, bool]:
    """The decoded text, and whether it is in doubt."""
    report = detect_bytes(data)
    return data.decode(report.encoding), report.unsure


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("READ ME\r\n" + "─" * 70 + "\r\nAll about it.\r\n", "cp437"),
        ("READ ME\r\n" + "─" * 71 + "\r\nAll about it.\r\n", "cp437"),
        ("Index\n" + "═" * 40 + "\nand the rest of the text\n", "cp850"),
        ("Chapter 1" + "·" * 40 + "12\r\n", "cp1252"),
        ("Chapter 1" + "…" * 19 + "12\r\n", "cp1252"),
        ("Total" + "·" * 33 + "12\r\n", "cp437"),
        ("你好\n", "gbk"),
        ("中国\n", "gbk"),
        ("日本\n", "cp932"),
        ("谢谢你，再见。\n", "gbk"),
        ("He said—and she laughed—that it was late, and the door had been left open.\n", "cp1252"),
        ("“It’s late,” he said to the woman who had been there for all that time.\n", "cp1252"),
    ],
)
def test_byte_pairs_that_look_korean_are_not_korean(text: str, codec: str) -> None:
    found, _ = reads((text * 40).encode(codec))
    assert found == text * 40


def test_a_little_korean_stays_korean() -> None:
    for text in ["안녕\n", "감사합니다\n", "ㅋㅋㅋㅋㅋ 진짜? ㅠㅠ 대박이다 ㅎㅎ 뭐야\n"]:
        assert reads((text * 50).encode("cp949"))[0] == text * 50


def test_a_table_of_contents_with_ellipses_is_read_right() -> None:
    text = "".join(f"Chapter {i}" + "…" * (20 - len(str(i))) + f"{i * 7}\r\n" for i in range(1, 30))
    assert reads(text.encode("cp1252"))[0] == text


@pytest.mark.parametrize("codec", ["cp037", "cp500"])
def test_ebcdic_is_found(codec: str) -> None:
    text = "it was the best of times for the old house on the hill, and nobody knew why. " * 3
    assert reads(text.encode(codec))[0] == text


@pytest.mark.parametrize(
    "data",
    [
        b"abcdefg\0" * 500,
        b"master:README.md\x002\0The first line\nmaster:NOTES.md\x001\0The second line\n",
        b"".join(b"./dir/file%d.txt\0" % i for i in range(300)),
        b"HOME=/root\0PATH=/bin:/usr/bin\0LANG=C\0",
        "né\0à\0été\0".encode() * 50,
        b"".join((b"name%d" % i).ljust(16, b"\0") for i in range(100)),
    ],
    ids=["fields", "git", "find -print0", "environ", "not ASCII", "padded"],
)
def test_utf8_with_nul_between_fields_is_utf8(data: bytes) -> None:
    report = detect_bytes(data)
    assert (report.encoding, report.unsure) == ("utf-8", False)
    assert "NUL" in report.how


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "Привет мир, как дела?\n",
        "今天天气很好，我们去公园散步吧。\n",
        "오늘은날씨가좋다",
        "今天天气很好我们去公园散步吧",
    ],
)
def test_utf16_without_a_mark_is_found_in_other_scripts(text: str, codec: str) -> None:
    assert reads((text * 20).encode(codec))[0] == text * 20


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("안녕하세요. 오늘은 날씨가 좋다.\n", "iso2022_kr"),
        ("こんにちは世界。元気ですか\n", "iso2022_jp"),
        ("你好世界，今天天气很好。\n", "hz"),
        ("Äpfel und Öl für die größte Küche\n", "utf-7"),
    ],
)
@pytest.mark.parametrize("before", ["", "Plain words first.\n" * 4000])
def test_seven_bit_encodings_are_found(text: str, codec: str, before: str) -> None:
    whole = before + text * 20
    report = detect_bytes(whole.encode(codec))
    assert report.encoding == codec
    assert not report.unsure


@pytest.mark.parametrize(
    "text",
    [
        "foo~{bar}~ baz ~{} ~x\n",
        "latex ~{text} and \\~{n} in it\n",
        "\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[0m text\n",
        "+100 -200 +300-400 a+b-c +abc- x+y, call +44-20-7946 or +82-2-312\n",
        "QUJD+abcDEF/ghiJKL+mno-pqr\n",
        "print \x0ebold\x0f normal\n",
    ],
    ids=["tildes", "latex", "colours", "plus", "base64", "shift out"],
)
def test_ascii_with_escape_like_signs_stays_ascii(text: str) -> None:
    report = detect_bytes(text.encode() * 50)
    assert (report.encoding, report.how, report.unsure) == ("utf-8", "pure ASCII", False)


def test_ascii_that_could_be_utf7_is_in_doubt_with_true_evidence() -> None:
    report = detect_bytes(b"The sum is in the table.\nitems: +ACE- +ADE-\n" * 5)
    assert report.doubt == (
        "(its escapes stand for ASCII only). As utf-7 it reads '! 1 The sum', as utf-8 '+ACE- +ADE- The sum'. "
        'If that is wrong, set `encoding="utf-8"`.'
    )


ENGLISH = "The quick brown fox jumps over the lazy dog, and then it was late in the evening.\r\n"
MENU = "┌{0}┐\r\n│ Menu │\r\n└{0}┘\r\n".format("─" * 40)


@pytest.mark.parametrize("codec", ["cp437", "cp850", "cp866"])
@pytest.mark.parametrize(
    "drawing",
    [
        "░▒▓" * 20 + "\r\n",
        "▓" * 60 + "\r\n",
        "".join(f"{'█' * i}{'░' * (20 - i)} {5 * i}%\r\n" for i in range(21)),
        MENU,
        MENU.translate(str.maketrans("─│┌┐└┘", "═║╔╗╚╝")),
        "═" * 60 + "\r\n",
        "C:\\DOS\r\n├───BIN\r\n│   ├───SUB\r\n│   └───LIB\r\n└───DATA\r\n",
        "┌────┬────┐\r\n│ a  │ b  │\r\n├────┼────┤\r\n│ 1  │ 2  │\r\n└────┴────┘\r\n",
    ],
    ids=["shades", "shade", "bars", "frame", "double frame", "rule", "tree", "table"],
)
def test_dos_box_drawing_between_english_lines(codec: str, drawing: str) -> None:
    for text in (ENGLISH * 3 + drawing + ENGLISH, (drawing + ENGLISH) * 40, drawing * 3):
        assert reads(text.encode(codec))[0] == text


@pytest.mark.parametrize(
    ("line", "codec"),
    [
        (
            "Съешь же ещё этих мягких французских булок, да выпей чаю. Мы были вчера в городе.",
            "cp866",
        ),
        ("Für die größte Küche wählen Sie Öl und Äpfel.", "cp850"),
        ("Les élèves étaient déjà arrivés à l'école.", "cp850"),
        ("Zażółć gęślą jaźń, proszę pana, to nie jest już długa droga.", "cp852"),
    ],
)
def test_dos_box_drawing_around_other_languages(line: str, codec: str) -> None:
    text = (MENU.replace("Menu", line) + "░▒▓█" * 10 + f"\r\n{line}\r\n") * 5
    assert reads(text.encode(codec))[0] == text


@pytest.mark.parametrize("count", [1, 5, 60])
@pytest.mark.parametrize(
    "text",
    [
        "The area is 3 × 4 and the ratio is 12 ÷ 4, they said.\n",
        "They met in the «café» and then they left.\n",
        "It cost £12 and then £14 for the rest.\n",
        "Copyright © 1999 by the author. All rights reserved.\n",
        "The value was 5 ± 2 of the usual, at 30° in the shade.\n",
        "See § 12 and § 14 of the act.\n",
        "Ten ÷ two is five.\n",
    ],
)
def test_english_with_a_few_signs_stays_english(text: str, count: int) -> None:
    assert reads((text * count).encode("cp1252"))[0] == text * count
    for codec in ("cp437", "cp850", "mac-roman"):
        found, _ = reads((text * count).encode(codec, "replace"))
        scripts = {unicodedata.name(c).split()[0] for c in found if c.isalpha()}
        assert not scripts & {"CYRILLIC", "GREEK", "THAI", "HEBREW", "ARABIC", "HANGUL", "CJK"}


@pytest.mark.parametrize(
    ("comment", "codec"),
    [
        ("Это комментарий к функции", "cp1251"),
        ("Привет, мир", "koi8-r"),
        ("Привет всем людям", "cp866"),
        ("안녕", "cp949"),
        ("데이터를 읽는다", "cp949"),
        ("こんにちは世界", "cp932"),
        ("データを読む関数", "euc_jp"),
        ("读取数据的函数", "gb18030"),
        ("讀取資料的函數", "big5hkscs"),
        ("Καλημέρα κόσμε, τι κάνεις", "cp1253"),
        ("مرحبا بالعالم", "cp1256"),
        ("สวัสดีชาวโลก", "cp874"),
        ("Zażółć gęślą jaźń", "cp1250"),
    ],
)
def test_a_program_with_one_comment_in_another_script(comment: str, codec: str) -> None:
    code = Path(module.__file__).read_text("ascii")
    for text in (f"{code[:300]}\n# {comment}\n{code[300:600]}", f"{code}# {comment}\n{code}"):
        assert reads(text.encode(codec))[0] == text


def test_combining_marks_of_another_script_are_rejected() -> None:
    # Thai marks have the bytes of é, è, ç in Windows-1252.
    french, thai = (
        read("élève échec reçu".encode("cp1252"), codec) for codec in ("cp1252", "cp874")
    )
    assert french.odd == 0
    assert thai.odd == thai.seen
    assert french.cost < thai.cost


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("Šventoji", "cp1257"),
        ("Ýdalir", "cp850"),
        ("Žďár", "cp1250"),
        ("Škvor", "cp1250"),
        ("高雄", "gbk"),
        ("台中", "big5"),
    ],
)
def test_a_name_in_english_is_counted_once(name: str, codec: str) -> None:
    text = (
        f"An essay on {name} and its people. Few knew {name}, or '{name}', or {name}'s history.\n"
    )
    found, doubted = reads(text.encode(codec))
    assert doubted or found == text


@pytest.mark.parametrize(
    ("line", "codec"),
    [
        ("Čovjek je došao u grad i kupio kruh. Žena", "cp1250"),
        ("Þetta er íslenskur texti með ýmsum stöfum", "cp850"),
    ],
)
def test_a_foreign_line_in_english_is_in_doubt(line: str, codec: str) -> None:
    before = "The title of this is given below, as it was printed in the book."
    text = f"{before}\n{line}\nAnd then the story goes on in English for a while.\n"
    found, doubted = reads(text.encode(codec))
    assert doubted or found == text


@pytest.mark.parametrize(
    "text",
    [
        "“It’s late,” she said, “and they don’t know.”\n",
        "He sent his résumé to the café.\n",
        "“The café is closed,” he said — “it’s £5 more in town…”\n",
        "They aren’t here; it’s late, and she doesn’t know.\n",
    ],
)
def test_english_with_few_signs_is_not_in_doubt(text: str) -> None:
    assert reads(text.encode("cp1252")) == (text, False)


@pytest.mark.parametrize("codec", ["cp866", "mac-cyrillic"])
@pytest.mark.parametrize(
    "text",
    [
        "Момчето влезе в двора и остави коня до оградата. Никой не каза нищо, само кучето излая.",
        "Долго шетавме по шумата, а потоа седевме и зборувавме за детето.",
        "Вечерва седевме покрај огнот. Беше студено, но никој не сакаше да замине дома.",
    ],
    ids=["Bulgarian", "Macedonian", "more Macedonian"],
)
def test_cyrillic_capitals_are_not_silently_hebrew(text: str, codec: str) -> None:
    for whole in (text.upper(), text.upper() * 10):
        data = whole.replace("Ј", "J").encode(codec)
        found, doubted = reads(data)
        assert doubted or found == data.decode(codec)


RUSSIAN_CAPITALS = """ИВАНОВ ИВАН
ПЕТРОВА МАРИЯ
КУЗНЕЦОВА ЕЛЕНА
СМИРНОВ ДМИТРИЙ
ВАСИЛЬЕВ СЕРГЕЙ
СОКОЛОВА АННА
НОВИКОВА ТАТЬЯНА
"""
GREEK_CAPITALS = """ΠΑΠΑΔΟΠΟΥΛΟΣ ΓΕΩΡΓΙΟΣ
ΚΩΝΣΤΑΝΤΙΝΟΥ ΜΑΡΙΑ
ΝΙΚΟΛΑΟΥ ΔΗΜΗΤΡΙΟΣ
ΑΘΑΝΑΣΙΟΥ ΕΛΕΝΗ
ΒΑΣΙΛΕΙΟΥ ΑΙΚΑΤΕΡΙΝΗ
ΚΑΡΑΓΙΑΝΝΗΣ ΑΘΑΝΑΣΙΟΣ
"""


@pytest.mark.parametrize(
    ("text", "codecs"),
    [
        (RUSSIAN_CAPITALS, "cp1251 koi8-r cp866 mac-cyrillic iso8859-5 cp855"),
        (GREEK_CAPITALS, "cp1253 iso8859-7 cp737 mac-greek cp869"),
    ],
    ids=["Russian", "Greek"],
)
def test_names_in_capitals_are_read_right(text: str, codecs: str) -> None:
    for codec in codecs.split():
        assert reads(text.encode(codec))[0] == text, codec


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("СОЛНЦЕ\nЛУНА\nЗЕМЛЯ\n", "cp1251"),
        ("ДОБРО ПОЖАЛОВАТЬ", "cp1251"),
        ("ВХОД ВОСПРЕЩЁН", "koi8-r"),
        ("ΘΕΣΣΑΛΟΝΙΚΗ\nΠΑΤΡΑ\nΗΡΑΚΛΕΙΟ\nΛΑΡΙΣΑ\nΒΟΛΟΣ\n", "cp869"),
    ],
)
def test_a_few_words_in_capitals_are_read_right(text: str, codec: str) -> None:
    assert reads(text.encode(codec))[0] == text


@pytest.mark.parametrize("codec", ["cp1253", "iso8859-7"])
def test_greek_capitals_are_never_silently_cyrillic(codec: str) -> None:
    for text in ("ΚΑΛΗΜΕΡΑ ΣΑΣ", "ΕΛΛΗΝΙΚΗ ΔΗΜΟΚΡΑΤΙΑ"):
        found, doubted = reads(text.encode(codec))
        assert doubted or found == text


@pytest.mark.parametrize(("codec", "text"), [("cp1251", RUSSIAN), ("cp1253", GREEK_CAPITALS)])
def test_capitals_alone_raise_no_doubt(codec: str, text: str) -> None:
    for whole in (text.upper() * 2, text.lower().replace("σ\n", "ς\n").replace("σ ", "ς ") * 2):
        assert reads(whole.encode(codec)) == (whole, False)


@pytest.mark.parametrize("codec", ["cp862", "cp1255", "iso8859-8"])
def test_hebrew_is_found_in_either_direction(codec: str) -> None:
    text = "אתמול בערב הלכנו ליער ודיברנו זמן רב. היה שם חושך גמור, אבל האנשים לא פחדו מן הדרך.\n"
    for line in (text, text[::-1]):
        assert reads(line.encode(codec) * 10) == (line * 10, False)


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("לַיְלָה טוֹב אָמְרָה הָאֵם וְהַיְלָדִים נִרְדְּמוּ בְּשֶׁקֶט\n", "cp1255"),
        ("וַיֹּאמֶר הַיֶּלֶד אֶל אָבִיו הִנֵּה הַשֶּׁמֶשׁ עוֹלָה עַל־הֶהָרִים\n", "cp1255"),
        ("ذَهَبَ الْوَلَدُ إِلَى الْمَدْرَسَةِ، وَقَرَأَ كِتَابًا جَدِيدًا فِي الصَّبَاحِ\n", "cp1256"),
    ],
    ids=["points", "maqaf", "harakat"],
)
def test_vowel_points_are_letters_of_their_script(text: str, codec: str) -> None:
    for whole in (text, text * 10):
        assert reads(whole.encode(codec)) == (whole, False)


def test_the_alternatives_in_a_doubt_have_the_answer_of_chardet() -> None:
    from rnntk.corpora.detection import _judged
    from rnntk.corpora.plausibility import ranked

    data = "Über\n".encode("cp1252")
    readings = ranked(data, "text")
    far = readings[-1]
    report = _judged(data, readings, lambda codec: None, "chardet says", vote=far.codec)
    assert f"as {far.codec} " in report.doubt
    assert f'set `encoding="{far.codec}"` or ' in report.doubt


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (
            "大韓民國은民主共和國이다大韓民國의主權은國民에게있고모든權力은國民으로부터나온다",
            "cp949",
        ),
        ("关关雎鸠在河之洲窈窕淑女君子好逑参差荇菜左右流之寤寐求之求之不得辗转反侧", "gb18030"),
        ("佢哋嚟咗香港，唔知點解咁多人。你食咗飯未呀？嗰個細路好得意㗎。", "big5hkscs"),
        ("佢話唔得閒，要喺屋企睇住個細佬。阿媽煲咗湯，叫佢早啲返嚟飲。", "big5hkscs"),
    ],
    ids=["Hanja", "classical", "Cantonese", "more Cantonese"],
)
def test_rare_characters_without_blanks_are_text(text: str, codec: str) -> None:
    for whole in (text, text * 4):
        assert reads(whole.encode(codec)) == (whole, True)


@pytest.mark.parametrize("size", [100, 2_000])
@pytest.mark.parametrize("lowest", [0, 32, 128])
def test_random_bytes_are_refused(size: int, lowest: int) -> None:
    rng = random.Random(f"{size} {lowest}")
    for _ in range(2):
        with pytest.raises(DataError, match="is binary, not text"):
            detect_bytes(bytes(rng.randrange(lowest, 256) for _ in range(size)))


@pytest.mark.parametrize("kind", ["f", "d", "h"])
def test_arrays_of_numbers_are_refused(kind: str) -> None:
    rng = random.Random(1)
    numbers = [rng.gauss(0, 8000) for _ in range(1000)]
    with pytest.raises(DataError, match="is binary, not text"):
        detect_bytes(array(kind, map(int, numbers) if kind == "h" else numbers).tobytes())


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("“Ça va ?” dit-il. L'été à la forêt.\n", "cp1252"),
        ("Él dijo: mañana.\n", "cp1252"),
        ("Все счастливые семьи похожи друг на друга.\n", "cp1251"),
        ("오늘은 날씨가 좋다. 내일은 비가 온다.\n", "cp949"),
        ("今天天气很好，我们去公园散步吧。\n", "gb18030"),
    ],
    ids=["French", "Spanish", "Russian", "Korean", "Chinese"],
)
def test_utf8_joined_with_another_encoding_is_refused(text: str, codec: str) -> None:
    good, other = (text * 20).encode(), (text * 20).encode(codec)
    for data in (good + other, other + good):
        with pytest.raises(UnicodeDecodeError) as python:
            data.decode()
        with pytest.raises(
            EncodingError,
            match=f"mixes encodings: .* at byte {python.value.start:,} is not UTF-8, and other words are not ",
        ):
            detect_bytes(data)
        assert detect_bytes(data, errors="replace").encoding == "utf-8"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("José\0María\0Ángel\0Nuño\0" * 10, "cp1252"),
        ("김철수\0이영희\0박민수\0" * 10, "cp949"),
        ("Straße und Köln, schöne Grüße aus München.\r\n" * 10 + "\0" * 80, "cp1252"),
    ],
    ids=["names", "Korean names", "padded"],
)
def test_the_advice_for_text_with_nul_names_its_encoding(text: str, codec: str) -> None:
    data = text.encode(codec)
    with pytest.raises(DataError, match=rf'NUL bytes.* If it is text, set encoding="{codec}"\.$'):
        detect_bytes(data)
    assert data.decode(detect_bytes(data, encoding=codec).encoding) == text


@pytest.mark.parametrize(
    ("text", "codec"), [(KOREAN, "utf-16"), (KOREAN, "utf-8"), (JAPANESE * 3, "cp932")]
)
def test_a_file_that_ends_inside_a_character_is_called_cut(text: str, codec: str) -> None:
    data = text.rstrip("。.\r\n").encode(codec)[:-1]
    with pytest.raises(EncodingError) as error:
        detect_bytes(data)
    assert f"ends inside a character of {codec}: " in str(error.value)
    assert "If it was cut short, copy it again." in str(error.value)
    assert "for example" not in str(error.value)


def test_the_sample_in_a_doubt_is_the_text_itself() -> None:
    report = detect_bytes("他姓㐂，名叫䶮。\n".encode("gb18030"))
    assert report.encoding == "gb18030"
    assert "As gb18030 it reads '他姓㐂，名叫䶮。'" in report.doubt


@pytest.mark.parametrize("count", [1, 100])
def test_half_width_kana_and_utf7_are_found(count: int) -> None:
    for text, codec in [
        ("ｶﾀｶﾅ ﾃﾞｰﾀ ﾌｧｲﾙ ﾃｽﾄ\n", "cp932"),
        ("안녕하세요. 오늘은 날씨가 좋다.\n", "utf-7"),
    ]:
        assert reads((text * count).encode(codec))[0] == text * count


def test_signs_at_the_end_choose_the_windows_codec() -> None:
    text = WESTERN * 500 + "“L’été”, dit-elle… pour 5 €.\n"
    for codec in (
        "cp1252",
        "iso8859-15",
    ):  # the sign at the end is far from the part examined first
        whole = WESTERN * 500 + ("pour 5 €.\n" if codec != "cp1252" else text[-30:])
        found, doubted = reads(whole.encode(codec))
        assert found == whole or doubted
    assert reads(text.encode("cp1252")) == (text, False)


def test_big5_with_cantonese_at_the_end() -> None:
    text = "今天天氣很好，我們去公園散步吧。\n" * 4000
    data = text.encode("big5") + "嘅咗啲".encode("big5hkscs")
    assert reads(data)[0] == text + "嘅咗啲"


@pytest.mark.parametrize(
    "data",
    [
        b"so happy today \xed\xa0\xbd\xed\xb8\x80 yes\n" * 400,
        b"hello \xed\xa0\xbd\xed\xb8\x80 yes\n",
        "오늘은 날씨가 좋다 ".encode() * 9 + b"\xed\xa0\xbd\xed\xb8\x80\n",
        "naïve café déjà vu ".encode() * 9 + b"\xc0\x80",
    ],
    ids=["many", "one", "Korean", "Java's NUL"],
)
def test_cesu8_and_similar_are_nearly_utf8(data: bytes) -> None:
    with pytest.raises(
        EncodingError, match=r"Nearly all of .* is UTF-8; byte .* begins CESU-8.*Convert"
    ):
        detect_bytes(data)
    assert detect_bytes(data, errors="replace").encoding == "utf-8"


def test_private_use_and_control_characters_raise_doubt() -> None:
    text = "今日は天気がいいので公園へ行きました。\n" * 50
    assert not detect_bytes(text.encode("cp932")).unsure
    assert detect_bytes(text.encode("cp932") + b"\xff end").unsure


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_escaped_surrogate_pairs_are_joined(size: int, file: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", size)
    file.write_bytes(rb"hello \ud83d\ude00 world\n")
    assert text_of(file, detect(file, encoding="unicode_escape")) == "hello 😀 world\n"
    file.write_bytes(rb"hello \ud83d world")
    report = detect(file, encoding="unicode_escape")
    with pytest.raises(EncodingError, match=r"half of a surrogate pair, U\+D83D"):
        text_of(file, report)
    assert text_of(file, report, errors="replace") == "hello \ufffd world"


def test_a_given_encoding_is_trusted_and_strict(file: Path) -> None:
    file.write_bytes(KOREAN.encode("cp949"))
    report = detect(file, encoding="utf8", stated_by="the card")
    assert (report.encoding, report.how) == ("utf-8", "stated by the card")
    with pytest.raises(EncodingError, match=r"as utf-8: bf at byte 0.*encoding.*errors="):
        text_of(file, report)
    assert text_of(file, detect(file, encoding="latin-1")) == KOREAN.encode("cp949").decode(
        "latin-1"
    )


def test_an_error_names_offset_and_bytes_across_chunks(file: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    good = "가나다 abc 라마바".encode("cp949") * 4
    for codec, bad in [("cp949", b"\xc9\x20"), ("utf-8", b"\xe0\x41"), ("ascii", b"\x80")]:
        data = (good if codec == "cp949" else b"abcdefghij" * 5) + bad + b" tail tail"
        file.write_bytes(data)
        with pytest.raises(UnicodeDecodeError) as python:
            data.decode(codec)
        report = detect(file, encoding=codec)
        with pytest.raises(
            EncodingError, match=f": {bad[:1].hex()}.* at byte {python.value.start}\\."
        ):
            text_of(file, report)


@pytest.mark.parametrize("codec", ["utf-8", "cp949", "utf-16-le"])
def test_only_new_replacement_characters_are_counted(codec: str, file: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 5)
    wrong = {"utf-8": b"\xff", "cp949": b"\xff", "utf-16-le": b"\x00\xdc"}[codec]
    own = "" if codec == "cp949" else "\ufffd"
    parts = [
        f"하나{own} ".encode(codec),
        wrong,
        f"둘{own} ".encode(codec),
        wrong,
        "x".encode(codec),
    ]
    file.write_bytes(b"".join(parts))
    report = detect(file, encoding=codec)
    text = text_of(file, report, errors="replace")
    assert text == f"하나{own} \ufffd둘{own} \ufffdx"
    assert report.replaced == 2
    text_of(file, report, errors="replace")
    assert report.replaced == 2


def test_two_texts_read_in_turns_count_separately(file: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1)
    other = file.with_name("other")
    file.write_bytes(b"\xffa\xffb")
    other.write_bytes(b"ab\xff")
    first, second = detect(file, encoding="utf-8"), detect(other, encoding="utf-8")
    for _ in zip(
        iter_text(file, first, errors="replace"),
        iter_text(other, second, errors="replace"),
        strict=False,
    ):
        pass
    assert (first.replaced, second.replaced) == (2, 1)


def test_a_given_utf_encoding_removes_its_mark(file: Path) -> None:
    file.write_bytes("\ufeff가\ufeff".encode())
    assert text_of(file, detect(file, encoding="utf-8")) == "가\ufeff"
    file.write_bytes(b"\xff\xfe" + "가".encode("utf-16-le"))
    assert text_of(file, detect(file, encoding="utf-16-le")) == "가"
    assert text_of(file, detect(file, encoding="UTF-16")) == "가"


@pytest.mark.parametrize("name", ["no-such", "cp494", "rot13", "base64"])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no codec for encoding .{name}."):
        detect_bytes(b"text", encoding=name)
    with pytest.raises(UsageError, match="Did you mean 'cp949'"):
        detect_bytes(b"text", encoding="cp494")


def test_newlines_are_kept_or_normalized_across_chunks(file: Path, monkeypatch) -> None:
    data = b"a\r\nb\rc\n\r\n\rd\r"
    file.write_bytes(data)
    for size in (1, 2, 3, 100):
        monkeypatch.setattr(module, "CHUNK", size)
        report = detect(file)
        assert text_of(file, report) == data.decode()
        assert text_of(file, report, newline="lf") == "a\nb\nc\n\n\nd\n"


def test_detection_does_not_depend_on_chunks(file: Path, monkeypatch) -> None:
    for data in (KOREAN.encode(), KOREAN.encode("cp949"), KOREAN.encode("utf-16-be")):
        file.write_bytes(data)
        whole = detect(file)
        monkeypatch.setattr(module, "CHUNK", 3)
        assert detect(file) == whole
        assert text_of(file, whole) == KOREAN
        monkeypatch.undo()


def test_progress_counts_bytes_on_disk(file: Path) -> None:
    file.write_bytes(b"x" * 3_000_000)
    seen: list[int] = []
    for _ in iter_bytes(file, progress=seen.append):
        pass
    assert seen == sorted(seen)
    assert seen[-1] == 3_000_000


def test_the_report_is_json() -> None:
    import json

    report = detect_bytes(KOREAN.encode("cp949"))
    assert EncodingReport(**json.loads(json.dumps(report.to_json()))) == report


@needs_data
class TestRealFiles:
    data = Path(os.environ.get("RNNTK_DATA", "."))

    @pytest.mark.parametrize("size", [1024, 10_240, None])
    def test_invisible_dragon(self, size: int | None) -> None:
        raw = (self.data / "invisible_dragon/rawtext.txt").read_bytes()[:size]
        report = detect_bytes(raw)
        assert report.encoding == "cp949"

    def test_strict_euc_kr_is_not_enough(self) -> None:
        path = self.data / "invisible_dragon/rawtext.txt"
        with pytest.raises(EncodingError, match=r"as euc_kr: 89 at byte 1,577\."):
            text_of(path, detect(path, encoding="euc-kr"))

    def test_nine_dreams(self) -> None:
        report = detect(self.data / "nine_dreams/rawtext.txt")
        assert (report.encoding, report.trailing_sub) == ("cp949", True)

    def test_linux_kernel(self) -> None:
        path = self.data / "linux_kernel/input.txt"
        report = detect(path)
        assert report.encoding == "utf-8"
        assert len(text_of(path, report)) == 1_708_870
        assert len(text_of(path, detect(path, encoding="latin-1"))) == 1_708_871
