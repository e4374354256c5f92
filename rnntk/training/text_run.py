"""Training a character model: a prepared text in, a run folder out."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import __version__, config
from rnntk.config import (
    DistributeConfig,
    MachineConfig,
    ModelConfig,
    OptimizationConfig,
    TextConfig,
)
from rnntk.errors import DataError, RunError, shown
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.text import corpus as corpora
from rnntk.text.corpus import Corpus
from rnntk.training.job import ALONE, Job
from rnntk.training.lanes import Lanes
from rnntk.training.schedule import Limits, with_bounds

if TYPE_CHECKING:
    import keras

    from rnntk.training.session import Result
    from rnntk.training.tasks import CharTask

Notify = Callable[[str], None]

NOT_DISTRIBUTED = DistributeConfig()


@dataclasses.dataclass(frozen=True)
class TextRun:
    """All settings of a character model's run."""

    text: TextConfig
    model: ModelConfig
    fit: OptimizationConfig
    machine: MachineConfig

    def to_json(self) -> dict[str, Any]:
        """Flat and JSON-able, as `run.json` keeps them."""
        return config.to_json(self.text, self.model, self.fit, self.machine)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TextRun:
        """What `to_json` gave."""
        return cls(
            config.from_mapping(TextConfig, values),
            config.from_mapping(ModelConfig, values),
            config.from_mapping(OptimizationConfig, values),
            config.from_mapping(MachineConfig, values),
        )


@dataclasses.dataclass(frozen=True)
class Split:
    """Where a text is cut, as offsets in its ids: train [0, train), validation [train, val), test [val, total)."""

    train: int
    val: int
    total: int

    @classmethod
    def of(cls, total: int, fit: OptimizationConfig) -> Split:
        """The tails that `val_fraction` and `test_fraction` ask for; a part of a symbol falls to the tails.

        So nanoGPT cuts too: of 1,115,394 characters a tenth held out are 1,003,854 and 111,540.
        """
        # As the decimals that were written: in binary a tenth is a little more than a tenth.
        val, test = Fraction(str(fit.val_fraction)), Fraction(str(fit.test_fraction))
        return cls(math.floor(total * (1 - test - val)), math.floor(total * (1 - test)), total)

    @classmethod
    def from_json(cls, parts: dict[str, list[int]]) -> Split:
        """What `to_json` gave."""
        return cls(parts["train"][1], parts["val"][1], parts["test"][1])

    def check(self, fit: OptimizationConfig) -> None:
        """See that what was asked to be held out can be measured.

        Raises:
            DataError: a part has less than two symbols: one to read and one to foretell.
        """
        for name, begin, end in (("val", self.train, self.val), ("test", self.val, self.total)):
            fraction = getattr(fit, f"{name}_fraction")
            if fraction and end - begin < 2:
                raise DataError(
                    f"--{name}-fraction {fraction:g} of {self.total:,} symbols is {end - begin}; two at least are "
                    f"needed. Give a larger one, or 0 to hold nothing out."
                )

    def to_json(self) -> dict[str, list[int]]:
        """As `run.json` keeps it."""
        return {
            "train": [0, self.train],
            "val": [self.train, self.val],
            "test": [self.val, self.total],
        }


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
    init_from: RunFolder | None = None,
    distribute: DistributeConfig = NOT_DISTRIBUTED,
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
        init_from: a run whose weights are taken along, nothing else.
        distribute: who trains it together. Every process of a job calls this with the same arguments; the path is
            the chief's.
        callbacks: Keras callbacks of your own.

    Raises:
        DataError: the text is shorter than one batch, or what is held out of it than two symbols.
        RunError: the folder exists.
        UsageError: there is no GPU and one was asked for.
        TrainingError, Interrupted: see `session.train`.
    """
    folder.refuse_existing(path)
    split = Split.of(len(corpus.prepared.ids), settings.fit)
    split.check(settings.fit)
    job, told = _join(distribute, settings, corpus, str(path), notify)
    path = Path(told)
    task = prepare_task(settings, corpus, split, notify, job)
    if init_from is not None:
        from rnntk.training import transfer

        transfer.take_weights(task.model, corpus.prepared.vocabulary, init_from, notify)
    from rnntk.training import device

    record: dict[str, Any] = {
        "kind": folder.CHAR_RNN,
        "settings": {**settings.to_json(), "sample_every": sample_every},
        "model": _model_record(settings.model, task),
        "corpus": {**corpus.record, "split": split.to_json()},
        "versions": device.versions(),
    }
    progress = Progress()
    if not job.chief:
        run = RunFolder(path, record)
        return _train(settings, run, task, progress, None, 0, max_seconds, quiet, callbacks)
    run = folder.create(path, vocabulary=corpus.prepared.vocabulary, **record)
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
    patience: int | None = None,
    explosion_steps: int | None = None,
    max_seconds: float | None = None,
    threads: int | None = None,
    input: Sequence[str] = (),
    data_dir: Path | None = None,
    offline: bool = False,
    notify: Notify,
    draw: Callable[[RunFolder, dict[str, Any]], str] | None = None,
    sample_every: int | None = None,
    quiet: bool = False,
    distribute: DistributeConfig = NOT_DISTRIBUTED,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Continue a run exactly where its last checkpoint stands.

    Args:
        run: the run folder. New limits are kept there for later resumes.
        epochs: a new number of epochs in all; it lifts a bound on the steps.
        max_steps: a new number of steps in all.
        patience: a new number of validations to wait for a better one.
        explosion_steps: a new number of steps with a loss beyond reason before it stops; 0 for never.
        max_seconds: wall time of this session.
        threads: cores to use in this session.
        input: where the text is now, if it has been moved.
        data_dir, offline: where to find the corpus now.
        sample_every: a new number of steps between texts.
        notify, draw, quiet, callbacks: as in `start`.
        distribute: who trains it together from now on; it need not be who did before.

    Raises:
        RunError: no whole checkpoint, in use, the text has changed, the run was imported, or it is finished already.
    """
    if run.record["corpus"].get("source") == folder.IMPORTED:
        raise RunError(
            f"{run.path} was imported: neither its text nor its optimizer's state came along, so it cannot be "
            f"continued exactly. Start a new run from its weights with: rnntk train --init-from {run.path} "
            f"--input TEXT --preprocessor {run.record['corpus']['preprocessor']}"
        )
    settings = TextRun.from_json(run.settings)
    fit = dataclasses.replace(
        with_bounds(settings.fit, epochs, max_steps),
        patience=patience or settings.fit.patience,
        explosion_steps=settings.fit.explosion_steps
        if explosion_steps is None
        else explosion_steps,
    )
    kept = config.to_json(fit)
    if sample_every is None:
        sample_every = run.settings.get("sample_every", 0)
    else:
        kept["sample_every"] = sample_every
    machine = dataclasses.replace(settings.machine, threads=threads or settings.machine.threads)
    text = dataclasses.replace(
        settings.text, data_dir=data_dir or settings.text.data_dir, offline=offline
    )
    if input:
        text = dataclasses.replace(
            text,
            input=tuple(input),
            corpus=None,
            preprocessor=run.record["corpus"]["preprocessor"],
        )
        kept |= {k: getattr(text, k) for k in ("input", "corpus", "preprocessor")}
    settings = TextRun(text, settings.model, fit, machine)
    done = run.checkpoint("last", warn=notify).progress
    limits(fit).refuse_finished(done, run.path)
    with ExitStack() as stack:
        # Who trains alone is refused before anything takes time; of a job only the chief holds the lock.
        alone = distribute.distribute == "none"
        if alone:
            stack.enter_context(run.lock())
        find = corpora.prepare_again if input else corpora.reopen
        corpus = find(
            run.record["corpus"], run.vocabulary(), settings.text, run=run.path, notify=notify
        )
        job, step = _join(distribute, settings, corpus, str(done.step), notify, resumed=run)
        split = Split.from_json(run.record["corpus"]["split"])
        task = prepare_task(settings, corpus, split, notify, job)
        from rnntk.models.weights import named_weights
        from rnntk.training import session

        if job.chief and not alone:
            stack.enter_context(run.lock())
        progress = session.restore(run, task, named_weights, lambda _: None, step)
        if job.chief:
            run = run.with_settings(kept)
        notify(f"Continuing {shown(run.path)} at step {progress.step}.")
        return _train(
            settings, run, task, progress, draw, sample_every, max_seconds, quiet, callbacks
        )


def prepare_task(
    settings: TextRun,
    corpus: Corpus,
    split: Split,
    notify: Notify,
    job: Job = ALONE,
) -> CharTask:
    """The network, its optimizer and its data, ready for the first step.

    Raises:
        DataError: the training part is shorter than one batch.
        UsageError: there is no GPU and one was asked for; or the job has more replicas than lanes.
    """
    ids, fit = corpus.prepared.ids, settings.fit
    lanes = Lanes(ids[: split.train], fit.batch_size, fit.seq_length)
    from rnntk.training import device

    chosen = device.ready(settings.machine.device, settings.machine.threads)
    from rnntk.models import fast
    from rnntk.models.char_rnn import CharRNN
    from rnntk.training import optimizers
    from rnntk.training.tasks import CharTask

    fast.check_precision(settings.machine.precision)
    with job.scope():
        model = CharRNN(
            vocabulary_size=len(corpus.prepared.vocabulary),
            seed=settings.machine.seed,
            precision=settings.machine.precision,
            **dataclasses.asdict(settings.model),
        )
        optimizer = optimizers.make(settings.fit.optimizer, settings.fit.learning_rate)
        optimizer.build(model.trainable_variables)
    notify(
        f"{model.count_params():,} parameters, {len(lanes)} batches an epoch, on the {chosen.upper()}"
        + (f", {shared}." if (shared := job.describe()) else ".")
    )
    step = job.step(model, optimizer, fit.batch_size, clip=fit.clip, clip_norm=fit.clip_norm)
    held_out = ids[split.train : split.val]
    characters = corpus.prepared.original_characters(split.train, split.val)
    return CharTask(
        model,
        optimizer,
        step,
        lanes,
        fit=fit,
        total_steps=limits(fit).steps(len(lanes)),
        held_out=held_out if len(held_out) > 1 else None,
        symbols_per_character=len(held_out) / max(characters, 1),
        seed=settings.machine.seed,
        job=job,
    )


def _join(
    distribute: DistributeConfig,
    settings: TextRun,
    corpus: Corpus,
    told: str,
    notify: Notify,
    resumed: RunFolder | None = None,
) -> tuple[Job, str]:
    """The job, all its processes there and about to do the same, and what its chief tells them.

    Raises:
        UsageError: they are not about to do the same.
        TrainingError: they do not come together.
    """
    if distribute.distribute == "none":
        return ALONE, told
    from rnntk.training import device

    device.ready(settings.machine.device, settings.machine.threads)
    from rnntk.training import distribute as jobs

    job = jobs.start(distribute, notify)
    # By the names a user knows them by.
    machine = {k: getattr(settings.machine, k) for k in ("seed", "precision", "checkpoint_every")}
    values = config.to_json(settings.model, settings.fit) | machine
    facts = {
        "rnntk": __version__,
        "the text": corpus.prepared.key,
        "the run that is resumed": resumed.record.get("created") if resumed else None,
        **{config.flag(name): value for name, value in values.items()},
    }
    return job, job.meet(facts, told)


def limits(fit: OptimizationConfig, max_seconds: float | None = None) -> Limits:
    """When a run with these settings ends."""
    return Limits(
        fit.epochs,
        fit.max_steps,
        max_seconds,
        val_every=fit.val_every,
        patience=fit.patience,
        plateau_patience=fit.plateau_patience if fit.schedule == "plateau" else None,
        explosion_steps=fit.explosion_steps,
    )


def of_model(
    run: RunFolder, draw: Callable[[RunFolder, dict[str, Any]], str] | None
) -> Callable[[keras.Model], str] | None:
    """What draws a text from a run's weights, for a model as it is."""
    if draw is None:
        return None
    from rnntk.models.weights import named_weights

    return lambda model: draw(run, {name: v.numpy() for name, v in named_weights(model).items()})


def _model_record(settings: ModelConfig, task: CharTask) -> dict[str, Any]:
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

    if task.job.workers > 1:
        # Every process took them from its own view of the disk.
        digest = hashlib.sha256()
        for variable in named_weights(task.model).values():
            digest.update(variable.numpy().tobytes())
        task.job.meet({"the weights' sha256": digest.hexdigest()}, "")

    return session.train(
        run,
        task,
        progress,
        limits(settings.fit, max_seconds),
        weights_of=named_weights,
        checkpoint_every=settings.machine.checkpoint_every,
        keep=settings.machine.keep,
        log_every=settings.machine.log_every,
        quiet=quiet,
        draw=of_model(run, draw),
        sample_every=sample_every,
        graph=task.graph,
        histograms_every=settings.machine.histograms_every,
        extra_callbacks=callbacks,
    )
