"""`rnntk prep`: a corpus or files of one's own become a prepared folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rnntk import config
from rnntk.cli.console import Bar, Console, typed
from rnntk.cli.options import (
    Option,
    common_options,
    given,
    settings_options,
    with_config_defaults,
)
from rnntk.config import TextConfig

if TYPE_CHECKING:
    from rnntk.text.corpus import Corpus


@click.command(
    "prep",
    epilog="""\b
Examples:
  rnntk prep --corpus linux_kernel
  rnntk prep --input novel.txt --encoding cp949 --preprocessor hangul
  rnntk prep --list""",
)
@settings_options(TextConfig)
@click.option(
    "--output",
    cls=Option,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it goes.  [default: the cache]",
)
@click.option(
    "--list",
    "list_all",
    is_flag=True,
    help="List all corpora: size, licence, available here or not.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Path | None,
    list_all: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Prepare a text: find it, detect its encoding, turn it into symbols, count them.

    `rnntk train` does the same by itself; this shows what it would see.
    """
    console = Console(quiet, verbose, as_json)
    if list_all:
        _list(console, values["data_dir"])
        return
    values, corpus = prepared_text(ctx, console, values, "prep", output)
    facts = corpus.prepared.facts
    for line in describe(facts):
        console.result(line)
    console.result(f"prepared      {corpus.prepared.folder}")
    piped = " (with the same text on standard input)" if "-" in values["input"] else ""
    console.note(f"Train on it with: {typed(_training(ctx, values))}{piped}")
    console.json("prep", {"corpus": corpus.record, "folder": str(corpus.prepared.folder)})


def _training(ctx: click.Context, values: dict[str, Any]) -> list[str]:
    """The words of a command that trains on the very same text: all that the user said of it.

    But what stands in the environment holds for that command as well.
    """
    words = ["rnntk", "train"]
    for f in dataclasses.fields(TextConfig):
        left_out = (ParameterSource.DEFAULT, ParameterSource.ENVIRONMENT)
        if ctx.get_parameter_source(f.name) in left_out and f.name not in ("corpus", "input"):
            continue
        if values[f.name] is not None:
            words += config.typed_setting(f.name, values[f.name])
    return words


def prepared_text(
    ctx: click.Context,
    console: Console,
    values: dict[str, Any],
    command_name: str,
    output: Path | None = None,
    stronger: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Corpus]:
    """Find and prepare the text a user asked for.

    Returns:
        The values with every option that the user left open filled from `stronger`, else from the corpus' own
        config; and the text.
    """
    from rnntk.text import corpus

    found = corpus.find(config.from_mapping(TextConfig, values), notify=console.detail)
    if found is not None:
        console.note(found.detail)
        values = with_config_defaults(ctx, values, found.card.config, command_name)
        values["corpus"] = values["corpus"] or found.card.name
    values |= {k: v for k, v in (stronger or {}).items() if k in values and not given(ctx, k)}
    bar = Bar(console, "preparing")
    try:
        text = corpus.prepare_corpus(
            config.from_mapping(TextConfig, values), found, output=output, progress=bar
        )
    finally:
        bar.close()
    if command_name != "prep":  # which shows them among all facts
        for warning in text.prepared.facts["warnings"]:
            console.note(f"Warning: {warning}")
    return values, text


def describe(facts: dict[str, Any]) -> list[str]:
    """The facts of a prepared text as lines for a person."""
    lines = []
    for source in facts["sources"]:
        sure = (
            f", confidence {source['confidence']:.2f}" if source["confidence"] is not None else ""
        )
        lines.append(f"encoding      {source['encoding']} ({source['how']}{sure})")
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
        lines.append(f"replaced      {facts['replaced']:,} undecodable places by U+FFFD")
    if facts["rare"]["count"]:
        lines.append(
            f"rare          {facts['rare']['count']:,} symbols ({facts['rare']['distinct']} kinds) "
            f"became {facts['unknown_symbol']!r}"
        )
    if facts["changed"]["count"]:
        examples = ", ".join(
            f"{before!r} -> {after!r}" for before, after, _ in facts["changed"]["examples"][:5]
        )
        lines.append(
            f"lossy         {facts['changed']['count']:,} characters do not come back as they were: {examples}"
        )
    for entry in facts["unusual"]:
        lines.append(
            f"unusual       {entry['count']:,} {entry['kind']}: {', '.join(entry['examples'][:5])}"
        )
    lines += [f"warning       {warning}" for warning in facts["warnings"]]
    lines.append(
        f"entropy       {facts['entropy_bits']:.3f} bits a symbol, {facts['bits_per_character']:.3f} bits a character "
        "(of single symbols)"
    )
    return lines


def _counts(pairs: list[list[Any]], as_bytes: bool) -> str:
    # Jamo and Latin letters stand as they are; what cannot be seen is written as an escape.
    def shown(symbol: str) -> str:
        if as_bytes and not symbol.isascii():
            return f"0x{ord(symbol):02x}"
        return symbol if symbol.isprintable() and symbol != " " else repr(symbol)

    return "  ".join(f"{shown(symbol)} {n:,}" for symbol, n in pairs)


def _list(console: Console, data_dir: Path | None) -> None:
    from rnntk.corpora import registry

    found = [registry.availability(card, data_dir=data_dir) for card in registry.all_cards()]
    width = max(len(one.card.name) for one in found)
    for one in found:
        here = "here" if one.available else "not here"
        console.result(
            f"{one.card.name:<{width}}  {here:<8}  {one.card.size:>21}  {one.card.licence}"
        )
        console.result(f"{'':<{width}}  {one.card.title}; {one.source}: {one.detail}")
    console.json(
        "prep",
        {
            "corpora": [
                {
                    "name": one.card.name,
                    "title": one.card.title,
                    "kind": one.card.kind,
                    "licence": one.card.licence,
                    "bytes": one.bytes,
                    "available": one.available,
                    "source": one.source,
                    "detail": one.detail,
                }
                for one in found
            ]
        },
    )
