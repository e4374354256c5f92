"""Search for a corpus in one place after another. Writes only to rnntk's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
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

Notify = Callable[[str], None]  # called with messages about downloads and skipped sources

GENERATORS: dict[str, Callable[[], Built]] = {"demo_ko": demo_ko.build, "digits": digits.build}

NO_FILE = "no such file"


def cache_path(card: Card) -> Path:
    """Path of this corpus in the cache; its hash separates corpora of the same name."""
    urls = " ".join(s.target + s.member for s in card.sources if s.kind == "url")
    key = card.sha256 or hashlib.sha256(urls.encode()).hexdigest()
    return cache_dir() / "corpora" / f"{card.name}-{key[:12]}" / card.files[0]


def places(card: Card, data_dirs: Iterable[Path]) -> list[CardSource]:
    """The places to search, in order."""
    folders = [CardSource("data-dir", str(folder / card.name)) for folder in data_dirs]
    downloaded = any(source.needs_network for source in card.sources)
    cached = [CardSource("cache", str(cache_path(card)))] if downloaded else []
    return [*folders, *cached, *card.sources]


def find_file(card: Card, place: CardSource) -> Path | None:
    """The file of the corpus at this place, or its folder of IDX files; None if missing."""
    path = local_path(place)
    if place.kind != "data-dir":
        return path if path.is_file() else None
    try:
        found = next((path / name for name in card.files if (path / name).is_file()), None)
        images_here = card.kind == "images" and images.idx_files(path)
        return found or (path if images_here else None)
    except OSError:  # a folder that may not be read
        return None


@dataclass
class Search:
    """A search for a corpus; options as for `registry.resolve`."""

    card: Card
    offline: bool
    accept_licence: bool
    notify: Notify
    machine: Machine
    failures: list[tuple[str, str]] = field(default_factory=list)  # places and reasons
    download_failure: str = ""  # why the last download failed

    def at(self, place: CardSource) -> Resolved | None:
        """The corpus from this place, or None, with the reason in `failures`."""
        made = place.kind in ("system", "generated")
        found = None if made or place.needs_network else find_file(self.card, place)
        try:
            if place.needs_network:
                return self._download(place)
            return self._make(place) if made else self._local(place, found)
        except CorpusError as error:
            reason = str(error.args[0])  # str(error) would drop the backquotes around settings
            prefix = f"{place.kind} " if made or place.kind == "cache" else ""
            label = prefix + place.target
            self.failures.append((label, reason))
            if place.needs_network:
                self.download_failure = str(error)
                self.notify(f"{self.card.name} was not downloaded: {error}")
            elif found:
                self.notify(f"{self.card.name}: {label}: {reason}")
            return None

    def _local(self, place: CardSource, path: Path | None) -> Resolved:
        if path is None:
            names = " or ".join(self.card.files)
            raise CorpusError(f"no file {names}" if place.kind == "data-dir" else NO_FILE)
        if place.kind == "cache":
            if self.card.sha256 and sha256_of(path) != self.card.sha256:
                raise CorpusError("damaged: its SHA-256 is not the card's")
            return self._existing(path, place.kind, " (downloaded earlier)")
        if place.member:
            return self._existing(self._fetch(place), "file", f" (out of {path})")
        # In a data folder, the user's own copy is used whatever its hash.
        return self._existing(path, "data-dir" if place.kind == "data-dir" else "file")

    def _existing(self, path: Path, source: str, remark: str = "") -> Resolved:
        """A file or a folder of IDX files, used in place."""
        card = self.card
        if path.is_dir():
            digest = hashlib.sha256()
            for file in images.idx_files(path):
                digest.update(bytes.fromhex(sha256_of(file)))
            detail = f"{card.name} from the IDX files in {path}."
            return Resolved(card, path, source, detail, digest.hexdigest(), size_of(path))
        try:
            sha256, size = sha256_of(path), size_of(path)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
        detail = f"{card.name} from {path}{remark}, {size:,} bytes."
        # Image files differ, so `load_images` checks their arrays instead.
        if card.sha256 and sha256 != card.sha256 and not card.arrays:
            detail += (
                f" It is not the card's text (SHA-256 {sha256[:12]}..., not {card.sha256[:12]}... of "
                f"{card.bytes:,} bytes), so results will differ."
            )
        return Resolved(card, path, source, detail, sha256, size)

    def _download(self, source: CardSource) -> Resolved:
        card = self.card
        if self.offline:
            raise CorpusError("the network is off (`offline` or RNNTK_OFFLINE)")
        if card.needs_consent and not self.accept_licence:
            raise CorpusError(
                "no known licence permits copying it; if you have permission, set `accept_licence`"
            )
        self.notify(f"Downloading {card.name} ({card.size}) from {source.target}")
        return self._existing(self._fetch(source), "url", f" (downloaded from {source.target})")

    def _fetch(self, source: CardSource) -> Path:
        card, target = self.card, cache_path(self.card)
        fetch(source.target, target, sha256=card.sha256, member=source.member, most=card.most_bytes)
        return target

    def _make(self, source: CardSource) -> Resolved:
        """A corpus made on this machine, cached under its own hash."""
        card = self.card
        if source.kind == "generated":
            made: Built | Path = GENERATORS[source.target]()
        else:
            made = build(source.target, self.machine)
        if isinstance(made, Path):
            return self._existing(made, source.kind)
        sha256 = hashlib.sha256(made.data).hexdigest()
        name = f"{card.name}-{sha256[:12]}{Path(card.files[0]).suffix}"
        path = cache_dir() / "built" / name
        if not (path.is_file() and sha256_of(path) == sha256):
            with disk_errors(path, advice=ANOTHER_CACHE, error=CorpusError):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, made.data, advice=ANOTHER_CACHE, error=CorpusError)
        size = len(made.data)
        detail = f"{card.name} is {made.detail}, {size:,} bytes."
        if self.download_failure:
            detail = (
                f"{card.name} was not downloaded ({self.download_failure}); a similar text replaces it: "
                f"{made.detail}, {size:,} bytes."
            )
        return Resolved(card, path, source.kind, detail, sha256, size)


def local_path(source: CardSource) -> Path:
    """The path of a local source, which may be a `file:` URL."""
    if source.kind != "url":
        return Path(source.target)
    return Path(url2pathname(source.target.removeprefix("file://").removeprefix("file:")))


def size_of(path: Path) -> int:
    """Bytes of a file, or of a folder's IDX files together."""
    files = images.idx_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
