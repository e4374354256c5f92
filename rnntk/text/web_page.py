"""The text of an HTML page: a line per block element, without scripts, navigation and readings of ruby."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

# Elements that are a line each: `display: block` and tables in the HTML standard, section 15.3.
_LINES = frozenset(" ".join((
    "html body address blockquote center dialog div figure figcaption footer form header hr legend listing main p",
    "plaintext pre search xmp article aside h1 h2 h3 h4 h5 h6 hgroup section dir dd dl dt menu ol ul li",
    "table caption thead tbody tfoot tr fieldset details summary optgroup option",
)).split())  # fmt: skip
_LEFT_OUT = frozenset({
    "title", "script", "style", "nav", "template", "noscript", "svg", "iframe", "select", "datalist", "button",
    "rt", "rtc", "rp",
})  # fmt: skip
_MARKS = {"br": "\n", "td": " ", "th": " "}  # elements that stand for a character
# Tags in ruby, and the elements whose missing end tags they stand for.
_READINGS = ("rt", "rp", "rtc")
_RUBY = {
    "rt": ("rt", "rp"),
    "rp": ("rt", "rp"),
    "rb": _READINGS,
    "rtc": _READINGS,
    "/ruby": _READINGS,
}


class _Lines:
    """Collects the text of an HTML page from the events of a parser, without empty lines."""

    def __init__(self) -> None:
        self._out = [""]
        # Open elements to leave out, with the state before each. Without an end tag, their text stays.
        self._open: list[tuple[str, int, str, int]] = []
        self._count: Counter[str] = Counter()  # of their names
        self._preformatted = 0  # open `pre`

    def text(self) -> str:
        for code in ("script", "style"):
            self._leave_out(code)
        self._end_line()
        return "".join(self._out)

    def _end_line(self) -> None:
        if line := self._out[-1]:
            self._out[-1:] = [line if line.endswith("\n") else line.rstrip(" ") + "\n", ""]

    def start(self, tag: str) -> None:
        for unended in _RUBY.get(tag, ()):
            self._leave_out(unended)
        if tag in _LEFT_OUT:
            self._open.append((tag, len(self._out), self._out[-1], self._preformatted))
            self._count[tag] += 1
            return
        self._preformatted += tag == "pre"
        if tag in _LINES:
            self._end_line()
        if mark := _MARKS.get(tag):
            self._add(mark)

    def end(self, tag: str) -> None:
        if tag in _LEFT_OUT:
            self._leave_out(tag)
            return
        for unended in _RUBY.get(f"/{tag}", ()):
            self._leave_out(unended)
        self._preformatted -= tag == "pre" and self._preformatted > 0
        if tag in _LINES:
            self._end_line()

    def _leave_out(self, tag: str) -> None:
        """Remove the text since the last start of this element, if it is open."""
        opened = ""
        while self._count[tag] and opened != tag:
            opened, length, line, self._preformatted = self._open.pop()
            self._count[opened] -= 1
        if opened:
            self._out[length - 1 :] = [line]

    def data(self, data: str) -> None:
        self._add(data if self._preformatted else re.sub(r"[ \t\n\r\f]+", " ", data))

    def _add(self, text: str) -> None:
        if self._preformatted:
            self._out.append(text)
            return
        line = self._out[-1]
        text = text.lstrip(" ") if not line or line[-1] in " \n" else text
        self._out[-1] = (line.rstrip(" ") if text == "\n" else line) + text
        self._out += [""] * (text == "\n")


class _PageParser(HTMLParser):
    """Passes the events of HTML and XHTML on to `_Lines`."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._to = lines

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._to.start(tag)

    def handle_endtag(self, tag: str) -> None:
        self._to.end(tag)

    def handle_data(self, data: str) -> None:
        self._to.data(data)

    def unknown_decl(self, data: str) -> None:
        if data.startswith("CDATA["):
            self._to.data(data.removeprefix("CDATA["))

    def parse_marked_section(self, i: int, report: Any = 1) -> int:
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:  # newer versions of Python raise no error for an unknown section
            return self.parse_bogus_comment(i)


def text_of(source: str) -> str:
    """The text of a page, given as HTML or XHTML."""
    lines = _Lines()
    parser = _PageParser(lines)
    parser.feed(source)
    parser.close()
    return lines.text()
