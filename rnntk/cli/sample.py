"""`rnntk sample`: generate text with a trained model, without TensorFlow."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import math
import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rnntk.cli import shading, stdout, stream
from rnntk.cli.console import Console, harmless, shown
from rnntk.cli.model import check_written, load, model_options
from rnntk.cli.options import (
    FILE,
    Args,
    FieldType,
    command_named,
    complete_files,
    config_options,
    drop_weaker,
    given,
    option,
    refuse_both,
    source,
    switch,
)
from rnntk.config import SampleConfig
from rnntk.errors import UsageError

if TYPE_CHECKING:
    from rnntk.decoding.language_model import EncodedText, LanguageModel

# Skip garbage collection at exit: a tenth of a cold start.
atexit.register(gc.freeze)

_EXCLUDING = (
    ("prime", "prime_file"), ("interactive", "output"), ("interactive", "lines"),
    ("greedy", "temperature"), ("greedy", "beam"), ("lines", "color"),
)  # fmt: skip
_REFUSED = (  # by the library
    *(("lines", name) for name in ("beam", "stop", "num", "raw")),
    *(("beam", name) for name in ("temperature", "top_k", "top_p", "min_p", "no_repeat")),
)


@command_named("sample")
@model_options
@option(
    "--prime",
    "Prompt (also --prompt); \\n in it is a line end.  [default: the corpus' own, else none: the text starts on a "
    "new line]",
)
@option(
    "--prime-file",
    "File with the prompt, used as it is; - is stdin.",
    shell_complete=complete_files,
)
@option("--output", "Write the text to a file.  [default: stdout]", type=FILE)
@option(
    "--lines",
    "Generate N different lines that are not in the training text, such as names.",
    type=click.IntRange(1, 10**6),
)
@switch("--allow-copies", False, "With --lines: allow lines that are in the training text.")
@option("--num -n", "Number of texts to generate.", type=FieldType(SampleConfig, "num"), default=1)
@config_options(SampleConfig, leave_out=("num",))
@switch("--greedy", False, "Always take the likeliest symbol; the same as --temperature 0.")
@switch("--color", False, "Shade each character by its surprise.")
@option(
    "--interactive -i",
    "Ask for prompts, one by one, and continue each; :help lists commands.",
    is_flag=True,
)
def command(args: Args, console: Console) -> None:
    """Generate text with RUN, a run's folder or name (default: the latest run).

    With --json, the result includes the model's probability of each symbol, before --temperature, --top-k and the like
    change it.

    Examples:
      rnntk sample --prime "/* "
      rnntk sample runs/linux_kernel-1 --length 4000 --temperature 0.8
      rnntk sample --interactive --color
      rnntk sample --lines 20 -o names.txt
      rnntk sample --num 5 --stop ";" --prime "static int "
    """
    if args.interactive and console.as_json:
        raise UsageError("Give --interactive or --json, not both.")
    drop_weaker(args, *_REFUSED)
    refuse_both(args, *_EXCLUDING)
    if args.greedy:
        args.temperature = 0.0
    if args.interactive and args.prime_file == "-":
        raise UsageError("--interactive reads stdin; give --prime, not --prime-file -.")
    for name in ("prime", "stop"):
        text = getattr(args, name)
        typed = source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
        if typed and text is not None:
            setattr(args, name, stream.unescaped(f"--{name}", text, console))
    settings = SampleConfig.from_json(vars(args))
    model = load(args)
    check_written(args, model.run, "output", args.prime_file)
    if args.prime_file is not None:
        args.prime = stream.read(args.prime_file, "--prime-file")
    if args.interactive:
        _talk(console, args, model, settings)
        return
    seed = settings.new_seed()
    console.note(f"{shown(model.run.path)} at step {model.step}, seed {seed}")
    settings = dataclasses.replace(settings, seed=seed)
    with stdout.written_to(args.output):
        result = (_lines if args.lines else _texts)(console, args, model, settings)
        console.json("sample", run=model.run.path, step=model.step, seed=seed, **result)
    if args.output is not None and str(args.output) != "-":
        console.note(f"Written to {shown(args.output)}")
    if args.lines and len(result["texts"]) < args.lines:
        click.get_current_context().exit(1)


def _talk(console: Console, args: Args, model: LanguageModel, settings: SampleConfig) -> None:
    from rnntk.cli.interactive import LENGTH, Session

    console.note(f"{shown(model.run.path)} at step {model.step}")
    if not given("length"):
        settings = dataclasses.replace(settings, length=LENGTH)
    session = Session(console, model, settings, shading.wanted(args.color))
    if args.prime is not None:
        session.generate(args.prime)
    session.run()


def _lines(
    console: Console, args: Args, model: LanguageModel, settings: SampleConfig
) -> dict[str, Any]:
    """Print new lines; return the entries of the JSON."""
    from rnntk.decoding import lines

    found = []
    prompt = _prompt(console, args.prime or "", model, settings)
    generated = lines.generate(
        model, args.lines, prompt.text, settings, allow_copies=args.allow_copies
    )
    for line in generated:
        found.append(line)
        if not console.as_json:
            print(harmless(line) if sys.stdout.isatty() else line, flush=sys.stdout.isatty())
    return {"prime": prompt.text, "texts": found, "parts": None}


def _texts(
    console: Console, args: Args, model: LanguageModel, settings: SampleConfig
) -> dict[str, Any]:
    """Print texts; return the entries of the JSON."""
    text = model.default_prompt if args.prime is None else args.prime
    prompt = _prompt(console, text, model, settings)
    as_json, shaded = console.as_json, shading.wanted(args.color) and not console.as_json
    if shaded:
        console.note(shading.legend())
    assert settings.seed is not None
    pieces = model.pieces(
        prompt, settings, settings.seed, echo=not as_json, surprisal=as_json or shaded
    )
    if not as_json:
        stream.show(pieces, settings.num > 1 and not console.quiet, shaded)
        return {}
    texts: list[list[dict[str, Any]]] = [[] for _ in range(settings.num)]
    for piece in pieces:
        probabilities = [math.exp(-nats) for nats in piece.nats]
        part = {"text": piece.text, "symbols": piece.symbols, "probabilities": probabilities}
        texts[piece.stream].append(part)
    joined = ["".join(part["text"] for part in parts) for parts in texts]
    return {"prime": prompt.text, "texts": joined, "parts": texts}


def _prompt(
    console: Console, text: str, model: LanguageModel, settings: SampleConfig
) -> EncodedText:
    """Encode the prompt, and tell which characters are left out."""
    prompt = model.prompt(text, settings.on_unknown)
    if prompt.skipped:
        console.note(f"Left out of the prompt: {', '.join(map(repr, prompt.skipped))}")
    return prompt
