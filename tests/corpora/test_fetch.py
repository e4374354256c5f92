from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from rnntk.corpora import fetch as fetching
from rnntk.corpora.fetch import fetch
from rnntk.errors import CorpusError

TEXT = b"to be or not to be\n" * 9000
SHA = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def target(alone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands where the download goes, and must survive every failure."""
    monkeypatch.setattr(fetching, "_RETRY_SECONDS", 0.01)
    path = alone / "kept" / "input.txt"
    path.parent.mkdir()
    path.write_bytes(b"older")
    return path


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_whole_file_takes_the_place(server, target):
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
        ("/drips", "it took too long: ", 1),
        ("/wrong", "not what the card names", 1),
    ],
)
def test_a_failure_is_told_and_changes_nothing(server, target, monkeypatch, path, message, tries):
    monkeypatch.setattr(fetching, "CONNECT_SECONDS", 0.3)
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
def test_an_error_that_passes_is_tried_once_more(server, target, path, data):
    fetch(server.url + path, target)
    assert target.read_bytes() == data
    assert server.asked == [path, path]


def test_nobody_listens(server, target):
    server.server.server_close()
    with pytest.raises(CorpusError, match="the server refused the connection"):
        fetch(server.url + "/a", target)
    assert target.read_bytes() == b"older"


def test_a_name_that_cannot_be_looked_up(target, monkeypatch):
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise fetching.socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(fetching.socket, "getaddrinfo", refuse)
    with pytest.raises(CorpusError, match="no network: the server's name cannot be looked up"):
        fetch("https://example.invalid/a", target)


def test_the_proxy_of_the_environment_is_asked(server, target, monkeypatch):
    server.pages["http://example.invalid/a"] = TEXT
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch("http://example.invalid/a", target, sha256=SHA)
    assert target.read_bytes() == TEXT


def test_a_file_inside_an_archive(server, target):
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


def test_a_file_url(alone, target):
    (alone / "a.txt").write_bytes(TEXT)
    fetch((alone / "a.txt").as_uri(), target, sha256=SHA)
    assert target.read_bytes() == TEXT
    with pytest.raises(CorpusError, match="No such file"):
        fetch((alone / "b.txt").as_uri(), target)


def test_a_folder_that_cannot_be_made(alone):
    (alone / "file").write_text("")
    with pytest.raises(CorpusError, match="Name another folder with RNNTK_CACHE"):
        fetch("http://127.0.0.1:9/a", alone / "file" / "input.txt")
