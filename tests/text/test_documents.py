"""Generated documents: Word, OpenDocument, EPUB, HTML, and other files."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rnntk.config import TextConfig
from rnntk.errors import DataError
from rnntk.text import documents

WORD = (
    '<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:v="urn:schemas-microsoft-com:vml"'
    ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"><w:body>{}</w:body></w:document>'
)
OPEN = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    ' xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"><office:body><office:text>{}'
    "</office:text></office:body></office:document-content>"
)


def zipped(**parts: str | bytes) -> bytes:
    """An archive; `__` in a name is a slash, `_x_` a dot."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_x_", "."), content)
    return data.getvalue()


def docx(body: str) -> bytes:
    return zipped(
        **{"[Content_Types]_x_xml": "<Types/>", "word__document_x_xml": WORD.format(body)}
    )


def odt(body: str) -> bytes:
    mimetype = "application/vnd.oasis.opendocument.text"
    return zipped(mimetype=mimetype, content_x_xml=OPEN.format(body))


def epub(
    chapters: Mapping[str, str | bytes], spine: str, *, more: str = "", **parts: str | bytes
) -> bytes:
    """A book; `more` items for the list of files, and parts of the archive."""
    items = more + "".join(f'<item id="{n}" href="t/{n}.xhtml"/>' for n in chapters)
    refs = "".join(f'<itemref idref="{n}"/>' for n in spine.split())
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}'
        '<item id="nav" href="nav.xhtml" properties="nav"/></manifest>'
        f'<spine><itemref idref="nav"/>{refs}</spine></package>'
    )
    return zipped(
        mimetype="application/epub+zip",
        **{"META-INF__container_x_xml": '<container><rootfile full-path="o/p.opf"/></container>'},
        o__p_x_opf=package,
        o__nav_x_xhtml="<html><body>Contents</body></html>",
        **{f"o__t__{name}_x_xhtml": page for name, page in chapters.items()},
        **parts,
    )


def read(tmp_path: Path, data: bytes, name: str = "a.x", **settings: str) -> tuple[str, str | None]:
    """The text of a document, and its kind."""
    path, to = tmp_path / name, tmp_path / "to"
    path.write_bytes(data)
    config = TextConfig(**{"markup": "text", **settings})  # type: ignore[arg-type]
    kind = documents.extract(path, name, config, to)
    return (to.read_text("utf-8") if kind else ""), kind


def test_word_is_read(tmp_path: Path) -> None:
    body = (
        '<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>One </w:t></w:r><w:r><w:t>line</w:t></w:r>'
        "</w:p><w:p/><w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>&lt;c&gt; é</w:t></w:r>"
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>"
        "<mc:AlternateContent><mc:Fallback><w:t>twice</w:t></mc:Fallback></mc:AlternateContent></w:p>"
    )
    assert read(tmp_path, docx(body)) == ("One line\n\na\tb\n<c> é\n", "a Word document")


def test_open_document_is_read(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h>Title</text:h>"
        '<text:p>two<text:s text:c="2"/>blanks<text:note><text:p>foot</text:p></text:note>'
        "<text:tab/><text:span>x</text:span><text:line-break/>y</text:p>\n<text:list><text:p>item</text:p></text:list>"
    )
    expected = "Title\ntwo  blanks\tx\ny\nitem\n"
    assert read(tmp_path, odt(body)) == (expected, "an OpenDocument text")
    body = "<text:p>\n  One <text:span> line\n</text:span>\t&lt; <text:s/>x</text:p>"
    assert read(tmp_path, odt(body))[0] == "One line <  x\n"


W = '<w:r><w:t xml:space="preserve">{}</w:t></w:r>'
BOX = "<w:txbxContent><w:p><w:r><w:t>In a</w:t></w:r></w:p><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent>"


@pytest.mark.parametrize(
    "box",
    [
        f"<w:pict><v:textbox>{BOX}</v:textbox></w:pict>",
        f"<w:drawing><wps:txbx>{BOX}</wps:txbx></w:drawing>",
        f"<mc:AlternateContent><mc:Choice><w:drawing><wps:txbx>{BOX}</wps:txbx></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:textbox>{BOX}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent>",
    ],
    ids=["VML", "DrawingML", "both"],
)
def test_text_boxes_follow_their_paragraph_in_word(tmp_path: Path, box: str) -> None:
    anchored = f"{W.format('It was ')}<w:r>{box}</w:r>{W.format('closed.')}"
    text = read(tmp_path, docx(f"<w:p>{anchored}</w:p><w:p>{W.format('Next.')}</w:p>"))[0]
    assert text == "It was closed.\nIn a\nbox\nNext.\n"


def test_text_boxes_follow_their_paragraph_in_open_document(tmp_path: Path) -> None:
    box = "<draw:frame><draw:text-box><text:p>In {}a box</text:p></draw:text-box></draw:frame>"
    inner = box.format("").replace("In a", "Inner")
    shape = "<draw:custom-shape><text:p>A shape</text:p></draw:custom-shape>"
    body = f"<text:p>It was {box.format(inner)}clo{shape}sed.</text:p><text:p>Next.</text:p>{shape}"
    expected = "It was closed.\nIn a box\nInner box\nA shape\nNext.\nA shape\n"
    assert read(tmp_path, odt(body))[0] == expected


def test_readings_of_ruby_are_left_out(tmp_path: Path) -> None:
    ruby = f"<w:rt>{W.format('とうきょう')}</w:rt><w:rubyBase>{W.format('東京')}</w:rubyBase>"
    body = f"<w:p>{W.format('私は')}<w:r><w:ruby>{ruby}</w:ruby></w:r>{W.format('に行く。')}</w:p>"
    assert read(tmp_path, docx(body))[0] == "私は東京に行く。\n"
    ruby = "<text:ruby-base>東京</text:ruby-base><text:ruby-text>とうきょう</text:ruby-text>"
    assert read(tmp_path, odt(f"<text:p>私は<text:ruby>{ruby}</text:ruby>に行く。</text:p>"))[
        0
    ] == ("私は東京に行く。\n")


DELETED = "<w:pPr><w:rPr><w:ins/><w:{}/></w:rPr></w:pPr>"


def test_tracked_changes_are_accepted_in_word(tmp_path: Path) -> None:
    gone = "<w:r><w:delText>gone</w:delText><w:tab/><w:br/></w:r>"
    moved = "<w:r><w:t>moved</w:t><w:tab/></w:r>"
    body = (
        f"<w:p>{W.format('He ')}<w:del>{gone}</w:del><w:ins>{W.format('ran ')}</w:ins>"
        f"<w:moveFrom>{moved}</w:moveFrom><w:moveTo>{W.format('home.')}</w:moveTo></w:p>"
        f"<w:p>{DELETED.format('moveFrom')}<w:moveFrom>{moved}</w:moveFrom></w:p>"
        f"<w:p>{DELETED.format('del')}{W.format('First half, ')}<w:r><w:pict>{BOX}</w:pict></w:r></w:p>"
        f"<w:p>{W.format('second half.')}</w:p><w:p><w:pPr><w:rPr><w:ins/></w:rPr></w:pPr></w:p>"
        f"<w:p>{DELETED.format('del')}{W.format('End')}</w:p>"
    )
    expected = "He ran home.\nFirst half, second half.\nIn a\nbox\n\nEnd\n"
    assert read(tmp_path, docx(body))[0] == expected
    box = f"<w:txbxContent><w:p>{DELETED.format('del')}{W.format('Box')}</w:p></w:txbxContent>"
    body = f"<w:p>{W.format('a')}<w:r><w:pict>{box}</w:pict></w:r>{W.format('b')}</w:p>"
    assert read(tmp_path, docx(body))[0] == "ab\nBox\n"


def test_tabs_and_fields_are_text(tmp_path: Path) -> None:
    body = f"<w:p>{W.format('Left')}<w:r><w:ptab/></w:r>{W.format('Right')}</w:p>"
    assert read(tmp_path, docx(body))[0] == "Left\tRight\n"
    frame = "<draw:frame><svg:title>a photo</svg:title><svg:desc>of us</svg:desc></draw:frame>"
    body = f"<text:h>Chapter: <text:title>My Book</text:title>{frame} one</text:h>"
    assert read(tmp_path, odt(body))[0] == "Chapter: My Book one\n"


def test_epub_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    page = '<?xml version="1.0"?><html><head><title>T</title></head><body><p>{}&nbsp;!</p></body></html>'
    book = epub({"b": page.format("second"), "a": page.format("first é")}, "a b")
    assert read(tmp_path, book) == ("first é\xa0!\nsecond\xa0!\n", "an EPUB book")
    locked = '<e xmlns="x"><CipherReference URI="o/t/a.xhtml"/></e>'
    with pytest.raises(DataError, match="is encrypted"):
        read(tmp_path, epub({"a": "x"}, "a", **{"META-INF__encryption_x_xml": locked}))


BOOK = (
    '<?xml version="1.0" encoding="windows-1251"?>\n<FictionBook xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"'
    ' xmlns:l="http://www.w3.org/1999/xlink"><stylesheet>p {}</stylesheet><description><title-info><book-title>'
    "Книга</book-title><annotation><p>О книге</p></annotation></title-info></description><body><title><p>Книга</p>"
    "</title><epigraph><p>Эпиграф</p><text-author>Автор</text-author></epigraph>\n<section>\n<p>Вчера\n  <emphasis>"
    'вечером</emphasis> мы<a l:href="#n1" type="note">[1]</a> сидели. </p>\n<empty-line/><poem><stanza><v>Раз</v>'
    "<v>два</v></stanza></poem></section></body><body name='notes'><section><p>Сноска</p></section></body>"
    '<binary id="a.png">aGVsbG8=</binary></FictionBook>'
)


def test_fiction_book_is_read(tmp_path: Path) -> None:
    text = "Книга\nЭпиграф\nАвтор\nВчера вечером мы сидели.\n\nРаз\nдва\n"
    for codec in ("cp1251", "utf-8", "utf-8-sig"):
        assert read(tmp_path, BOOK.encode(codec)) == (text, "a FictionBook")
    assert read(tmp_path, BOOK.encode("utf-16"), "a.fb2") == (text, "a FictionBook")
    assert read(tmp_path, gzip.compress(BOOK.encode()), "a.fb2.gz") == (text, "a FictionBook")
    assert read(tmp_path, BOOK.encode(), "a.fb2", markup="keep") == ("", None)


@pytest.mark.parametrize("name", ["page.html", "PAGE.HTM", "saved.txt"])
def test_html_is_read(tmp_path: Path, name: str) -> None:
    page = (
        "<!DOCTYPE html><html><head><title>T</title><style>p{}</style><body><nav><ul><li>Menu</ul></nav>"
        "<script>if (a < b) {}</script><h1>A  <i>title</i></h1>\n<p>One\n line, <b>bold</b> .<p>Two<br>three &amp; four"
        "<table><tr><td>1<td>2</tr></table><pre>a  b\n c</pre><div><p>end</p></div>"
    )
    text = "A title\nOne line, bold .\nTwo\nthree & four\n1 2\na  b\n c\nend\n"
    assert read(tmp_path, page.encode(), name) == (text, "an HTML page")
    assert read(tmp_path, page.encode(), name, markup="keep") == ("", None)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<html><head><title>T</title><p>One</p><p>Two</p></html>", "One\nTwo\n"),
        ("<html><head><title/><meta name=a><style>p{}</style><h1>One</h1>Two", "One\nTwo\n"),
        ("<head><noscript><img src=x>no</noscript><title>T</title><p>One", "One\n"),
        ("<body><nav><a>Menu</a><p>One</p></body></html>", "Menu\nOne\n"),
        ("<body><select><option>a<p>One</body>", "a\nOne\n"),
        ("<body><p>One <button>ok<p>Two</body>", "One ok\nTwo\n"),
        ("<nav>a<button>b</nav>One</button> two<nav>c</nav>", "One two\n"),
        ("<nav>a<nav>b</nav>c</nav><p>One<svg><title>T</title>d</svg>", "One\n"),
        ("<body><p>One<style>p {}<p>", "One\n"),
        ("<p>私は<ruby>東<rp>(</rp><rt>とう</rt><rp>)</rp>京<rt>きょう</rt></ruby>に", "私は東京に\n"),
        ("<p><ruby>東<rt>とう<rp>/<rt>x<rb>京<rt>きょう</ruby>に<p>行く", "東京に\n行く\n"),
        ("<p><ruby><rb>旧<rb>金<rtc>a<rt>b</rt>c</rtc></ruby>。", "旧金。\n"),
        ("<p>One <ruby>a<rt>b<p>Two", "One ab\nTwo\n"),
        ("<p>a<input list=x><datalist id=x><option>b</datalist>c", "ac\n"),
    ],
)  # fmt: skip
def test_html_may_lack_tags(tmp_path: Path, page: str, text: str) -> None:
    assert read(tmp_path, page.encode(), "a.html")[0] == text


# HTML standard, "Rendering", without what is left out (`nav`) or has no end (`plaintext`).
BLOCKS = (
    "address blockquote center dialog div figure figcaption footer form header legend listing main p pre search xmp"
    " article aside h1 h2 h3 h4 h5 h6 hgroup section dir dd dl dt menu ol ul li table caption thead tbody tfoot tr"
    " fieldset details summary optgroup option"
)


def test_block_elements_are_lines(tmp_path: Path) -> None:
    for tag in BLOCKS.split():
        page = f"<html>Call me<{tag}>Ishmael.</{tag}>Some<{tag}>years</{tag}><{tag}>ago</{tag}>"
        text = read(tmp_path, page.encode(), "a.html")[0]
        assert text == "Call me\nIshmael.\nSome\nyears\nago\n", tag


def test_marked_sections_are_text(tmp_path: Path) -> None:
    page = (
        "<p><![CDATA[Tom & <Ann>]]> went</p><script>//<![CDATA[\na<b\n//]]></script><![x[y]]><p>z"
    )
    text = "Tom & <Ann> went\nz\n"
    assert read(tmp_path, f"<html>{page}".encode(), "a.xhtml")[0] == text
    assert read(tmp_path, epub({"a": page}, "a"))[0] == text


def test_html_is_read_in_the_encoding_it_names(tmp_path: Path) -> None:
    page = '<html><meta http-equiv="x" content="text/html; charset={}"><p>{}</p>'
    for declared, codec, text in [
        ("euc-kr", "cp949", "가나다 똠방각하"),
        ("ISO-8859-1", "cp1252", "“é”"),
        ("utf-16", "utf-8", "é"),
        ("nonsense", "utf-8", "é"),
        ("utf-16le", "utf-8", "even"),
        ("UTF-16BE", "utf-8", "é"),
        ("iso-8859-1", "utf-8", "“é”"),
        ("windows-1251", "utf-8", "Привет"),
        ("cp037", "utf-8", "plain"),
        ("iso8859-1", "cp1252", "“é”"),
        ("ISO_8859-1", "cp1252", "“é”"),
        ("latin-1", "cp1252", "“é”"),
        ("iso-8859-9", "cp1254", "“İstanbul’da”"),
        ("latin5", "cp1254", "“İstanbul’da”"),
        ("iso-8859-11", "cp874", "“ไทย”"),
        ("tis-620", "cp874", "“ไทย”"),
        ("windows-874", "cp874", "“ไทย”"),
        ("ks_c_5601-1989", "cp949", "똠방각하"),
        ("sjis", "cp932", "日本語の①文章"),
        ("x-sjis", "cp932", "日本語の①文章"),
        ("gb2312", "gb18030", "朱镕基"),
        ("big5", "big5hkscs", "香港嘅①"),
        ("windows-1251", "cp1251", "Привет"),
        ("iso-2022-jp", "iso2022_jp", "日本語"),
    ]:
        data = page.format(declared, text).encode(codec)
        read_as = "" if codec == "utf-8" else f" in {codec}"
        expected = (text + "\n", f"an HTML page{read_as}")
        assert read(tmp_path, data, "a.html") == expected, declared
    assert read(tmp_path, page.format("latin-1", "é가").encode("utf-16"), "a.html")[0] == "é가\n"
    assert read(tmp_path, "<p>값</p>".encode("johab"), "a.html", encoding="johab")[0] == "값\n"
    with pytest.raises(DataError, match=r"a.html does not decode as utf-8: ff at byte 3"):
        read(tmp_path, b"<p>\xff</p>", "a.html", encoding="utf-8")


def test_only_a_page_s_own_declaration_counts(tmp_path: Path) -> None:
    page = '<HTML><HEAD><SCRIPT CHARSET="utf-8" SRC=x></SCRIPT><META CONTENT="text/html; CHARSET=koi8-r">'
    data = f"{page}<P>Привет".encode("koi8-r")
    assert read(tmp_path, data, "a.html") == ("Привет\n", "an HTML page in koi8-r")


FRENCH = (
    "L’été était chaud. Très bien, garçon, je vais à la forêt près de la rivière où l’âne dort. "
)


def test_a_wrong_declaration_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rnntk")
    page = f'<html><meta charset="utf-8"><p>{FRENCH * 20}'.encode("cp1252")
    text, kind = read(tmp_path, page, "a.html")
    assert (text.strip(), kind) == ((FRENCH * 20).strip(), "an HTML page in cp1252")
    assert "Warning: a.html declares utf-8, but is read as cp1252 (" in caplog.text
    read(tmp_path, b"<html><p>Caf\x82</p>", "a.html")
    assert re.search("Warning: a.html is read as [^ ]+, which is a guess", caplog.text)
    damaged = f'<meta charset="iso-8859-1"><p>{FRENCH * 20}'.encode() + b"\xff"
    with pytest.raises(DataError, match="^Nearly all of it is UTF-8, but a.html does not decode"):
        read(tmp_path, damaged, "a.html")


def test_chapters_may_be_in_other_encodings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rnntk")
    page = '<?xml version="1.0" encoding="{}"?><html><body><p>{}</p></body></html>'
    marked = page.format("utf-16", "é가").encode("utf-16")
    wrong = page.format("utf-8", FRENCH * 20).encode("cp1252")
    plain = "<p>é가~{1~}</p>".encode()
    book = epub({"a": marked, "b": wrong, "c": plain, "d": b"\xef\xbb\xbf", "e": b""}, "a b c d e")
    text, kind = read(tmp_path, book)
    assert text.splitlines() == ["é가", (FRENCH * 20).strip(), "é가~{1~}"]
    assert kind == "an EPUB book"
    assert "Warning: a.x/o/t/b.xhtml declares utf-8, but is read as cp1252 (" in caplog.text
    book = epub({"a": marked, "b": page.format("", "값").encode("johab"), "c": plain}, "a b c")
    assert read(tmp_path, book, encoding="johab")[0].split() == ["é가", "값", "é가~{1~}"]
    broken = epub({"a": "가나다라마바사".encode() * 9 + b"\xff"}, "a")
    told = (
        "^Nearly all of it is UTF-8, but a.x/o/t/a.xhtml does not decode as utf-8: ff at byte 189"
    )
    with pytest.raises(DataError, match=told):
        read(tmp_path, broken)
    assert read(tmp_path, broken, errors="replace")[0].endswith("사\ufffd\n")


def test_what_is_no_chapter_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rnntk")
    image = '<item id="i" href="i.png" media-type="image/png"/>'
    image += '<item id="s" href="s.svg" media-type="image/svg+xml"/>'
    image += '<item id="x" href="t/x.xhtml#top" media-type="application/xhtml+xml"/>'
    files = {"o__i_x_png": b"\x89PNG\r\n<p>junk", "o__s_x_svg": b"<svg>junk</svg>"}
    files["o__t__x_x_xhtml"] = b"<p>two"
    book = epub({"a": "<p>one"}, "a i s x", more=image, **files)
    assert read(tmp_path, book)[0] == "one\ntwo\n"
    assert not caplog.text
    book = epub({"a": "<p>one"}, "a gone", more='<item id="gone" href="gone.html"/>')
    assert read(tmp_path, book)[0] == "one\n"
    assert "Warning: a.x lacks 1 of its 2 chapters, such as o/gone.html." in caplog.text
    book = epub({}, "gone", more='<item id="gone" href="gone.html"/>')
    with pytest.raises(DataError, match="it lacks all its 1 chapters, such as o/gone.html"):
        read(tmp_path, book)


OLE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
HANCOM = r"^a.x is a Hancom document. Save it as plain text \(in Hancom Office: Save As, Text Document \(.txt\)\).$"
MHTML = (
    b"From: <Saved by Blink>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\tboundary=b\r\n\r\n--b\r\n"
    b"Content-Type: text/html\r\n\r\n<html><p>caf=C3=A9</p></html>\r\n"
)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (OLE + b"HWP Document File" + bytes(99), HANCOM),
        (zipped(mimetype="application/hwp+zip", Contents__section0_x_xml="<hs:sec/>"), HANCOM),
        (MHTML, r"^a.x is a web page in MHTML. Save it from a browser as HTML.$"),
        (BOOK.encode()[:-9], r"^a.x is a FictionBook, but damaged \(.* Convert it to EPUB or plain text"),
        (b"{\\rtf1 x}", r"^a.x is RTF. Save it as plain text \(in Word: Save As"),
        (zipped(xl__workbook_x_xml="x"), "^a.x is an Excel workbook. Save"),
        (zipped(ppt__presentation_x_xml="x"), "^a.x is a PowerPoint presentation. Save"),
        (docx("</w:p>"), "^a.x is a Word document, but damaged \\(mismatched tag"),
        (docx("<w:p/>")[:-40], "^a.x is a ZIP archive, but damaged \\("),
        (zipped(mimetype="application/vnd.oasis.opendocument.text"), "lacks|no item named 'content.xml'"),
        (epub({}, "")[:300], "^a.x is a ZIP archive, but damaged"),
        (zipped(**{"META-INF__container_x_xml": "<container/>"}), "^a.x is an EPUB book, but damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_unreadable_documents_are_refused(tmp_path: Path, data: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, data)


MANIFEST = '<m:manifest xmlns:m="urn:x"><m:file-entry m:full-path="content.xml">{}</m:file-entry></m:manifest>'


def test_markup_that_is_kept_is_not_refused(tmp_path: Path) -> None:
    for data in (b"{\\rtf1 x}", MHTML, BOOK.encode()):
        assert read(tmp_path, data, markup="keep") == ("", None)
    mail = b"From: a@example.com\nSubject: multipart/related\nContent-Type: text/plain\n\nHello\n"
    assert read(tmp_path, mail) == ("", None)
    assert read(tmp_path, OLE + b"Word.Document.8") == (
        "",
        None,
    )  # named by the detection of encodings
    with pytest.raises(DataError, match=r"^a.hwp is a Hancom document"):
        read(tmp_path, OLE, "a.hwp")


def test_documents_with_a_password_are_refused(tmp_path: Path) -> None:
    mimetype = "application/vnd.oasis.opendocument.text"
    locked = MANIFEST.format('<m:encryption-data m:checksum="x"/>')
    old = {"content_x_xml": b"\x8d\x01", "META-INF__manifest_x_xml": locked}
    new = {"encrypted-package": b"\x8d\x01", "META-INF__manifest_x_xml": locked}
    flagged = bytearray(docx("<w:p/>"))
    for at in (found.start() for found in re.finditer(b"PK\x01\x02", flagged)):
        flagged[at + 8] |= 1
    for data in (
        zipped(mimetype=mimetype, **old),
        zipped(mimetype=mimetype, **new),
        bytes(flagged),
    ):
        with pytest.raises(DataError, match="^a.x has a password. Save it without one.$"):
            read(tmp_path, data)
    with zipfile.ZipFile(io.BytesIO(odt("<text:p>encryption-data</text:p>"))) as plain:
        parts = {name.replace(".", "_x_"): plain.read(name) for name in plain.namelist()}
    opened = zipped(**parts, **{"META-INF__manifest_x_xml": MANIFEST.format("encryption-data")})
    assert read(tmp_path, opened)[0] == "encryption-data\n"


def test_compression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entities = (
        '<!DOCTYPE d [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;">]>' + WORD.format("&b;")[21:]
    )
    with pytest.raises(DataError, match="it declares entities"):
        read(tmp_path, zipped(word__document_x_xml=entities))
    assert (
        read(tmp_path, odt('<text:p><text:s text:c="999999999"/>x</text:p>'))[0].count(" ") == 100
    )
    monkeypatch.setattr(documents, "MOST", 100_000)
    large = docx("<w:p/>" * 100_000)
    assert len(large) < 10_000
    with pytest.raises(DataError, match="it unpacks to more than 100,000 bytes"):
        read(tmp_path, large)
    with pytest.raises(DataError, match="it has more than 100,000 bytes"):
        read(tmp_path, b"<html>" + b"x" * 100_000)
    monkeypatch.setattr(documents, "_MOST_TAGS", 3)
    with pytest.raises(DataError, match=r"o/p.opf has more than 3 elements"):
        read(tmp_path, epub({"a": "x"}, "a"))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_documents_are_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    word, page = docx(f"<w:p>{W.format('One')}</w:p>"), b"<!DOCTYPE html><html><p>One</p><p>Two</p>"
    assert read(tmp_path, pack(word), "a.docx.gz") == ("One\n", "a Word document")
    assert read(tmp_path, pack(odt("<text:p>One</text:p>")))[0] == "One\n"
    assert read(tmp_path, pack(epub({"a": "<p>One"}, "a")))[0] == "One\n"
    assert read(tmp_path, pack(page), "a.gz") == ("One\nTwo\n", "an HTML page")
    for name in ("a.html.gz", "A.HTM.XZ", "a.xhtml"):
        assert read(tmp_path, pack(b"<p>One"), name)[0] == "One\n"
    assert read(tmp_path, pack(page), "a.html.gz", markup="keep") == ("", None)
    assert read(tmp_path, pack(b"One <p>"), "a.txt.gz") == ("", None)
    with pytest.raises(DataError, match="^a.rtf.gz is RTF. Save it"):
        read(tmp_path, pack(b"{\\rtf1 x}"), "a.rtf.gz")
    monkeypatch.setattr(documents, "MOST", 40)
    for data in (word, page):
        with pytest.raises(DataError, match="it has more than 40 bytes"):
            read(tmp_path, pack(data))


def test_other_files_are_not_documents(tmp_path: Path) -> None:
    for data in (b"plain", b"", b"PK", zipped(a_x_txt="x"), b"%PDF-1.4 <x>", b"\xff\xfe"):
        assert read(tmp_path, data, "a.html" if b"%PDF" in data else "a.txt") == ("", None)
