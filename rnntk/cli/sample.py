"""`rnntk sample`: text from a trained model, without TensorFlow."""

from __future__ import annotations

import atexit
import dataclasses
import gc
import math
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk import config
from rnntk.cli import shading, stream
from rnntk.cli.chosen import chosen
from rnntk.cli.console import Console, shown
from rnntk.cli.options import Option, common_options, given, runs_dir_option, settings_options
from rnntk.config import SampleConfig
from rnntk.errors import DataError, UsageError

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece

# At its end Python would search all that was imported for garbage, a tenth of a cold start.
atexit.register(gc.freeze)


@click.command(
    "sample",
    epilog="""\b
Examples:
  rnntk sample --prime "/* "
  rnntk sample runs/linux_kernel-1 --length 4000 --temperature 0.8 --seed 1
  rnntk sample --interactive --color
  rnntk sample --beam 8 --stop ";" --prime "static int "
  echo -n "int main(" | rnntk sample --prime-file -""",
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--corpus", cls=Option, metavar="NAME", help="Only runs on this corpus.")
@click.option(
    "--prime",
    cls=Option,
    metavar="TEXT",
    help="The text to go on from.  [default: the corpus' own]",
)
@click.option(
    "--prime-file", cls=Option, metavar="FILE", help="Read the prime from a file; - is stdin."
)
@click.option(
    "--checkpoint",
    cls=Option,
    default="last",
    metavar="best|last|STEP",
    help="Which checkpoint of the run.",
)
@settings_options(SampleConfig)
@click.option(
    "--color/--no-color",
    cls=Option,
    default=False,
    show_default=False,
    help="Shade each character by how surprising the model found it.",
)
@click.option(
    "--interactive",
    "-i",
    is_flag=True,
    cls=Option,
    help="Type a prime, see it go on; :help shows how to change settings.",
)
@runs_dir_option
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    run: Path | None,
    corpus: str | None,
    prime: str | None,
    prime_file: str | None,
    checkpoint: str,
    color: bool,
    interactive: bool,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Draw text from RUN, a folder or a name in --runs-dir; without it, from the run that was trained last.

    With --json each text comes with the probability of every symbol under the model itself, whatever the
    strategy.
    """
    from rnntk.decoding import trained
    from rnntk.runs import folder

    console = Console(quiet, verbose, as_json)
    settings = config.from_mapping(SampleConfig, values)
    _refuse(prime, prime_file, interactive, as_json)
    path = chosen(run, runs_dir, kind=folder.CHAR_RNN, corpus=corpus).path
    model = trained.load(path, checkpoint, warn=console.note)
    assert model.progress is not None
    step = model.progress.step
    if prime_file is not None:
        prime = _read(prime_file)
    shaded = shading.wanted(ctx, color) and not as_json
    if interactive:
        from rnntk.cli.interactive import LENGTH, Session

        console.note(f"{shown(path)} at step {step}")
        if not given(ctx, "length"):
            settings = dataclasses.replace(settings, length=LENGTH)
        session = Session(console, model, settings, shaded)
        if prime is not None:
            session.draw(prime)
        session.run()
        return
    ready = model.prime(model.default_prime if prime is None else prime, settings.on_unknown)
    if ready.skipped:
        console.note(f"Left out of the prime: {', '.join(map(repr, ready.skipped))}")
    seed = settings.seed if settings.seed is not None else secrets.randbelow(2**32)
    console.note(f"{shown(path)} at step {step}, seed {seed}")
    if shaded:
        console.note(shading.legend())
    pieces = model.pieces(ready, settings, seed, echo=not as_json, costs=as_json or shaded)
    if as_json:
        drawn = _drawn(pieces, settings.num)
        console.json(
            "sample",
            {
                "run": str(path),
                "step": step,
                "seed": seed,
                "prime": ready.text,
                "texts": ["".join(part["text"] for part in parts) for parts in drawn],
                "drawn": drawn,
            },
        )
    else:
        stream.show(pieces, settings.num, shaded)


def _refuse(prime: str | None, prime_file: str | None, interactive: bool, as_json: bool) -> None:
    """Raise `UsageError` for options that are at odds."""
    if prime is not None and prime_file is not None:
        raise UsageError("--prime and --prime-file are both given; use one of them.")
    if interactive and as_json:
        raise UsageError("--interactive and --json are both given; use one of them.")
    if interactive and prime_file == "-":
        raise UsageError("--interactive reads stdin itself, so the prime cannot come from there.")


def _drawn(pieces: Iterable[Piece], num: int) -> list[list[dict[str, Any]]]:
    """Of each text, the pieces: whole characters, the symbols they came from, and their probabilities."""
    drawn: list[list[dict[str, Any]]] = [[] for _ in range(num)]
    for piece in pieces:
        drawn[piece.stream].append(
            {
                "text": piece.text,
                "symbols": piece.symbols,
                "probabilities": [math.exp(-nats) for nats in piece.costs],
            }
        )
    return drawn


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--prime-file {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"--prime-file {path} is not UTF-8: bytes {error.object[error.start : error.end].hex(' ')} at offset "
            f"{error.start}. Convert it first, for example with iconv."
        ) from error
