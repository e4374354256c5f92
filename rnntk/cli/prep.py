"""`rnntk prep`: prepare a corpus or your own files."""

from __future__ import annotations

from collections import Counter
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
from rnntk.config import TextConfig
from rnntk.errors import quoted, rendered


@command_named("prep")
@text_paths
@config_options(TextConfig)
@option("--output", "Folder to write to.  [default: the cache]", type=PATH, metavar="DIR")
@option("--list list_all", "List all corpora, their size and licence.", is_flag=True)
def command(args: Args, console: Console) -> None:
    """Prepare TEXT (files or folders) or a corpus: find it, detect its encoding, turn it into symbols, count them.

    rnntk train does the same by itself; prep shows the result.

    Examples:
      rnntk prep novel.txt
      rnntk prep letters/ --encoding cp949 --preprocessor hangul
      rnntk prep --corpus linux_kernel
      rnntk prep --list
    """
    if args.list_all:
        _list(console, args.data_dir, args.offline)
        return
    from rnntk.text import corpus
    from rnntk.text.inputs import is_stream

    given = given_values(args, "output", "list_all")
    with progress_bar(console, "preparing") as bar:
        to = {"command": "prep", "output": args.output}
        settings, found = corpus.load(TextConfig, given, **to, progress=bar)
    for line in describe(found.prepared.facts):
        console.result(line)
    console.result(f"prepared      {found.prepared.folder}")
    piped = " (with the same text on standard input)" if any(map(is_stream, settings.input)) else ""
    console.note(f"Train on it with: {quoted(*_training(settings))}{piped}")
    console.json("prep", corpus=found.record, folder=found.prepared.folder)


def _training(settings: TextConfig) -> list[str]:
    """Words of the command that trains on the same text in any environment."""
    texts = click.get_current_context().params["texts"]
    words = [
        "rnntk",
        "train",
        *(f"./{text}" if text[:1] == "-" != text else text for text in texts),
    ]
    for name, value in settings.part(TextConfig).items():
        if name == "input":
            value = value[: len(value) - len(texts)]
        # From the environment, these two describe the machine, not the text.
        machine = source(name) == ParameterSource.ENVIRONMENT and name in ("data_dir", "offline")
        chosen = name in ("corpus", "input") or source(name) != ParameterSource.DEFAULT
        if value is not None and chosen and not machine:
            words += config.typed_setting(name, value)
    return words


def describe(facts: dict[str, Any]) -> list[str]:
    """Lines about a prepared text."""
    encodings: Counter[str] = Counter()
    for file in facts["sources"]:
        confidence = file["confidence"]
        sure = "" if confidence is None else f", confidence {confidence:.2f}"
        encodings[f"{file['encoding']} ({file['how']}{sure})"] += 1
    lines = [
        f"encoding      {text}" + (f" in {count:,} files" if count > 1 else "")
        for text, count in encodings.items()
    ]
    lines.append(
        f"text          {facts['bytes']:,} bytes, {facts['characters']:,} characters, "
        f"{facts['distinct_characters']} distinct"
    )
    preprocessor = facts["preprocessor"]["name"]
    lines.append(
        f"symbols       {facts['symbols']:,} by {preprocessor}, {facts['vocabulary_size']} in the vocabulary"
    )
    as_bytes = preprocessor == "bytes"
    lines.append(f"most          {_counts(facts['most_frequent'], as_bytes)}")
    lines.append(f"least         {_counts(facts['least_frequent'], as_bytes)}")
    if facts["replaced"]:
        lines.append(f"replaced      {facts['replaced']:,} undecodable byte sequences with U+FFFD")
    rare, changed = facts["rare"], facts["changed"]
    if rare["count"]:
        kinds = f"({rare['distinct']} kinds) became {facts['unknown_symbol']!r}"
        lines.append(f"rare          {rare['count']:,} symbols {kinds}")
    if changed["count"]:
        examples = ", ".join(f"{old!r} -> {new!r}" for old, new, _ in changed["examples"][:5])
        lines.append(
            f"lossy         {changed['count']:,} characters are not restored when decoded: {examples}"
        )
    for kind in facts["unusual"]:
        examples = ", ".join(kind["examples"][:5])
        lines.append(f"unusual       {kind['count']:,} {kind['kind']}: {examples}")
    lines += [f"warning       {rendered(text, config.flag)}" for text in facts["warnings"]]
    lines.append(
        f"entropy       {facts['entropy_bits']:.3f} bits per symbol, {facts['bits_per_character']:.3f} bits per "
        "character (of single symbols)"
    )
    return lines


def _counts(pairs: list[list[Any]], as_bytes: bool) -> str:
    def shown(symbol: str) -> str:
        if as_bytes and not symbol.isascii():
            return f"0x{ord(symbol):02x}"
        return symbol if symbol.isprintable() and symbol != " " else repr(symbol)

    return "  ".join(f"{shown(symbol)} {n:,}" for symbol, n in pairs)


def _list(console: Console, data_dir: Path | None, offline: bool) -> None:
    from rnntk.corpora import registry

    where = {"data_dir": data_dir, "offline": offline}
    found = [registry.availability(card, **where) for card in registry.all_cards()]  # type: ignore[arg-type]
    width = max(len(one.card.name) for one in found)
    corpora = []
    for one in found:
        card, here = one.card, "here" if one.available else "not here"
        console.result(f"{card.name:<{width}}  {here:<8}  {card.size:>21}  {card.licence}")
        console.result(f"{'':<{width}}  {card.title}; {one.source}: {one.detail}")
        facts = {name: getattr(card, name) for name in ("name", "title", "kind", "licence")}
        names = ("bytes", "available", "source", "detail")
        corpora.append({**facts, **{name: getattr(one, name) for name in names}})
    console.json("prep", corpora=corpora)
