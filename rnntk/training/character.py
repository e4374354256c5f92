"""Training of a character model, from settings to a run folder: load the text, then start or resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import __version__
from rnntk.config import (
    DistributeConfig,
    ModelConfig,
    RunConfig,
    TextConfig,
    TrainConfig,
    own_text,
)
from rnntk.config.own_text import Choice
from rnntk.errors import RunError, UsageError, shown
from rnntk.storage import folder
from rnntk.storage.folder import RunFolder
from rnntk.text import corpus as corpora
from rnntk.text import inputs
from rnntk.text.corpus import Corpus, RunText
from rnntk.training import cluster, device, schedule
from rnntk.training.batches import Batches, Split
from rnntk.training.job import ALONE, Job

if TYPE_CHECKING:
    import keras

    from rnntk.training.session import Result

log = logging.getLogger(__name__)


def load(
    given: Mapping[str, Any],
    init_from: RunFolder | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[TrainConfig, Corpus]:
    """Configuration and prepared text of a new run; errors as in `corpus.load`.

    `given` holds the user's settings by field name; defaults for network, symbols and text come from `init_from`.
    `progress` is called with the bytes prepared and the total.
    """
    _is_chief(given)  # fail before a long preparation
    own, sha256 = _settings_of(init_from, given) if init_from else (None, None)
    config, corpus = corpora.load(TrainConfig, given, own, progress=progress, sha256=sha256)
    for warning in corpus.prepared.facts["warnings"]:
        log.warning(f"Warning: {warning}")
    chosen = {name: Choice(**choice) for name, choice in corpus.record.get("chosen", {}).items()}
    if chosen_words := own_text.summary(chosen):
        characters = corpus.prepared.facts["characters"]
        log.info(
            f"Chosen for {characters:,} characters: {chosen_words} (rnntk runs show RUN tells why)."
        )
    return config, corpus


def _settings_of(source: RunFolder, given: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Defaults of a run that starts from the weights of `source`, and the SHA-256 of its text, if that is used."""
    if source.kind != folder.CHAR_RNN:
        raise UsageError(
            f"{source.path} is a {source.kind}; only a character model can be the start."
        )
    record = source.record["corpus"]
    model = ModelConfig.from_json(source.record["model"])
    _check_fit(source, model, given)
    own = {**model.part(ModelConfig), "preprocessor": record.get("preprocessor")}
    if given.get("corpus") or given.get("input"):
        return own, None
    text = TextConfig.from_json(source.settings)
    files = record.get("inputs") or list(text.input)
    if record.get("source") == folder.IMPORTED or inputs.STDIN in files:
        raise UsageError(
            f"The text of {shown(source.path)} is not available. Give one with `input` or `corpus`."
        )
    folder.check_text(source)
    text = corpora.untrusted(replace(text, input=tuple(files)), record)
    return {**text.part(TextConfig), **own}, record["sha256"]


def _check_fit(source: RunFolder, model: ModelConfig, given: Mapping[str, Any]) -> None:
    """Raise `RunError` if settings in `given` make another network than the `model` of `source`."""
    theirs = model.part(ModelConfig)
    wanted = ModelConfig.resolve({k: v for k, v in given.items() if k in theirs}, theirs)
    of_gru = ("gru_reset",) if model.cell == "gru" else ()
    names = ("cell", "layers", "units", "embedding", "layer_norm", *of_gru)
    needs = []
    for name in names:
        value, found = theirs[name], getattr(wanted, name)
        if found != value:
            instead = "" if isinstance(value, bool) else f", not {found}"
            quote = '"' if isinstance(value, str) else ""
            needs.append(f"`{name}={quote}{value}{quote}`{instead}")
    if needs:
        advice = "Set this, or leave it out" if len(needs) == 1 else "Set these, or leave them out"
        raise RunError(
            f"The weights of {shown(source.path)} do not fit: they need {'; '.join(needs)}. {advice}."
        )


def start(
    config: TrainConfig,
    corpus: Corpus,
    path: Path,
    *,
    init_from: RunFolder | None = None,
    init_checkpoint: str = "last",
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Train a new run in the folder `path`, starting from the weights of `init_from` at `init_checkpoint` if given.

    Every process of a distributed job passes the same arguments; the chief's `path` counts. `quiet` hides the progress.

    Raises:
        DataError: the text is shorter than one batch, or a held-out part shorter than two symbols.
        RunError, UsageError: the folder exists; there is no GPU.
        TrainingError, Interrupted: see `session.train`.
    """
    folder.refuse_existing(path)
    split = checked_split(config, corpus)
    session, char_task = device.modules(config, "session", "char_task")
    job, place = _join(config, corpus, str(path))
    task = char_task.CharTask(config, corpus, split, job)
    if init_from is not None:
        from rnntk.training import transfer

        transfer.take_weights(task.model, task.vocabulary, init_from, init_checkpoint)
    return session.start(task, Path(place), quiet=quiet, extra=callbacks)


def resume(
    run: RunFolder,
    changes: Mapping[str, Any],
    *,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Resume a run exactly from its last checkpoint, and keep new limits in it for later resumes.

    `changes` holds settings that a resume may change, by field name; `input` says where the text is now.

    Raises:
        RunError: no whole checkpoint, in use, the text has changed, or the run was imported.
        UsageError: a setting that cannot change; the run is finished.
        TrainingError, Interrupted: see `session.train`.
    """
    record = run.record["corpus"]
    if record.get("source") == folder.IMPORTED:
        raise RunError(
            f"{run.path} cannot be continued: it was imported without optimizer state. Train "
            f"from its weights: rnntk train --init-from {run.path} --input TEXT --preprocessor "
            f"{record['preprocessor']}"
        )
    folder.check_text(run)
    with ExitStack() as stack:
        # Before anything is read that another process may change; in a job only the chief holds the lock.
        if _is_chief(changes):
            stack.enter_context(run.lock())
            run = folder.open_run(run.path)
        stored = TrainConfig.from_json(run.settings)
        if changes.get("input"):
            stored = replace(stored, corpus=None, preprocessor=record["preprocessor"])
        config = stored.resumed(changes)
        saved = run.checkpoint("last").progress
        schedule.refuse_finished(config, saved, run.path)
        text = RunText(record, run.vocabulary(), run.path, config)
        corpus = text.prepare_again() if changes.get("input") else text.reopen()
        session, char_task = device.modules(config, "session", "char_task")
        job, step = _join(config, corpus, str(saved.step), run)
        task = char_task.CharTask(config, corpus, Split.from_json(record["split"]), job)
        return session.resume(run, task, step, quiet=quiet, extra=callbacks)


def _is_chief(given: Mapping[str, Any]) -> bool:
    """Whether this process will write the run; `given` holds the user's settings by field name."""
    who = DistributeConfig.resolve(
        {k: v for k, v in given.items() if k in DistributeConfig.names()}
    )
    return who.distribute != "multiworker" or cluster.find(who.workers, who.index).index == 0


def checked_split(config: TrainConfig, corpus: Corpus) -> Split:
    """The split; refuses a text that is too short before TensorFlow is imported."""
    ids = corpus.prepared.ids
    split = Split.of(len(ids), config)
    Batches(ids[: split.train], config.batch_size, config.seq_length)
    return split


def _join(
    config: TrainConfig, corpus: Corpus, message: str, resumed: RunFolder | None = None
) -> tuple[Job, str]:
    """The job, after a barrier that checks that its processes agree, and the chief's message to all."""
    if config.distribute == "none":
        return ALONE, message
    from rnntk.training import distribute

    job = distribute.start(config)
    # In these settings the processes may differ; the chief's count.
    own = {"max_time", "keep", "log_every", "histograms_every", "device", "threads"}
    names = [name for name in (*ModelConfig.names(), *RunConfig.names()) if name not in own]
    names += ["seq_length", "optimizer", "weight_decay", "beta_2", "ema", "clip"]
    names += ["val_fraction", "test_fraction"]
    facts = {
        "rnntk": __version__,
        "the text": corpus.prepared.key,
        "the run that is resumed": resumed.record.get("created") if resumed else None,
        **{f"`{name}`": getattr(config, name) for name in names},
    }
    return job, job.barrier(facts, message)
