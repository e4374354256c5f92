from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from rnntk.corpora import fetch as fetching
from rnntk.corpora.card import Card
from rnntk.corpora.fetch import fetch
from rnntk.errors import CorpusError

TEXT = b"to be or not to be\n" * 9000
SHA = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def target(alone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An existing file in the place of the download, which must survive every failure."""
    monkeypatch.setattr(fetching, "_RETRY_SECONDS", 0.01)
    path = alone / "kept" / "input.txt"
    path.parent.mkdir()
    path.write_bytes(b"older")
    return path


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_complete_download_replaces_the_file(server, target):
    server.pages["/a"] = TEXT
    fetch(server.url + "/a", target, sha256=SHA)
    assert target.read_bytes() == TEXT
    assert left(target) == ["input.txt"]


@pytest.mark.parametrize(
    ("path", "message", "tries"),
    [
        ("/nothing", "the server answered 404 Not Found", 1),
        ("/cut-short", "the download was cut short: 10 of 20 bytes", 2),
        ("/busy", "the server answered 503", 2),
        ("/stalls", "the server stopped sending: 10 of 20 bytes", 1),
        ("/silent", "the server did not answer in time", 1),
        ("/drips", "of 1,000 bytes arrived in 0.4 seconds", 1),
        ("/wrong", "the download was discarded: its SHA-256 is", 1),
    ],
)
def test_a_failure_is_reported_and_changes_nothing(
    server, target, monkeypatch, path, message, tries
):
    if path in ("/stalls", "/silent"):  # only these reach the limit, even on a busy machine
        monkeypatch.setattr(fetching, "CONNECT_SECONDS", 2.0)
    elif path == "/drips":
        monkeypatch.setattr(fetching, "TOTAL_SECONDS", 0.4)
    server.pages["/wrong"] = b"something else"
    with pytest.raises(CorpusError) as raised:
        fetch(server.url + path, target, sha256=SHA)
    assert message in str(raised.value)
    assert server.asked == [path] * tries
    assert target.read_bytes() == b"older"
    assert left(target) == ["input.txt"]


@pytest.mark.parametrize(
    ("path", "data"), [("/busy-once", b"at last"), ("/cut-once", b"half of it and half.")]
)
def test_a_temporary_error_is_retried_once(server, target, path, data):
    fetch(server.url + path, target)
    assert target.read_bytes() == data
    assert server.asked == [path, path]


def test_a_refused_connection_is_reported(server, target):
    server.server.server_close()
    with pytest.raises(CorpusError, match="the server refused the connection"):
        fetch(server.url + "/a", target)
    assert target.read_bytes() == b"older"


def test_an_unknown_host_is_reported(target, monkeypatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise fetching.socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(fetching.socket, "getaddrinfo", refuse)
    with pytest.raises(CorpusError, match="no network: the server's name cannot be looked up"):
        fetch("https://example.invalid/a", target)


def test_the_proxy_of_the_environment_is_used(server, target, monkeypatch):
    server.pages["http://example.invalid/a"] = TEXT
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch("http://example.invalid/a", target, sha256=SHA)
    assert target.read_bytes() == TEXT


def test_a_file_inside_an_archive_is_extracted(server, target):
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/novel.txt", TEXT)
    with tarfile.open(fileobj=tarred, mode="w:xz") as archive:
        info = tarfile.TarInfo("in/novel.txt")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT))
    server.pages = {
        "/a.zip": zipped.getvalue(),
        "/a.tar.xz": tarred.getvalue(),
        "/no": b"no archive",
    }
    for page in ("/a.zip", "/a.tar.xz"):
        target.write_bytes(b"older")
        fetch(server.url + page, target, sha256=SHA, member="in/novel.txt")
        assert target.read_bytes() == TEXT
        with pytest.raises(CorpusError, match="the archive has no file other"):
            fetch(server.url + page, target, member="other")
    with pytest.raises(CorpusError, match="the archive cannot be read"):
        fetch(server.url + "/no", target, member="other")
    assert target.read_bytes() == TEXT
    assert left(target) == ["input.txt"]


@pytest.mark.parametrize("length", ["abc", "-5", "\u0663", "9" * 30, "1_0", "9 9"])
def test_a_content_length_that_is_not_a_number_is_refused(server, target, length):
    server.answers["/a"] = (200, {"Content-Length": length.encode().decode("latin-1")})
    with pytest.raises(CorpusError, match="the server gives '.*' as the file's size"):
        fetch(server.url + "/a", target)
    assert target.read_bytes() == b"older"


def test_a_download_over_the_limit_is_refused(server, target):
    server.pages["/a"] = TEXT
    server.answers["/unsaid"] = (200, {})
    fetch(server.url + "/a", target, most=len(TEXT))
    fetch(server.url + "/unsaid", target, most=9)
    with pytest.raises(CorpusError, match="it has 171,000 bytes; the limit is 170,999"):
        fetch(server.url + "/a", target, most=len(TEXT) - 1)
    with pytest.raises(CorpusError, match="it has over 8 bytes, the limit"):
        fetch(server.url + "/unsaid", target, most=8)
    assert target.read_bytes() == b"some text"
    assert left(target) == ["input.txt"]


def test_the_limit_follows_from_the_size_on_the_card():
    assert Card("a", (), bytes=100, sha256="0" * 64).most_bytes == 100
    assert Card("a", (), bytes=100).most_bytes == 200
    assert Card("a", ()).most_bytes == 10**9


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("/b", None),
        ("file:///etc/passwd", "the server answered 302 .*is not allowed"),
        ("FILE:/etc/passwd", "is not allowed"),
        ("ftp://127.0.0.1/a", "which is not followed"),
        ("data:text/plain,hello", "is not allowed"),
        ("gopher:x" * 1000, "is not allowed|answered 302"),
        ("http://[::1", "makes no sense|answered 302"),
        ("http:///", "the server answered 404"),
        ("http://127.0.0.1:99999/", "the server refused the connection|makes no sense"),
        ("http://x y/", "makes no sense|control characters|name cannot be looked up"),
        ("/a", "the server answered 302 The HTTP server returned a redirect error"),
        ("/a?" + "x" * 70_000, "the server|got more than"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_redirects_are_followed_or_refused(server, target, to, message):
    server.pages["/b"] = TEXT
    server.answers["/a"] = (302, {"Location": to})
    if message is None:
        fetch(server.url + "/a", target, sha256=SHA)
        assert target.read_bytes() == TEXT
        return
    with pytest.raises(CorpusError, match=message) as caught:
        fetch(server.url + "/a", target)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"older"
    assert left(target) == ["input.txt"]


def test_a_redirect_from_https_to_http_is_refused() -> None:
    handler, safe = fetching._Redirects(), fetching.urllib.request.Request("https://a.invalid/")
    with pytest.raises(CorpusError, match="redirects to 'http://a.invalid/'"):
        handler.redirect_request(safe, None, 302, "", {}, "http://a.invalid/")
    assert handler.redirect_request(safe, None, 302, "", {}, "https://b.invalid/") is not None


def zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tarred(mode: str = "w", **members: bytes | tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in members.items():
            if isinstance(data, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                archive.addfile(data)
    return file.getvalue()


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "a" if kind == tarfile.LNKTYPE else "/etc/passwd"
    return info


def flagged(at: int, value: int) -> bytes:
    """A zip archive with one byte changed in its local and its central header."""
    data = bytearray(zipped("a", TEXT))
    data[at] = data[data.index(b"PK\x01\x02") + 2 + at] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (flagged(6, 1), "cannot be read: .*encrypted"),
        (flagged(8, 99), "cannot be read: That compression method"),
        (zipped("a", TEXT)[:-60], "cannot be read"),
        (zipped("a", TEXT).replace(b"PK\x01\x02", b"PK\x01\x03"), "cannot be read"),
        (zipped("a", b"\0" * 10**8), "larger than its card says"),
        (tarred("w:gz", a=TEXT)[:-30], "cannot be read"),
        (tarred("w:xz", a=TEXT)[:100], "cannot be read"),
        (tarred("w:bz2", a=b"\0" * 10**7), "larger than its card says"),
        (tarred("w:gz", b=b"\0" * 10**7, a=TEXT), "too large unpacked"),
        (tarred(a=link(tarfile.SYMTYPE)), "has no file a"),
        (tarred(a=link(tarfile.LNKTYPE)), "has no file a"),
        (tarred(a=link(tarfile.FIFOTYPE)), "has no file a"),
        (tarred(a=link(tarfile.CHRTYPE)), "has no file a"),
        (b"\x1f\x8b" + b"\0" * 100, "cannot be read"),
        (b"\xfd7zXZ" + b"\0" * 100, "cannot be read"),
        (b"", "cannot be read|has no file"),
    ],
    ids=lambda value: "archive" if isinstance(value, bytes) else None,  # archives contain the time
)
def test_a_damaged_or_hostile_archive_is_refused(server, target, monkeypatch, archive, message):
    monkeypatch.setattr(fetching, "MOST_UNPACKED", 5 * 10**6)
    server.pages["/a"] = archive
    with pytest.raises(CorpusError, match=message):
        fetch(server.url + "/a", target, member="a", most=len(TEXT))
    assert target.read_bytes() == b"older"
    assert left(target) == ["input.txt"]


def test_names_in_an_archive_are_not_used_as_paths(server, target, alone):
    server.pages["/a"] = zipped("../../evil", TEXT)
    server.pages["/b"] = tarred(**{"/../../evil": TEXT})
    for page, name in (("/a", "../../evil"), ("/b", "/../../evil")):
        fetch(server.url + page, target, member=name)
        assert target.read_bytes() == TEXT
    assert left(target) == ["input.txt"]
    assert not list(alone.rglob("evil"))


def test_a_file_url_is_read(alone, target):
    (alone / "a.txt").write_bytes(TEXT)
    fetch((alone / "a.txt").as_uri(), target, sha256=SHA)
    assert target.read_bytes() == TEXT
    with pytest.raises(CorpusError, match="No such file"):
        fetch((alone / "b.txt").as_uri(), target)


def test_an_unwritable_folder_is_reported(alone):
    (alone / "file").write_text("")
    with pytest.raises(CorpusError, match="Name another folder with RNNTK_CACHE"):
        fetch("http://127.0.0.1:9/a", alone / "file" / "input.txt")
