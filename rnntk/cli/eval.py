"""`rnntk eval`: loss of a model on a text, beside baselines."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rnntk.cli.console import SCHEMA_VERSION, Console, progress_bar, shown
from rnntk.cli.model import check_written, load, model_options
from rnntk.cli.options import (
    FILE,
    Args,
    FieldType,
    command_named,
    config_options,
    option,
    refuse_both,
    source,
    switch,
)
from rnntk.config import TextConfig
from rnntk.errors import RnntkError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from rnntk.decoding.evaluate import Evaluation
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.evaluation.baselines import Baselines
    from rnntk.storage.folder import RunFolder

# Settings of the run, used for any text.
FIXED = (
    "corpus", "preprocessor", "newline", "markup", "normalize", "min_count", "unknown_symbol", "accept_licence",
)  # fmt: skip
OWN = "this model"

log = logging.getLogger(__name__)


@command_named("eval")
@model_options
@option(
    "--split",
    "Part of the run's text to measure: held out (val), a second held-out part if the run has one (test), or training "
    "text.  [default: val]",
    choices=["val", "test", "train"],
)
@option(
    "--on-unknown",
    "If the model does not know a character of --input: stop, or skip it.",
    choices=["error", "skip"],
    default="error",
)
@switch("--baselines", True, "Compare with simple methods: n-grams and xz.  [default: on]")
@switch(
    "--novelty",
    True,
    "Measure how much of a generated text is copied from the training text.  [default: on; off with --input]",
)
@option(
    "--dynamic",
    "Also measure a copy that learns from each part of the text after measuring it (dynamic evaluation).",
    is_flag=True,
)
@option(
    "--dynamic-rate",
    "Learning rate of --dynamic.  [default: the best on the validation text; 0.1 for that text itself, or without one]",
    type=click.FloatRange(0, min_open=True),
)
@option("--costs", "Write the surprise of each character, in bits, as JSON.", type=FILE)
@option("--html", "Write the text as an HTML page, shaded by surprise.", type=FILE)
@option(
    "--input",
    "Text to measure instead: a file or folder; repeatable; - is stdin.",
    type=FieldType(TextConfig, "input"),
    multiple=True,
    default=(),
)
@config_options(TextConfig, leave_out=(*FIXED, "input"))
def command(args: Args, console: Console) -> None:
    """Measure RUN, a run's folder or name (default: the latest run), on the run's held-out text or on --input.

    Prints loss, perplexity and bits per character, compares with n-grams and xz, and measures how much of a generated
    text is copied from the training text.

    Examples:
      rnntk eval
      rnntk eval runs/linux_kernel-1 --split test
      rnntk eval --input other.c --html other.html
    """
    model = load(args)
    trained_on = tuple(model.run.settings.get("input") or ())
    if source("input") is not ParameterSource.COMMANDLINE and tuple(args.input) == trained_on:
        args.input = ()  # in a config file or the environment, `input` is the training text
    refuse_both(args, ("input", "split"))
    if args.dynamic_rate is not None and not args.dynamic:
        raise UsageError("--dynamic-rate needs --dynamic.")
    if args.costs is not None and args.costs == args.html:
        raise UsageError(f"--costs and --html are both {shown(args.html)}. Give two files.")
    for name in ("costs", "html"):
        check_written(args, model.run, name, *args.input)
    name, evaluation, baselines, copied = _measure(console, model, args)
    dynamic = _dynamic(console, model, args, name, evaluation) if args.dynamic else None
    rows = [(OWN, evaluation.bits_per_character), *(baselines.rows() if baselines else [])]
    rows.sort(key=lambda row: -row[1])
    _print(console, model, name, evaluation, rows)
    if dynamic:
        console.result("\ndynamic evaluation: the model keeps learning as it reads")
        console.facts(
            nats=f"{dynamic['nats_per_symbol']:.4f} per symbol",
            bits=f"{dynamic['bits_per_character']:.4f} per character",
            learning_rate=f"{dynamic['rate']:g}, {dynamic['chosen']}",
        )
    if copied:
        _print_novelty(console, copied)
    console.json(
        "eval", run=model.run.path, step=model.step, split=None if args.input else name,
        input=list(args.input) or None,
        model=evaluation.summary(), baselines=baselines.summary() if baselines else None,
        dynamic=dynamic, novelty=copied, costs=args.costs, html=args.html,
    )  # fmt: skip
    if args.costs is not None:
        _write_costs(args.costs, model, name, evaluation)
    if args.html is not None:
        from rnntk.files import write_bytes
        from rnntk.play import report
        from rnntk.play.models import Models

        figures = {"of": name, "characters": evaluation.characters}
        figures |= {"bits_per_character": rows, "own": OWN, "novelty": copied}
        page = report.report(Models(model), evaluation.text, evaluation=figures)
        write_bytes(args.html, page.encode(), advice="Name another file with --html.")
    for path in (args.costs, args.html):
        if path is not None:
            console.facts(wrote=shown(path))


def _measure(
    console: Console, model: LanguageModel, args: Args
) -> tuple[str, Evaluation, Baselines | None, dict[str, Any] | None]:
    """Name of the text, and the model's evaluation, baselines and novelty on it."""
    from rnntk.evaluation import baselines, novelty
    from rnntk.storage import splits
    from rnntk.text import corpus

    parts = model.run.record["corpus"].get("split")
    prepared = copied = None
    with progress_bar(console, "reading", " symbols") as bar:
        if args.input:
            name = ", ".join("standard input" if p == "-" else p for p in args.input)
            reading = {k: getattr(args, k) for k in ("input", "glob", "encoding", "errors")}
            # The model normalises the text, as in training.
            reading |= {"corpus": None, "newline": "keep", "normalize": False}
            text = corpus.read(splits.text_settings(model.run, **reading), model.preprocessor)
            evaluation = model.evaluate(text, on_unknown=args.on_unknown, progress=bar)
            if count := evaluation.left_out:
                count_text = "1 character" if count == 1 else f"{count:,} characters"
                console.note(f"Left out {count_text} unknown to the model.")
        else:
            name, start, end = splits.split_range(model.run, args.split)
            prepared = splits.training_text(model.run, data_dir=args.data_dir)
            characters = prepared.characters(start, end)
            ids = prepared.ids[start:end]
            evaluation = model.evaluate(ids, characters=characters, progress=bar)
    if prepared is not None and args.novelty:
        console.detail("Comparing generated with training text; --no-novelty skips this.")
        held_out = None if name == "train" else ids
        copied = novelty.measure(model, prepared.ids[slice(*parts["train"])], held_out)
    if not args.baselines:
        return name, evaluation, None, copied
    if prepared is None and parts:
        try:
            prepared = splits.training_text(model.run, data_dir=args.data_dir)
        except RnntkError as error:
            console.note(f"No n-gram baselines: {error}")
    console.detail("Counting n-grams and compressing; --no-baselines skips this.")
    trained = prepared.ids[slice(*parts["train"])] if prepared is not None else None
    compared = baselines.measure(model, evaluation, trained, held_out=name != "train")
    return name, evaluation, compared, copied


def _dynamic(
    console: Console, model: LanguageModel, args: Args, name: str, evaluation: Evaluation
) -> dict[str, Any] | None:
    """Measure the model while it adapts to the text; returns its entry in the JSON, None if it diverged."""
    from rnntk.training import device

    device.ready("cpu", None)
    from rnntk.training import dynamic

    weights = model.run.checkpoint(str(model.step)).weights()
    rate, chosen = _dynamic_rate(console, model.run, args, name, weights)
    ids = model.vocabulary.encode(evaluation.symbols)
    with progress_bar(console, "adapting", " symbols") as bar:
        nats = dynamic.loss(model.run.record["model"], weights, ids, rate, progress=bar)
    if not math.isfinite(nats):
        log.warning(
            f"Warning: dynamic evaluation diverged with learning rate {rate:g}. Lower --dynamic-rate."
        )
        return None
    bits = nats / evaluation.loss * evaluation.bits_per_character
    return {"nats_per_symbol": nats, "bits_per_character": bits, "rate": rate, "chosen": chosen}


def _dynamic_rate(
    console: Console, run: RunFolder, args: Args, name: str, weights: dict[str, np.ndarray]
) -> tuple[float, str]:
    """The learning rate of dynamic evaluation on the text `name`, and how it was chosen."""
    from rnntk.storage import splits
    from rnntk.training import dynamic

    if args.dynamic_rate is not None:
        return args.dynamic_rate, "given"
    first, end = run.record["corpus"].get("split", {}).get("val", (0, 0))
    if name != "val" and end - first > dynamic.WINDOW:
        console.note("Choosing the learning rate on the validation text.")
        try:
            ids = splits.training_text(run, data_dir=args.data_dir).ids[first:end]
        except RnntkError as error:
            console.note(f"It stays {dynamic.RATE:g}: {error}")
        else:
            best = dynamic.best_rate(run.record["model"], weights, ids)
            return best, "the best on the validation text"
    return dynamic.RATE, "the default"


def _write_costs(path: Path, model: LanguageModel, name: str, evaluation: Evaluation) -> None:
    """Write bits per character, or per symbol if characters have no loss of their own; null where unknown."""
    from rnntk.files import write_bytes

    nats, per, text = evaluation.nats, "symbol", evaluation.symbols
    if evaluation.character_nats is not None:
        nats, per, text = evaluation.character_nats[1:], "character", evaluation.text
    bits = (nats / math.log(2)).round(4).tolist()
    costs = [None, *(b if math.isfinite(b) else None for b in bits)]
    body = {
        "schema_version": SCHEMA_VERSION, "run": str(model.run.path), "step": model.step, "of": name,
        "unit": "bits", "per": per, "text": text, "costs": costs,
    }  # fmt: skip
    write_bytes(path, json.dumps(body).encode(), advice="Name another file with --costs.")


def _print(
    console: Console,
    model: LanguageModel,
    name: str,
    evaluation: Evaluation,
    rows: list[tuple[str, float]],
) -> None:
    console.facts(
        run=f"{shown(model.run.path)} at step {model.step}",
        text=f"{name}, {evaluation.characters:,} characters",
        nats=f"{evaluation.loss:.4f} per symbol",
        perplexity=f"{evaluation.perplexity:.4f} per symbol",
        bits=f"{evaluation.bits_per_character:.4f} per character",
    )
    if model.preprocessor.name == "bytes":
        bits, count = evaluation.bits_per_symbol, len(evaluation.symbols)
        console.facts(_=f"{bits:.4f} per byte ({count:,} of them)")
    if evaluation.bits_per_syllable is not None:
        bits = evaluation.bits_per_syllable
        console.facts(_=f"{bits:.4f} per Hangul syllable ({evaluation.syllables:,} of them)")
    if len(rows) > 1:
        console.result("\nbits per character, beside the baselines")
        for label, value in rows:
            console.result(f"  {value:6.3f}  {label}" + ("  <" if label == OWN else ""))


def _print_novelty(console: Console, copied: dict[str, Any]) -> None:
    """Print which fractions of generated n-grams are in the training text."""
    console.result(
        f"\ncopied from the training text, of {copied['characters']:,} generated characters"
    )
    held_out = copied["held_out"]
    for length, share in copied["generated"].items():
        if share is not None:
            other = held_out and held_out[length]
            beside = "" if other is None else f"   (held-out text {other:.1%})"
            console.result(f"  {share:6.1%}  of runs of {length:>2} symbols{beside}")
    if held_out:
        hint = "Far above the held-out text, the model copies; far below, it invents words."
    else:
        hint = "Short runs are common; long ones mean copying."
    console.result(f"  {hint}")
