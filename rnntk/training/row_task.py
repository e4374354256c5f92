"""The row classifier on images, as a task of the training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnntk.config import MnistConfig
from rnntk.corpora.images import ImageSet, PixelOrder, stream
from rnntk.decoding.strategies import surprisal
from rnntk.errors import DataError
from rnntk.models import fast
from rnntk.models.row_classifier import RowClassifier
from rnntk.storage import folder
from rnntk.storage.checkpoint import Progress
from rnntk.training import device, memory, optimizers, report
from rnntk.training.loop import Task
from rnntk.training.step import ClassifierStep, step_seed

# Each kind of random choice has its own random stream; `PixelOrder` uses number 2.
_ORDER, _SHIFT = range(2)

TEST_BATCH = 500
NETWORK = ("cell", "layers", "units", "bidirectional", "dropout")

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False, eq=False)  # arrays have no single truth value
class ClassifierResult:
    """Results of a classifier on the test images."""

    accuracy: float  # fraction of the images classified correctly
    interval: tuple[float, float]  # 95 % Wilson interval of the accuracy
    loss: float  # mean, in nats
    images: int
    logits: np.ndarray  # `(images, 10)` float32
    confusion: np.ndarray  # `(10, 10)` counts: row = true digit, column = predicted digit

    def __repr__(self) -> str:
        return f"ClassifierResult({self})"

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        return (
            f"{100 * self.accuracy:.2f} % of {self.images:,} images right (95 % interval {low:.2f} to {high:.2f} %), "
            f"loss {self.loss:.4f} nats"
        )


class RowTask(Task):
    """A row classifier on images; the last `val_size` training images are held out. Call `device.ready` first.

    `max_time` counts from `began`, a time of `time.perf_counter`, by default now. Order of images, shifts and dropout
    are functions of seed, epoch and step, so a resume continues exactly. Raises `DataError` if no training images are
    left.
    """

    kind = folder.ROW_CLASSIFIER
    unit, target = "images", "image"
    config: MnistConfig

    def __init__(
        self, config: MnistConfig, images: ImageSet, corpus: dict[str, Any], began: float | None = None
    ) -> None:  # fmt: skip
        count = len(images.x_train) - config.val_size
        if count < 1:
            raise DataError(
                f"`val_size={config.val_size}` leaves no training images of {len(images.x_train)}. Lower it."
            )
        self.config, self.corpus = config, corpus
        self._began = time.perf_counter() if began is None else began
        height, width = images.x_train.shape[1:]
        self.reading = PixelOrder(config.order, (height, width), config.seed)
        self._network = {name: getattr(config, name) for name in NETWORK}
        fast.check_precision(config.precision)
        if not tf.config.list_logical_devices("GPU"):
            rows = min(config.batch_size, count)
            memory.check(config, self.reading.features, 0, rows, self.reading.steps)
        options = {"seed": config.seed, "precision": config.precision, **self._network}
        self.model = RowClassifier(features=self.reading.features, classes=10, **options)
        self.optimizer = optimizers.make("adam", config.learning_rate)
        self.optimizer.build(self.model.trainable_variables)
        place = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        log.info(f"{self.model.count_params():,} parameters, on the {place}.")
        self._step = ClassifierStep(self.model, self.optimizer, clip_norm=config.clip_norm)
        self._x, self._y = images.x_train[:count], images.y_train[:count]
        self._x_val, self._y_val = images.x_train[count:], images.y_train[count:]
        self._x_test, self._y_test = images.x_test, images.y_test
        self.uniform_loss = math.log(self.model.classes)
        self.items_per_step = min(config.batch_size, count)
        self.steps_per_epoch = count // self.items_per_step
        self._epoch = -1
        self._indices: np.ndarray = np.arange(count)
        self._logits = tf.function(lambda rows: self.model(rows, training=False))

    def model_record(self) -> dict[str, Any]:
        parameters = int(self.model.count_params())
        return {**self._network, **self.reading.to_json(), "parameters": parameters}

    def begin_epoch(self, epoch: int) -> None:
        self._epoch = epoch
        rng = np.random.default_rng(stream(self.config.seed, _ORDER, epoch))
        self._indices = rng.permutation(len(self._x))

    def step(self, progress: Progress) -> dict[str, float]:
        """Train on one batch; `loss` is in nats."""
        if self._epoch != progress.epoch:
            self.begin_epoch(progress.epoch)
        rate = self.set_learning_rate(progress)
        picked = self._indices[progress.batch * self.items_per_step :][: self.items_per_step]
        images = self._x[picked]
        if self.config.shift:
            rng = np.random.default_rng(stream(self.config.seed, _SHIFT, progress.step))
            images = shifted(images, self.config.shift, rng)
        loss, accuracy, norm = self._step(
            tf.constant(self.reading(images)),
            tf.constant(self._y[picked].astype(np.int32)),
            step_seed(self.config.seed, progress.step),
        )
        found = {"loss": float(loss), "accuracy": float(accuracy), "grad_norm": float(norm)}
        return {**found, "learning_rate": rate}

    def validate(self) -> dict[str, float]:
        """Mean loss in nats and accuracy on the held-out images."""
        if len(self._x_val) == 0:
            return {}
        loss, accuracy, _ = self.measure(self._x_val, self._y_val)
        return {"val_loss": loss, "val_accuracy": accuracy}

    def measure(
        self, x: np.ndarray, y: np.ndarray, shown: Callable[[range], Iterable[int]] = iter
    ) -> tuple[float, float, np.ndarray]:
        """Mean loss in nats, accuracy, and logits `(N, classes)` on images `(N, H, W)` with labels `(N,)`."""
        pieces = []
        for start in shown(range(0, len(x), TEST_BATCH)):
            piece = x[start : start + TEST_BATCH]
            # Padded, as a shorter last batch would be traced again.
            rows = np.pad(piece, [(0, TEST_BATCH - len(piece)), (0, 0), (0, 0)])
            pieces.append(self._logits(tf.constant(self.reading(rows))).numpy()[: len(piece)])
        logits = np.concatenate(pieces)
        accuracy = float((logits.argmax(axis=1) == y).mean())
        return float(surprisal(logits, y).mean()), accuracy, logits

    def reserved_seconds(self) -> float:
        """Seconds since `began`, and an estimate of a validation and the test."""
        x, y = self._x_test[:TEST_BATCH], self._y_test[:TEST_BATCH]
        batches = sum(math.ceil(len(part) / TEST_BATCH) for part in (self._y_val, self._y_test))
        after = batches * report.seconds_of(lambda: self.measure(x, y))
        return after + time.perf_counter() - self._began

    @device.training_options()
    def test(self, *, quiet: bool = False) -> ClassifierResult:
        """Measure on the test images, with a progress bar unless `quiet`."""
        log.info(f"Testing on {len(self._y_test):,} images.")
        shown = partial(report.bar, title="testing", quiet=quiet)
        loss, accuracy, logits = self.measure(self._x_test, self._y_test, shown)
        count = len(self._y_test)
        confusion = np.zeros((10, 10), dtype=np.int64)
        np.add.at(confusion, (self._y_test, logits.argmax(axis=1)), 1)
        return ClassifierResult(accuracy, wilson(accuracy, count), loss, count, logits, confusion)

    def graph(self) -> tf.Graph:
        shape = [self.items_per_step, self.reading.steps, self.reading.features]
        spec = tf.TensorSpec(shape, tf.float32)
        return tf.function(self.model).get_concrete_function(spec).graph


def shifted(images: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Shift each image `(N, H, W)` at random by up to `limit` pixels in each direction; the edges fill with 0."""
    count, height, width = images.shape
    padded = np.pad(images, [(0, 0), (limit, limit), (limit, limit)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (1, height, width))
    down, right = rng.integers(0, 2 * limit + 1, (2, count))
    return windows[np.arange(count), down, right, 0]


def wilson(fraction: float, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a fraction (Wilson, 1927).

    >>> tuple(round(x, 4) for x in wilson(0.985, 10_000))
    (0.9824, 0.9872)
    """
    z = 1.959964
    middle = fraction + z * z / (2 * count)
    width = z * math.sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)
