from __future__ import annotations

import gzip
import io
import platform
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from rnntk.corpora import system
from rnntk.errors import CorpusError


def header_tree(root: Path) -> None:
    (root / "can").mkdir(parents=True)
    (root / "b.h").write_bytes(b"/* b */\r\n")
    (root / "a.h").write_bytes("/* å */\n".encode())
    (root / "can" / "c.h").write_bytes(b"/* c */\n")
    (root / "latin.h").write_bytes(b"/* \xe5 */\n")
    (root / "readme").write_bytes(b"no header")


def test_headers_are_joined_in_order_as_utf8_with_lf(tmp_path, bare_machine):
    header_tree(tmp_path / "h")
    built = system.build("kernel_headers", replace(bare_machine, headers=tmp_path / "h"))
    assert built.data.decode() == "/* å */\n/* b */\n/* c */\n"
    assert "3 files" in built.detail
    assert str(tmp_path / "h") in built.detail


def test_whole_files_are_taken_up_to_the_limit(tmp_path, bare_machine, monkeypatch):
    header_tree(tmp_path / "h")
    small = replace(system.BUILDERS["kernel_headers"], cap=17)
    monkeypatch.setitem(system.BUILDERS, "kernel_headers", small)
    built = system.build("kernel_headers", replace(bare_machine, headers=tmp_path / "h"))
    assert built.data.decode() == "/* å */\n/* b */\n"


def test_a_folder_of_kernel_source_is_read(tmp_path, bare_machine):
    folder = tmp_path / "linux-source-6.1" / "kernel"
    (folder / "bpf").mkdir(parents=True)
    for name in ("sched.c", "exit.c", "bpf/core.c", "Makefile"):
        (folder / name).write_text(f"/* {name} */\n")
    built = system.build("kernel_source", replace(bare_machine, sources=tmp_path))
    assert built.data == b"/* exit.c */\n/* sched.c */\n"


def test_kernel_source_as_debian_packages_it_is_read(tmp_path, bare_machine):
    with tarfile.open(tmp_path / "linux-source-6.1.tar.xz", "w:xz") as archive:
        for name in (
            *("arch/kernel/no.c", "kernel/sched.c", "kernel/bpf/core.c", "kernel/exit.c"),
            *("lib/no.c", "tools/kernel/no.c"),
        ):
            data = f"/* {name} */\n".encode()
            info = tarfile.TarInfo(f"linux-source-6.1/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    machine = replace(bare_machine, sources=tmp_path)
    assert (
        system.build("kernel_source", machine).data
        == b"/* kernel/exit.c */\n/* kernel/sched.c */\n"
    )
    assert "linux-source-6.1.tar.xz" in system.material("kernel_source", machine)


def test_a_broken_kernel_archive_is_reported(tmp_path, bare_machine):
    (tmp_path / "linux-source-6.1.tar.xz").write_bytes(b"\xfd7zXZ\0 and no more")
    with pytest.raises(CorpusError, match="cannot be read"):
        system.build("kernel_source", replace(bare_machine, sources=tmp_path))


def test_the_running_python_has_a_library(bare_machine):
    built = system.build("python_stdlib", bare_machine)
    assert 500_000 < len(built.data) <= system.PYTHON_SOURCE_BYTES
    assert platform.python_version() in built.detail
    assert built == system.build("python_stdlib", bare_machine)
    assert "def " in built.data.decode()


PAGE = """.\\" Copyright 1990
.TH LS 1 "2024"
.SH 이름
ls \\- 파일을 \\fB나열\\fR한다
.PP
.B ls \\-l
.ie n \\(bu
.de XX
따옴표 \\(lq안\\(rq \\e 끝\\&.
"""


def test_manual_pages_become_words(tmp_path, bare_machine):
    (tmp_path / "man1").mkdir()
    (tmp_path / "man1" / "ls.1.gz").write_bytes(gzip.compress(PAGE.encode()))
    (tmp_path / "man1" / "old.1").write_bytes(".SH 이름\n낡은 글\n".encode("cp949"))
    (tmp_path / "man1" / "broken.1.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "man1" / "alias.1").write_text(".so man1/ls.1\n")
    built = system.build("man_ko", replace(bare_machine, korean_manuals=tmp_path))
    assert built.data.decode() == (
        'LS 1 2024\n이름\nls - 파일을 나열한다\nls -l\n따옴표 "안" \\ 끝.\n\n이름\n낡은 글\n'
    )
    assert "2 pages" in built.detail


@pytest.mark.parametrize("builder", [*system.BUILDERS])
def test_a_machine_without_sources_is_reported(bare_machine, tmp_path, builder):
    machine = replace(bare_machine, standard_library=tmp_path / "none")
    assert system.material(builder, machine) == ""
    with pytest.raises(CorpusError, match="no "):
        system.build(builder, machine)
