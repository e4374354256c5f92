"""`rnntk train PATH` on the user's text: the chosen settings, and files that are not plain text."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rnntk.corpora import demo_ko

LINES = [
    "the river runs along to the sea",
    "oh hold on, my love",
    "we were young — and free",
    "na na na",
]


def lyrics(size: int, ending: str = "\n") -> str:
    rng = random.Random(3)
    text = ""
    while len(text) < size:
        text += " ".join(rng.sample(rng.choice(LINES).split(), 3)) + ending
    return text[: size - len(ending)] + ending


def names(size: int) -> str:
    rng = random.Random(4)
    parts = ["an", "be", "ri", "mar", "to", "lo", "el", "sa", "vi", "ka"]
    return "".join("".join(rng.choices(parts, k=3)).title() + "\n" for _ in range(size))[:size]


def chosen(rnntk: Any, run: str) -> dict[str, Any]:
    """The chosen settings of a run; `runs show` prints each."""
    shown = rnntk("runs", "show", run).stdout
    found = json.loads(rnntk("runs", "show", run, "--json").stdout)["corpus_record"]["chosen"]
    for name, one in found.items():
        line = next(x for x in shown.splitlines() if x.startswith("chosen ") and one["why"] in x)
        assert f"{name.replace('_', ' ')} {one['value']}" in line
    return {name: one["value"] for name, one in found.items()}


def test_three_kilobytes_of_lyrics(rnntk, here: Path) -> None:
    (here / "song.txt").write_text(lyrics(3_000), "utf-8")
    result = rnntk("train", "song.txt", "--max-steps", 3)
    assert result.exit_code == 0, result.output
    told = "Chosen for 3,000 characters: 256 units, batch size 4, sequence length 64, 101 epochs, no validation"
    assert f"{told} (rnntk runs show RUN tells why).\n" in result.stderr
    found = chosen(rnntk, "runs/song-1")
    assert (found["layers"], found["checkpoint_every"], found["preprocessor"]) == (1, 10, "plain")


def test_twenty_kilobytes_of_names(rnntk, here: Path) -> None:
    (here / "names.txt").write_text(names(20_000), "utf-8")
    result = rnntk("train", "names.txt", "--max-steps", 2)
    assert result.exit_code == 0, result.output
    assert "batch size 16, sequence length 64, 62 epochs, 5 % validation (" in result.stderr
    found = chosen(rnntk, "runs/names-1")
    assert (found["epochs"], found["val_fraction"], found["dropout"]) == (62, 0.05, 0.7)


def test_a_megabyte_of_english_from_windows(rnntk, here: Path) -> None:
    text = lyrics(1_000_000, "\r\n")
    (here / "novel.txt").write_bytes(text.encode("cp1252"))
    result = rnntk("train", "novel.txt", "--max-steps", 1, "-q")
    assert result.exit_code == 0, result.output
    found = chosen(rnntk, "runs/novel-1")
    assert (found["layers"], found["units"], found["newline"]) == (2, 128, "lf")
    assert (found["batch_size"], found["seq_length"], found["val_fraction"]) == (50, 100, 0.05)
    vocabulary = json.loads((here / "runs/novel-1/vocabulary.json").read_text())["symbols"]
    assert {"\n", "—"} <= set(vocabulary)
    assert "\r" not in vocabulary


def test_korean_from_windows(rnntk, here: Path) -> None:
    text = demo_ko.make(seed=1, size=60_000)
    data = text.encode("cp949", "ignore")
    (here / "소설.txt").write_bytes(data * (900_000 // len(data)))
    result = rnntk("train", "소설.txt", "--max-steps", 1)
    assert result.exit_code == 0, result.output
    assert "preprocessor hangul, 5 % validation" in result.stderr
    found = chosen(rnntk, "runs/소설-1")
    assert (found["preprocessor"], found["newline"], found["units"]) == ("hangul", "lf", 128)
    vocabulary = json.loads((here / "runs/소설-1/vocabulary.json").read_text())["symbols"]
    assert "ㅏ" in vocabulary
    assert "가" not in vocabulary
    plain = rnntk("prep", "소설.txt", "--preprocessor", "plain", "--json")
    assert json.loads(plain.stdout)["corpus"]["preprocessor"] == "plain"


def zipped(parts: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


WORD = (
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    + "<w:p><w:r><w:t>From a letter in Word.</w:t></w:r></w:p>" * 40
    + "</w:body></w:document>"
)
OPEN = (
    '<o:document-content xmlns:o="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
    + "<text:p>An open document.</text:p>" * 40
    + "</o:document-content>"
)
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="c.xhtml"/></manifest>'
    '<spine><itemref idref="c"/></spine></package>'
)
BOOK = {
    "META-INF/container.xml": '<container><rootfile full-path="p.opf"/></container>',
    "p.opf": PACKAGE,
    "c.xhtml": "<p>A chapter.</p>" * 40,
}
ODT_TYPE = "application/vnd.oasis.opendocument.text"


def mixed(folder: Path) -> None:
    """A folder with mixed files."""
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.docx").write_bytes(zipped({"word/document.xml": WORD}))
    (folder / "b.odt").write_bytes(zipped({"mimetype": ODT_TYPE, "content.xml": OPEN}))
    (folder / "deep" / "c.epub").write_bytes(zipped(BOOK))
    (folder / "deep" / "d.html").write_text(
        "<!doctype html><nav>Menu</nav>" + "<p>A page of the web.</p>" * 40
    )
    (folder / "e.TXT").write_text("plain lines\n" * 40)
    for name in ("scan.pdf", "x.pdf", "cat.JPG", "README", "~$a.docx", ".hidden/f.txt", "._e.txt"):
        (folder / name).write_bytes(b"%PDF-1.4 \x00\xff")


def test_a_folder_of_mixed_files(rnntk, here: Path) -> None:
    mixed(here / "texts")
    result = rnntk("train", "texts/", "--max-steps", 1)
    assert result.exit_code == 0, result.output
    assert "Left out of texts/: 2 pdf, 1 jpg, 1 without an ending. Choose" in " ".join(
        result.stderr.split()
    )
    assert chosen(rnntk, "runs/texts-1")["newline"] == "lf"
    record = json.loads(rnntk("runs", "show", "--json").stdout)["corpus_record"]
    read = {Path(one["name"]).name: one["how"] for one in record["facts"]["sources"]}
    assert read == {
        "a.docx": "the text of a Word document",
        "b.odt": "the text of an OpenDocument text",
        "c.epub": "the text of an EPUB book",
        "d.html": "the text of an HTML page",
        "e.TXT": "pure ASCII",
    }
    vocabulary = json.loads((here / "runs/texts-1/vocabulary.json").read_text())["symbols"]
    assert not set("<>%M") & set(vocabulary)
    again = rnntk("train", "--resume", "--max-steps", 2)
    assert again.exit_code == 0, again.output
    (here / "texts" / "a.docx").unlink()
    changed = rnntk("train", "--resume", "--max-steps", 3)
    assert changed.exit_code == 1
    assert "The text has changed" in changed.stderr
    only = json.loads(rnntk("prep", "texts", "--glob", "*.TXT", "--json").stdout)
    assert [Path(one["name"]).name for one in only["corpus"]["facts"]["sources"]] == ["e.TXT"]
    by_pattern = rnntk("prep", "texts", "--glob", "*.pdf")
    assert (
        "scan.pdf is a PDF, not text. Save it as plain text (in Word: Save As" in by_pattern.stderr
    )


@pytest.mark.parametrize("name", ["a.docx", "deep/c.epub", "deep/d.html"])
def test_a_document_on_standard_input(rnntk, here: Path, name: str) -> None:
    mixed(here / "texts")
    data = (here / "texts" / name).read_bytes()
    result = rnntk("prep", "-", "--markup", "text", "--json", stdin=data)
    assert result.exit_code == 0, result.output
    (piped,) = json.loads(result.stdout)["corpus"]["facts"]["sources"]
    (named,) = json.loads(rnntk("prep", f"texts/{name}", "--json").stdout)["corpus"]["facts"][
        "sources"
    ]
    assert piped["sha256"] == named["sha256"]
    assert piped["how"] == named["how"]


def test_html_and_rtf_can_be_read_as_source(rnntk, here: Path) -> None:
    (here / "a.html").write_text("<p>text</p>\n" * 40)
    (here / "a.rtf").write_text("{\\rtf1 text}\n" * 40)
    for name, sign in (("a.html", "<"), ("a.rtf", "{")):
        result = rnntk("prep", name, "--markup", "keep", "--output", f"{name}.d")
        assert result.exit_code == 0, result.output
        assert sign in json.loads((here / f"{name}.d/vocabulary.json").read_text())["symbols"]
    refused = rnntk("train", "a.rtf")
    assert refused.exit_code == 1
    assert "a.rtf is RTF. Save it as plain text" in refused.stderr


def test_an_old_run_on_html_keeps_reading_the_source(rnntk, untrained, here: Path) -> None:
    """Its `run.json` has no `markup`, and its text is the HTML source."""
    (here / "a.html").write_text("<p>text</p>\r\n" * 40)
    path = untrained("r", val=0.5, input=("a.html",), glob="*.txt")
    record = json.loads((path / "run.json").read_text())
    del record["settings"]["markup"]
    (path / "run.json").write_text(json.dumps(record))
    result = rnntk("eval", "r", "--no-baselines")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"%PDF-1.7\n", "is a PDF, not text. Save it as plain text (in Word: Save As, Plain Text (.txt); or: pdf"),
        (b"{\\rtf1\\ansi x}", "is RTF. Save it as plain text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Office file of the old kind (.doc, .xls, .ppt), or one with a"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG image, not text. Give a text file."),
        (b"GIF89a\0", "is a GIF image, not text."),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive, not text. Unpack it first: 7z x my file"),
        (b"Book".ljust(60, b"\0") + b"BOOKMOBI", "is a Kindle book (.mobi, .azw3), not text. Convert it to EPUB"),
        (b"HWP Document File V3.00 \x1a\1", "is a Hancom document, not text. Save it as plain text (in Hancom Off"),
        (b"PK\x03\x04 cut", "is a ZIP archive, but damaged"),
    ],
    ids=lambda value: repr(value)[:12],
)  # fmt: skip
def test_files_that_are_not_text_are_refused(rnntk, here: Path, head: bytes, told: str) -> None:
    (here / "my file").write_bytes(head + b"\0\1" * 200)
    for words, stdin in ((["my file"], None), (["-"], head + b"\0\1" * 200)):
        result = rnntk("train", *words, stdin=stdin)
        assert result.exit_code == 1, result.output
        line = " ".join(result.stderr.split()).replace("'", "")
        told_of_it = told if stdin is None else told.replace("my file", "FILE")
        assert told_of_it in line, line
        assert "Error: " + ("standard input is" if stdin else "my file is") in line


def test_paths_need_no_option(rnntk, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (here / name).write_text(f"text {name}\n" * 40)

    def read(*words: str) -> list[str]:
        result = rnntk("prep", *words, "--json")
        assert result.exit_code == 0, result.output
        return [one["name"] for one in json.loads(result.stdout)["corpus"]["facts"]["sources"]]

    assert read("a.txt", "b.txt") == ["a.txt", "b.txt"]
    assert read("b.txt", "--input", "c.txt", "a.txt") == ["c.txt", "b.txt", "a.txt"]
    monkeypatch.setenv("RNNTK_INPUT", "c.txt")
    assert read("a.txt") == ["a.txt"], "paths on the command line win over the environment"
    monkeypatch.delenv("RNNTK_INPUT")
    result = rnntk("prep", "a.txt", "b.txt", "--normalize")
    assert result.stderr.endswith("Train on it: rnntk train a.txt b.txt --normalize\n")
    result = rnntk("prep", "a.txt", "--corpus", "demo_ko")
    assert result.exit_code == 2
    assert "Give --corpus or --input, not both." in result.stderr


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("linux_kernel", "There is no file linux_kernel. For the corpus, use --corpus linux_kernel."),
        ("novle.txt", "There is no file novle.txt. Did you mean 'novel.txt'?"),
        ("nothing", "There is no file nothing. Check the path."),
        ("texts/*.tex", "texts/*.tex. Name the files, or give their folder and a pattern: texts with --glob '*.tex'"),
        ("r", "r is a run, not a text. Continue it with --resume, or train on r/samples.txt."),
        ("empty", "empty (1 py) has no file ending in .txt, .text, .md, .docx,"),
        ("tiny.txt", "The text has 14 symbols and needs 100, better a few thousand."),
    ],
)  # fmt: skip
def test_a_word_that_is_not_a_path_is_refused(rnntk, here: Path, word: str, told: str) -> None:
    (here / "novel.txt").write_text("a")
    (here / "tiny.txt").write_text("a short text.\n")
    for folder, file in (("r", "run.json"), ("empty", "a.py")):
        (here / folder).mkdir()
        (here / folder / file).write_text("{}")
    result = rnntk("train", word)
    assert result.exit_code == 1, result.output
    assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["train", "prep"])
def test_an_empty_word_is_not_the_current_folder(rnntk, here: Path, command: str) -> None:
    (here / "novel.txt").write_text("a line\n" * 40)
    for words in ([""], ["novel.txt", ""], ["--input", ""]):
        result = rnntk(command, *words)
        assert result.exit_code == 2, result.output
        assert "A name in --input is empty. Name a file or folder." in result.stderr


def test_resume_takes_a_moved_text_but_not_another(rnntk, trained: Path, here: Path) -> None:
    (here / "tiny.txt").rename(here / "moved.txt")
    (here / "other.txt").write_text("something else\n" * 100)
    result = rnntk("train", "other.txt", "--resume", "r", "--max-steps", 5)
    assert result.exit_code == 1
    assert "The vocabulary of other.txt is not that of r." in result.stderr
    result = rnntk("train", "moved.txt", "--resume", "r", "--max-steps", 5)
    assert result.exit_code == 0, result.output


def test_given_settings_stay_and_the_others_adapt(rnntk, here: Path) -> None:
    (here / "song.txt").write_text(lyrics(3_000) + "\r\n", "utf-8", newline="")
    (here / "c.toml").write_text("[train]\nunits = 16\ndropout = 0.5\n")
    words = ["--config", "c.toml", "--batch-size", 40, "--newline", "keep"]
    result = rnntk("train", "song.txt", *words, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["chosen"]
    assert not {"units", "dropout", "batch_size", "newline"} & set(found)
    assert found["seq_length"] == {"value": 16, "why": "so that the text makes 4 batches"}
    told = rnntk("train", "song.txt", *words, "--dry-run")
    assert "chosen        seq length 16: so that the text makes 4 batches\n" in told.stdout
    assert "Chosen for 3,002 characters: sequence length 16, " in told.stderr


def test_init_from_keeps_the_model_of_its_run(rnntk, trained: Path, here: Path) -> None:
    (here / "new.txt").write_text(lyrics(3_000), "utf-8")
    result = rnntk("train", "new.txt", "--init-from", "r", "--run", "s", "--max-steps", 1)
    assert result.exit_code == 0, result.output
    found = chosen(rnntk, "s")
    assert not {"units", "layers", "embedding", "preprocessor"} & set(found)
    assert found["batch_size"] == 4
    assert json.loads((here / "s/run.json").read_text())["model"]["units"] == 8


def test_a_corpus_with_a_card_keeps_its_settings(rnntk, here: Path) -> None:
    result = rnntk("train", "--corpus", "demo_ko", "--run", "k", "--max-steps", 1)
    assert result.exit_code == 0, result.output
    assert "Chosen" not in result.stderr
    record = json.loads((here / "k/run.json").read_text())
    assert (record["settings"]["newline"], record["settings"]["markup"]) == ("keep", "keep")
    assert "chosen" not in record["corpus"]


def test_odd_reasons_in_a_strangers_run_are_refused_or_escaped(rnntk, trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    for wrong in ([], {"units": 3}, {"units": {"value": 8}}, {"units": {"value": 8, "why": 1}}):
        record["corpus"]["chosen"] = wrong
        (trained / "run.json").write_text(json.dumps(record))
        result = rnntk("runs", "show", "r")
        assert result.exit_code == 1
        assert "r is damaged: run.json cannot be read: corpus.chosen" in result.stderr
    record["corpus"]["chosen"] = {"units": {"value": 8, "why": "\x1b[31mred"}}
    (trained / "run.json").write_text(json.dumps(record))
    assert "chosen        units 8: \\x1b[31mred\n" in rnntk("runs", "show", "r").stdout


def test_init_from_an_old_run_adds_no_layer_norm(rnntk, untrained, here: Path) -> None:
    """A setting missing in the old `run.json` is not chosen for the new text."""
    (here / "a.txt").write_text(lyrics(3_000), "utf-8")
    untrained("r", input=("a.txt",))
    result = rnntk("train", "a.txt", "--init-from", "r", "--run", "s", "--max-steps", 1)
    assert result.exit_code == 0, result.output
    assert json.loads((here / "s/run.json").read_text())["model"]["layer_norm"] is False
