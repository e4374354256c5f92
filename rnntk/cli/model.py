"""The argument RUN of many commands, and its run or model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rnntk.cli.options import (
    PATH,
    Args,
    F,
    added,
    complete_runs,
    option,
    runs_dir_option,
    source,
)
from rnntk.errors import RunError, UsageError, check_output, did_you_mean

if TYPE_CHECKING:
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.decoding.row_model import RowModel
    from rnntk.storage.folder import RunFolder


def model_options(function: F) -> F:
    """Decorator: add RUN, `--corpus`, `--checkpoint` and `--runs-dir`."""
    return added(
        function,
        click.argument("run", required=False, type=PATH, shell_complete=complete_runs),
        option("--corpus", "Use the latest run on this corpus."),
        option(
            "--checkpoint",
            "Which weights to use; best: of the best validation, else the last.",
            type=click.types.FuncParamType(str),  # a config file may have a number
            default="best",
        ),
        runs_dir_option,
    )


def load(args: Args) -> LanguageModel:
    """The character model of RUN, by default of the latest run."""
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.storage import folder

    run = find_run(args.run, args.runs_dir, kind=folder.CHAR_RNN, corpus=args.corpus)
    return LanguageModel.load(run, args.checkpoint)


def load_any(args: Args) -> LanguageModel | RowModel:
    """The model of RUN, of any kind, by default of the latest run."""
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.decoding.row_model import RowModel
    from rnntk.storage import folder

    run = find_run(args.run, args.runs_dir, corpus=args.corpus)
    kind = RowModel if run.kind == folder.ROW_CLASSIFIER else LanguageModel
    return kind.load(run, args.checkpoint)


def check_written(args: Args, run: RunFolder, option: str, *read: str | None) -> None:
    """Check the file that an option names, if any: it must not replace the run's text or a file that is `read`.

    Raises `UsageError`, see `errors.check_output`.
    """
    path: Path | None = getattr(args, option)
    if path is not None and str(path) != "-":
        texts = [*(run.settings.get("input") or ()), *filter(None, read)]
        check_output(option, path, texts)


def find_run(
    run: Path | None,
    runs_dir: Path,
    *,
    kind: str | None = None,
    corpus: str | None = None,
    option: str = "corpus",
) -> RunFolder:
    """The run with this path or name, or the latest of this kind and corpus in `runs_dir`.

    Raises `RunError` if it is missing or damaged, `UsageError` if it was not trained on the corpus that the flag
    `option` names.
    """
    from rnntk.storage import directory

    if run is None:
        try:
            return directory.latest(runs_dir, kind=kind, corpus=corpus)
        except RunError as error:
            raise unknown_corpus(error, runs_dir, kind, corpus) from error
    found = directory.find(runs_dir, run)
    on = found.record["corpus"].get("name")
    # In a config file or the environment, `corpus` is for training.
    if on != corpus and source(option) is ParameterSource.COMMANDLINE:
        raise UsageError(
            f"{found.path} was trained on {on}, not on {corpus}. Leave out --{option}, or name another run."
        )
    return found


def unknown_corpus(
    error: RunError, runs_dir: Path, kind: str | None, corpus: str | None
) -> RunError:
    """The error, or a new one that names the corpora of the runs here if there is no such corpus."""
    if corpus is None:
        return error
    from rnntk.corpora import registry
    from rnntk.storage import listing

    known = [card.name for card in registry.all_cards()]
    if corpus in known or corpus.endswith(".toml"):
        return error
    here = sorted({s.corpus for s in listing.runs(runs_dir, kind=kind) if s.corpus})
    text = f"There is no run on {corpus} in {runs_dir}, and no corpus of this name."
    text += f" The runs there are on {', '.join(here)}." if here else " The folder has no runs."
    text += did_you_mean(corpus, [*here, *known])
    _, line_end, damaged = str(error).partition("\n")
    return RunError(text + line_end + damaged)
