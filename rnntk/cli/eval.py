"""`rnntk eval`: how well a model knows a text, beside what simpler models make of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rnntk.cli.chosen import chosen
from rnntk.cli.console import SCHEMA_VERSION, Bar, Console, shown
from rnntk.cli.options import Option, common_options, config_options, runs_dir_option
from rnntk.config import TextConfig
from rnntk.errors import DataError, RnntkError, UsageError
from rnntk.files import write_bytes

if TYPE_CHECKING:
    from rnntk.decoding.evaluate import Evaluation
    from rnntk.decoding.held_out import Neighbours
    from rnntk.decoding.trained import TrainedModel

# How the run's text became symbols is the run's, and so it is for any other text.
FIXED = (
    "corpus",
    "preprocessor",
    "newline",
    "normalize",
    "min_count",
    "unknown_symbol",
    "accept_licence",
)
OWN = "this model"


@click.command(
    "eval",
    epilog="""\b
Examples:
  rnntk eval
  rnntk eval runs/linux_kernel-1 --split test
  rnntk eval --input other.c --on-unknown skip --html other.html""",
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--corpus", cls=Option, metavar="NAME", help="Only runs on this corpus.")
@click.option(
    "--split",
    cls=Option,
    type=click.Choice(["val", "test", "train"]),
    help="A part of the run's own text.  [default: val, where no --input is given]",
)
@click.option(
    "--checkpoint",
    cls=Option,
    default="best",
    metavar="best|last|STEP",
    help="Which checkpoint of the run; best is the last one where nothing was held out.",
)
@click.option(
    "--on-unknown",
    cls=Option,
    type=click.Choice(["error", "skip"]),
    default="error",
    help="Characters of --input that the model has never seen.",
)
@click.option(
    "--floors/--no-floors",
    cls=Option,
    default=True,
    show_default=False,
    help="Measure n-grams of the training text and xz on the same text (the default), or do not.",
)
@click.option(
    "--costs",
    cls=Option,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what each character costs, as JSON.",
)
@click.option(
    "--html",
    cls=Option,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the text shaded by surprise, as a web page.",
)
@config_options(TextConfig, leave_out=FIXED)
@runs_dir_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    run: Path | None,
    corpus: str | None,
    split: str | None,
    checkpoint: str,
    on_unknown: str,
    floors: bool,
    costs: Path | None,
    html: Path | None,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Measure RUN, a folder or a name in --runs-dir, on text it has not seen; without it, the latest.

    Says nats, bits a character and perplexity, for Hangul also bits a syllable; and what single characters,
    n-grams of the training text and xz make of the same text.
    """
    from rnntk.decoding import trained
    from rnntk.runs import folder

    console = Console(quiet, verbose, as_json)
    path = chosen(run, runs_dir, kind=folder.CHAR_RNN, corpus=corpus).path
    model = trained.load(path, checkpoint)
    assert model.progress is not None
    inputs = tuple(values["input"])
    own = model.run.settings.get("input") or ()
    if ctx.get_parameter_source("input") is ParameterSource.DEFAULT_MAP and inputs == tuple(own):
        inputs = ()  # a config file names what to train on for all commands
    if inputs and split:
        raise UsageError("--input and --split are both given; use one of them.")
    values["input"] = inputs
    name, evaluation, beside = _measure(console, model, split, on_unknown, floors, values)

    where = f"{shown(path)} at step {model.progress.step}"
    bits = _bits(evaluation)
    if costs is not None:
        head = {"schema_version": SCHEMA_VERSION, "run": str(path), "step": model.progress.step}
        per = "character" if evaluation.character_costs is not None else "symbol"
        text = evaluation.text if per == "character" else evaluation.symbols
        body = {**head, "of": name, "unit": "bits", "per": per, "text": text, "costs": bits}
        _write(costs, json.dumps(body), "--costs")
    rows = [(OWN, evaluation.bits_per_character), *(beside.rows if beside else [])]
    rows.sort(key=lambda row: -row[1])
    if html is not None:
        from rnntk.cli.eval_page import page

        text = evaluation.text if evaluation.character_costs is not None else evaluation.symbols
        about = f"{name}, {len(evaluation.text):,} characters. {_summary(evaluation)}."
        _write(html, page(where, about, rows, text, bits), "--html")
    _print(console, where, name, evaluation, rows, as_bytes=model.preprocessor.name == "bytes")
    for flag_path in (costs, html):
        if flag_path is not None:
            console.result(f"wrote         {shown(flag_path)}")
    console.json(
        "eval",
        {
            "run": str(path),
            "step": model.progress.step,
            "split": None if inputs else name,
            "input": list(inputs) or None,
            "model": evaluation.summary(),
            "floors": beside.summary if beside else None,
            "costs": str(costs) if costs else None,
            "html": str(html) if html else None,
        },
    )


def _measure(
    console: Console,
    model: TrainedModel,
    split: str | None,
    on_unknown: str,
    floors: bool,
    values: dict[str, Any],
) -> tuple[str, Evaluation, Neighbours | None]:
    """What the text is called, what it costs, and what it costs others."""
    from rnntk.decoding import evaluate, held_out
    from rnntk.text import corpus

    places = {"data_dir": values["data_dir"], "offline": values["offline"]}
    bar = Bar(console, "reading", " symbols")
    training, part = None, None
    if values["input"]:
        reading = {k: values[k] for k in ("input", "glob", "encoding", "errors")}
        name = ", ".join("standard input" if p == "-" else p for p in values["input"])
        text = corpus.read(
            held_out.text_settings(model.run, corpus=None, **reading), model.preprocessor
        )
        try:
            evaluation = model.evaluate(text, on_unknown=on_unknown, progress=bar)
        finally:
            bar.close()
        left_out = len(text) - len(evaluation.text)
        if left_out:
            what = "1 character" if left_out == 1 else f"{left_out:,} characters"
            console.note(f"Left out {what} that the model has never seen.")
        parts = model.run.record["corpus"].get("split")
        if floors and parts:
            try:
                training = held_out.training_text(model.run, **places)
            except RnntkError as error:
                console.note(f"There are no n-grams to compare with: {error}")
            else:
                part = slice(*parts["train"])
    else:
        name, start, end = held_out.split_range(model.run, split)
        training = held_out.training_text(model.run, **places)
        part = slice(*model.run.record["corpus"]["split"]["train"])
        try:
            evaluation = evaluate.evaluate_ids(
                model.decoder,
                model.vocabulary,
                model.preprocessor,
                training.ids[start:end],
                progress=bar,
            )
        finally:
            bar.close()
    if not floors:
        return name, evaluation, None
    console.detail("Counting n-grams and compressing; --no-floors leaves it out.")
    ids = training.ids[part] if training is not None else None
    beside = held_out.neighbours(
        evaluation, model.vocabulary, model.preprocessor, ids, held_out=name != "train"
    )
    return name, evaluation, beside


def _bits(evaluation: Evaluation) -> list[float | None]:
    """Bits of each character, or of each symbol where characters have none; None where not known."""
    costs = evaluation.character_costs
    nats = costs[1:] if costs is not None else evaluation.costs
    bits = (nats / math.log(2)).round(4).tolist()
    return [None, *(None if math.isnan(cost) else cost for cost in bits)]


def _summary(evaluation: Evaluation) -> str:
    text = (
        f"{evaluation.nats_per_symbol:.4f} nats a symbol, perplexity {evaluation.perplexity:.3f}, "
        f"{evaluation.bits_per_character:.3f} bits a character"
    )
    if evaluation.bits_per_syllable is not None:
        text += f", {evaluation.bits_per_syllable:.3f} bits a syllable"
    return text


def _print(
    console: Console,
    where: str,
    name: str,
    evaluation: Evaluation,
    rows: list[tuple[str, float]],
    *,
    as_bytes: bool,
) -> None:
    console.result(f"run           {where}")
    console.result(f"text          {name}, {len(evaluation.text):,} characters")
    console.result(f"nats          {evaluation.nats_per_symbol:.4f} a symbol")
    console.result(f"perplexity    {evaluation.perplexity:.4f} of a symbol")
    console.result(f"bits          {evaluation.bits_per_character:.4f} a character")
    if as_bytes:
        console.result(
            f"              {evaluation.bits_per_symbol:.4f} a byte ({len(evaluation.symbols):,} of them)"
        )
    if evaluation.bits_per_syllable is not None:
        console.result(
            f"              {evaluation.bits_per_syllable:.4f} a Hangul syllable "
            f"({evaluation.syllables:,} of them)"
        )
    if len(rows) > 1:
        console.result("\nbits a character, beside others")
        for label, value in rows:
            mark = "  <" if label == OWN else ""
            console.result(f"  {value:6.3f}  {label}{mark}")


def _write(path: Path, text: str, flag: str) -> None:
    data = text.encode("utf-8", "replace")
    write_bytes(path, data, advice=f"Name another file with {flag}.", error=DataError)
