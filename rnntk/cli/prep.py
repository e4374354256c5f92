"""`rnntk prep`: a corpus or files of one's own become a prepared folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk import config
from rnntk.cli.console import Bar, Console
from rnntk.cli.options import Option, common_options, settings_options, with_config_defaults
from rnntk.config import TextSettings

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
@settings_options(TextSettings)
@click.option(
    "--output", cls=Option, type=click.Path(path_type=Path), metavar="DIR", help="Where it goes.  [default: the cache]"
)
@click.option("--list", "list_all", is_flag=True, help="List all corpora: size, licence, available here or not.")
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
        _list(console, values["data_dir"], bool(values["offline"]))
        return
    _, corpus = prepared_text(ctx, console, values, "prep", output)
    facts = corpus.prepared.facts
    for line in describe(facts):
        console.result(line)
    console.result(f"prepared      {corpus.prepared.folder}")
    target = f"--corpus {corpus.name}" if corpus.card else " ".join(f"--input {p}" for p in settings.input)
    console.note(f"Train on it with: rnntk train {target}")
    console.json("prep", {"corpus": corpus.record, "folder": str(corpus.prepared.folder)})


def prepared_text(
    ctx: click.Context, console: Console, values: dict[str, Any], command_name: str, output: Path | None = None
) -> tuple[dict[str, Any], Corpus]:
    """Find and prepare the text a user asked for.

    Returns:
        The values with every option that was left open filled from the corpus' own config, and the text.
    """
    from rnntk.text import corpus

    found = corpus.find(config.from_mapping(TextSettings, values), notify=console.detail)
    if found is not None:
        console.note(found.detail)
        values = with_config_defaults(ctx, values, found.card.config, command_name)
        values["corpus"] = values["corpus"] or found.card.name
    bar = Bar(console, "preparing")
    try:
        return values, corpus.prepare_corpus(
            config.from_mapping(TextSettings, values), found, output=output, progress=bar
        )
    finally:
        bar.close()


def describe(facts: dict[str, Any]) -> list[str]:
    """The facts of a prepared text as lines for a person."""
    raise UsageError("filled in below")


def _list(console: Console, data_dir: Path | None, offline: bool) -> None:
    from rnntk.corpora import registry

    rows = []
    for card in registry.all_cards():
        found = registry.availability(card, data_dir=data_dir, offline=offline)
        rows.append((card, found))
    console.json("prep", {"corpora": []})
