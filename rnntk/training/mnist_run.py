"""Training the row classifier: images in, a run folder and a test accuracy out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import config
from rnntk.config import MachineSettings, MnistSettings
from rnntk.corpora.images import ImageSet
from rnntk.errors import DataError, RunError, UsageError
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.training.schedule import Limits

if TYPE_CHECKING:
    import keras
    import numpy as np

    from rnntk.training.session import Result
    from rnntk.training.tasks import RowTask

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
        confusion: `(10, 10)` counts, rows the true digit, columns the one named.
    """

    result: Result
    accuracy: float
    interval: tuple[float, float]
    loss: float
    images: int
    confusion: np.ndarray


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share (Wilson 1927), 95 % by default.

    >>> tuple(round(x, 4) for x in wilson(0.985, 10_000))
    (0.9824, 0.9872)
    """
    middle = share + z * z / (2 * count)
    width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def start(
    mnist: MnistSettings,
    machine: MachineSettings,
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
    notify: Notify,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Continue a classifier exactly where its last checkpoint stands, then test it.

    Raises:
        RunError: no whole checkpoint, in use, or other images.
        UsageError: it is finished already.
    """
    mnist = config.from_mapping(MnistSettings, run.settings)
    machine = config.from_mapping(MachineSettings, run.settings)
    mnist = dataclasses.replace(mnist, epochs=epochs or mnist.epochs, max_steps=max_steps)
    if run.record["corpus"]["sha256"] != corpus["sha256"]:
        raise RunError(
            f"{run.path} was trained on other images ({run.record['corpus']['name']}) than these ({corpus['name']})."
        )
    done = run.checkpoint("last", warn=notify).progress
    if done.epoch >= mnist.epochs:
        raise UsageError(
            f"{run.path} is finished: {done.epoch} of {mnist.epochs} epochs. To train on, raise --epochs."
        )
    task = _task(mnist, machine, images, notify)
    from rnntk.models.weights import named_weights
    from rnntk.training import session

    with run.lock():
        progress = session.restore(run, task, named_weights, lambda _: None)
        notify(f"Continuing {run.path} at step {progress.step}.")
        return _train(run, mnist, machine, task, images, progress, max_seconds, quiet, callbacks)


def _task(
    mnist: MnistSettings, machine: MachineSettings, images: ImageSet, notify: Notify
) -> RowTask:
    count = len(images.x_train) - mnist.val_size
    if count < 1:
        raise DataError(
            f"--val-size {mnist.val_size} leaves no training images: there are {len(images.x_train)} in all."
        )
    from rnntk.training import device

    chosen = device.ready(machine.device, machine.threads)
    import keras

    from rnntk.models.row_classifier import RowClassifier
    from rnntk.training.step import ClassifierStep
    from rnntk.training.tasks import RowTask

    model = RowClassifier(
        features=images.x_train.shape[2],
        classes=10,
        cell=mnist.cell,
        layers=mnist.layers,
        units=mnist.units,
        bidirectional=mnist.bidirectional,
        dropout=mnist.dropout,
        seed=machine.seed,
    )
    notify(f"{model.count_params():,} parameters, on the {chosen.upper()}.")
    optimizer = keras.optimizers.Adam(mnist.learning_rate)
    optimizer.build(model.trainable_variables)
    return RowTask(
        model,
        optimizer,
        ClassifierStep(model, optimizer, clip="global-norm", clip_norm=mnist.clip_norm),
        images.x_train[:count],
        images.y_train[:count],
        images.x_train[count:],
        images.y_train[count:],
        batch_size=mnist.batch_size,
        learning_rate=mnist.learning_rate,
        decay_rate=mnist.decay_rate,
        seed=machine.seed,
    )


def _train(
    run: RunFolder,
    mnist: MnistSettings,
    machine: MachineSettings,
    task: RowTask,
    images: ImageSet,
    progress: Progress,
    max_seconds: float | None,
    quiet: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Outcome:
    import numpy as np

    from rnntk.models.weights import named_weights
    from rnntk.training import session, tasks

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
    loss, accuracy, logits = tasks.measure(task.model, images.x_test, images.y_test)
    confusion = np.zeros((10, 10), dtype=np.int64)
    np.add.at(confusion, (images.y_test, logits.argmax(axis=1)), 1)
    count = len(images.y_test)
    return Outcome(result, accuracy, wilson(accuracy, count), loss, count, confusion)
