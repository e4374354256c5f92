"""The prose check: phrases that the project avoids, long sentences, terms without an explanation.

    python tests/prose.py                  every file that people read
    python tests/prose.py README.md rnntk  these files and folders

`prose.toml` has the phrases and terms. Reads Markdown, notebooks, docstrings, comments and messages; skips code.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import re
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
RULES: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("prose.toml").read_text(encoding="utf-8")
)
PHRASES = [
    (re.compile(rf"(?<![\w-])(?:{rule['find']})(?![\w-])", re.IGNORECASE), rule)
    for rule in RULES["phrases"]
]
TERMS = {
    anchor: re.compile(rf"(?<![\w-])(?:{find})(?![\w-])", re.IGNORECASE)
    for anchor, find in RULES["terms"].items()
}
LONGEST = 40
FILES = (
    "*.md", "*.py", "Makefile", "docs/*.md", "docs/*.py", "mkdocs.yml", "docs/notebooks/*.ipynb", "docs/pictures/*.py",
    "benchmarks/*.*", "data/README.md", "configs/*.toml", "rnntk/**/*.py", "rnntk/**/*.toml", "rnntk/play/page/*.*",
    "tests/**/*.py",
)  # fmt: skip
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”')\]*]*\s+(?=code\b|[^a-z])|(?<=:)\s+")
CODE = "code"  # stands for a piece of code in a sentence


class Piece(NamedTuple):
    """A paragraph, list item, table cell, docstring paragraph, comment or message."""

    text: str
    first: int  # lines of the file, from 1
    last: int
    opening: bool = False  # the first paragraph of a docstring


class Hit(NamedTuple):
    """A fault and where it is."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def files(roots: Iterable[Path] = ()) -> list[Path]:
    """The files that people read: all, or those that are or are in `roots`."""
    if not (roots := [root.resolve() for root in roots]):
        return sorted({path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()})
    inside = (
        path
        for root in roots
        for path in ([root] if root.is_file() else sorted(root.rglob("*")))
        if path.name == "Makefile" or path.suffix in READERS
    )
    return list(dict.fromkeys(inside))


def check(path: Path) -> list[Hit]:
    """The faults of a file, in the order of their lines."""
    source = path.read_text(encoding="utf-8")
    return check_text(source, _name(path))


def check_text(source: str, name: str) -> list[Hit]:
    """The faults of a file with this content and name, relative to the repository."""
    lines = source.splitlines()
    hits = []
    rules = [
        (pattern, rule)
        for pattern, rule in PHRASES
        if not any(fnmatch.fnmatch(name, glob) for glob in rule.get("exempt", ()))
    ]
    for piece in READERS.get(Path(name).suffix, comments_and_strings)(source, name):
        for message, words in _faults(piece, rules):
            hits.append(Hit(name, _line_of(words, piece, lines), message))
    if _is_page(name):
        hits += undefined_terms(source, name)
    return sorted(set(hits), key=lambda hit: hit.line)


def _faults(piece: Piece, rules: list[Any]) -> Iterator[tuple[str, str]]:
    """Messages, each with the words that it is about."""
    text = " ".join(piece.text.split())
    for pattern, rule in rules:
        for found in pattern.finditer(text):
            yield f'"{found[0]}": write {rule["write"]}', found[0]
    if piece.opening and re.match(r"(What|Who|Whose|Where|Which)\b(?!.*\?)", text):
        words = " ".join(text.split()[:4])
        yield f'"{words} ...": begin with a noun or a verb, not with a clause', words
    for sentence in SENTENCE_END.split(text):
        if (count := word_count(sentence)) > LONGEST:
            words = " ".join(sentence.split()[:5])
            yield f'"{words} ...": {count} words; at most {LONGEST} in a sentence', words


def word_count(sentence: str) -> int:
    """Words of a sentence; a short part of an enumeration (between commas) counts as one."""
    parts = [re.findall(r"[^\W_]\S*", part) for part in re.split(r",\s", sentence)]
    short = [len(part) <= 4 for part in parts]
    listed = sum(short) >= 4
    return sum(1 if listed and few else len(part) for part, few in zip(parts, short, strict=True))


def _line_of(words: str, piece: Piece, lines: list[str]) -> int:
    """The line of the piece on which these words begin."""
    listed = words.split()
    for few in range(len(listed), 0, -1):
        start = " ".join(listed[:few])
        for line in range(piece.first, min(piece.last, len(lines)) + 1):
            if start in " ".join(lines[line - 1].split()):
                return line
    return piece.first


def _name(path: Path) -> str:
    """The name relative to the checkout that the file is in."""
    path = path.resolve()
    tree = next((up for up in path.parents if (up / "pyproject.toml").exists()), None)
    return (path.relative_to(tree) if tree else path).as_posix()


# Markdown


def bare(text: str) -> str:
    """Markdown without its marks: code is one word, a link its text."""
    text = re.sub(r"(`+)(.+?)\1", CODE, text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\*\*|__|(?<!\w)[*_]|[*_](?!\w)", "", text)


def markdown(source: str, _name: str = "") -> Iterator[Piece]:
    """Paragraphs, headings, list items and table cells, and comments of code blocks."""
    source = re.sub(
        r"<!--.*?-->", lambda found: "\n" * found[0].count("\n"), source, flags=re.DOTALL
    )
    paragraph: list[str] = []
    first, fence = 0, ""

    def flush(last: int) -> Iterator[Piece]:
        if paragraph:
            yield Piece(bare(" ".join(paragraph)), first, last)
            paragraph.clear()

    for number, line in enumerate(source.splitlines(), 1):
        stripped = line.strip()
        if fence or re.match(r"```|~~~", stripped):
            if fence and stripped.startswith(fence):
                fence = ""
            elif not fence:
                yield from flush(number - 1)
                fence, language = stripped[:3], stripped[3:].strip()
            elif language in ("", "sh", "bash", "python", "toml") and (
                comment := re.search(r"(?:^|\s{2,})# (.*)", line)
            ):
                yield Piece(comment[1], number, number)
            continue
        if not stripped or re.match(r"#|\||[-*+] |\d+\. |> ", stripped):
            yield from flush(number - 1)
        if stripped.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", stripped.strip("|")):
                yield Piece(bare(cell), number, number)
        elif stripped.startswith("#"):
            yield Piece(bare(stripped.lstrip("#")), number, number)
        elif stripped:
            if not paragraph:
                first = number
            paragraph.append(re.sub(r"^([-*+] |\d+\. |> ?)", "", stripped))
    yield from flush(number if source else 0)


def notebook(source: str, _name: str = "") -> Iterator[Piece]:
    """The Markdown cells of a notebook."""
    lines = source.splitlines()
    for cell in json.loads(source)["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        for piece in markdown("".join(cell["source"])):
            start = json.dumps(" ".join(piece.text.split()[:2]), ensure_ascii=False)[1:-1]
            at = next((i for i, line in enumerate(lines, 1) if start in line), 1)
            yield Piece(piece.text, at, at + piece.last - piece.first + 1)


def _is_page(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if file in ("CHANGELOG.md", "CONTRIBUTING.md"):
        return False
    return name.endswith(".md") and folder in ("", "docs", "data", "benchmarks")


def undefined_terms(source: str, name: str) -> list[Hit]:
    """Terms whose first use has no link to the glossary."""
    text = re.sub(r"```.*?```|<!--.*?-->", _blank, source, flags=re.DOTALL)
    text = re.sub(r"(`+)[^`\n]+?\1", _blank, text)
    guide = name.endswith("guide.md")
    text = text.partition("\n## Glossary")[0] if guide else text
    words = re.sub(r"(?<=\])\([^)]*\)|(?m:^#+ .*$)|!\[[^\]]*\]", _blank, text)
    hits = []
    for anchor, pattern in TERMS.items():
        if not (first := pattern.search(words)):
            continue
        end = re.compile(r"\n\s*\n" if guide else r"\n## ").search(text, first.end())
        seen = text[: end.start() if end else len(text)]
        if f"#{anchor})" not in seen and (guide or "#glossary)" not in seen):
            line = text.count("\n", 0, first.start()) + 1
            hits.append(
                Hit(
                    name,
                    line,
                    f'"{first[0]}": link its first use to the glossary, (guide.md#{anchor})',
                )
            )
    return hits


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


# Python


def python(source: str, name: str = "") -> Iterator[Piece]:
    """Docstrings and comments; outside of tests also messages."""
    tree = ast.parse(source)
    lines = source.encode().splitlines()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings: set[int] = set()
    spans: list[tuple[int, int, int, int]] = []
    nested: set[int] = set()
    tests = name.startswith("tests/")
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            constant = node.body[0].value  # type: ignore[attr-defined]
            docstrings.add(id(constant))
            yield from docstring(constant.value, constant.lineno)
        if isinstance(node, ast.JoinedStr):
            nested |= {id(inner) for inner in ast.walk(node) if inner is not node}
        text = _string(node)
        if text is None or id(node) in nested:
            continue
        spans.append((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]
        if id(node) not in docstrings and not tests and is_sentence(text):
            for part in text.split("\n"):
                yield Piece(unquoted(part), node.lineno, node.end_lineno or node.lineno)  # type: ignore[attr-defined]
    yield from comments(_without(lines, spans), "#")


def _string(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return node.value if isinstance(node.value, str) else ""
    return None


def _without(lines: list[bytes], spans: list[tuple[int, int, int, int]]) -> list[str]:
    """The lines with their strings blanked out."""
    rows = [bytearray(line) for line in lines]
    for first, start, last, end in spans:
        for line in range(first, last + 1):
            row = rows[line - 1]
            a, b = start if line == first else 0, end if line == last else len(row)
            row[a:b] = b"_" * (b - a)
    return [row.decode(errors="replace") for row in rows]


def is_sentence(text: str) -> bool:
    """Whether a string is for people: three words or more, and no code or pattern."""
    return bool(re.search(r"[a-zA-Z,]+ [a-zA-Z,]+ [a-zA-Z]+", text)) and "\\" not in text


def unquoted(text: str) -> str:
    """A text with code in backquotes as one word."""
    return re.sub(r"(`+)[^`]+?\1", CODE, text)


SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:", "Note:", "Notes:")


def docstring(text: str, line: int) -> Iterator[Piece]:
    """Paragraphs, list items and arguments; examples and indented code are left out."""
    rows = text.split("\n")
    margin = min((len(r) - len(r.lstrip()) for r in rows[1:] if r.strip()), default=0)
    rows = [rows[0].strip(), *(row[margin:] for row in rows[1:])]
    paragraph: list[str] = []
    first, section, skipping, opening = line, "", False, True
    for number, row in enumerate([*rows, ""], line):
        stripped = row.strip()
        indent = len(row) - len(row.lstrip())
        if not indent and stripped:
            section = stripped if stripped.endswith(":") and " " not in stripped else ""
        skipping = (skipping and bool(stripped)) or stripped.startswith(">>>")
        code = indent >= 4 and section not in SECTIONS
        entry = section in SECTIONS and indent == 4
        if not stripped or skipping or code or entry or re.match(r"[-*] |\d+\. |\|", stripped):
            if paragraph:
                yield Piece(unquoted(" ".join(paragraph)), first, number - 1, opening)
                opening = False
            paragraph = []
        if stripped and not skipping and not code:
            if not paragraph:
                first = number
            paragraph.append(
                re.sub(r"^[\w*, ]+(\([^)]*\))?: ", "", stripped) if entry else stripped
            )


def comments(lines: list[str], mark: str) -> Iterator[Piece]:
    """Comments; those on lines that follow each other are one."""
    block: list[str] = []
    first = column = 0
    for number, line in enumerate([*lines, ""], 1):
        before, found, text = line.partition(mark)
        text = text.strip()
        whole = bool(found) and not before.strip()
        if block and not (whole and column == len(before) and text and not text.startswith("- ")):
            yield Piece(unquoted(" ".join(block)), first, number - 1)
            block = []
        if not found or re.match(r"(type|noqa|fmt|pragma|mypy|ruff|!)\b", text):
            continue
        if whole and text:
            if not block:
                first, column = number, len(before)
            block.append(text.removeprefix("- "))
        elif text:
            yield Piece(unquoted(text), number, number)


# TOML, Makefile, the page


def comments_and_strings(source: str, name: str = "") -> Iterator[Piece]:
    """Comments of a TOML file or a Makefile; sentences of a corpus' card."""
    rows = []
    for number, line in enumerate(source.splitlines(), 1):
        strings = re.findall(r'"([^"]*)"', line)
        if "/cards/" in name or name == "Makefile":
            yield from (Piece(text, number, number) for text in strings if is_sentence(text))
        rows.append(re.sub(r'"[^"]*"|\'[^\']*\'' if "=" in line else r"(?!)", _blank, line))
    yield from comments(rows, "# ")


JAVASCRIPT = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`(?:\\.|[^`\\])*`)'
    r"|(?:(?<=[(,=:\[!&|?{};])|(?<=[(,=:\[!&|?{};] )|(?<=return ))/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+/",
    re.DOTALL,
)


def javascript(source: str, _name: str = "") -> Iterator[Piece]:
    """Comments and sentences of a script or a style sheet."""
    rows = [" "] * (source.count("\n") + 2)
    for found in JAVASCRIPT.finditer(source):
        line = source.count("\n", 0, found.start()) + 1
        if text := found["string"]:
            text = re.sub(r"\$\{[^}]*\}", "X", text[1:-1])
            if is_sentence(text):
                yield Piece(unquoted(text), line, line + text.count("\n"))
        elif text := found["comment"]:
            for number, part in enumerate(text.strip("/* ").split("\n"), line):
                whole = not source[: found.start()].rpartition("\n")[2].strip()
                rows[number - 1] = ("" if whole else "x ") + "#" + part
    yield from comments(rows, "#")


class _Page(HTMLParser):
    """Text of elements and of attributes that are shown or read out."""

    INLINE = ("a", "b", "code", "em", "i", "kbd", "small", "span", "strong", "output")
    SHOWN = ("title", "alt", "placeholder", "aria-label", "content")

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []
        self._text, self._first, self._inside = "", 0, ""

    def flush(self) -> None:
        if self._text.strip():
            self.pieces.append(Piece(self._text, self._first, self.getpos()[0]))
        self._text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        shown = (value for name, value in attributes if name in self.SHOWN and value)
        self.pieces += [Piece(value, line, line + 1) for value in shown if is_sentence(value)]
        if tag not in self.INLINE:
            self.flush()
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.INLINE:
            self.flush()
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            return
        if not self._text.strip():
            self._first = self.getpos()[0]
        self._text += CODE if self._inside in ("code", "kbd") else data


def html(source: str, _name: str = "") -> Iterator[Piece]:
    """Text of a page."""
    page = _Page()
    page.feed(source)
    page.close()
    page.flush()
    yield from page.pieces


READERS = {
    ".md": markdown,
    ".ipynb": notebook,
    ".py": python,
    ".toml": comments_and_strings,
    ".js": javascript,
    ".css": javascript,
    ".html": html,
}


def main(arguments: list[str]) -> int:
    """Print the faults of these files and folders, or of all; 1 if there are any."""
    hits = [hit for path in files(map(Path, arguments)) for hit in check(path)]
    for hit in hits:
        print(hit)
    print(f"{len(hits)} to mend" if hits else "nothing to mend", file=sys.stderr)
    return bool(hits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
