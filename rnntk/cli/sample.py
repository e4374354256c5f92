"""`rnntk sample`: text from a trained model, without TensorFlow."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnntk import config
from rnntk.cli.console import Console, shown
from rnntk.cli.options import Option, common_options, runs_dir_option, settings_options
from rnntk.config import SampleSettings
from rnntk.errors import DataError, UsageError

if TYPE_CHECKING:
    from rnntk.decoding.generate import Piece


@click.command(
    "sample",
    epilog="""\b
Examples:
  rnntk sample --prime "/* "
  rnntk sample runs/linux_kernel-1 --length 4000 --temperature 0.8 --seed 1
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
@settings_options(SampleSettings)
@runs_dir_option
@common_options
def command(
    run: Path | None,
    corpus: str | None,
    prime: str | None,
    prime_file: str | None,
    checkpoint: str,
    runs_dir: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> None:
    """Draw text from RUN; without it, from the run that was trained last."""
    from rnntk.decoding import trained
    from rnntk.runs import folder

    console = Console(quiet, verbose, as_json)
    settings = config.from_mapping(SampleSettings, values)
    if prime is not None and prime_file is not None:
        raise UsageError("--prime and --prime-file are both given; use one of them.")
    path = run or folder.latest(runs_dir, kind=folder.CHAR_RNN, corpus=corpus).path
    model = trained.load(path, checkpoint, warn=console.note)
    if prime_file is not None:
        prime = _read(prime_file)
    ready = model.prime(model.default_prime if prime is None else prime, settings.on_unknown)
    if ready.skipped:
        console.note(f"Left out of the prime: {', '.join(map(repr, ready.skipped))}")
    seed = settings.seed if settings.seed is not None else secrets.randbelow(2**32)
    assert model.progress is not None
    step = model.progress.step
    console.note(f"{shown(path)} at step {step}, seed {seed}")
    pieces = model.pieces(ready, settings, seed, echo=not as_json)
    if as_json:
        texts = [""] * settings.num
        for piece in pieces:
            texts[piece.stream] += piece.text
        console.json(
            "sample",
            {"run": str(path), "step": step, "seed": seed, "prime": ready.text, "texts": texts},
        )
    else:
        _stream(pieces, settings.num)


def _stream(pieces: Iterator[Piece], num: int) -> None:
    """Print text as it is drawn, each of several texts under its number."""
    current = -1
    for piece in pieces:
        if piece.stream != current:
            if num > 1:
                click.echo(("\n" if current >= 0 else "") + f"--- {piece.stream + 1} ---")
            current = piece.stream
        sys.stdout.write(piece.text)
        sys.stdout.flush()
    click.echo()


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"--prime-file {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"--prime-file {path} is not UTF-8: bytes {error.object[error.start : error.end].hex(' ')} at offset "
            f"{error.start}. Convert it first, for example with iconv."
        ) from error
