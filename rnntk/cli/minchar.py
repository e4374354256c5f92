"""`rnntk minchar`: train the smallest model on any text."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import click

from rnntk import minchar
from rnntk.cli.console import Console
from rnntk.cli.options import Args, command_named, option
from rnntk.config import TextConfig
from rnntk.errors import DataError, EncodingError, Interrupted, RnntkError
from rnntk.text import corpus, inputs
from rnntk.text.preprocessors import Plain

EVERY = 100  # iterations between reports
QUIET_SECONDS = 10.0  # between two lines
TOLERANCE = 1e-6
OWN_SOURCE = "its own source"


@command_named("minchar")
@option(
    "--input",
    "Text file; repeatable; - is stdin.  [default: rnntk/minchar.py, the model's source]",
    multiple=True,
)
@option("--encoding", "Text encoding, such as utf-8.  [default: detected]")
@option(
    "--iterations",
    f"Iterations (training steps), each on the next {minchar.LENGTH} characters.",
    type=click.IntRange(1),
    default=5000,
)
@option("--seed", "Random seed.", type=click.IntRange(0, 2**32 - 1), default=0)
@option(
    "--check-gradients",
    "Don't train: compare the gradients with the changes of the loss when a weight changes slightly.",
    is_flag=True,
)
def command(args: Args, console: Console) -> None:
    """Train the smallest character model: a vanilla network in one file of NumPy, rnntk/minchar.py.

    Prints a generated text after 100, 200, 500, 1000, 2000, ... iterations and at the end. Saves nothing.

    Examples:
      rnntk minchar
      rnntk minchar --input my_poems.txt --iterations 20000
      rnntk minchar --check-gradients
    """
    name, text = _read(args.input, args.encoding)
    model = minchar.MinChar(text, args.seed)
    console.note(
        f"{name}: {len(text):,} characters, {len(model.characters)} of them different; "
        f"{sum(w.size for w in model.weights.values()):,} weights."
    )
    about = {"text": name, "characters": len(text), "distinct": len(model.characters)}
    about["seed"] = args.seed
    if args.check_gradients:
        _check(console, model, about)
    else:
        _train(console, model, args.iterations, about)


def _read(paths: tuple[str, ...], encoding: str | None) -> tuple[str, str]:
    if not paths:
        name, text = OWN_SOURCE, Path(minchar.__file__).read_text(encoding="utf-8")
    else:
        try:
            name = ", ".join("standard input" if p == inputs.STDIN else p for p in paths)
            text = corpus.read(TextConfig(input=tuple(paths), encoding=encoding), Plain())
        except EncodingError as error:
            raise EncodingError(error.message) from error  # minchar has no --errors
    if len(text) <= minchar.LENGTH:
        raise DataError(
            f"{name} has {len(text)} characters and needs {minchar.LENGTH + 1}. Give a longer text with "
            "--input."
        )
    if len(set(text)) < 2:
        raise DataError(
            f"{name} has only the character {text[0]!r}. Give another text with --input."
        )
    return name, text


def _check(console: Console, model: minchar.MinChar, about: dict[str, Any]) -> None:
    error = model.check_gradients()
    passed = error < TOLERANCE
    verdict = f"below {TOLERANCE:.0e}: correct" if passed else f"not below {TOLERANCE:.0e}: WRONG"
    console.result(f"gradient      largest relative error {error:.1e}, {verdict}")
    console.json("minchar", **about, gradient_error=error, tolerance=TOLERANCE, passed=passed)
    if not passed:
        raise RnntkError("MinChar.gradients in rnntk/minchar.py is not the gradient of the loss.")


def _train(
    console: Console, model: minchar.MinChar, iterations: int, about: dict[str, Any]
) -> None:
    started = printed = time.perf_counter()
    reports: list[dict[str, Any]] = []
    try:
        for iteration, loss, sample in model.train(iterations, EVERY):
            reports.append({"iteration": iteration, "smoothed_loss": loss, "sample": sample})
            line = (
                f"iteration {iteration:,}: smoothed loss {loss:.3f} "
                f"({loss / minchar.LENGTH:.3f} nats per character)"
            )
            if iteration == iterations or str(iteration).rstrip("0") in ("", "1", "2", "5"):
                console.result(f"--- {line} ---\n{sample}\n---")
                printed = time.perf_counter()
            elif time.perf_counter() - printed > QUIET_SECONDS:
                console.note(line)
                printed = time.perf_counter()
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped after iteration {reports[-1]['iteration'] if reports else 0}. Nothing is saved.",
            signal.SIGINT,
        ) from None
    about |= {"iterations": iterations, "seconds": time.perf_counter() - started}
    first, last = reports[0]["smoothed_loss"], reports[-1]["smoothed_loss"]
    about |= {"first_loss": first, "last_loss": last, "reports": reports}
    console.json("minchar", **about)
