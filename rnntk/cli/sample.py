"""`rnntk sample`: text from a trained model, without TensorFlow."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from rnntk import config
from rnntk.cli.console import Console, shown
from rnntk.cli.options import Option, common_options, runs_dir_option, settings_options
from rnntk.config import SampleSettings
from rnntk.errors import DataError, UsageError


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
    from rnntk.decoding.reader import open_reader
    from rnntk.runs import folder

    console = Console(quiet, verbose, as_json)
    settings = config.from_mapping(SampleSettings, values)
    if prime is not None and prime_file is not None:
        raise UsageError("--prime and --prime-file are both given; use one of them.")
    found = (
        folder.open_run(run)
        if run
        else folder.latest(runs_dir, kind=folder.CHAR_RNN, corpus=corpus)
    )
    if found.kind != folder.CHAR_RNN:
        raise UsageError(f"{found.path} is a {found.kind}; only character models write text.")
    reader = open_reader(found, checkpoint, warn=console.note)
    if prime_file is not None:
        prime = _read(prime_file)
    if prime is None:
        prime = reader.default_prime
    seed = settings.seed if settings.seed is not None else secrets.randbelow(2**32)
    step = reader.progress.step
    console.note(
        f"{shown(found.path)} at step {step}, seed {seed}" + (f", prime {prime!r}" if prime else "")
    )
    texts = []
    for index, stream in enumerate(reader.sample(prime, settings, seed, notify=console.note)):
        if settings.num > 1:
            console.result(f"--- {index + 1} ---")
        if not as_json:
            sys.stdout.write(prime or "")
        pieces = []
        for piece in stream:
            pieces.append(piece)
            if not as_json:
                sys.stdout.write(piece)
                sys.stdout.flush()
        if not as_json:
            sys.stdout.write("\n")
        texts.append("".join(pieces))
    console.json(
        "sample",
        {"run": str(found.path), "step": step, "seed": seed, "prime": prime, "texts": texts},
    )


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
