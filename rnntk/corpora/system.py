"""Make corpora from this machine's files: C source, Python source, manual pages.

UTF-8 files are joined in order of name, so that the result is the same every time.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import platform
import re
import sysconfig
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rnntk.errors import CorpusError

C_SOURCE_BYTES = 1_700_000  # about the size of `linux_kernel`
PYTHON_SOURCE_BYTES = 1_000_000

_DECOMPRESS = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


@dataclass(frozen=True)
class Machine:
    """Folders to make corpora from; tests use their own."""

    sources: Path = Path("/usr/src")  # with `linux*/kernel/*.c` or `linux-source-*.tar.xz`
    headers: Path = Path("/usr/include/linux")
    korean_manuals: Path = Path("/usr/share/man/ko")  # with `man1/*.1.gz` and so on
    standard_library: Path = field(default_factory=lambda: Path(sysconfig.get_path("stdlib")))
    # With `datasets/mnist.npz`.
    keras_home: Path = field(default_factory=lambda: Path.home() / ".keras")


@dataclass(frozen=True)
class Built:
    """The bytes of a corpus."""

    data: bytes
    detail: str  # where it is from, such as "the C headers of this machine (...)"


@dataclass(frozen=True)
class Builder:
    """How to make a corpus from this machine's files."""

    folder: str  # field of `Machine`
    pattern: str  # of the files in it
    missing: str  # the message if there are none
    detail: str = ""  # `Built.detail`, to be formatted with `count` and `place`
    cap: int = 0  # approximate size of the text, in bytes
    listing: str = "made from {}"  # for `availability`, to be formatted with the place
    # Makes the corpus from the folder, or returns a file to use in place; by default the files are joined.
    make: Callable[[Path], Built | Path] | None = None

    def place(self, machine: Machine) -> Path | None:
        """The folder with the files, or an archive of them; None if there is none."""
        folder: Path = getattr(machine, self.folder)
        if self.folder == "sources":
            return _kernel_source_place(folder)
        return folder if any(path.is_file() for path in folder.glob(self.pattern)) else None


def build(builder: str, machine: Machine) -> Built | Path:
    """Make a corpus from this machine's files. Raises `CorpusError` if there are none, or none with text."""
    known = BUILDERS[builder]
    place = known.place(machine)
    if place is None:
        raise CorpusError(f"{known.missing} in {getattr(machine, known.folder)}")
    if known.make:
        return known.make(place)
    files = _sorted(place, known.pattern) if place.is_dir() else []
    data, count = _joined(map(Path.read_bytes, files) if files else _in_tar(place), known.cap)
    return Built(data, known.detail.format(count=count, place=place))


def material(builder: str, machine: Machine) -> str:
    """Description of the files for `builder` on this machine; empty if there are none."""
    known = BUILDERS[builder]
    place = known.place(machine)
    return "" if place is None else known.listing.format(place)


def _kernel_source_place(sources: Path) -> Path | None:
    """The folder with the newest kernel's C files, else the newest archive."""
    for folder in sorted(sources.glob("linux*/kernel"), reverse=True):
        if any(folder.glob("*.c")):
            return folder
    return max(sources.glob("linux-source-*.tar.*"), default=None)


def _in_tar(path: Path) -> list[bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if re.fullmatch(r"(\./)?[^/]+/kernel/[^/]+\.c", member.name) and member.isfile():
                    opened = archive.extractfile(member)
                    files[member.name] = opened.read() if opened else b""
                elif files and not re.match(r"(\./)?[^/]+/kernel/", member.name):
                    break  # because the whole archive takes ten times as long
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
        raise CorpusError(f"{path} cannot be read: {error}") from None
    return [files[name] for name in sorted(files)]


def _man_ko(folder: Path) -> Built:
    pages = []
    for path in _sorted(folder, "man*/*"):
        if path.is_symlink():
            continue
        try:
            source = _DECOMPRESS.get(path.suffix, bytes)(path.read_bytes())
        except (OSError, EOFError, lzma.LZMAError):
            continue
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError:
            text = source.decode("cp949", errors="ignore")
        if text := plain_manual_page(text):
            pages.append(text.encode())
    if not pages:
        raise CorpusError(f"the manual pages in {folder} have no text")
    detail = f"the Korean manual pages of this machine ({len(pages)} pages of {folder})"
    return Built(b"\n".join(pages), detail)


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
# Requests of man(7) and mdoc(7) whose arguments are text.
_ROFF_TEXT_REQUESTS = (
    *("B", "I", "R", "SM", "SB", "BR", "RB", "BI", "IB", "IR", "RI", "SH", "SS", "TH", "IP", "TP"),
    *("Nm", "Sh", "Ss", "Op", "Ar", "Fl", "Pa", "Xr"),
)


def plain_manual_page(source: str) -> str:
    r"""The text of a manual page without its roff commands.

    >>> plain_manual_page('.\\" by me\n.SH 이름\nls \\- 파일을 \\fB나열\\fR한다\n.PP\n')
    '이름\nls - 파일을 나열한다\n'
    """
    lines = []
    for line in source.splitlines():
        if line.startswith((".", "'")):
            request, _, rest = line[1:].lstrip().partition(" ")
            if request not in _ROFF_TEXT_REQUESTS:
                continue
            line = " ".join(rest.replace('"', " ").split())
        for pattern, replacement in _ROFF_ESCAPES:
            line = pattern.sub(replacement, line)
        lines.append(line.rstrip())
    return "".join(line + "\n" for line in lines if line)


_STAND_IN = "a similar text made from {}; its own text needs a download"

BUILDERS = {  # of a card's `system` source
    "kernel_source": Builder(
        "sources", "*.c", "there is no kernel source",
        "the kernel source of this machine ({count} C files of {place})", C_SOURCE_BYTES, _STAND_IN,
    ),
    "kernel_headers": Builder(
        "headers", "**/*.h", "there are no C headers",
        "the C headers of this machine ({count} files of {place})", C_SOURCE_BYTES, _STAND_IN,
    ),
    "python_stdlib": Builder(
        "standard_library", "*.py", "there are no Python files",
        f"the standard library of Python {platform.python_version()} ({{count}} files of it)", PYTHON_SOURCE_BYTES,
    ),
    "man_ko": Builder("korean_manuals", "man*/*", "there are no Korean manual pages", make=_man_ko),
    "keras_mnist": Builder(  # downloaded by Keras
        "keras_home", "datasets/mnist.npz", "there is no datasets/mnist.npz", listing="{}/datasets/mnist.npz",
        make=lambda folder: folder / "datasets/mnist.npz",
    ),
}  # fmt: skip


def _sorted(folder: Path, pattern: str) -> list[Path]:
    """The files in an order that does not depend on the system."""
    return sorted(
        (path for path in folder.glob(pattern) if path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )


def _joined(files: Iterable[bytes], cap: int) -> tuple[bytes, int]:
    """Whole UTF-8 files with LF line ends, up to about `cap` bytes, and their number."""
    parts: list[bytes] = []
    size = 0
    for data in files:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if not text or "\0" in text:
            continue
        data = data.replace(b"\r\n", b"\n")
        if parts and size + len(data) > cap:
            break
        parts.append(data)
        size += len(data)
    if not parts:
        raise CorpusError("the files have no text")
    return b"".join(parts), len(parts)
