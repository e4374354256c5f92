"""Functions of the package: train, resume, prepare, load."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk.config import (
    Config,
    MnistConfig,
    TextConfig,
    TrainConfig,
    find_config,
    overridden,
    place_of,
    read_config,
)
from rnntk.config.fields import checked, sentence
from rnntk.errors import UsageError, naming_arguments
from rnntk.run import Run, Runs
from rnntk.storage import folder
from rnntk.storage.folder import RunFolder

if TYPE_CHECKING:
    import keras

    from rnntk.text.corpus import Corpus

RUNS = "runs"
Paths = str | Path | Sequence[str | Path]


def train(
    text: Paths | None = None,
    *,
    config: str | Path | TrainConfig | None = None,
    run: str | Path | None = None,
    init_from: Run | str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train a character model, as `rnntk train` does.

    `settings` override `config`, which overrides the corpus' own config or, for your own text, the settings chosen for
    its length and script (reasons: `run.folder.record["corpus"]["chosen"]`). A `TrainConfig` is complete.

    Args:
        text: files (plain text, Word, OpenDocument, EPUB, HTML) or folders; by default `corpus`, else the Linux kernel.
        config: a TOML file, the name of a shipped one ("demo_ko"), or a `TrainConfig`.
        run: the new run folder; by default `runs/<corpus>-<n>`.
        init_from: a run whose weights to start from.
        callbacks: Keras callbacks, called after rnntk's own. A learning rate that one sets replaces the schedule's from
            the next step on, also after a resume, until one sets another.
        quiet: show no progress.
        settings: fields of `TrainConfig`: corpus, units, layers, epochs, max_time, ...

    Raises `UsageError` (settings), `DataError` (text), `RunError` (run exists) or `TrainingError` (training diverged,
    or a write failed).

    Example:
        >>> run = rnntk.train("tale.txt", units=16, max_steps=20, batch_size=4, seq_length=20, quiet=True)
        >>> run.name
        'tale-1'
        >>> float(run.metrics["loss"][-1]) < float(run.metrics["loss"][0])
        True
    """
    from rnntk.training import character

    given = _given(train, TrainConfig, "train", config, _with_text(text, settings))
    if run is not None:
        folder.refuse_existing(Path(run))
    source = None if init_from is None else _folder(init_from)
    chosen, corpus = character.load(given, source)
    with folder.reserved(_path(run), Path(RUNS), corpus.name) as path:
        result = character.start(
            chosen, corpus, path, init_from=source, quiet=quiet, callbacks=callbacks
        )
    return Run(result.run)


def resume(
    run: Run | str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
    **changes: Any,
) -> Run:
    """Continue a run, a folder or a name in `runs/`, exactly from its last checkpoint.

    `changes` may set epochs, max_steps, max_time, patience, sample_every, threads, and where the text is now. Raises
    `UsageError` for other settings or a finished run, `RunError` if the run, a whole checkpoint or its text is missing.
    A finished classifier is only tested.

    Example:
        >>> run = rnntk.resume("my-run", max_steps=30, quiet=True)
        >>> int(run.metrics["step"][-1])
        30
    """
    found = _folder(run)
    if found.kind == folder.ROW_CLASSIFIER:
        MnistConfig.check_names(changes, inspect.signature(resume).parameters)
        from rnntk.training import rows

        data = rows.images_of(found, changes)
        result, test = rows.resume(found, changes, data, quiet=quiet, callbacks=callbacks)
        return _resumed(run, Run(result.run, test=test))
    TrainConfig.check_names(changes, inspect.signature(resume).parameters)
    from rnntk.training import character

    result = character.resume(found, changes, quiet=quiet, callbacks=callbacks)
    return _resumed(run, Run(result.run))


def _resumed(given: Run | str | Path, result: Run) -> Run:
    """The result; a `Run` that was given then has the new settings and weights too."""
    if isinstance(given, Run):
        given.reload()
    return result


def train_mnist(
    *,
    config: str | Path | MnistConfig | None = None,
    run: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
    **settings: Any,
) -> Run:
    """Train and test an image classifier that reads one row per step, as `rnntk mnist` does.

    `settings` are fields of `MnistConfig`; other arguments are as in `train`. The run's `test` has accuracy, interval,
    loss and confusion matrix.

    Example:
        >>> run = rnntk.train_mnist(data="digits", units=8, max_steps=5, quiet=True)
        >>> run.test.confusion.shape
        (10, 10)
    """
    from rnntk.training import rows

    given = _given(train_mnist, MnistConfig, "mnist", config, settings)
    if run is not None:
        folder.refuse_existing(Path(run))
    chosen, data = rows.load(given)
    with folder.reserved(_path(run), Path(RUNS), data.record["name"]) as path:
        result, test = rows.start(chosen, data, path, quiet=quiet, callbacks=callbacks)
    return Run(result.run, test=test)


def prepare(
    text: Paths | None = None, *, output: str | Path | None = None, **settings: Any
) -> Corpus:
    """Prepare a text, as `rnntk prep` does: find it, detect its encoding, turn it into symbols.

    Writes to the folder `output`, by default in the cache. `settings` are fields of `TextConfig`: corpus, preprocessor,
    encoding, ... The result has `prepared.ids` (memory-mapped integers), `prepared.vocabulary`, `prepared.facts`.

    Example:
        >>> corpus = rnntk.prepare("tale.txt")
        >>> len(corpus.prepared.ids) == corpus.prepared.facts["symbols"]
        True
    """
    from rnntk.text import corpus

    given = _given(prepare, TextConfig, "prep", None, _with_text(text, settings))
    return corpus.load(TextConfig, given, command="prep", output=_path(output))[1]


@naming_arguments
def load(run: str | Path, checkpoint: str | int = "best") -> Run:
    """Open a run, a folder or a name in `runs/`.

    `checkpoint` is "best" (lowest validation loss, else "last"), "last" or a step. Raises `RunError` if it or
    the run is missing or damaged.

    Example:
        >>> rnntk.load("my-run").name
        'my-run'
    """
    found = _folder(run)
    found.check_checkpoint(str(checkpoint))
    return Run(found, checkpoint)


@naming_arguments
def runs(runs_dir: str | Path = RUNS) -> Runs:
    """List the runs in a folder that have a whole checkpoint, newest first.

    Example:
        >>> [run.name for run in rnntk.runs()]
        ['my-run']
    """
    from rnntk.storage import listing

    found = listing.runs(Path(runs_dir))
    return Runs(Run(folder.open_run(s.path)) for s in found if s.usable)


def _folder(run: Run | str | Path) -> RunFolder:
    """The run as it is on disk now."""
    return folder.open_run(run.path) if isinstance(run, Run) else folder.find(Path(RUNS), Path(run))


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _with_text(text: Paths | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with the paths of `text` as `input`."""
    if text is None:
        return dict(settings)
    if "input" in settings:
        raise UsageError("Give `text` or `input`, not both.")
    if isinstance(text, bytes) or not isinstance(text, (str, Path, Iterable)):
        raise UsageError(f"`text` must be a path or a list of paths, got a {type(text).__name__}.")
    paths = [text] if isinstance(text, (str, Path)) else list(text)
    if not paths:
        raise UsageError("`text` is an empty list. Give at least one path.")
    names = [str(path) if isinstance(path, (str, Path)) else "" for path in paths]
    if any(not name or "\n" in name or len(name) > 4096 for name in names):
        raise UsageError("`text` must be a path or a list of paths; save text to a file first.")
    return {**settings, "input": names}


def _given(
    function: Callable[..., Any],
    kind: type[Config],
    command: str,
    config: str | Path | Config | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Settings of the user by field name: `settings` override `config`."""
    kind.check_names(settings, inspect.signature(function).parameters)
    if config is None:
        return dict(settings)
    if isinstance(config, kind):
        return overridden(config.part(kind), settings)
    if isinstance(config, Config):
        raise UsageError(f"`config` must be a {kind.__name__}, got a {type(config).__name__}.")
    path = find_config(Path(config))
    values = read_config(path, command, kind.names())
    if not values:
        raise UsageError(f"{path} has no settings for {command}.")
    for name, value in values.items():
        try:
            checked(kind, name, value)
        except ValueError as error:
            place = place_of(path, command, name)
            raise UsageError(f"Invalid value for {place}: {sentence(error)}") from None
    return overridden(values, settings)
