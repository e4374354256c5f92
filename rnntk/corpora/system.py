"""Corpora made of files that this machine has anyway: C source, Python source, manual pages.

Files that are not UTF-8 are left out. The others are joined in the order of their names, so one machine always gives
the same text.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import platform
import re
import sysconfig
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rnntk.errors import CorpusError

C_SOURCE_BYTES = 1_700_000
"""About the size of `linux_kernel`, so that its settings fit the stand-in too."""
PYTHON_SOURCE_BYTES = 1_000_000

_OPENERS: dict[str, Callable[[Path], bytes]] = {
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".bz2": lambda path: bz2.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
}


def _keras_home() -> Path:
    return Path.home() / ".keras"


@dataclass(frozen=True)
class Machine:
    """Places on this machine that corpora are made from. Tests use folders of their own.

    Attributes:
        sources: holds `linux*/kernel/*.c` or `linux-source-*.tar.xz`.
        headers: C headers of the kernel.
        korean_manuals: holds `man1/*.1.gz` and so on.
        standard_library: of the running Python.
        keras_home: holds `datasets/mnist.npz` where Keras has downloaded it. Only ever read.
    """

    sources: Path = Path("/usr/src")
    headers: Path = Path("/usr/include/linux")
    korean_manuals: Path = Path("/usr/share/man/ko")
    standard_library: Path = field(default_factory=lambda: Path(sysconfig.get_path("stdlib")))
    keras_home: Path = field(default_factory=_keras_home)


@dataclass(frozen=True)
class Built:
    """Bytes made from this machine's files.

    Attributes:
        data: the text, UTF-8.
        detail: its source as a noun phrase: "the C headers of this machine (...)".
    """

    data: bytes
    detail: str


@dataclass(frozen=True)
class Builder:
    """A way to make a corpus of this machine's files.

    Attributes:
        place: the file or folder it is made of, or None where there is nothing.
        missing: the reason then, formatted with the machine.
        build: the text of that place; a path is a file to be read where it is.
        listing: the source for `availability`, formatted with the place.
    """

    place: Callable[[Machine], Path | None]
    missing: str
    build: Callable[[Path], Built | Path]
    listing: str = "made from {}"


def build(builder: str, machine: Machine) -> Built | Path:
    """The text that `builder` makes of this machine's files.

    Raises:
        CorpusError: there are none, or they hold no text.
    """
    known = BUILDERS[builder]
    place = known.place(machine)
    if place is None:
        raise CorpusError(known.missing.format(machine))
    return known.build(place)


def material(builder: str, machine: Machine) -> str:
    """The source that `builder` would use here, for a listing; empty when there is none."""
    known = BUILDERS[builder]
    place = known.place(machine)
    return "" if place is None else known.listing.format(place)


def _holding(folder: Path, pattern: str) -> Path | None:
    """The folder, when files of that pattern are in it."""
    return folder if any(path.is_file() for path in folder.glob(pattern)) else None


def _kernel_source(place: Path) -> Built:
    """The C files of a Linux kernel source's `kernel/` folder."""
    if place.is_dir():
        data, count = _joined((path.read_bytes() for path in _sorted(place, "*.c")), C_SOURCE_BYTES)
    else:
        data, count = _joined(_kernel_files_of_tar(place), C_SOURCE_BYTES)
    return Built(data, f"the kernel source of this machine ({count} C files of {place})")


def _kernel_source_place(machine: Machine) -> Path | None:
    for folder in sorted(machine.sources.glob("linux*/kernel"), reverse=True):
        if any(folder.glob("*.c")):
            return folder
    return next(iter(sorted(machine.sources.glob("linux-source-*.tar.*"), reverse=True)), None)


def _kernel_files_of_tar(path: Path) -> list[bytes]:
    files: dict[str, bytes] = {}
    inside = False
    try:
        # As a stream, and only to the end of kernel/: the whole archive takes ten times as long.
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if re.fullmatch(r"[^/]+/kernel(/.*)?", member.name.removeprefix("./")):
                    inside = True
                    if member.isfile() and re.search(r"(^|/)[^/]+/kernel/[^/]+\.c$", member.name):
                        opened = archive.extractfile(member)
                        files[member.name] = opened.read() if opened else b""
                elif inside:
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from None
    return [files[name] for name in sorted(files)]


def _kernel_headers(folder: Path) -> Built:
    """The kernel's C headers, which every Linux with a C compiler has."""
    data, count = _joined((path.read_bytes() for path in _sorted(folder, "**/*.h")), C_SOURCE_BYTES)
    return Built(data, f"the C headers of this machine ({count} files of {folder})")


def _python_stdlib(folder: Path) -> Built:
    """The top-level modules of the running Python's standard library, about 1 MB of them."""
    files = (path.read_bytes() for path in _sorted(folder, "*.py"))
    data, count = _joined(files, PYTHON_SOURCE_BYTES)
    version = platform.python_version()
    return Built(data, f"the standard library of Python {version} ({count} files of it)")


def _man_ko(folder: Path) -> Built:
    """The Korean manual pages of this machine, as plain text."""
    pages = []
    for path in _sorted(folder, "man*/*"):
        if path.is_symlink():
            continue
        try:
            source = _OPENERS.get(path.suffix, Path.read_bytes)(path)
        except (OSError, EOFError, lzma.LZMAError):
            continue
        text = plain_manual_page(_decoded_korean(source))
        if text:
            pages.append(text.encode())
    if not pages:
        raise CorpusError("the manual pages that are there hold no text")
    detail = f"the Korean manual pages of this machine ({len(pages)} pages of {folder})"
    return Built(b"\n".join(pages), detail)


def _decoded_korean(source: bytes) -> str:
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError:
        return source.decode("cp949", errors="ignore")


_ROFF_ESCAPES = (
    (re.compile(r"\\\".*"), ""),  # a comment
    (re.compile(r"\\f(\[[^]]*\]|\(..|.)"), ""),  # a font
    (re.compile(r"\\s[-+]?\d+"), ""),  # a size
    (re.compile(r"\\\*?\((?:lq|rq|Lq|Rq|dq)"), '"'),
    (re.compile(r"\\\((?:aq|cq|oq)"), "'"),
    (re.compile(r"\\\*?(?:\((..)|\[[^]]*\])"), ""),  # any other named character or string
    (re.compile(r"\\[&%/|^,:)]"), ""),
    (re.compile(r"\\[ ~0]"), " "),
    (re.compile(r"\\e"), r"\\"),
    (re.compile(r"\\([-.'`])"), r"\1"),
)
# The requests of man(7) and mdoc(7) whose arguments are words of the page.
_ROFF_TEXT_REQUESTS = (
    *("B", "I", "R", "SM", "SB", "BR", "RB", "BI", "IB", "IR", "RI", "SH", "SS", "TH", "IP", "TP"),
    *("Nm", "Sh", "Ss", "Op", "Ar", "Fl", "Pa", "Xr"),
)


def plain_manual_page(source: str) -> str:
    r"""The words of a manual page without its roff commands. Not a typesetter: good enough to read.

    >>> plain_manual_page('.\\" by me\n.SH 이름\nls \\- 파일을 \\fB나열\\fR한다\n.PP\n')
    '이름\nls - 파일을 나열한다\n'
    """
    lines = []
    for line in source.splitlines():
        if line.startswith((".", "'")):
            request, _, rest = line[1:].lstrip().partition(" ")
            if request not in _ROFF_TEXT_REQUESTS:
                continue
            line = " ".join(word for word in rest.replace('"', " ").split())
        for pattern, replacement in _ROFF_ESCAPES:
            line = pattern.sub(replacement, line)
        line = line.rstrip()
        if line:
            lines.append(line)
    return "".join(line + "\n" for line in lines)


def _keras_mnist(machine: Machine) -> Path | None:
    path = machine.keras_home / "datasets" / "mnist.npz"
    return path if path.is_file() else None


_STAND_IN = "a stand-in made from {}; its own text by download"

BUILDERS = {
    "kernel_source": Builder(
        _kernel_source_place, "there is no kernel source in {0.sources}", _kernel_source, _STAND_IN
    ),
    "kernel_headers": Builder(
        lambda machine: _holding(machine.headers, "**/*.h"),
        "there are no C headers in {0.headers}",
        _kernel_headers,
        _STAND_IN,
    ),
    "python_stdlib": Builder(
        lambda machine: _holding(machine.standard_library, "*.py"),
        "there are no Python files in {0.standard_library}",
        _python_stdlib,
    ),
    "man_ko": Builder(
        lambda machine: _holding(machine.korean_manuals, "man*/*"),
        "there are no Korean manual pages in {0.korean_manuals}",
        _man_ko,
    ),
    # As Keras has downloaded it; read where it is.
    "keras_mnist": Builder(
        _keras_mnist, "there is no datasets/mnist.npz in {0.keras_home}", lambda path: path, "{}"
    ),
}
"""Builders of a card's `system` source."""


def _sorted(folder: Path, pattern: str) -> list[Path]:
    """The files, in the order of their names; the same order on every system."""
    return sorted(
        (path for path in folder.glob(pattern) if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def _joined(files: Iterable[bytes], cap: int) -> tuple[bytes, int]:
    """Whole files in order, up to about `cap` bytes, with LF line ends; and how many they are."""
    parts: list[bytes] = []
    size = 0
    for data in _utf8_only(files):
        if parts and size + len(data) > cap:
            break
        parts.append(data)
        size += len(data)
    if not parts:
        raise CorpusError("the files that are there hold no text")
    return b"".join(parts), len(parts)


def _utf8_only(files: Iterable[bytes]) -> Iterator[bytes]:
    for data in files:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if data and b"\0" not in data:
            yield data.replace(b"\r\n", b"\n")
