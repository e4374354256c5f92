"""Distributed training on TensorFlow's `tf.distribute`.

Replicas on the GPUs of this machine (`MirroredStrategy`) or in several processes (`MultiWorkerMirroredStrategy`) share
the batch rows. One all-reduce sums their gradients, and each clips and applies the sum to its copy of the weights.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnntk import signals
from rnntk.config import DistributeConfig
from rnntk.errors import TrainingError, UsageError
from rnntk.models.char_rnn import CharRNN
from rnntk.training import cluster
from rnntk.training.job import ALONE, Job
from rnntk.training.step import TrainStep, shard_sizes

log = logging.getLogger(__name__)

WISHES = ("max-time", "signal", "callback")
_NOT_STARTED = "Training has not begun: start all workers again."


class WorkerLost(TrainingError):
    """Another process of the job has ended or is unreachable."""


def start(settings: DistributeConfig) -> Job:
    """The job of this configuration, once all its processes are up. Call it before TensorFlow computes anything.

    Raises `UsageError` if the cluster's description is missing or wrong; `TrainingError` if this process cannot listen
    at its address, or the others do not start.
    """
    if settings.distribute == "none":
        return ALONE
    tf.get_logger().setLevel("ERROR")
    if settings.distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            log.info(
                f'`distribute="mirrored"` has no effect: {devices[0].name} is the only device.'
            )
            return ALONE
        return SharedJob(_mirrored(tuple(device.name for device in devices)))
    found = cluster.find(settings.workers, settings.index)
    variable = os.environ.get(cluster.VARIABLE) or found.to_json()
    os.environ[cluster.VARIABLE] = variable
    count, address = len(found.addresses), found.addresses[found.index]
    worker = f"Worker {found.index} of {count}"
    log.info(f"{worker} at {address} waits for the others.")
    try:
        with signals.handled(signal.SIG_DFL):  # Python's own would not run while TensorFlow waits
            strategy = _multi_worker(variable)
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"{worker} cannot join ({_reason(error)}). Check that {address} is a free local port, "
            f"and that all {count} workers have the same addresses and reach each other."
        ) from error
    return SharedJob(strategy, count, found.index)


# Cached, because two strategies in one process would give their collectives the same keys.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker(tf_config: str) -> tf.distribute.Strategy:  # noqa: ARG001 (TensorFlow reads it itself)
    return tf.distribute.MultiWorkerMirroredStrategy()


def _reason(error: Exception) -> str:
    """TensorFlow's message without the call path around it."""
    text = str(getattr(error, "message", error)).strip()
    found = re.search(r"aborted by: (.+)", text) or re.match(r"(.*)", text)
    return (found[1] if found else text)[:300]


class SharedJob(Job):
    """A job of several replicas, in one process or more."""

    def __init__(self, strategy: tf.distribute.Strategy, workers: int = 1, index: int = 0) -> None:
        self.strategy, self.workers, self.index = strategy, workers, index
        self.replicas = strategy.num_replicas_in_sync
        self.wish: np.ndarray = np.zeros(len(WISHES), np.float32)
        self.wishes = np.zeros(len(WISHES), np.float32)

    def describe(self) -> str:
        processes = f" in {self.workers} processes" if self.workers > 1 else ""
        return f"batch rows shared by {self.replicas} replicas{processes}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See `Job`. The chief's initial weights are broadcast."""
        with self._worker_errors(_NOT_STARTED), self.strategy.scope():
            yield

    def step(
        self, model: CharRNN, optimizer: keras.Optimizer, batch_size: int, **clipping: Any
    ) -> TrainStep:
        return SharedStep(self, model, optimizer, batch_size, **clipping)

    def rows(self, batch_size: int) -> list[slice]:
        """Batch rows of each replica of this process. Raises `UsageError` if there are fewer rows than replicas."""
        if batch_size < self.replicas:
            raise UsageError(
                f"`batch_size={batch_size}` is less than the {self.replicas} replicas. Raise it to "
                f"{self.replicas}, or use fewer devices."
            )
        ends = itertools.accumulate(shard_sizes(batch_size, self.replicas), initial=0)
        slices = [slice(start, end) for start, end in itertools.pairwise(ends)]
        here = self.replicas // self.workers
        return slices[self.index * here :][:here]

    def stop_reason(self, wish: str) -> str:
        """See `Job`. The wish is all-reduced with the next step's gradients, so all stop one step later."""
        self.wish = np.array(
            [name == wish and (name != "max-time" or self.chief) for name in WISHES], np.float32
        )
        return next((name for name, n in zip(WISHES, self.wishes, strict=True) if n > 0), "")

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        return self.total(values if self.chief else np.zeros_like(values))

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum of the arrays of all processes; exact if only one is not zero."""
        if self.workers == 1:
            return values
        summed = self.strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(values), axis=None)
        return np.asarray(summed)

    def exchange(self, mine: bytes) -> list[bytes]:
        """The bytes of each process, by index."""
        # Sent as float32, which holds bytes exactly and which every device can add.
        sizes = np.zeros(self.workers, np.float32)
        sizes[self.index] = len(mine)
        sizes = self.total(sizes).astype(int)
        table: np.ndarray = np.zeros((self.workers, int(sizes.max())), np.float32)
        table[self.index, : len(mine)] = np.frombuffer(mine, np.uint8)
        table = self.total(table).astype(np.uint8)
        return [table[k, :size].tobytes() for k, size in enumerate(sizes)]

    def barrier(self, facts: Mapping[str, Any], message: str) -> str:
        mine = json.dumps({"facts": dict(facts), "message": message}).encode()
        with self._worker_errors(_NOT_STARTED):
            everyone = [json.loads(data) for data in self.exchange(mine)]
        chief = everyone[0]
        for index, one in enumerate(everyone):
            for name in chief["facts"] | one["facts"]:
                here, there = one["facts"].get(name), chief["facts"].get(name)
                if here != there:
                    raise UsageError(
                        f"{name} is {here!r} at worker {index}, but {there!r} at worker 0. All need the same text "
                        "and settings, except `index`."
                    )
        return str(chief["message"])

    def watched(self, run: Path) -> AbstractContextManager[None]:
        return self._worker_errors(
            f"Continue on one machine: rnntk train --resume {run} (on several, add "
            '`distribute="multiworker"`). Without a checkpoint, start again.'
        )

    @contextmanager
    def _worker_errors(self, advice: str) -> Iterator[None]:
        """Turn TensorFlow's errors about other processes into a `WorkerLost` or a `TrainingError`, with advice."""
        try:
            yield
        except tf.errors.OpError as error:
            if self.workers == 1 or isinstance(error, tf.errors.ResourceExhaustedError):
                raise  # an error of this process
            if isinstance(error, tf.errors.InvalidArgumentError):
                if "ollective" not in str(error):
                    raise
                raise TrainingError(
                    f"The workers are incompatible ({_reason(error)}). All need the same TensorFlow "
                    "and number of devices."
                ) from error
            raise WorkerLost(
                f"Another worker has ended or cannot be reached, so worker {self.index} stops too "
                f"({_reason(error)}). {advice}"
            ) from error


class SharedStep(TrainStep):
    """A `TrainStep` whose batch rows are shared by a job's replicas, each keeping the states of its rows."""

    def __init__(
        self, job: SharedJob, model: CharRNN, optimizer: Any, batch_size: int, **clipping: Any
    ) -> None:
        self._job, self._batch_size, self._rows = job, batch_size, job.rows(batch_size)
        # The gradients are summed and clipped before the optimizer, which would sum them again.
        if not hasattr(optimizer, "_all_reduce_sum_gradients"):
            raise TrainingError(
                f"`distribute` does not support Keras {keras.__version__}. Install another version."
            )
        optimizer._all_reduce_sum_gradients = list
        super().__init__(model, optimizer, **clipping)
        self._first_rows = self._per_replica([np.int32(rows.start) for rows in self._rows])

    def __call__(
        self, x: Any, y: Any, states: Sequence[Any], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
        loss, norm, wishes, new_states = self._compiled(
            self._per_replica([x[rows] for rows in self._rows]),
            self._per_replica([y[rows] for rows in self._rows]),
            self._first_rows,
            list(states),
            tf.convert_to_tensor(seed, tf.int32),
            tf.constant(self._job.wish),
        )
        self._job.wishes = self._first(wishes).numpy()
        return self._first(loss), self._first(norm), list(new_states)

    def put(self, ids: Any) -> Any:
        return ids

    def zero_states(self, batch_size: int) -> list[Any]:
        return self.scatter([state.numpy() for state in self.model.initial_states(batch_size)])

    def gather(self, states: Sequence[Any]) -> list[np.ndarray]:
        """See `TrainStep`. All processes of the job call it together."""
        own = [self._job.strategy.experimental_local_results(state) for state in states]
        whole = np.zeros((len(own), self._batch_size, own[0][0].shape[1]), np.float32)
        for target, parts in zip(whole, own, strict=True):
            for rows, part in zip(self._rows, parts, strict=True):
                target[rows] = part
        return list(self._job.total(whole))

    def scatter(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        return [self._per_replica([array[rows] for rows in self._rows]) for array in arrays]

    def _per_replica(self, values: Sequence[Any]) -> Any:
        """One value per replica of this process, in the form that `strategy.run` takes."""
        if len(values) == 1:  # the form of its results; another would be traced again
            return tf.convert_to_tensor(values[0])
        first = self._job.index * len(self._rows)
        return self._job.strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(values[context.replica_id_in_sync_group - first])
        )

    def _first(self, value: Any) -> tf.Tensor:
        return self._job.strategy.experimental_local_results(value)[0]

    def _step(self, *arguments: Any) -> Any:
        return self._job.strategy.run(self._replica_step, arguments)

    def _replica_step(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        first_row: tf.Tensor,
        states: list[tf.Tensor],
        seed: tf.Tensor,
        wish: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        loss, gradients, new_states = self.loss_and_gradients(
            x, y, states, seed, first_row, self._batch_size
        )
        # Arguments and gradients are on no device, which `all_reduce` requires.
        placed = [tf.identity(tensor) for tensor in (loss, wish, *gradients)]
        # One message for all: for a small network latency counts, not bandwidth.
        reduced = tf.distribute.get_replica_context().all_reduce("sum", placed)
        loss, wishes, *gradients = reduced
        return loss, self.apply(gradients), wishes, new_states
