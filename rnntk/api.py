"""Functions of the package: train, resume, prepare, load."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

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
from rnntk.config.fields import argument, checked, converted, sentence
from rnntk.errors import UsageError, naming_arguments
from rnntk.run import Run, Runs
from rnntk.storage import directory, folder
from rnntk.storage.folder import RunFolder

if TYPE_CHECKING:
    import keras

    from rnntk.text.corpus import Corpus

    Callbacks: TypeAlias = keras.callbacks.Callback | Iterable[keras.callbacks.Callback] | None

RUNS = "runs"
# Arguments of `train` and `train_mnist` that a config file may hold.
_ARGUMENTS: dict[str, type] = {"run": Path, "init_from": Path, "quiet": bool}
_COMMANDS: dict[type[Config], str] = {TrainConfig: "train", MnistConfig: "mnist"}
Paths = str | Path | Sequence[str | Path]


def train(
    text: Paths | None = None,
    *,
    config: str | Path | TrainConfig | None = None,
    run: str | Path | None = None,
    init_from: Run | str | Path | None = None,
    callbacks: Callbacks = None,
    quiet: bool | None = None,
    **settings: Any,
) -> Run:
    """Train a character model, as `rnntk train` does.

    `settings` override `config`, which overrides the corpus' own config or, for your own text, the settings chosen for
    its length and script (reasons: `run.folder.record["corpus"]["chosen"]`). A `TrainConfig` is complete.

    Args:
        text: files (plain text, Word, OpenDocument, EPUB, FictionBook, HTML) or folders; by default `corpus`, else the
            Linux kernel.
        config: a TOML file, the name of a shipped one ("demo_ko"), or a `TrainConfig`. A file may also set `run`,
            `init_from` and `quiet`.
        run: the new run folder; by default `runs/<corpus>-<n>`.
        init_from: a run whose weights to start from: those of a `Run`'s own `checkpoint`; of a path or name, the last.
        callbacks: one or more Keras callbacks, called after rnntk's own. A learning rate that one sets replaces the
            schedule's from the next step on, also after a resume, until one sets another.
        quiet: show no progress.
        settings: fields of `TrainConfig`: corpus, units, layers, epochs, max_time, ...

    Raises `UsageError` (settings), `DataError` (text), `RunError` (run exists) or `TrainingError` (training diverged,
    or a write failed). A signal such as Ctrl-C raises `Interrupted`, a `KeyboardInterrupt`, after a save.

    Example:
        >>> run = rnntk.train("tale.txt", units=16, max_steps=20, batch_size=4, seq_length=20, quiet=True)
        >>> run.name
        'tale-1'
        >>> float(run.metrics["loss"][-1]) < float(run.metrics["loss"][0])
        True
    """
    from rnntk.training import character

    listeners = _listeners(callbacks)
    own, given = _given(
        train,
        {"run": run, "init_from": init_from, "quiet": quiet},
        TrainConfig,
        config,
        _with_text(text, settings),
    )
    if "run" in own:
        folder.refuse_existing(own["run"])
    start = own.get("init_from")
    source = None if start is None else _folder(start, "init_from")
    chosen, corpus = character.load(given, source)
    with directory.reserved(own.get("run"), Path(RUNS), corpus.name) as path:
        result = character.start(
            chosen,
            corpus,
            path,
            init_from=source,
            init_checkpoint=start.checkpoint if isinstance(start, Run) else "last",
            quiet=own.get("quiet", False),
            callbacks=listeners,
        )
    return Run(result.run)


def resume(
    run: Run | str | Path,
    *,
    callbacks: Callbacks = None,
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
    listeners, quiet = _listeners(callbacks), argument("quiet", bool, quiet)
    found = _folder(run, "run")
    if found.kind == folder.ROW_CLASSIFIER:
        MnistConfig.check_names(changes, inspect.signature(resume).parameters)
        from rnntk.training import rows

        data = rows.images_of(found, changes)
        result, test = rows.resume(found, changes, data, quiet=quiet, callbacks=listeners)
        return _resumed(run, Run(result.run, test=test))
    TrainConfig.check_names(changes, inspect.signature(resume).parameters)
    from rnntk.training import character

    result = character.resume(found, changes, quiet=quiet, callbacks=listeners)
    return _resumed(run, Run(result.run))


def _resumed(given: Run | str | Path, result: Run) -> Run:
    """The result; a `Run` that was given then has the new settings, weights and test too."""
    if isinstance(given, Run):
        given.reload()
        given.test = result.test
    return result


def train_mnist(
    *,
    config: str | Path | MnistConfig | None = None,
    run: str | Path | None = None,
    callbacks: Callbacks = None,
    quiet: bool | None = None,
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

    listeners = _listeners(callbacks)
    own, given = _given(train_mnist, {"run": run, "quiet": quiet}, MnistConfig, config, settings)
    if "run" in own:
        folder.refuse_existing(own["run"])
    chosen, data = rows.load(given)
    with directory.reserved(own.get("run"), Path(RUNS), data.record["name"]) as path:
        result, test = rows.start(
            chosen, data, path, quiet=own.get("quiet", False), callbacks=listeners
        )
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

    _, given = _given(prepare, {}, TextConfig, None, _with_text(text, settings))
    target = None if output is None else argument("output", Path, output)
    return corpus.load(TextConfig, given, command="prep", output=target)[1]


@naming_arguments
def load(run: str | Path, checkpoint: str | int = "best") -> Run:
    """Open a run, a folder or a name in `runs/`.

    `checkpoint` is "best" (lowest validation loss, else "last"), "last" or a step. Raises `RunError` if the run or
    that step is missing, or `run.json` damaged. A run without a checkpoint has only settings and metrics; the rest
    raises `RunError`.

    Example:
        >>> rnntk.load("my-run").name
        'my-run'
    """
    found = _folder(run, "run")
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

    found = listing.runs(argument("runs_dir", Path, runs_dir))
    return Runs(Run(folder.open_run(s.path)) for s in found if s.usable)


def _folder(run: Run | str | Path, name: str) -> RunFolder:
    """The run in the argument `name`, as it is on disk now."""
    if isinstance(run, Run):
        return folder.open_run(run.path)
    return directory.find(Path(RUNS), argument(name, Path, run))


def _listeners(callbacks: Callbacks) -> list[keras.callbacks.Callback]:
    """The callbacks as a list. Raises `UsageError` for what is none, before anything takes time."""
    if callbacks is None:
        return []
    # Without Keras, which is slow to import, there are no callbacks.
    kinds = (sys.modules["keras"].callbacks.Callback,) if "keras" in sys.modules else ()
    one = isinstance(callbacks, (*kinds, type)) or not isinstance(callbacks, Iterable)
    found = [callbacks] if one else list(callbacks)
    for value in found:
        if isinstance(value, kinds):
            continue
        if isinstance(value, type):
            what, advice = f"the class {value.__name__}", f"Create one: {value.__name__}()."
        else:
            what = f"a {type(value).__name__}"
            advice = "Subclass keras.callbacks.Callback, or use keras.callbacks.LambdaCallback."
        raise UsageError(f"`callbacks` must be Keras callbacks, got {what}. {advice}")
    return found


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
    arguments: Mapping[str, Any],
    kind: type[Config],
    config: str | Path | Config | None,
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The function's own arguments, and the settings by field name; both override `config`.

    `arguments` has the arguments in `_ARGUMENTS` that the function takes, None where they are not given.
    """
    kind.check_names(settings, inspect.signature(function).parameters)
    own: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, Run) and name == "run":
            advice = "Continue it with rnntk.resume, or start from its weights with `init_from`."
            raise UsageError(f"`run` is the path of a new run, got a Run. {advice}")
        if value is not None:
            is_run = isinstance(value, Run)
            own[name] = value if is_run else argument(name, _ARGUMENTS[name], value)
    if config is None:
        return own, dict(settings)
    if isinstance(config, kind):
        return own, overridden(config.part(kind), settings)
    if isinstance(config, Config):
        raise UsageError(f"`config` must be a {kind.__name__}, got a {type(config).__name__}.")
    if isinstance(config, Mapping):
        call = f"{function.__name__}(..., **settings)"
        raise UsageError(f"`config` must be a path, got a dict. Give settings by name: {call}.")
    command = _COMMANDS[kind]
    path = find_config(argument("config", Path, config))
    values = read_config(path, command, {*kind.names(), *arguments})
    if not values:
        raise UsageError(f"{path} has no settings for {command}.")
    for name, value in values.items():
        try:
            if name in arguments:
                own.setdefault(name, converted(_ARGUMENTS[name], value))
            else:
                checked(kind, name, value)
        except ValueError as error:
            place = place_of(path, command, name)
            raise UsageError(f"Invalid value for {place}: {sentence(error)}") from None
    fields = {name: value for name, value in values.items() if name not in arguments}
    return own, overridden(fields, settings)
