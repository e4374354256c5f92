"""Training a character model: a prepared text in, a run folder out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rnntk import config
from rnntk.config import FitSettings, MachineSettings, ModelSettings, TextSettings
from rnntk.errors import RunError, UsageError
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.text import corpus as corpora
from rnntk.text.corpus import Corpus
from rnntk.text.vocabulary import Vocabulary
from rnntk.training.lanes import Lanes

if TYPE_CHECKING:
    import keras

    from rnntk.training.session import Result
    from rnntk.training.step import Clip
    from rnntk.training.tasks import CharTask

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class TextRun:
    """All settings of a character model's run."""

    text: TextSettings
    model: ModelSettings
    fit: FitSettings
    machine: MachineSettings

    def to_json(self) -> dict[str, Any]:
        """Flat and JSON-able, as `run.json` keeps them."""
        return config.to_json(self.text, self.model, self.fit, self.machine)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TextRun:
        """What `to_json` gave."""
        return cls(
            config.from_mapping(TextSettings, values),
            config.from_mapping(ModelSettings, values),
            config.from_mapping(FitSettings, values),
            config.from_mapping(MachineSettings, values),
        )


def split(corpus: Corpus, fit: FitSettings) -> tuple[Lanes, int]:
    """The training lanes, and the offset where the held-out tail begins.

    Raises:
        DataError: the training part is shorter than one batch.
    """
    total = len(corpus.prepared.ids)
    end = total - int(total * fit.val_fraction)
    return Lanes(corpus.prepared.ids[:end], fit.batch_size, fit.seq_length), end


def start(
    settings: TextRun,
    corpus: Corpus,
    path: Path,
    *,
    notify: Notify,
    draw: Callable[[RunFolder, dict[str, Any]], str] | None = None,
    sample_every: int = 0,
    max_seconds: float | None = None,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Train a new run.

    Args:
        settings: all of them.
        corpus: the prepared text.
        path: the new run folder.
        notify: told what is done, a sentence at a time.
        draw: makes a text from the run and the present weights.
        sample_every: steps between texts; 0 for none.
        max_seconds: wall time, or None.
        quiet: no progress on stderr.
        callbacks: Keras callbacks of your own.

    Raises:
        DataError: the text is shorter than one batch.
        RunError: the folder exists.
        UsageError: there is no GPU and one was asked for.
        TrainingError, Interrupted: see `session.train`.
    """
    folder.refuse_existing(path)
    lanes, end = split(corpus, settings.fit)
    task = _task(settings, corpus.prepared.vocabulary, lanes, corpus.prepared.ids[end:], notify)
    from rnntk.training import device

    run = folder.create(
        path,
        kind=folder.CHAR_RNN,
        settings=settings.to_json(),
        model=_model_record(settings.model, task),
        corpus={
            **corpus.record,
            "train_symbols": end,
            "held_out_symbols": len(corpus.prepared.ids) - end,
        },
        versions=device.versions(),
        vocabulary=corpus.prepared.vocabulary,
    )
    progress = Progress()
    try:
        with run.lock():
            return _train(
                settings, run, task, progress, draw, sample_every, max_seconds, quiet, callbacks
            )
    except BaseException:
        folder.discard(path)
        raise


def resume(
    run: RunFolder,
    *,
    epochs: int | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    threads: int | None = None,
    data_dir: Path | None = None,
    offline: bool = False,
    notify: Notify,
    draw: Callable[[RunFolder, dict[str, Any]], str] | None = None,
    sample_every: int = 0,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Continue a run exactly where its last checkpoint stands.

    Args:
        run: the run folder.
        epochs: a new number of epochs in all.
        max_steps: a new number of steps in all; None keeps no bound but the epochs.
        max_seconds: wall time of this session.
        threads: cores to use.
        data_dir, offline: where to find the corpus now.
        notify, draw, sample_every, quiet, callbacks: as in `start`.

    Raises:
        RunError: no whole checkpoint, in use, the text has changed, or the run is finished already.
    """
    settings = TextRun.from_json(run.settings)
    fit = dataclasses.replace(
        settings.fit, epochs=epochs or settings.fit.epochs, max_steps=max_steps
    )
    machine = dataclasses.replace(settings.machine, threads=threads or settings.machine.threads)
    text = dataclasses.replace(
        settings.text, data_dir=data_dir or settings.text.data_dir, offline=offline
    )
    settings = TextRun(text, settings.model, fit, machine)
    done = run.checkpoint("last", warn=notify).progress
    if done.epoch >= fit.epochs or (max_steps is not None and done.step >= max_steps):
        raise UsageError(
            f"{run.path} is finished: {done.step} steps, {done.epoch} of {fit.epochs} epochs. "
            f"To train on, raise {'--max-steps' if done.epoch < fit.epochs else '--epochs'}."
        )
    found = corpora.find(settings.text, notify=notify)
    corpus = corpora.prepare_corpus(settings.text, found)
    _same_text(run, corpus)
    lanes, end = split(corpus, fit)
    task = _task(settings, run.vocabulary(), lanes, corpus.prepared.ids[end:], notify)
    from rnntk.models.weights import named_weights
    from rnntk.training import session

    with run.lock():
        progress = session.restore(run, task, named_weights, lambda _: None)
        notify(f"Continuing {run.path} at step {progress.step}.")
        return _train(
            settings, run, task, progress, draw, sample_every, max_seconds, quiet, callbacks
        )


def _same_text(run: RunFolder, corpus: Corpus) -> None:
    before, now = run.vocabulary(), corpus.prepared.vocabulary
    if before.symbols != now.symbols:
        raise RunError(
            f"The vocabulary does not match: {run.path} was trained on {len(before)} symbols, "
            f"{corpus.record['path']} now has {len(now)}."
            + _difference("only in the run", set(before.symbols) - set(now.symbols))
            + _difference("only in the text", set(now.symbols) - set(before.symbols))
            + (
                ""
                if set(before.symbols) != set(now.symbols)
                else " They are the same symbols in another order."
            )
            + " Train a new run on the changed text."
        )
    if run.record["corpus"]["sha256"] != corpus.record["sha256"]:
        raise RunError(
            f"The text has changed since {run.path} was trained (sha256 {run.record['corpus']['sha256'][:12]}, "
            f"now {corpus.record['sha256'][:12]}), so it cannot be continued exactly. Train a new run on it."
        )


def _difference(where: str, symbols: set[str]) -> str:
    return f" {where}: {' '.join(repr(s) for s in sorted(symbols)[:10])}." if symbols else ""


def _task(
    settings: TextRun, vocabulary: Vocabulary, lanes: Lanes, held_out: Any, notify: Notify
) -> CharTask:
    from rnntk.training import device

    chosen = device.ready(settings.machine.device, settings.machine.threads)
    from rnntk.models.char_rnn import CharRNN
    from rnntk.training import optimizers
    from rnntk.training.step import TrainStep
    from rnntk.training.tasks import CharTask

    model = CharRNN(
        vocabulary_size=len(vocabulary),
        seed=settings.machine.seed,
        precision=settings.machine.precision,
        **dataclasses.asdict(settings.model),
    )
    notify(
        f"{model.count_params():,} parameters, {len(lanes)} batches an epoch, on the {chosen.upper()}."
    )
    optimizer = optimizers.make(settings.fit.optimizer, settings.fit.learning_rate)
    optimizer.build(model.trainable_variables)
    step = TrainStep(model, optimizer, clip=cast("Clip", settings.fit.clip), clip_norm=settings.fit.clip_norm)
    return CharTask(
        model,
        optimizer,
        step,
        lanes,
        held_out=held_out if len(held_out) > 1 else None,
        learning_rate=settings.fit.learning_rate,
        decay_rate=settings.fit.decay_rate,
        seed=settings.machine.seed,
    )


def _model_record(settings: ModelSettings, task: CharTask) -> dict[str, Any]:
    return {**dataclasses.asdict(settings), "parameters": int(task.model.count_params())}


def _train(
    settings: TextRun,
    run: RunFolder,
    task: CharTask,
    progress: Progress,
    draw: Callable[[RunFolder, dict[str, Any]], str] | None,
    sample_every: int,
    max_seconds: float | None,
    quiet: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Result:
    from rnntk.models.weights import named_weights
    from rnntk.training import session

    def draw_now(model: keras.Model) -> str:
        assert draw is not None
        return draw(run, {name: v.numpy() for name, v in named_weights(model).items()})

    return session.train(
        run,
        task,
        progress,
        session.Limits(settings.fit.epochs, settings.fit.max_steps, max_seconds),
        weights_of=named_weights,
        checkpoint_every=settings.machine.checkpoint_every,
        keep=settings.machine.keep,
        log_every=settings.machine.log_every,
        quiet=quiet,
        draw=draw_now if draw is not None else None,
        sample_every=sample_every,
        graph=task.graph,
        extra_callbacks=callbacks,
    )
