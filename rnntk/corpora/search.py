"""One search for one corpus, through the places that `registry.resolve` tries in order.

Nothing here deletes or overwrites a file outside rnntk's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import url2pathname

from rnntk.cache import cache_dir
from rnntk.corpora import demo_ko, digits, images
from rnntk.corpora.card import Card, CardSource, Resolved
from rnntk.corpora.fetch import ANOTHER_CACHE, fetch, sha256_of
from rnntk.corpora.system import Built, Machine, build
from rnntk.errors import CorpusError
from rnntk.files import disk_errors, write_bytes

Notify = Callable[[str], None]  # called with progress, or a skipped source and the reason

# Builders of a card's `generated` source.
GENERATORS: dict[str, Callable[[], Built]] = {"demo_ko": demo_ko.build, "digits": digits.build}

NO_FILE = "no such file"


def cache_path(card: Card) -> Path:
    """The file for a download of this corpus; part of a hash in its folder's name keeps cards of one name apart."""
    urls = " ".join(s.target + s.member for s in card.sources if s.kind == "url")
    key = card.sha256 or hashlib.sha256(urls.encode()).hexdigest()
    return cache_dir() / "corpora" / f"{card.name}-{key[:12]}" / card.files[0]


@dataclass
class Search:
    """One search for one corpus: tries each place, and records why it failed; see `registry.resolve`."""

    card: Card
    offline: bool
    accept_licence: bool
    notify: Notify
    machine: Machine
    failures: list[tuple[str, str]] = field(default_factory=list)  # places and reasons
    download_failure: str = ""  # the reason why the last download failed

    def in_data_folder(self, folder: Path) -> Resolved | None:
        """The user's own copy, which is never changed, and used whatever its hash is."""
        path = find_in_folder(self.card, folder / self.card.name)
        if path is None:
            names = " or ".join(self.card.files)
            self.failures.append((str(folder / self.card.name), f"no file {names}"))
            return None
        return self._existing(path, "data-dir", "")

    def in_cache(self) -> Resolved | None:
        """An earlier download, if it is intact."""
        if not any(source.needs_network for source in self.card.sources):
            return None
        path = cache_path(self.card)
        if not path.is_file():
            self.failures.append((f"cache {path}", NO_FILE))
            return None
        if self.card.sha256 and sha256_of(path) != self.card.sha256:
            self._pass_over(f"cache {path}", "damaged: its SHA-256 is not the card's")
            return None
        return self._existing(path, "cache", " (downloaded earlier)")

    def at(self, source: CardSource) -> Resolved | None:
        """One of the card's own sources."""
        try:
            if source.kind == "url" and source.needs_network:
                return self._download(source)
            if source.kind in ("system", "generated"):
                return self._make(source)
            return self._local(source)
        except CorpusError as error:
            reason = str(error.args[0])  # with the settings still marked, unlike str(error)
            made = source.kind in ("system", "generated")
            label = f"{source.kind} {source.target}" if made else source.target
            self.failures.append((label, reason))
            if source.needs_network:
                self.download_failure = str(error)
                self.notify(f"{self.card.name} was not downloaded: {error}")
            return None

    def _existing(self, path: Path, source: str, remark: str) -> Resolved | None:
        """A file to use in place."""
        card = self.card
        if path.is_dir():
            digest = hashlib.sha256()
            for file in images.idx_files(path):
                digest.update(bytes.fromhex(sha256_of(file)))
            detail = f"{card.name} from the IDX files in {path}."
            return Resolved(card, path, source, detail, digest.hexdigest(), size_of(path))
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            self._pass_over(str(path), f"cannot be read: {error.strerror}")
            return None
        size = size_of(path)
        detail = f"{card.name} from {path}{remark}, {size:,} bytes."
        # One set of arrays can lie in many containers; `load_images` verifies the arrays.
        if card.sha256 and sha256 != card.sha256 and not card.arrays:
            detail += (
                f" It is not the text the card names: its SHA-256 is {sha256[:12]}..., not"
                f" {card.sha256[:12]}... ({card.bytes:,} bytes). It is used as it is; results will"
                " differ from the published ones."
            )
        return Resolved(card, path, source, detail, sha256, size)

    def _local(self, source: CardSource) -> Resolved | None:
        path = local_path(source)
        if not path.is_file():
            raise CorpusError(NO_FILE)
        if source.member:
            target = cache_path(self.card)
            self._fetch(source, target)
            return self._existing(target, "file", f" (out of {path})")
        return self._existing(path, "file", "")

    def _download(self, source: CardSource) -> Resolved | None:
        card, target = self.card, cache_path(self.card)
        if self.offline:
            raise CorpusError("not asked: the network is forbidden (`offline` or RNNTK_OFFLINE)")
        if card.needs_consent and not self.accept_licence:
            raise CorpusError(
                "not asked: no licence is known that permits copying it; if you may have it, set `accept_licence`"
            )
        self.notify(f"Downloading {card.name} ({card.size}) from {source.target}")
        self._fetch(source, target)
        return self._existing(target, "url", f" (downloaded from {source.target})")

    def _fetch(self, source: CardSource, target: Path) -> None:
        card = self.card
        fetch(source.target, target, sha256=card.sha256, member=source.member, most=card.most_bytes)

    def _make(self, source: CardSource) -> Resolved | None:
        """Text that is made here, written under its own hash beside the downloads."""
        card = self.card
        if source.kind == "generated":
            made: Built | Path = GENERATORS[source.target]()
        else:
            made = build(source.target, self.machine)
        if isinstance(made, Path):
            return self._existing(made, source.kind, "")
        sha256 = hashlib.sha256(made.data).hexdigest()
        suffix = Path(card.files[0]).suffix
        path = cache_dir() / "built" / f"{card.name}-{sha256[:12]}{suffix}"
        if not (path.is_file() and sha256_of(path) == sha256):
            with disk_errors(path, advice=ANOTHER_CACHE, error=CorpusError):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, made.data, advice=ANOTHER_CACHE, error=CorpusError)
        size = len(made.data)
        if self.download_failure:
            detail = (
                f"{card.name} was not downloaded ({self.download_failure}), so the stand-in is"
                f" {made.detail}, {size:,} bytes. The same kind of text, not the same bytes."
            )
        else:
            detail = f"{card.name} is {made.detail}, {size:,} bytes."
        return Resolved(card, path, source.kind, detail, sha256, size)

    def _pass_over(self, place: str, reason: str) -> None:
        self.failures.append((place, reason))
        self.notify(f"{self.card.name}: {place}: {reason}")


def local_path(source: CardSource) -> Path:
    """The file of a `file` source, or of a `url` source with `file:`."""
    if source.kind == "file":
        return Path(source.target)
    return Path(url2pathname(source.target.removeprefix("file://").removeprefix("file:")))


def find_in_folder(card: Card, folder: Path) -> Path | None:
    """The corpus in `<data folder>/<name>`: a file, or for images the folder of IDX files."""
    try:
        for name in card.files:
            if (folder / name).is_file():
                return folder / name
        if card.kind == "images" and images.idx_files(folder):
            return folder
    except OSError:  # a folder without permission
        pass
    return None


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's IDX files together."""
    if path.is_dir():
        return sum(file.stat().st_size for file in images.idx_files(path))
    return path.stat().st_size
