"""Corpus cards: TOML files that describe a corpus and its sources."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnntk.config.files import read_toml
from rnntk.errors import UsageError, did_you_mean

UNKNOWN_LICENCE = "LicenseRef-unknown"

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_SOURCE_KEYS = {"url": "url", "file": "path", "system": "builder", "generated": "builder"}
_RULES = {  # pattern of a value, and its description in messages
    "name": ("[A-Za-z0-9][A-Za-z0-9_-]*", "letters, digits, _ and -"),
    "sha256": ("([0-9a-f]{64})?", "64 hex digits in lower case"),
    "bytes": ("[0-9]+", "0 or more"),
    "kind": ("text|images", "text or images"),
    "newline": ("(lf|crlf|mixed)?", "lf, crlf or mixed"),
    "kind of a source": ("|".join(_SOURCE_KEYS), f"one of {', '.join(_SOURCE_KEYS)}"),
    "url": ("(https?|file):.+", "a URL with https:, http: or file:"),
}


@dataclass(frozen=True)
class CardSource:
    """A source of a corpus."""

    kind: str  # `url`, `file`, `system` (this machine's files), `generated` (by code); in a search `data-dir`, `cache`
    target: str  # URL, path, or name of the builder
    member: str = ""  # file to extract from a tar or zip archive

    @property
    def needs_network(self) -> bool:
        return self.kind == "url" and not self.target.startswith("file:")


@dataclass(frozen=True)
class Card:
    """The content of a corpus card."""

    name: str  # of the corpus, and of its folder in a data folder
    sources: tuple[CardSource, ...]  # in order of preference
    title: str = ""  # one line
    kind: str = "text"  # or `images`
    language: str = "und"  # BCP 47 tag
    files: tuple[str, ...] = ("input.txt", "rawtext.txt")  # names tried in a data folder
    sha256: str = ""  # of the raw bytes, 64 hex digits; empty if it differs between machines
    bytes: int = 0  # exact with `sha256`, else approximate; 0 if unknown
    arrays: tuple[tuple[str, str], ...] = ()  # name and SHA-256 of each array of images
    encoding: str = ""  # detected if empty
    newline: str = ""  # `lf`, `crlf` or `mixed`
    preprocessor: str = "plain"
    prime: str = ""  # default prompt
    licence: str = UNKNOWN_LICENCE  # an SPDX expression
    redistributable: bool = False
    needs_consent: bool = False  # downloaded only with `accept_licence`
    homepage: str = ""
    config: str = ""  # name of the TOML in `configs/` with default settings
    note: str = ""  # one or two sentences

    @property
    def size(self) -> str:
        """`1,708,871 bytes`, `about 200 kB`, or `unknown`."""
        if not self.bytes:
            return "unknown"
        if self.sha256:
            return f"{self.bytes:,} bytes"
        if self.bytes < 1_000_000:
            return f"about {self.bytes / 1e3:.0f} kB"
        return f"about {self.bytes / 1e6:.1f} MB"

    @property
    def most_bytes(self) -> int:
        """Largest size of a download, in bytes: the exact size, or twice an approximate one, or 1 GB."""
        return self.bytes * (1 if self.sha256 else 2) or 10**9


@dataclass(frozen=True)
class Resolved:
    """A corpus found on this machine."""

    card: Card
    path: Path  # a file of raw bytes (for images also a folder of IDX files)
    source: str  # `data-dir`, `cache`, `file`, `system`, `generated` or `url`
    detail: str  # where it is from and, if its bytes are not the card's, why: one or two sentences
    sha256: str  # of the raw bytes, 64 hex digits
    bytes: int

    @property
    def same_bytes(self) -> bool:
        """Whether the SHA-256 is the card's; False if the card has none."""
        return bool(self.card.sha256) and self.sha256 == self.card.sha256

    @property
    def encoding(self) -> str | None:
        """The card's encoding if it applies to this text; None if it must be detected."""
        if self.same_bytes or self.source in ("system", "generated") or not self.card.sha256:
            return self.card.encoding or None
        return None

    def to_json(self) -> dict[str, Any]:
        """The record for a run."""
        names = ("source", "detail", "path", "sha256", "bytes", "same_bytes")
        own = {name: getattr(self, name) for name in names} | {"path": str(self.path)}
        return {"corpus": self.card.name, **own, "licence": self.card.licence}


_SIMPLE = {"str": str, "bool": bool, "int": int}
_TYPES = {f.name: _SIMPLE.get(str(f.type), list) for f in dataclasses.fields(Card)}
_TYPES["arrays"] = dict


def read_card(path: Path) -> Card:
    """Read a card; paths in it are relative to its folder. Raises `UsageError` if it is missing or wrong."""
    table = read_toml(path)
    try:
        return _card(table, path)
    except UsageError as error:
        raise UsageError(f"The corpus card {path} is wrong: {error}") from None


def _card(table: Mapping[str, Any], path: Path) -> Card:
    _check_keys(table, _TYPES)
    values = {key: _value(table, key, kind) for key, kind in _TYPES.items() if key in table}
    if "name" not in values:
        raise UsageError('it has no name; add a line such as: name = "my_novel"')
    values.setdefault("title", values["name"])
    if values.get("kind") == "images":
        values.setdefault("files", [f"{values['name']}.npz"])
    files, arrays = values.get("files", Card.files), values.get("arrays", {})
    if not files or not all(isinstance(n, str) and n and Path(n).name == n for n in files):
        raise UsageError(f"files must be a list of plain file names, not {files!r}")
    _check_keys(arrays, _ARRAYS)
    values["files"] = tuple(files)
    values["arrays"] = tuple((key, str(arrays[key])) for key in _ARRAYS if key in arrays)
    values["sources"] = tuple(_source(entry, path) for entry in values.get("sources", []))
    return Card(**values)


def _source(table: Any, card_path: Path) -> CardSource:
    if not isinstance(table, Mapping):
        raise UsageError('sources are tables: [[sources]], kind = "url", url = "https://..."')
    kind = _value({"kind of a source": str(table.get("kind"))}, "kind of a source", str)
    key = _SOURCE_KEYS[kind]
    _check_keys(table, ("kind", key, "member") if kind == "url" else ("kind", key))
    if key not in table:
        raise UsageError(f'a source of kind "{kind}" needs the key {key}')
    target = _value(table, key, str)
    if kind == "file":
        target = str(card_path.parent / Path(target).expanduser())
    return CardSource(kind, target, _value(table, "member", str) if "member" in table else "")


def _check_keys(table: Mapping[str, Any], known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known) or f" The keys are {', '.join(known)}."
            raise UsageError(f"unknown key {key}.{hint}")


_TYPE_NAMES = {str: "text in quotes", bool: "true or false", int: "a whole number", list: "a list"}


def _value(table: Mapping[str, Any], key: str, kind: type) -> Any:
    value = table[key]
    pattern, meaning = _RULES.get(key, ("", ""))
    # In Python True is an int.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UsageError(f"{key} must be {_TYPE_NAMES.get(kind, 'a table')}, not {value!r}")
    if pattern and not re.fullmatch(pattern, str(value)):
        guess = did_you_mean(str(value), re.findall("[a-z]{2,}", pattern))
        raise UsageError(f"{key} must be {meaning}, not {value!r}.{guess}")
    return value
