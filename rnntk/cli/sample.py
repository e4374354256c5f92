"""`rnntk sample`: generate text with a trained model, without TensorFlow."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import math
from typing import Any

from rnntk.cli import shading, stream
from rnntk.cli.console import Console, shown
from rnntk.cli.model import load, model_options
from rnntk.cli.options import Args, command_named, config_options, given, option
from rnntk.config import SampleConfig
from rnntk.errors import UsageError

# Skips the garbage collection at exit, a tenth of a cold start.
atexit.register(gc.freeze)


@command_named("sample")
@model_options("last", "Which checkpoint of the run.")
@option(
    "--prime",
    "--prompt",
    "prime",
    metavar="TEXT",
    help="The prompt: the text to continue.  [default: the corpus' own]",
)
@option(
    "--prime-file",
    "--prompt-file",
    "prime_file",
    metavar="FILE",
    help="Read the prompt from a file; - is stdin.",
)
@config_options(SampleConfig)
@option(
    "--greedy/--no-greedy",
    default=False,
    show_default=False,
    help="Always take the likeliest symbol: the same as --temperature 0.",
)
@option(
    "--color/--no-color",
    default=False,
    show_default=False,
    help="Shade each character by how surprising the model found it.",
)
@option(
    "--interactive",
    "-i",
    is_flag=True,
    help="Type prompts and see the model continue them; :help shows how to change settings.",
)
def command(args: Args, console: Console) -> None:
    """Sample text from RUN, a folder or a name in --runs-dir; without it, from the run that was trained last.

    With --json each text comes with the probability of every symbol under the model itself, whatever the
    strategy.

    Examples:
      rnntk sample --prime "/* "
      rnntk sample runs/linux_kernel-1 --length 4000 --temperature 0.8 --seed 1
      rnntk sample --interactive --color
      rnntk sample --beam 8 --stop ";" --prime "static int "
      echo -n "int main(" | rnntk sample --prime-file -
    """
    if args.greedy:
        args.temperature = 0.0
    settings = SampleConfig.from_json(vars(args))
    if args.prime is not None and args.prime_file is not None:
        raise UsageError("--prime and --prime-file are both given; use one of them.")
    if args.interactive and console.as_json:
        raise UsageError("--interactive and --json are both given; use one of them.")
    if args.interactive and args.prime_file == "-":
        raise UsageError("--interactive reads stdin itself, so the prompt cannot come from there.")
    model = load(args)
    where = f"{shown(model.run.path)} at step {model.step}"
    if args.prime_file is not None:
        args.prime = stream.read(args.prime_file, "--prime-file")
    shaded = shading.wanted(args.color) and not console.as_json
    if args.interactive:
        from rnntk.cli.interactive import LENGTH, Session

        console.note(where)
        if not given("length"):
            settings = dataclasses.replace(settings, length=LENGTH)
        session = Session(console, model, settings, shaded)
        if args.prime is not None:
            session.generate(args.prime)
        session.run()
        return
    text = model.default_prompt if args.prime is None else args.prime
    prompt = model.prompt(text, settings.on_unknown)
    if prompt.skipped:
        console.note(f"Left out of the prompt: {', '.join(map(repr, prompt.skipped))}")
    seed = settings.new_seed()
    console.note(f"{where}, seed {seed}")
    if shaded:
        console.note(shading.legend())
    as_json = console.as_json
    pieces = model.pieces(prompt, settings, seed, echo=not as_json, surprisal=as_json or shaded)
    if not as_json:
        stream.show(pieces, settings.num, shaded)
        return
    texts: list[list[dict[str, Any]]] = [[] for _ in range(settings.num)]
    for piece in pieces:
        probabilities = [math.exp(-nats) for nats in piece.nats]
        part = {"text": piece.text, "symbols": piece.symbols, "probabilities": probabilities}
        texts[piece.stream].append(part)
    whole = ["".join(part["text"] for part in parts) for parts in texts]
    about = {"run": model.run.path, "step": model.step, "seed": seed, "prime": prompt.text}
    console.json("sample", **about, texts=whole, drawn=texts)
