"""Find a corpus: which cards there are, and where each corpus comes from on this machine.

The order is: data folders (`data_dir`, `$RNNTK_DATA`, `./data`), the cache, then the card's own
sources in its order. The first that answers is used, and `Resolved` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rnntk.corpora import places
from rnntk.corpora.card import Card, CardSource, read_card
from rnntk.corpora.search import (
    GENERATORS,
    NO_FILE,
    Notify,
    Resolved,
    Search,
    cache_path,
    find_in_folder,
    local_path,
    size_of,
)
from rnntk.corpora.system import BUILDERS, Machine, material
from rnntk.errors import CorpusError, UsageError, did_you_mean

DEFAULT_CORPORA = ("linux_kernel", "python_stdlib")
"""Used when no corpus is named, in order."""

_CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class Availability:
    """Whether a corpus is available here, found without the network.

    Attributes:
        card: the corpus.
        available: whether it can be used now without the network.
        source: of the text: `data-dir`, ..., `url`, or empty when there is none.
        detail: a path, a host, or what is missing.
        bytes: the size, approximate where it is not made yet; 0 when unknown.
    """

    card: Card
    available: bool
    source: str
    detail: str
    bytes: int


def all_cards() -> list[Card]:
    """The cards of the built-in corpora, in order of name."""
    return [read_card(path) for path in sorted(_CARDS.glob("*.toml"))]


def load_card(name_or_path: str | Path) -> Card:
    """The card of a built-in corpus by name, or a user's own by path (`./my.toml`).

    Raises:
        UsageError: there is no such corpus (with the nearest name), or the user's card is wrong.
    """
    text = str(name_or_path)
    if text.endswith(".toml") or Path(text).name != text:
        card = read_card(Path(text).expanduser())
        for source in card.sources:
            _check_builder(source, text)
        return card
    names = sorted(path.stem for path in _CARDS.glob("*.toml"))
    if text not in names:
        raise UsageError(
            f"There is no corpus called {text}.{did_you_mean(text, names)} The corpora are {', '.join(names)}."
            " A text of your own is given by `input`, a card of your own by `corpus` (./my.toml)."
        )
    return read_card(_CARDS / f"{text}.toml")


def _check_builder(source: CardSource, path: str) -> None:
    known = {"system": list(BUILDERS), "generated": list(GENERATORS)}.get(source.kind)
    if known is not None and source.target not in known:
        raise UsageError(
            f"The corpus card {path} is wrong: builder must be one of {', '.join(known)},"
            f" not {source.target!r}"
        )


def resolve(
    card: Card,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
    accept_licence: bool = False,
    notify: Notify = lambda _: None,
    machine: Machine | None = None,
) -> Resolved:
    """Find the corpus, downloading or making it when it has to be.

    Args:
        card: the corpus.
        data_dir: a folder to look in first.
        offline: never use the network; `RNNTK_OFFLINE=1` does the same.
        accept_licence: download also where the card asks for consent first.
        notify: called with progress and with sources that were skipped.
        machine: where this machine keeps what corpora are made of.

    Raises:
        UsageError: `data_dir` is not a folder.
        CorpusError: no source has it; the text lists every one and why, and what to do.
    """
    search = Search(card, places.is_offline(offline), accept_licence, notify, machine or Machine())
    for folder in places.data_dirs(data_dir):
        if found := search.in_data_folder(folder):
            return found
    if found := search.in_cache():
        return found
    for source in card.sources:
        if found := search.at(source):
            return found
    raise CorpusError(_nothing_answered(search, data_dir))


def resolve_default(**options: Any) -> Resolved:
    """The corpus to use when none is named: `linux_kernel`, else `python_stdlib`.

    Args:
        options: see `resolve`.

    Raises:
        UsageError: `data_dir` is not a folder.
        CorpusError: not even the standard library is there.
    """
    first, second = DEFAULT_CORPORA
    why = (
        f"No corpus was named, and {first}, which is used then, is not on this machine"
        f" and could not be downloaded, so {second} is used instead."
    )
    return _one_or_other(first, second, why, options)


def resolve_images(data: str | None = None, **options: Any) -> Resolved:
    """An image set: the one that is named, or `mnist`, else `digits`, when none is.

    Args:
        data: `mnist`, `digits`, a user's card by path, or None.
        options: see `resolve`.

    Raises:
        UsageError: `data` is not an image set.
        CorpusError: the one that was named is not available.
    """
    if data is not None:
        card = load_card(data)
        if card.kind != "images":
            raise UsageError(
                f"`data` is {data}, but {card.name} is a text; the image sets are mnist and digits."
            )
        return resolve(card, **options)
    offline = places.is_offline(options.get("offline", False))
    why = (
        f"MNIST is not on this machine and {'is not downloaded offline' if offline else 'could not be downloaded'}"
        " (rnntk mnist --data mnist says where it is looked for), so digits drawn by rnntk are used instead. They are"
        " not MNIST: an accuracy on them says nothing of MNIST."
    )
    return _one_or_other("mnist", "digits", why, options)


def _one_or_other(first: str, second: str, why: str, options: Mapping[str, Any]) -> Resolved:
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
    """Whether the corpus is available here and where from, without touching the network.

    Under `offline` (or `RNNTK_OFFLINE=1`) a corpus that only the network has says so.

    Raises:
        UsageError: `data_dir` is not a folder.
    """
    machine = machine or Machine()
    for folder in places.data_dirs(data_dir):
        if path := find_in_folder(card, folder / card.name):
            return Availability(card, True, "data-dir", str(path), size_of(path))
    cached = cache_path(card)
    if cached.is_file():
        return Availability(card, True, "cache", str(cached), size_of(cached))
    missing = "nothing on this machine to make it from"
    for source in card.sources:
        if source.kind == "generated":
            return Availability(card, True, "generated", "made by rnntk", card.bytes)
        if source.kind == "system":
            if where := material(source.target, machine):
                return Availability(card, True, "system", where, card.bytes)
        elif not source.needs_network:
            path = local_path(source)
            if path.is_file():
                return Availability(card, True, "file", str(path), size_of(path))
            missing = f"{path}: {NO_FILE}"
    for source in card.sources:
        if source.needs_network:
            if places.is_offline(offline):
                return Availability(
                    card, False, "", "only by the network, which is off", card.bytes
                )
            consent = " with accept_licence" if card.needs_consent else ""
            host = urlsplit(source.target).hostname
            return Availability(card, False, "url", f"download{consent} from {host}", card.bytes)
    return Availability(card, False, "", missing, card.bytes)


def user_path(card: Card, data_dir: Path | None = None) -> Path:
    """Where the user can put this corpus so that it is found."""
    return places.data_dirs(data_dir)[0] / card.name / card.files[0]


def _nothing_answered(search: Search, data_dir: Path | None) -> str:
    card = search.card
    lines = [f"{card.name} is not available. Tried:"]
    lines += [f"  {place}: {reason}" for place, reason in search.failures]
    if not card.sources:
        lines.append("  (its card lists no source)")
    facts = f" ({card.size}, SHA-256 {card.sha256})" if card.sha256 else ""
    lines.append(f"If you have it, put the file{facts} at")
    lines.append(f"  {user_path(card, data_dir)}")
    lines.append("or at the same place in a folder that `data_dir` or RNNTK_DATA names.")
    here = [
        other.name
        for other in all_cards()
        if other.kind == card.kind
        and other.name != card.name
        and availability(other, data_dir=data_dir, machine=search.machine).available
    ]
    if here:
        lines.append(f"These work here without the network: {', '.join(here)}.")
    return "\n".join(lines)
