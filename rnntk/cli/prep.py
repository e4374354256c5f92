"""`rnntk prep`: prepare a corpus or your own files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from rnntk import config
from rnntk.cli.console import Console, progress_bar
from rnntk.cli.options import (
    PATH,
    Args,
    command_named,
    config_options,
    given_values,
    option,
    source,
    text_paths,
)
from rnntk.config import TextConfig, own_text
from rnntk.errors import quoted, rendered


@command_named("prep")
@text_paths
@config_options(TextConfig)
@option(
    "--output", "Folder for the prepared text.  [default: in the cache]", type=PATH, metavar="DIR"
)
@option("--list", "List all corpora with size and licence.", is_flag=True)
def command(args: Args, console: Console) -> None:
    """Prepare TEXT (your files or folders) or a corpus as rnntk train does, and show its encoding and symbols.

    Examples:
      rnntk prep novel.txt
      rnntk prep letters/ --encoding cp949 --preprocessor hangul
      rnntk prep --corpus linux_kernel
      rnntk prep --list
    """
    if args.list:
        _list(console, args.data_dir, args.offline)
        return
    from rnntk.text import corpus
    from rnntk.text.inputs import is_stream

    given = given_values(args, "output", "list")
    with progress_bar(console, "preparing") as bar:
        settings, found = corpus.load(
            TextConfig, given, command="prep", output=args.output, progress=bar
        )
    for name, fact in _facts(found.prepared.facts):
        console.facts(**{name: fact})
    console.facts(prepared=found.prepared.folder)
    symbols = len(found.prepared.ids)
    if found.card is None and symbols < own_text.LEAST:
        console.note(f"Too short to train on. {own_text.too_short(symbols)}")
    else:
        again = any(map(is_stream, settings.input))
        piped = " (with the same text on standard input)" if again else ""
        console.note(f"Train on it: {quoted(*_training(settings))}{piped}")
    console.json("prep", corpus=found.record, folder=found.prepared.folder)


def _training(settings: TextConfig) -> list[str]:
    """Words of the command that trains on the same text in any environment."""
    texts = click.get_current_context().params["texts"]
    paths = (f"./{text}" if text[:1] == "-" != text else text for text in texts)
    words = ["rnntk", "train", *paths]
    for name, value in settings.part(TextConfig).items():
        if name == "input":
            value = value[: len(value) - len(texts)]
        # From the environment, these two describe the machine, not the text.
        machine = source(name) == ParameterSource.ENVIRONMENT and name in ("data_dir", "offline")
        chosen = name in ("corpus", "input") or source(name) != ParameterSource.DEFAULT
        if value is not None and chosen and not machine:
            words += config.typed_setting(name, value)
    return words


def _facts(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts of the facts about a prepared text."""
    encodings: Counter[str] = Counter()
    for file in facts["sources"]:
        confidence = file["confidence"]
        sure = "" if confidence is None else f", confidence {confidence:.2f}"
        encodings[f"{file['encoding']} ({file['how']}{sure})"] += 1
    for encoding, count in encodings.items():
        yield "encoding", encoding + (f" in {count:,} files" if count > 1 else "")
    sizes = f"{facts['bytes']:,} bytes, {facts['characters']:,} characters"
    yield "text", f"{sizes}, {facts['distinct_characters']} distinct"
    preprocessor, size = facts["preprocessor"]["name"], facts["vocabulary_size"]
    yield "symbols", f"{facts['symbols']:,} by {preprocessor}, {size} in the vocabulary"
    for end in ("most", "least"):
        yield end, _counts(facts[f"{end}_frequent"], preprocessor == "bytes")
    if facts["replaced"]:
        yield "replaced", f"{facts['replaced']:,} undecodable byte sequences with U+FFFD"
    rare, changed = facts["rare"], facts["changed"]
    if rare["count"]:
        kinds = f"({rare['distinct']} kinds) became {facts['unknown_symbol']!r}"
        yield "rare", f"{rare['count']:,} symbols {kinds}"
    if changed["count"]:
        examples = ", ".join(f"{old!r} -> {new!r}" for old, new, _ in changed["examples"][:5])
        yield "lossy", f"{changed['count']:,} characters change when decoded again: {examples}"
    for kind in facts["unusual"]:
        yield "unusual", f"{kind['count']:,} {kind['kind']}: {', '.join(kind['examples'][:5])}"
    for text in facts["warnings"]:
        yield "warning", rendered(text, config.flag)
    per_symbol, per_character = facts["entropy_bits"], facts["bits_per_character"]
    bits = f"{per_symbol:.3f} bits per symbol, {per_character:.3f} bits per character"
    yield "entropy", f"{bits} (of single symbols)"


def _counts(pairs: list[list[Any]], as_bytes: bool) -> str:
    def shown(symbol: str) -> str:
        if as_bytes and not symbol.isascii():
            return f"0x{ord(symbol):02x}"
        return symbol if symbol.isprintable() and symbol != " " else repr(symbol)

    return "  ".join(f"{shown(symbol)} {n:,}" for symbol, n in pairs)


def _list(console: Console, data_dir: Path | None, offline: bool) -> None:
    from rnntk.corpora import registry

    cards = registry.all_cards()
    width = max(len(card.name) for card in cards)
    corpora = []
    for card in cards:
        found = registry.availability(card, data_dir=data_dir, offline=offline)
        here = "here" if found.available else "not here"
        console.result(f"{card.name:<{width}}  {here:<8}  {card.size:>21}  {card.licence}")
        detail = rendered(found.detail, config.flag)
        console.result(f"{'':<{width}}  {card.title}; {found.source}: {detail}")
        facts = {name: getattr(card, name) for name in ("name", "title", "kind", "licence")}
        facts |= {name: getattr(found, name) for name in ("bytes", "available", "source")}
        corpora.append({**facts, "detail": detail})
    console.json("prep", corpora=corpora)
