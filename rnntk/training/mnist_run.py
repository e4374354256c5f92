"""Training the row classifier: images in, a run folder and a test accuracy out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import config
from rnntk.config import MachineConfig, MnistConfig
from rnntk.corpora.images import ImageSet
from rnntk.errors import DataError, RunError, shown
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.training.schedule import Limits, with_bounds

if TYPE_CHECKING:
    import keras
    import numpy as np

    from rnntk.training.row_task import RowTask
    from rnntk.training.session import Result

Notify = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a classifier reached on the test images.

    Attributes:
        result: where and why training ended.
        accuracy: share of test images named right.
        interval: 95 % Wilson interval of that share.
        loss: mean nats.
        images: how many test images.
        logits: `(images, 10)`.
        confusion: `(10, 10)` counts, rows the true digit, columns the one named.
    """

    result: Result
    accuracy: float
    interval: tuple[float, float]
    loss: float
    images: int
    logits: np.ndarray
    confusion: np.ndarray


def start(
    mnist: MnistConfig,
    machine: MachineConfig,
    images: ImageSet,
    corpus: dict[str, Any],
    path: Path,
    *,
    notify: Notify,
    max_seconds: float | None = None,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Train a new classifier and test it.

    Args:
        mnist: the model and how it is trained.
        machine: seed, device, checkpoints.
        images: training and test images.
        corpus: what a run keeps of where they come from.
        path: the new run folder.
        notify: told what is done.
        max_seconds: wall time, or None.
        quiet: no progress on stderr.
        callbacks: Keras callbacks of your own.

    Raises:
        RunError, UsageError, TrainingError, Interrupted: as for `text_run.start`.
        DataError: fewer training images than are held out.
    """
    folder.refuse_existing(path)
    task = _task(mnist, machine, images, notify)
    from rnntk.training import device

    record = {
        **{k: getattr(mnist, k) for k in ("cell", "layers", "units", "bidirectional", "dropout")},
        **task.reading.to_json(),
        "parameters": int(task.model.count_params()),
    }
    run = folder.create(
        path,
        kind=folder.ROW_CLASSIFIER,
        settings=config.to_json(mnist, machine),
        model=record,
        corpus=corpus,
        versions=device.versions(),
    )
    try:
        with run.lock():
            return _train(
                run, mnist, machine, task, images, Progress(), max_seconds, quiet, callbacks
            )
    except BaseException:
        folder.discard(path)
        raise


def resume(
    run: RunFolder,
    images: ImageSet,
    corpus: dict[str, Any],
    *,
    epochs: int | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    threads: int | None = None,
    notify: Notify,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Continue a classifier exactly where its last checkpoint stands, then test it.

    Args:
        run: the run folder. New limits are kept there for later resumes.
        images, corpus: as in `start`.
        epochs: a new number of epochs in all; it lifts a bound on the steps.
        max_steps: a new number of steps in all.
        max_seconds: wall time of this session.
        threads: cores to use in this session.
        notify, quiet, callbacks: as in `start`.

    Raises:
        RunError: no whole checkpoint, in use, or other images.
        UsageError: it is finished already.
    """
    mnist = config.from_mapping(MnistConfig, run.settings)
    machine = config.from_mapping(MachineConfig, run.settings)
    machine = dataclasses.replace(machine, threads=threads or machine.threads)
    mnist = with_bounds(mnist, epochs, max_steps)
    if run.record["corpus"]["sha256"] != corpus["sha256"]:
        raise RunError(
            f"{run.path} was trained on other images ({run.record['corpus']['name']}) than these ({corpus['name']})."
        )
    done = run.checkpoint("last", warn=notify).progress
    Limits(mnist.epochs, mnist.max_steps).refuse_finished(done, run.path)
    task = _task(mnist, machine, images, notify)
    before, now = run.record["model"].get("permutation_sha256"), task.reading.to_json()
    if before != now.get("permutation_sha256"):
        raise RunError(
            f"{run.path} read the pixels in another permutation than this rnntk makes of seed {machine.seed}; "
            "it cannot be continued exactly. Train a new run."
        )
    from rnntk.models.weights import named_weights
    from rnntk.training import session

    with run.lock():
        progress = session.restore(run, task, named_weights, lambda _: None)
        run = run.with_settings(config.to_json(mnist))
        notify(f"Continuing {shown(run.path)} at step {progress.step}.")
        return _train(run, mnist, machine, task, images, progress, max_seconds, quiet, callbacks)


def _task(mnist: MnistConfig, machine: MachineConfig, images: ImageSet, notify: Notify) -> RowTask:
    count = len(images.x_train) - mnist.val_size
    if count < 1:
        raise DataError(
            f"--val-size {mnist.val_size} leaves no training images: there are {len(images.x_train)} in all."
        )
    from rnntk.training import device

    chosen = device.ready(machine.device, machine.threads)
    import keras

    from rnntk.models import fast
    from rnntk.models.row_classifier import RowClassifier
    from rnntk.training.row_task import Reading, RowTask
    from rnntk.training.step import ClassifierStep

    fast.check_precision(machine.precision)
    height, width = images.x_train.shape[1:]
    reading = Reading(mnist.order, (height, width), machine.seed)
    model = RowClassifier(
        features=reading.features,
        classes=10,
        cell=mnist.cell,
        layers=mnist.layers,
        units=mnist.units,
        bidirectional=mnist.bidirectional,
        dropout=mnist.dropout,
        precision=machine.precision,
        seed=machine.seed,
    )
    notify(f"{model.count_params():,} parameters, on the {chosen.upper()}.")
    optimizer = keras.optimizers.Adam(mnist.learning_rate)
    optimizer.build(model.trainable_variables)
    return RowTask(
        model,
        optimizer,
        ClassifierStep(model, optimizer, clip="global-norm", clip_norm=mnist.clip_norm),
        reading,
        images,
        mnist,
        machine.seed,
    )


def _train(
    run: RunFolder,
    mnist: MnistConfig,
    machine: MachineConfig,
    task: RowTask,
    images: ImageSet,
    progress: Progress,
    max_seconds: float | None,
    quiet: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Outcome:
    import numpy as np

    from rnntk.models.weights import named_weights
    from rnntk.training import scores, session

    result = session.train(
        run,
        task,
        progress,
        Limits(mnist.epochs, mnist.max_steps, max_seconds),
        weights_of=named_weights,
        checkpoint_every=machine.checkpoint_every,
        keep=machine.keep,
        log_every=machine.log_every,
        quiet=quiet,
        graph=task.graph,
        histograms_every=machine.histograms_every,
        extra_callbacks=callbacks,
    )
    loss, accuracy, logits = task.measure(images.x_test, images.y_test)
    confusion = np.zeros((10, 10), dtype=np.int64)
    np.add.at(confusion, (images.y_test, logits.argmax(axis=1)), 1)
    count = len(images.y_test)
    return Outcome(result, accuracy, scores.wilson(accuracy, count), loss, count, logits, confusion)
