"""Detection on texts in many languages and their usual codecs: no wrong answer without a warning.

The texts in `languages.txt` were written for this. Runs under any chardet, like test_encoding.py. As a program it
compares rnntk with chardet and charset-normalizer:

    python tests/corpora/test_languages.py
"""

from __future__ import annotations

import random
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from rnntk.corpora.encoding import detect
from rnntk.errors import EncodingError

SIZES = (200, 4_000, 400_000)
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "…": "..."})
HORNS = "\u0302\u0306\u031b"  # circumflex, breve, horn: part of letters in cp1258


@cache
def languages() -> dict[str, tuple[list[str], str]]:
    """Codecs and text by language."""
    found: dict[str, tuple[list[str], str]] = {}
    source = Path(__file__).with_name("languages.txt").read_text("utf-8")
    for block in source.split("\n= ")[1:]:
        head, text = block.split("\n", 1)
        name, codecs = head.split(": ")
        found[name] = (codecs.split(), text)
    return found


def encodable(text: str, codec: str) -> str:
    """The text with characters that the codec lacks replaced or removed."""
    if codec == "cp1258":
        parts = []
        for base, marks in re.findall(
            r"(.)([\u0300-\u036f]*)", unicodedata.normalize("NFD", text), re.DOTALL
        ):
            horns = "".join(m for m in marks if m in HORNS)
            letter = unicodedata.normalize("NFC", base + horns)
            parts.append(letter + "".join(m for m in marks if m not in HORNS))
        text = "".join(parts)
    lacking = {c for c in text if c.encode(codec, "ignore") == b""}
    for c in lacking:
        plain = c.translate(PLAIN)
        text = text.replace(c, plain.encode(codec, "ignore").decode(codec))
    return text


def sized(text: str, codec: str, size: int, seed: str) -> str:
    """About `size` bytes of the text from a sentence on, then of its words in other orders."""
    rng = random.Random(seed)
    sentences = re.split(r"(?<=[.!?。！？])[ \n]*|\n", text)
    first = rng.randrange(len(sentences) - 1)
    spaced = " " in text
    made = [(" " if spaced else "").join(sentences[first:] + sentences[:first])]
    length = len(made[0].encode(codec))
    words = re.findall(r"\S+" if spaced else r"[^，。、「」\s]+", text)
    while length < size:
        rng.shuffle(words)
        made.append("\n" + (" " if spaced else "，").join(words))
        length += len(made[-1].encode(codec))
    whole = "".join(made)
    low, high = 0, len(whole)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if len(whole[:middle].encode(codec)) <= size else (low, middle - 1)
        )
    return whole[:low]


def cases(size: int) -> Iterator[tuple[str, str, str]]:
    """Language, codec and text; only a third of them at the largest size."""
    for number, (language, (codecs, text)) in enumerate(languages().items()):
        for place, codec in enumerate(codecs):
            if size < 100_000 or (number + place) % 3 == 0:
                yield (
                    language,
                    codec,
                    sized(encodable(text, codec), codec, size, f"{language} {codec} {size}"),
                )


def outcome(data: bytes, text: str, find: Callable[[bytes], tuple[str | None, bool]]) -> str:
    try:
        codec, warned = find(data)
        right = codec is not None and data.decode(codec) == text
    except (EncodingError, UnicodeError, LookupError):
        return "refused"
    return ("right" if right else "wrong") + (", warned" if warned else "")


def by_rnntk(data: bytes) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(data)
        report = detect(path)
    return report.encoding, report.unsure


@pytest.mark.parametrize("size", SIZES)
def test_a_wrong_encoding_is_never_silent(size: int) -> None:
    found = Counter()
    silent = []
    for language, codec, text in cases(size):
        result = outcome(text.encode(codec), text, by_rnntk)
        found[result] += 1
        if result in ("wrong", "refused"):
            silent.append((language, codec))
    assert not silent
    assert len(languages()) >= 20
    # 200 bytes of English in a DOS or Macintosh codec have only one or two that are not ASCII.
    assert found["right"] >= (0.85 if size == 200 else 0.95) * found.total()
    assert found["wrong, warned"] <= (0.03 if size == 200 else 0) * found.total()


@pytest.mark.parametrize("language", ["Russian", "Ukrainian", "Bulgarian", "Greek"])
def test_the_case_of_letters_never_misleads(language: str) -> None:
    codecs, text = languages()[language]
    for codec in codecs:
        for change in (str.upper, str.lower):
            changed = encodable(change(text), codec)
            assert outcome(changed.encode(codec), changed, by_rnntk) != "wrong", codec


def main() -> None:
    import chardet
    import charset_normalizer

    def by_chardet(data: bytes) -> tuple[str | None, bool]:
        return chardet.detect(data)["encoding"], False

    def by_normalizer(data: bytes) -> tuple[str | None, bool]:
        best = charset_normalizer.from_bytes(data).best()
        return (best.encoding if best else None), False

    ways = {
        "rnntk": by_rnntk,
        f"chardet {chardet.__version__}": by_chardet,
        f"charset-normalizer {charset_normalizer.__version__}": by_normalizer,
    }
    for size in SIZES:
        for name, find in ways.items():
            found = Counter(
                outcome(text.encode(codec), text, find) for _, codec, text in cases(size)
            )
            print(size, name, dict(found))


if __name__ == "__main__":
    main()
