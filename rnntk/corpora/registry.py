"""Find corpora: their cards, and the first source that works on this machine.

The sources in order: data folders (`data_dir`, `$RNNTK_DATA`, `./data`), the cache, the card's own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rnntk.corpora.card import Card, CardSource, Resolved, read_card
from rnntk.corpora.search import (
    GENERATORS,
    NO_FILE,
    Notify,
    Search,
    find_file,
    local_path,
    places,
    size_of,
)
from rnntk.corpora.system import BUILDERS, Machine, material
from rnntk.errors import CorpusError, UsageError, did_you_mean

_CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Availability:
    """Whether a corpus is available without the network."""

    card: Card
    available: bool
    source: str  # as in `Resolved`, or empty
    detail: str  # a path, a host, or the reason; settings in backquotes
    bytes: int  # approximate if not made yet; 0 if unknown


def data_dirs(data_dir: Path | None = None) -> list[Path]:
    """Data folders in search order: `data_dir` (`UsageError` if missing), `$RNNTK_DATA`, `./data`."""
    if data_dir is not None and not data_dir.is_dir():
        raise UsageError(f"`data_dir`: there is no folder {data_dir}.")
    named = [data_dir, os.environ.get("RNNTK_DATA") or None, "data"]
    return list(dict.fromkeys(Path(folder) for folder in named if folder is not None))


def is_offline(offline: bool = False) -> bool:
    """Whether the network is forbidden, by argument or `RNNTK_OFFLINE`."""
    return offline or os.environ.get("RNNTK_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def all_cards() -> list[Card]:
    """The cards of the built-in corpora, by name."""
    return [read_card(path) for path in sorted(_CARDS.glob("*.toml"))]


def load_card(name_or_path: str | Path) -> Card:
    """The card of a built-in corpus, or one by path (`./my.toml`); `UsageError` if missing or wrong."""
    text = str(name_or_path)
    if text.endswith(".toml") or Path(text).name != text:
        card = read_card(Path(text).expanduser())
        builders: dict[str, Collection[str]] = {"system": BUILDERS, "generated": GENERATORS}
        for source in card.sources:
            known = builders.get(source.kind, (source.target,))
            if source.target not in known:
                problem = f"builder must be one of {', '.join(known)}, not {source.target!r}"
                raise UsageError(f"The corpus card {text} is wrong: {problem}")
        return card
    names = sorted(path.stem for path in _CARDS.glob("*.toml"))
    if text not in names:
        raise UsageError(
            f"There is no corpus {text}.{did_you_mean(text, names)} Corpora: {', '.join(names)}. For "
            "a text use `input`; for your own card, its path (./my.toml)."
        )
    return read_card(_CARDS / f"{text}.toml")


def resolve(
    card: Card,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    accept_licence: bool = False,
    notify: Notify = lambda _: None,
    machine: Machine | None = None,
) -> Resolved:
    """Find the corpus; download or make it if necessary.

    Args:
        data_dir: a folder to search first (`UsageError` if missing).
        offline: never use the network; `RNNTK_OFFLINE=1` does the same.
        accept_licence: download even if the card needs consent.
        notify: called with messages about downloads and skipped sources.

    Raises `CorpusError` if no source works, with the reason for each.
    """
    search = Search(card, is_offline(offline), accept_licence, notify, machine or Machine())
    for place in _places(card, data_dir):
        if found := search.at(place):
            return found
    raise CorpusError(_unavailable(search, data_dir))


def resolve_default(**options: Any) -> Resolved:
    """The default corpus: `linux_kernel`, else `python_stdlib`; options and errors of `resolve`."""
    why = (
        "Using python_stdlib: the default corpus, linux_kernel, is not on this machine and could not be "
        "downloaded."
    )
    return _first_or_second("linux_kernel", "python_stdlib", why, options)


def resolve_images(data: str | None = None, **options: Any) -> Resolved:
    """The image set `data` (`mnist`, `digits` or a card); for None `mnist`, else `digits`. See `resolve`."""
    if data is not None:
        card = load_card(data)
        if card.kind != "images":
            problem = f"`data` must be an image set, but {card.name} is a text"
            raise UsageError(f"{problem}; the image sets are mnist and digits.")
        return resolve(card, **options)
    offline = is_offline(options.get("offline", False))
    why = (
        f"Using digits drawn by rnntk, because MNIST is not on this machine and "
        f"{'is not downloaded offline' if offline else 'could not be downloaded'} (rnntk mnist"
        " --data mnist shows where it looks). Accuracies do not compare with MNIST's."
    )
    return _first_or_second("mnist", "digits", why, options)


def resolve_recorded(record: Mapping[str, Any], data_dir: Path | None = None) -> Resolved:
    """The image set of a run, from `corpus` in its `run.json`: its file if unchanged, else as `resolve` finds it.

    Does not trust the record: reads no card of the user, and downloads nothing. Raises `CorpusError`.
    """
    name, path = record.get("name"), Path(record.get("path") or "")
    card = next((c for c in all_cards() if c.name == name and c.kind == "images"), None)
    if card is None:
        raise CorpusError(f"There is no image set {name}; the image sets are mnist and digits.")
    search = Search(card, True, False, lambda _: None, Machine())
    with suppress(OSError):
        found = search.at(CardSource("data-dir" if path.is_dir() else "file", str(path)))
        if found and found.sha256 == record.get("sha256"):
            return found
    return resolve(card, data_dir=data_dir, offline=True)


def _first_or_second(first: str, second: str, why: str, options: Mapping[str, Any]) -> Resolved:
    try:
        return resolve(load_card(first), **options)
    except CorpusError:
        found = resolve(load_card(second), **options)
    return replace(found, detail=f"{why} {found.detail}")


def availability(
    card: Card,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    machine: Machine | None = None,
) -> Availability:
    """Whether and where the corpus is available, without using the network; see `resolve`."""
    missing = "this machine has nothing to make it from"
    for place in _places(card, data_dir):
        if place.needs_network:
            continue
        size = card.bytes
        if place.kind == "generated":
            detail = "made by rnntk"
        elif place.kind == "system":
            detail = material(place.target, machine or Machine())
        else:
            path = find_file(card, place)
            detail, size = (str(path), size_of(path)) if path else ("", 0)
        if detail:
            source = "file" if place.kind == "url" else place.kind
            return Availability(card, True, source, detail, size)
        if place.kind in ("file", "url"):
            missing = f"{local_path(place)}: {NO_FILE}"
    host = next((urlsplit(s.target).hostname for s in card.sources if s.needs_network), None)
    if host and is_offline(offline):
        return Availability(card, False, "", "needs the network, which is off", card.bytes)
    if host:
        consent = ", with `accept_licence`" if card.needs_consent else ""
        return Availability(card, False, "url", f"download from {host}{consent}", card.bytes)
    return Availability(card, False, "", missing, card.bytes)


def _places(card: Card, data_dir: Path | None) -> list[CardSource]:
    """The places to search, in order: for images with checksums also `data_dir` itself."""
    found = places(card, data_dirs(data_dir))
    if data_dir is not None and card.arrays:
        found.insert(1, CardSource("data-dir", str(data_dir)))
    return found


def user_path(card: Card, data_dir: Path | None = None) -> Path:
    """Path where the user can put the file of this corpus."""
    return data_dirs(data_dir)[0] / card.name / card.files[0]


def _unavailable(search: Search, data_dir: Path | None) -> str:
    """The message of the `CorpusError`: the places tried, and advice."""
    card = search.card
    lines = [f"{card.name} is not available. Tried:"]
    lines += [f"  {place}: {reason}" for place, reason in search.failures]
    if not card.sources:
        lines.append("  (its card lists no source)")
    facts = f" ({card.size}, SHA-256 {card.sha256})" if card.sha256 else ""
    lines.append(f"If you have it, put the file{facts} at\n  {user_path(card, data_dir)}")
    lines.append("or at the same place in a folder given with `data_dir` or RNNTK_DATA.")
    others = [o for o in all_cards() if o.kind == card.kind and o.name != card.name]
    where: dict[str, Any] = {"data_dir": data_dir, "machine": search.machine}
    if here := [other.name for other in others if availability(other, **where).available]:
        lines.append(f"Available without the network: {', '.join(here)}.")
    return "\n".join(lines)
