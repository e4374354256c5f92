"""Distributed training on TensorFlow's `tf.distribute`.

The batch rows are shared among replicas: the GPUs of this machine (`MirroredStrategy`), or the devices of several
processes (`MultiWorkerMirroredStrategy`). Each replica holds all weights and computes the gradient of its own rows,
a sum over rows. One all-reduce gives every replica the gradient of the whole batch, which each clips and applies, so
the step equals that of one process to rounding. Recurrent states are gathered for a checkpoint, which any number of
replicas can continue.
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

from rnntk.config import DistributeConfig
from rnntk.errors import TrainingError, UsageError
from rnntk.models.char_rnn import CharRNN
from rnntk.training import cluster
from rnntk.training.job import ALONE, Job
from rnntk.training.loop import signals_handled
from rnntk.training.step import TrainStep, shard_sizes

log = logging.getLogger(__name__)

WISHES = ("max-time", "signal", "callback")
_NOTHING_YET = "Nothing was trained yet: start all of them again."


class WorkerLost(TrainingError):
    """Another process of the job has ended or is unreachable."""


def start(settings: DistributeConfig) -> Job:
    """The job of this configuration; waits for all its processes. TensorFlow must not have computed anything yet.

    Raises `UsageError` if the cluster is not described, or wrongly; `TrainingError` if this process cannot listen at
    its address, or the others do not come.
    """
    if settings.distribute == "none":
        return ALONE
    tf.get_logger().setLevel("ERROR")
    if settings.distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            log.info(f'`distribute="mirrored"` does nothing: {devices[0].name} is the only device.')
            return ALONE
        return SharedJob(_mirrored(tuple(device.name for device in devices)))
    found = cluster.find(settings.workers, settings.index)
    variable = os.environ.get(cluster.VARIABLE) or found.to_json()
    os.environ[cluster.VARIABLE] = variable
    count, address = len(found.addresses), found.addresses[found.index]
    worker = f"Worker {found.index} of {count}"
    log.info(f"{worker} at {address} waits for the others.")
    try:
        with signals_handled(signal.SIG_DFL):  # Python's handlers would wait for TensorFlow
            strategy = _multi_worker(variable)
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"{worker} cannot take part ({_reason(error)}). Is {address} this machine, and the port free? Do all "
            f"{count} workers run, with the same list of addresses, and can they reach each other?"
        ) from error
    return SharedJob(strategy, count, found.index)


# A strategy numbers its messages, and two in one process would give the same numbers: so each is made only once.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker(tf_config: str) -> tf.distribute.Strategy:  # noqa: ARG001 (TensorFlow reads it itself)
    return tf.distribute.MultiWorkerMirroredStrategy()


def _reason(error: Exception) -> str:
    """TensorFlow's own words, without the call path around them."""
    text = str(getattr(error, "message", error)).strip()
    found = re.search(r"aborted by: (.+)", text) or re.match(r"(.*)", text)
    return (found[1] if found else text)[:300]


class SharedJob(Job):
    """Several replicas in one process or more; `strategy` is of `tf.distribute`."""

    def __init__(self, strategy: tf.distribute.Strategy, workers: int = 1, index: int = 0) -> None:
        self.strategy, self.workers, self.index = strategy, workers, index
        self.replicas = strategy.num_replicas_in_sync
        self.wish = np.zeros(len(WISHES), np.float32)
        self.wishes = np.zeros(len(WISHES), np.float32)

    def describe(self) -> str:
        processes = f" in {self.workers} processes" if self.workers > 1 else ""
        return f"batch rows shared by {self.replicas} replicas{processes}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See `Job`. The chief's initial weights are sent to all."""
        with self._losses(_NOTHING_YET), self.strategy.scope():
            yield

    def step(
        self, model: CharRNN, optimizer: keras.Optimizer, batch_size: int, **clipping: Any
    ) -> TrainStep:
        return SharedStep(self, model, optimizer, batch_size, **clipping)

    def rows(self, batch_size: int) -> list[slice]:
        """Batch rows of each replica of this process, in order. Raises `UsageError` if a replica would have none."""
        if batch_size < self.replicas:
            raise UsageError(
                f"`batch_size={batch_size}` is less than the {self.replicas} replicas, and each needs a row. Raise it "
                f"to {self.replicas} or more, or use fewer workers."
            )
        ends = list(itertools.accumulate(shard_sizes(batch_size, self.replicas), initial=0))
        here = self.replicas // self.workers
        first = self.index * here
        return [slice(ends[i], ends[i + 1]) for i in range(first, first + here)]

    def stop_reason(self, wish: str) -> str:
        """See `Job`. The wish is reduced with the next step's gradients, so all stop one step later."""
        self.wish = np.array(
            [name == wish and (name != "max-time" or self.chief) for name in WISHES], np.float32
        )
        return next((name for name, n in zip(WISHES, self.wishes, strict=True) if n > 0), "")

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        return self.total(values if self.chief else np.zeros_like(values))

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum of the arrays of all processes; exact where only one is not zero."""
        if self.workers == 1:
            return values
        summed = self.strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(values), axis=None)
        return np.asarray(summed)

    def exchange(self, mine: bytes) -> list[bytes]:
        """The bytes of each process, in order of their index."""
        # As float32, in which bytes are exact, and which every device can add up.
        sizes = np.zeros(self.workers, np.float32)
        sizes[self.index] = len(mine)
        sizes = self.total(sizes).astype(int)
        table = np.zeros((self.workers, sizes.max()), np.float32)
        table[self.index, : len(mine)] = np.frombuffer(mine, np.uint8)
        rows = zip(self.total(table).astype(np.uint8), sizes, strict=True)
        return [row[:size].tobytes() for row, size in rows]

    def barrier(self, facts: Mapping[str, Any], message: str) -> str:
        mine = json.dumps({"facts": dict(facts), "message": message}).encode()
        with self._losses(_NOTHING_YET):
            said = [json.loads(data) for data in self.exchange(mine)]
        chief = said[0]
        for index, one in enumerate(said):
            for name in chief["facts"] | one["facts"]:
                here, there = one["facts"].get(name), chief["facts"].get(name)
                if here != there:
                    raise UsageError(
                        f"The workers do not agree: {name} is {here!r} at worker {index} and {there!r} at worker 0. "
                        "Start all with the same settings but for `index`, on the same text."
                    )
        return str(chief["message"])

    def watched(self, run: Path) -> AbstractContextManager[None]:
        return self._losses(
            f'Continue on one machine with: rnntk train --resume {run} (with `distribute="multiworker"` on several, '
            "as many as you like). If it has no checkpoint yet, start it anew."
        )

    @contextmanager
    def _losses(self, advice: str) -> Iterator[None]:
        """Turn the loss of another process into a message."""
        try:
            yield
        except tf.errors.OpError as error:
            if self.workers == 1 or isinstance(error, tf.errors.ResourceExhaustedError):
                raise  # this process' own doing
            if isinstance(error, tf.errors.InvalidArgumentError):
                if "ollective" not in str(error):
                    raise
                raise TrainingError(
                    f"The workers do not fit together ({_reason(error)}). All need the same number of devices and "
                    "the same version of TensorFlow."
                ) from error
            raise WorkerLost(
                f"Another worker of this job has ended or cannot be reached, so worker {self.index} stops too "
                f"({_reason(error)}). {advice}"
            ) from error


class SharedStep(TrainStep):
    """A `TrainStep` of all batch rows, whose rows are shared by a job's replicas; states stay where their rows are.

    Raises `UsageError` if there are fewer rows than replicas.
    """

    def __init__(
        self,
        job: SharedJob,
        model: CharRNN,
        optimizer: keras.Optimizer,
        batch_size: int,
        **clipping: Any,
    ) -> None:
        self._job, self._batch_size, self._rows = job, batch_size, job.rows(batch_size)
        # The gradients reach the optimizer added up and clipped; by itself it would add them up once more.
        if not hasattr(optimizer, "_all_reduce_sum_gradients"):
            raise TrainingError(
                f"`distribute` does not work with Keras {keras.__version__}, whose optimizers add gradients up "
                "in a way this rnntk does not know. Install another Keras."
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
        """See `TrainStep`. All processes of the job must call it together."""
        own = [self._job.strategy.experimental_local_results(state) for state in states]
        whole = np.zeros((len(own), self._batch_size, own[0][0].shape[1]), np.float32)
        for target, parts in zip(whole, own, strict=True):
            for rows, part in zip(self._rows, parts, strict=True):
                target[rows] = part
        return list(self._job.total(whole))

    def scatter(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        return [self._per_replica([array[rows] for rows in self._rows]) for array in arrays]

    def _per_replica(self, values: Sequence[Any]) -> Any:
        """One value for each replica of this process, as `strategy.run` takes them."""
        if len(values) == 1:  # as it gives them back: another type would be traced anew
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
        # In one message: a small network's gradients travel as long as the way is, not as they are large.
        context = tf.distribute.get_replica_context()
        # Arguments and what `tf.gradients` gives are on no device, and what is reduced must be on one.
        placed = [tf.identity(tensor) for tensor in (loss, wish, *gradients)]
        loss, wishes, *gradients = context.all_reduce("sum", placed)
        return loss, self.apply(gradients), wishes, new_states
