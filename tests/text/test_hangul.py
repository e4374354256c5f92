"""Hangul as jamo: tables of rules, properties, golden files, and hgtk for comparison."""

import os
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import hgtk
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rnntk.text.hangul import JAMO, MARKER, Hangul, HangulSlides, Recomposer, recompose

needs_data = pytest.mark.skipif(
    not os.environ.get("RNNTK_DATA"), reason="needs RNNTK_DATA: the folder of the real corpora"
)
hangul, slides = Hangul(), HangulSlides()

SYLLABLE = st.integers(0xAC00, 0xD7A3).map(chr)
CONJOINING = st.integers(0x1100, 0x11FF).map(chr)
ANY = st.characters()  # astral characters and lone surrogates too
CHARACTER = st.one_of(
    SYLLABLE,
    st.sampled_from(JAMO),
    st.sampled_from([MARKER, "\r\n", "\0", "\u3164", "ㆍ", "漢", "😀", "가", "각"]),
    CONJOINING,
    ANY,
)
TEXT = st.lists(CHARACTER, max_size=40).map("".join)
STREAM = st.one_of(
    st.text(st.sampled_from(JAMO + MARKER * 9), max_size=40),
    st.text(st.sampled_from(f"ㄱㄴㄳㄸㅏㅗ{MARKER}{MARKER}a"), max_size=40),
    TEXT,
)
CUTS = st.lists(st.integers(0, 40), max_size=6)


def cut(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


ENCODED = [
    ("각시", "ㄱㅏㄱᴥㅅㅣᴥ"),
    ("가ㄱ시", "ㄱㅏᴥㄱᴥㅅㅣᴥ"),
    ("ㅋㅋㅋㅏ", "ㅋᴥㅋᴥㅋᴥㅏᴥ"),
    ("ㄱㅏ", "ㄱᴥㅏᴥ"),
    ("값이", "ㄱㅏㅄᴥㅇㅣᴥ"),
    ("과외", "ㄱㅘᴥㅇㅚᴥ"),
    ("ㄳ", "ㄳᴥ"),
    ("ᴥ", "ᴥᴥ"),
    ("가ᴥ", "ㄱㅏᴥᴥᴥ"),
    ("ㄱᴥ", "ㄱᴥᴥᴥ"),
    ("각\u11a8", "ㄱㅏㄱᴥ\u11a8"),
    *((same, same) for same in ["\u1112\u1161\u11ab", "😀", "漢", "\u3164", "ㆍ", "\r\n", "\0"]),
]
NOISY = [
    ("ㄱㅏ", "가"),
    ("ㄱㅏㄴ", "간"),
    ("ㄱㅏㄴㅏᴥ", "가나"),
    ("ㄱㅏㄴㄱㅏᴥ", "간가"),
    ("ㅋㅋㅋㅏᴥ", "ㅋㅋ카"),
    ("ㄱㅏㄱㅅᴥ", "각ㅅ"),
    ("ㄱㅗㅏㄴᴥ", "고ㅏㄴ"),
    ("ㄸㅏㄸᴥ", "따ㄸ"),
    ("ㄱᴥㅏᴥ", "ㄱㅏ"),
    ("ㅏᴥᴥᴥ", "ㅏᴥ"),
    ("ᴥ", ""),
    ("aᴥb", "ab"),
    # A cluster cannot begin a syllable.
    ("ㄱㅏㄳㅏᴥ", "갃ㅏ"),
    # A run of k markers holds k // 2 literal ones, whatever comes before.
    ("ㄱㅏᴥᴥ", "가ᴥ"),
    ("aᴥᴥᴥᴥᴥb", "aᴥᴥb"),
]


@pytest.mark.parametrize(("text", "symbols"), ENCODED)
def test_texts_and_their_symbols(text: str, symbols: str) -> None:
    assert hangul.encode(text) == symbols
    assert hangul.decode(symbols) == text


@pytest.mark.parametrize(("symbols", "text"), NOISY)
def test_odd_symbols_and_their_texts(symbols: str, text: str) -> None:
    assert hangul.decode(symbols) == text


def test_every_syllable_and_jamo_matches_unicode() -> None:
    for code in range(0xAC00, 0xD7A4):
        conjoining = unicodedata.normalize("NFD", chr(code))
        names = [unicodedata.name(c).split()[-1] for c in conjoining]
        symbols = hangul.encode(chr(code))
        assert symbols[-1] == MARKER
        assert [unicodedata.name(c).split()[-1] for c in symbols[:-1]] == names
        assert hangul.decode(symbols) == chr(code)


def test_help_does_not_build_the_tables() -> None:
    code = (
        "import sys; from rnntk.cli.main import group; group(['--help'], standalone_mode=False); "
        "sys.exit('hangul_jamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@given(TEXT)
@example("ㄱᴥㅏ가ᴥᴥ각ㄱㅏ")
def test_texts_round_trip(text: str) -> None:
    assert hangul.decode(hangul.encode(text)) == text


@given(TEXT)
def test_hgtk_agrees_except_for_the_escape(text: str) -> None:
    text = text.replace(MARKER, "")
    assert hangul.encode(text) == hgtk.text.decompose(text, latin_filter=False)


@given(STREAM, CUTS)
@example("ㄱㅏᴥᴥᴥ", [3, 4])
@example("ㄱㅏㄴㅏ", [1, 2, 3])
@example("ᴥᴥㄱᴥ", [1])
def test_streaming_decode_equals_whole_decode(symbols: str, cuts: list[int]) -> None:
    for codec in (hangul, slides):
        whole = codec.decode(symbols)
        decoder = codec.decoder()
        said = ""
        for part in cut(symbols, cuts):
            said += decoder.feed(part)
            assert whole.startswith(said)
        assert said + decoder.flush() == whole


@given(STREAM, STREAM)
def test_decoded_text_never_changes_later(begun: str, rest: str) -> None:
    for codec in (hangul, slides):
        decoder = codec.decoder()
        assert codec.decode(begun + rest).startswith(decoder.feed(begun))


@given(STREAM)
def test_a_decoder_holds_back_three_symbols_at_most(symbols: str) -> None:
    decoder = hangul.decoder()
    decoder.feed(symbols)
    assert len(decoder.flush()) <= 2


@given(STREAM, STREAM)
def test_a_flushed_decoder_starts_over(first: str, second: str) -> None:
    for codec in (hangul, slides):
        decoder = codec.decoder()
        decoder.feed(first)
        decoder.flush()
        assert decoder.feed(second) + decoder.flush() == codec.decode(second)


@given(TEXT, CUTS)
def test_encoding_in_pieces_equals_encoding_the_whole(text: str, cuts: list[int]) -> None:
    for codec in (hangul, slides):
        assert "".join(map(codec.encode, cut(text, cuts))) == codec.encode(text)


class TestSlides:
    @pytest.mark.parametrize(
        ("text", "symbols"),
        [
            ("각 é\r\n", "ㄱㅏㄱᴥ é\r\n"),
            ("漢…“”●😀ᴥ\u0100\u1112", ""),
            ("ㅎ", "ㄱㅛㄶᴥ"),
            ("ㅋ", "ㄱㅛㄳᴥ"),
            ("ㅏ", "ㄱㅛㄷᴥ"),
            ("ㅈ", "ㄱㅛᴥ"),
        ],
    )
    def test_rules_of_the_slides(self, text: str, symbols: str) -> None:
        assert slides.encode(text) == symbols

    @given(st.lists(SYLLABLE | st.characters(max_codepoint=0xFF), max_size=40).map("".join))
    def test_kept_characters_round_trip(self, text: str) -> None:
        assert slides.decode(slides.encode(text)) == text

    @given(TEXT)
    def test_only_lone_jamo_and_dropped_characters_differ(self, text: str) -> None:
        same = "".join(c for c in text if c <= "\xff" or "가" <= c <= "힣")
        assert slides.encode(same) == hangul.encode(same)


class TestRecompose:
    @pytest.mark.parametrize(
        ("text", "composed"),
        [
            ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),
            ("\u1100\u1161", "가"),
            ("각\u11a8", "각\u11a8"),
            ("가\u11a8", "각"),  # as in NFD, except for its initial and vowel
            ("\u1100\u1100\u1161\u1161", "\u1100가\u1161"),
            ("\u1100\u1161\u11a7", "가\u11a7"),
            ("\u1113\u1161", "\u1113\u1161"),
            ("\u1100\u1161\u11c3", "가\u11c3"),
            ("ㄱㅏ e\u0301 \uf900", "ㄱㅏ e\u0301 \uf900"),
        ],
    )
    def test_only_runs_of_conjoining_jamo_are_composed(self, text: str, composed: str) -> None:
        assert recompose(text) == composed

    @given(st.lists(SYLLABLE, max_size=20).map("".join))
    def test_nfd_is_undone(self, text: str) -> None:
        assert recompose(unicodedata.normalize("NFD", text)) == text

    @given(st.text(st.sampled_from("\u1100\u1112\u1161\u1175\u11a8\u11c2가a"), max_size=30), CUTS)
    def test_recomposing_pieces_equals_recomposing_the_whole(
        self, text: str, cuts: list[int]
    ) -> None:
        recomposer = Recomposer()
        said = "".join(recomposer.feed(part) for part in cut(text, cuts))
        assert said + recomposer.flush() == recompose(text)


@needs_data
class TestGoldenFiles:
    data = Path(os.environ.get("RNNTK_DATA", "."))

    @property
    def dragon(self) -> str:
        return (self.data / "invisible_dragon/rawtext.txt").read_bytes().decode("cp949")

    def test_hangul_slides_matches_the_slides_byte_for_byte(self) -> None:
        symbols = slides.encode(self.dragon)
        expected = (self.data / "invisible_dragon/expected_input.txt").read_bytes()
        assert symbols.encode() == expected
        assert (len(expected), len(symbols), len(set(symbols))) == (173_854, 65_814, 84)

    def test_counts_of_the_lossless_encoding(self) -> None:
        symbols = hangul.encode(self.dragon)
        counts = len(symbols), len(symbols.encode()), len(set(symbols))
        assert counts == (65_362, 172_498, 87)
        assert hangul.decode(symbols) == self.dragon

    def test_the_difference_to_the_text_is_lone_jamo_and_dropped_symbols(self) -> None:
        lone = sum(c in JAMO for c in self.dragon)
        dropped = sum(slides.encode(c) == "" for c in self.dragon)
        assert (lone, dropped) == (229, 6)

    def test_nine_dreams(self) -> None:
        text = (self.data / "nine_dreams/rawtext.txt").read_bytes().decode("cp949")
        assert hangul.decode(hangul.encode(text)) == text
        assert text.endswith("\x1a")
        # hgtk is slow: only a part.
        assert hangul.encode(text[-9_000:]) == hgtk.text.decompose(
            text[-9_000:], latin_filter=False
        )
