"""Extract the text of Word, OpenDocument, EPUB, FictionBook and HTML files: a line per paragraph, in reading order.

Formats: ECMA-376 part 1 (WordprocessingML), OpenDocument 1.3, EPUB 3.3, FictionBook 2.
"""

from __future__ import annotations

import codecs
import io
import logging
import posixpath
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote
from xml.parsers import expat

from rnntk.config import TextConfig
from rnntk.corpora.detection import SAVE_AS_TEXT
from rnntk.corpora.encoding import detect, iter_bytes, undecodable
from rnntk.corpora.plausibility import DATA
from rnntk.errors import DataError
from rnntk.text import web_page

log = logging.getLogger(__name__)

ENDINGS = (".txt", ".text", ".md", ".docx", ".odt", ".epub", ".fb2", ".html", ".htm", ".xhtml")
MOST = 1 << 28  # bytes read of one document, unpacked
_MOST_TAGS = 100_000  # in the list of an EPUB's files

_ZIP = b"PK\x03\x04"
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")  # Office files of the old kind, and Hancom's
_PROLOG = rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*"
_HTML = re.compile(_PROLOG + rb"<(?:!doctype\s+html|html)\b", re.DOTALL | re.IGNORECASE)
_FICTION_BOOK = re.compile(_PROLOG + rb"<FictionBook\b", re.DOTALL)
# Header lines, one of them the type.
_MHTML = re.compile(
    rb"\A(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?Content-Type:\s*multipart/related", re.IGNORECASE
)
_IN_HANCOM = "Save it as plain text (in Hancom Office: Save As, Text Document (.txt))."
_IN_CALIBRE = "Convert it to EPUB or plain text (in Calibre: Convert books)."
_DECLARED = re.compile(
    rb"""<(?:\?xml|meta)\s[^>]*?\b(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_ENCRYPTED = re.compile(rb"<(?:[\w.-]+:)?encryption-data\b")  # in an OpenDocument's manifest
_MARKS = tuple(bytes.fromhex(mark) for mark in DATA["marks"])
# Codecs that browsers use (encoding.spec.whatwg.org), by Python's name, or by names that Python lacks.
_AS_BROWSERS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "x-cp1252": "cp1252", "iso8859-9": "cp1254",
    "iso8859-11": "cp874", "tis-620": "cp874", "windows-874": "cp874", "dos-874": "cp874",
    "iso-8859-8-i": "iso8859-8", "x-cp1250": "cp1250", "x-cp1251": "cp1251",
    "x-mac-cyrillic": "mac-cyrillic", "koi8": "koi8-r", "koi": "koi8-r", "koi8-ru": "koi8-u",
    "euc_kr": "cp949", "windows-949": "cp949", "ksc_5601": "cp949", "ks_c_5601-1989": "cp949",
    "shift_jis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932", "x-euc-jp": "euc_jp",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "gb_2312-80": "gb18030",
    "big5": "big5hkscs", "cn-big5": "big5hkscs", "x-x-big5": "big5hkscs",
}  # fmt: skip


def extract(path: Path, name: str, config: TextConfig, to: Path) -> str | None:
    """Write a document's text to the file `to` in UTF-8, and return the kind of document; None for any other file.

    `name` is the file's name in messages. The file may be compressed by gzip or xz. HTML and FictionBook are documents
    only if `config.markup` is "text". Raises `DataError` if the document is damaged, protected, larger than `MOST`, or
    of a kind that rnntk cannot read.
    """
    kind, advice = "a ZIP archive", SAVE_AS_TEXT
    try:
        first = next(iter_bytes(path), b"")
        head = first[:4096]
        if head.startswith(_ZIP):
            with path.open("rb") as file, zipfile.ZipFile(_archive(file, path)) as archive:
                kind, read = _document(archive, name, config, to)
                text = read()
        elif head.startswith(_OLE) and (_named(name, "hwp") or b"HWP Document File" in first):
            raise DataError(f"{name} is a Hancom document. {_IN_HANCOM}")
        elif config.markup != "text":
            return None
        elif head.startswith(b"{\\rtf"):
            raise DataError(f"{name} is RTF. {SAVE_AS_TEXT}")
        elif _MHTML.match(head):
            raise DataError(f"{name} is a web page in MHTML. Save it from a browser as HTML.")
        elif _FICTION_BOOK.match(head) or (_named(name, "fb2") and b"<" in head):
            kind, advice = "a FictionBook", _IN_CALIBRE
            paragraphs = _Paragraphs(_BOOK)
            source = _decoded(_whole(path), to, name, config)[0]
            _parse(iter([source]), paragraphs.start, paragraphs.end, paragraphs.data)
            text = paragraphs.text()
        elif _is_html(head, name):
            kind = "an HTML page"
            source, codec = _decoded(_whole(path), to, name, config)
            kind += f" in {codec}" if codec not in ("utf-8", "utf-8-sig") else ""
            text = web_page.text_of(source)
        else:
            return None
    except (*_DAMAGE, expat.ExpatError) as error:
        raise DataError(f"{name} is {kind}, but damaged ({error}). {advice}") from error
    if text is None:
        return None
    to.write_bytes(text.encode("utf-8", "replace") if text.strip() else b"")
    return kind


# `zipfile` raises KeyError if a member is missing.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, ValueError, LookupError, NotImplementedError,
)  # fmt: skip


def _archive(file: BinaryIO, path: Path) -> BinaryIO:
    """The open file itself, or its unpacked content if it is compressed."""
    packed = file.read(len(_ZIP)) != _ZIP
    file.seek(0)
    return io.BytesIO(_whole(path)) if packed else file


def _named(name: str, ending: str) -> bool:
    return bool(re.search(rf"\.(?:{ending})(?:\.gz|\.xz)?\Z", name, re.IGNORECASE))


def _is_html(head: bytes, name: str) -> bool:
    named = _named(name, "html?|xhtml")
    return bool(_HTML.match(head) or (named and b"<" in head and not head.startswith(b"%PDF")))


class _Parts:
    """The members of a ZIP archive, limited to `MOST` bytes in all."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self.archive, self.name, self._left = archive, name, MOST

    def protected(self) -> DataError:
        return DataError(f"{self.name} has a password. Save it without one.")

    def pieces(self, member: str) -> Iterator[bytes]:
        if self.archive.getinfo(member).flag_bits & 1:
            raise self.protected()
        with self.archive.open(member) as part:
            while piece := part.read(1 << 16):
                self._left -= len(piece)
                if self._left < 0:
                    raise ValueError(f"it unpacks to more than {MOST:,} bytes")
                yield piece

    def tags(self, member: str) -> list[tuple[str, Mapping[str, str]]]:
        """Local name and attributes of every element of an XML part."""
        found: list[tuple[str, Mapping[str, str]]] = []

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            found.append((tag, attributes))
            if len(found) > _MOST_TAGS:
                raise ValueError(f"{member} has more than {_MOST_TAGS:,} elements")

        _parse(self.pieces(member), start)
        return found


def _parse(
    pieces: Iterator[bytes | str], start: Any, end: Any = lambda _: None, data: Any = lambda _: None
) -> None:
    """Parse XML; the handlers get local names (those of SVG with `svg:`).

    Entity declarations are refused: entities can expand without limit.
    """

    def refuse(*_: object) -> None:
        raise ValueError("it declares entities")

    def local(name: str) -> str:
        space, _, own = name.rpartition(" ")
        return f"svg:{own}" if "svg" in space else own

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = lambda tag, attributes: start(
        local(tag), {local(key): value for key, value in attributes.items()}
    )
    parser.EndElementHandler = lambda tag: end(local(tag))
    parser.CharacterDataHandler = data
    for piece in pieces:
        parser.Parse(piece)
    parser.Parse(b"", True)


def _document(archive: zipfile.ZipFile, name: str, config: TextConfig, to: Path) -> tuple[str, Any]:
    """The kind of an archive, and a function that returns its text or None; `DataError` for an unreadable kind."""
    names, parts = set(archive.namelist()), _Parts(archive, name)
    if main := sorted(filter(re.compile(r"word/document\d*\.xml").fullmatch, names)):
        return "a Word document", partial(_xml, parts, main[0], _WORD)
    if "META-INF/container.xml" in names:
        return "an EPUB book", partial(_epub, parts, config, to)
    if "mimetype" in names and b"opendocument.text" in b"".join(parts.pieces("mimetype")):
        return "an OpenDocument text", partial(_open_document, parts, names)
    if "Contents/section0.xml" in names:
        raise DataError(f"{name} is a Hancom document. {_IN_HANCOM}")
    for member, kind in _OTHERS.items():
        if any(one.startswith(member) for one in names):
            raise DataError(f"{name} is {kind}. {SAVE_AS_TEXT}")
    return "a ZIP archive", lambda: None


_OTHERS = {  # by the beginning of a member's name
    "xl/": "an Excel workbook", "ppt/": "a PowerPoint presentation", "Index/Document.iwa": "a Pages document",
    "content.xml": "an OpenDocument spreadsheet, presentation or drawing",
}  # fmt: skip


class _Format(NamedTuple):
    """Names of the elements that matter in a format."""

    lines: str  # elements that are a line each
    skipped: str  # elements to leave out
    marks: dict[str, str]  # elements that stand for a character
    text: str  # elements whose characters are text
    collapse: bool = False  # white space


_WORD = _Format(
    "p", "pPr Fallback del moveFrom rt",
    {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}, "t",
)  # fmt: skip
_OPEN_DOCUMENT = _Format(
    "p h", "tracked-changes annotation note forms ruby-text svg:title svg:desc",
    {"tab": "\t", "line-break": "\n", "s": " "}, "p h", collapse=True,
)  # fmt: skip
_BOOK = _Format(
    "p v subtitle text-author date td th empty-line", "description stylesheet binary", {},
    "p v subtitle text-author date td th", collapse=True,
)  # fmt: skip


class _Paragraph:
    """A paragraph of an XML document that is being read."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.boxes: list[str] = []  # lines of the text boxes in it
        self.joined = False  # to the next one, because the end of the paragraph is deleted


class _Paragraphs:
    """Collects the text of an XML document from the events of a parser; text boxes follow their paragraph."""

    def __init__(self, form: _Format) -> None:
        names = (form.lines, form.skipped, form.text)
        self._lines, self._skipped, self._text = (set(each.split()) for each in names)
        self._marks, self._collapse = form.marks, form.collapse
        self._out: list[str] = []
        self._open: list[_Paragraph] = []
        self._unfinished = False  # whether the last open paragraph awaits the one it is joined to
        self._left_out: list[str] = []  # open elements from the first that is left out
        self._inside = 0  # open text elements

    def text(self) -> str:
        self._finish()
        return "".join(self._out)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._left_out or tag in self._skipped or _is_note(tag, attributes):
            if self._left_out == ["pPr", "rPr"] and tag in ("del", "moveFrom") and self._open:
                self._open[-1].joined = True
            self._left_out.append(tag)
            return
        self._inside += tag in self._text
        if tag in self._lines:
            if not self._unfinished:
                self._open.append(_Paragraph())
            self._unfinished = False
        if mark := self._marks.get(tag):
            count = int(attributes.get("c") or 1) if tag == "s" else 1
            self._add(mark * min(count, 100))

    def end(self, tag: str) -> None:
        if self._left_out:
            self._left_out.pop()
            return
        self._inside -= tag in self._text
        if tag in self._lines:
            self._finish()
            self._unfinished = self._open[-1].joined
            self._open[-1].joined = False
            if not self._unfinished:
                self._close()

    def data(self, data: str) -> None:
        if not self._inside or self._left_out:
            return
        if self._collapse:
            data = re.sub(r"[ \t\r\n]+", " ", data)
            line = self._open[-1].text
            data = data.lstrip(" ") if not line or line[-1][-1:] == " " else data
        if data:
            self._add(data)

    def _add(self, text: str) -> None:
        self._finish()
        (self._open[-1].text if self._open else self._out).append(text)

    def _finish(self) -> None:
        """Close a paragraph that nothing was joined to."""
        if self._unfinished:
            self._unfinished = False
            self._close()

    def _close(self) -> None:
        done = self._open.pop()
        to = self._open[-1].boxes if self._open else self._out
        line = "".join(done.text)
        to += [line.rstrip(" ") if self._collapse else line, "\n", *done.boxes]


def _is_note(tag: str, attributes: Mapping[str, str]) -> bool:
    """Whether an element holds the notes of a FictionBook, or refers to one."""
    if tag == "body":
        return attributes.get("name") in ("notes", "comments", "footnotes")
    return tag == "a" and attributes.get("type") == "note"


def _open_document(parts: _Parts, names: Collection[str]) -> str:
    manifest = "META-INF/manifest.xml"
    if manifest in names and _ENCRYPTED.search(b"".join(parts.pieces(manifest))):
        raise parts.protected()
    return _xml(parts, "content.xml", _OPEN_DOCUMENT)


def _xml(parts: _Parts, member: str, form: _Format) -> str:
    lines = _Paragraphs(form)
    _parse(parts.pieces(member), lines.start, lines.end, lines.data)
    return lines.text()


def _epub(parts: _Parts, config: TextConfig, to: Path) -> str:
    """The text of a book's chapters in the order of its spine, without the table of contents."""
    container = parts.tags("META-INF/container.xml")
    package = next((a["full-path"] for tag, a in container if tag == "rootfile"), "")
    files: dict[str, str] = {}
    spine: list[str] = []
    for tag, attributes in parts.tags(package):
        if tag == "item" and _is_page(attributes):
            href = unquote(attributes["href"].partition("#")[0])
            place = posixpath.join(posixpath.dirname(package), href)
            files[attributes["id"]] = posixpath.normpath(place)
        elif tag == "itemref" and attributes.get("linear") != "no":
            spine.append(attributes["idref"])
    chapters = [files[one] for one in spine if one in files]
    members = set(parts.archive.namelist())
    if "META-INF/encryption.xml" in members:
        locked = {unquote(a.get("URI", "")) for _, a in parts.tags("META-INF/encryption.xml")}
        if locked & set(chapters):
            raise DataError(f"{parts.name} is encrypted (DRM). Use a copy without protection.")
    found = [chapter for chapter in chapters if chapter in members]
    if missing := [chapter for chapter in chapters if chapter not in members]:
        if not found:
            raise ValueError(f"it lacks all its {len(chapters):,} chapters, such as {missing[0]}")
        lacks = f"{len(missing):,} of its {len(chapters):,} chapters"
        log.info(f"Warning: {parts.name} lacks {lacks}, such as {missing[0]}.")
    pages = (
        _decoded(b"".join(parts.pieces(one)), to, f"{parts.name}/{one}", config, book=True)[0]
        for one in found
    )
    return "".join(map(web_page.text_of, pages))


def _is_page(item: Mapping[str, str]) -> bool:
    """Whether an item of an EPUB's list of files is a chapter, not an image or the table of contents."""
    main, _, kind = item.get("media-type", "text/html").partition("/")
    text = main == "text" or (main == "application" and kind.endswith("xml"))
    return text and "nav" not in item.get("properties", "").split()


def _whole(path: Path) -> bytes:
    data = bytearray()
    for piece in iter_bytes(path):
        data += piece
        if len(data) > MOST:
            raise ValueError(f"it has more than {MOST:,} bytes")
    return bytes(data)


def _decoded(
    data: bytes, to: Path, name: str, config: TextConfig, *, book: bool = False
) -> tuple[str, str]:
    """The text of a page, and its codec: by its byte order mark, the encoding given, its declaration, or detection.

    UTF-8, even with a few faults, wins over a declaration. In a `book`, pages are UTF-8 by default, and the encoding
    given is for others.
    """
    if data in _MARKS:
        return "", "utf-8"
    marked, declared = data.startswith(_MARKS), _DECLARED.search(data[:4096])
    if not marked and (book or not config.encoding):
        likely = "utf-8" if book and b"\0" not in data else None
        if declared:
            likely = "utf-8" if _is_utf8(data) else _declared_codec(declared)
        if likely:
            with suppress(ValueError):
                text = data.decode(likely)
                return text, "utf-8" if text.isascii() else likely
    to.write_bytes(data)
    encoding = None if book and marked else config.encoding
    found = detect(to, encoding=encoding, errors=config.errors, name=name)
    codec = found.encoding
    if found.unsure:
        log.info(f"Warning: {name} is read as {codec}, which is a guess {found.doubt}")
    elif declared and found.confidence is not None:
        says = declared[1].decode()
        log.info(f"Warning: {name} declares {says}, but is read as {codec} ({found.how}).")
    try:
        return data.decode(codec, config.errors), codec
    except UnicodeDecodeError as error:
        raise undecodable(name, codec, error.start, data[error.start : error.end]) from error


def _is_utf8(data: bytes) -> bool:
    """Whether nearly all characters beyond ASCII are valid UTF-8, and there is one."""
    text = data.decode("utf-8", "replace")
    faults = text.count("\ufffd")
    return len(text) - len(text.encode("ascii", "ignore")) - faults > 20 * faults


def _declared_codec(declared: re.Match[bytes]) -> str | None:
    """Python's name of the codec that a page declares; None if Python has none, or if it cannot be the page's."""
    label = declared[1].decode().lower()
    with suppress(LookupError, ValueError):
        codec = _AS_BROWSERS.get(label) or codecs.lookup(label).name
        codec = _AS_BROWSERS.get(codec, codec)
        # The declaration itself is ASCII, which rules out UTF-16.
        return codec if declared[0].decode(codec) == declared[0].decode("ascii") else None
    return None
