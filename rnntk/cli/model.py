"""The model that `rnntk sample`, `eval` and `play` work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from rnntk.cli.chosen import chosen
from rnntk.cli.options import PATH, F, option, runs_dir_option

if TYPE_CHECKING:
    from rnntk.decoding.language_model import LanguageModel


def model_options(checkpoint: str, help: str) -> Callable[[F], F]:
    """A decorator that adds RUN, `--corpus`, `--checkpoint` and `--runs-dir`.

    Args:
        checkpoint: the default.
        help: of `--checkpoint`.
    """

    def decorate(function: F) -> F:
        for add in (
            runs_dir_option,
            option("--checkpoint", default=checkpoint, metavar="best|last|STEP", help=help),
            option("--corpus", metavar="NAME", help="Only runs on this corpus."),
            click.argument("run", required=False, type=PATH),
        ):
            function = add(function)
        return function

    return decorate


def load(values: Mapping[str, Any]) -> LanguageModel:
    """Load the model that a command's options choose.

    Raises:
        RunError, UsageError: there is no such run or checkpoint, or it is not a character model's.
    """
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.storage import folder

    run = chosen(values["run"], values["runs_dir"], kind=folder.CHAR_RNN, corpus=values["corpus"])
    return LanguageModel.load(run, values["checkpoint"])
