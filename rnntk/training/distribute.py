"""Jobs of several devices or processes, on TensorFlow's `tf.distribute`.

The lanes of a batch are shared among replicas: the GPUs of this machine (`MirroredStrategy`), or the devices of several
processes (`MultiWorkerMirroredStrategy`). Every replica holds all weights and computes its own lanes. The gradients are
sums over lanes, so one all-reduce of them makes the gradient of the whole batch on every replica, and each clips it
and updates its weights in the same way: the step is that of one process, to rounding.

Only numbers that belong to lanes (the recurrent states) differ between replicas. They are brought together for a
checkpoint, which therefore knows nothing of replicas and can be continued by any number of them.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from rnntk.training.step import TrainStep, shard_sizes

WISHES = ("max-time", "signal", "callback")


class WorkerLost(TrainingError):
    """Another process of the job has ended or cannot be reached."""


def start(settings: DistributeConfig, notify: Callable[[str], None]) -> Job:
    """The job that these settings ask for; waits until all its processes are there.

    TensorFlow must not have computed anything yet.

    Args:
        settings: which kind of job, and who takes part.
        notify: told what is done.

    Raises:
        UsageError: the cluster is not described, or not rightly.
        TrainingError: this process cannot listen at its address, or the others do not come.
    """
    if settings.distribute == "none":
        return ALONE
    tf.get_logger().setLevel("ERROR")
    if settings.distribute == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            notify(f"--distribute mirrored: {devices[0].name} is the only device, and takes all.")
            return ALONE
        return Shared(_mirrored(tuple(device.name for device in devices)))
    found = cluster.find(settings.workers, settings.index)
    os.environ[cluster.VARIABLE] = os.environ.get(cluster.VARIABLE) or found.to_json()
    count = len(found.addresses)
    notify(
        f"Worker {found.index} of {count} at {found.addresses[found.index]} waits for the others."
    )
    try:
        with _killable():
            strategy = _multi_worker(os.environ[cluster.VARIABLE])
    except (tf.errors.OpError, RuntimeError) as error:
        raise TrainingError(
            f"Worker {found.index} of {count} cannot take part ({_reason(error)}). Is "
            f"{found.addresses[found.index]} this machine, and the port free? Do all {count} workers run, with the "
            "same list of addresses, and can they reach each other?"
        ) from error
    return Shared(strategy, count, found.index)


# A strategy numbers its messages, and two in one process would give the same numbers: so each is made only once.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker(tf_config: str) -> tf.distribute.Strategy:  # noqa: ARG001 (TensorFlow reads it itself)
    return tf.distribute.MultiWorkerMirroredStrategy()


@contextmanager
def _killable() -> Iterator[None]:
    """Let Ctrl-C end the process at once: Python would hear of it only after the wait.

    SIGTERM too, until TensorFlow's coordination service has a handler of its own for it, which takes note and goes on
    waiting; Python cannot run meanwhile to take it back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(error: Exception) -> str:
    """TensorFlow's own words, without the way through the program that it tells before and after."""
    text = str(getattr(error, "message", error)).strip()
    found = re.search(r"aborted by: (.+)", text) or re.match(r"(.*)", text)
    return (found[1] if found else text)[:300]


class Shared(Job):
    """Several replicas.

    Args:
        strategy: of `tf.distribute`; one replica or more in this process.
        workers, index: as in `Job`.
    """

    def __init__(self, strategy: tf.distribute.Strategy, workers: int = 1, index: int = 0) -> None:
        self.strategy, self.workers, self.index = strategy, workers, index
        self.replicas = strategy.num_replicas_in_sync
        self.wish = np.zeros(len(WISHES), np.float32)
        self.wishes = np.zeros(len(WISHES), np.float32)

    def describe(self) -> str:
        """See `Job`."""
        processes = f" in {self.workers} processes" if self.workers > 1 else ""
        return f"lanes shared by {self.replicas} replicas{processes}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See `Job`. The first weights are the chief's, sent to all."""
        with (
            self._losses("Nothing was trained yet: start all of them again."),
            self.strategy.scope(),
        ):
            yield

    def step(
        self,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        **clipping: Any,
    ) -> TrainStep:
        """See `Job`."""
        return SharedStep(self, model, optimizer, batch_size, **clipping)

    def lanes(self, batch_size: int) -> list[slice]:
        """The lanes of each replica of this process, in order.

        Raises:
            UsageError: a replica would have none.
        """
        if batch_size < self.replicas:
            raise UsageError(
                f"--batch-size {batch_size} is less than the {self.replicas} replicas, and each needs a lane. Raise "
                f"--batch-size to {self.replicas} or more, or take fewer workers."
            )
        ends = list(itertools.accumulate(shard_sizes(batch_size, self.replicas), initial=0))
        here = self.replicas // self.workers
        first = self.index * here
        return [slice(ends[i], ends[i + 1]) for i in range(first, first + here)]

    def agree(self, wish: str) -> str:
        """See `Job`. The wish goes along with the next step's gradients, so all stop one step later."""
        self.wish = np.array(
            [name == wish and (name != "max-time" or self.chief) for name in WISHES], np.float32
        )
        return next((name for name, n in zip(WISHES, self.wishes, strict=True) if n > 0), "")

    def chiefs(self, values: np.ndarray) -> np.ndarray:
        """See `Job`."""
        return self.total(values if self.chief else np.zeros_like(values))

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of all processes' numbers, in every process; exact where only one has them."""
        if self.workers == 1:
            return values
        summed = self.strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant(values), axis=None)
        return np.asarray(summed)

    def exchange(self, mine: bytes) -> list[bytes]:
        """What each process says, in order of their index."""
        # As float32, in which bytes are exact, and which every device can add up.
        sizes = np.zeros(self.workers, np.float32)
        sizes[self.index] = len(mine)
        sizes = self.total(sizes).astype(int)
        table = np.zeros((self.workers, sizes.max()), np.float32)
        table[self.index, : len(mine)] = np.frombuffer(mine, np.uint8)
        table = self.total(table)
        return [
            row[:size].astype(np.uint8).tobytes() for row, size in zip(table, sizes, strict=True)
        ]

    def meet(self, facts: Mapping[str, Any], told: str) -> str:
        """See `Job`."""
        mine = json.dumps({"facts": dict(facts), "told": told}).encode()
        with self._losses("Nothing was trained yet: start all of them again."):
            said = [json.loads(data) for data in self.exchange(mine)]
        chief = said[0]
        for index, one in enumerate(said):
            for name in chief["facts"] | one["facts"]:
                here, there = one["facts"].get(name), chief["facts"].get(name)
                if here != there:
                    raise UsageError(
                        f"The workers do not agree: {name} is {here!r} at worker {index} and {there!r} at worker 0. "
                        "Start all with the same command but for --index, on the same text."
                    )
        return str(chief["told"])

    def watched(self, run: Path) -> AbstractContextManager[None]:
        """See `Job`."""
        return self._losses(
            f"The run is as its last checkpoint left it. Go on from there with any number of workers: rnntk train "
            f"--resume {run} --distribute multiworker, or without --distribute on one machine. If it has no checkpoint "
            "yet, start it anew."
        )

    @contextmanager
    def _losses(self, advice: str) -> Iterator[None]:
        """That another process is gone becomes a message."""
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
    """A training step whose lanes are shared by a job's replicas.

    Called as a `TrainStep`, with all lanes of the batch; each process takes its own. States are kept where their
    lanes are, and look the same as a `TrainStep`'s only by `gather`.

    Args:
        job: the replicas.
        model, optimizer: made in the job's scope.
        batch_size: lanes in all.
        clipping: as in `TrainStep`.

    Raises:
        UsageError: there are fewer lanes than replicas.
    """

    def __init__(
        self,
        job: Shared,
        model: CharRNN,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        **clipping: Any,
    ) -> None:
        self._job, self._batch_size, self._lanes = job, batch_size, job.lanes(batch_size)
        # The gradients reach the optimizer added up and clipped; by itself it would add them up once more.
        if not hasattr(optimizer, "_all_reduce_sum_gradients"):
            raise TrainingError(
                f"--distribute does not work with Keras {keras.__version__}, whose optimizers add gradients up "
                "in a way this rnntk does not know. Install another Keras."
            )
        optimizer._all_reduce_sum_gradients = list
        super().__init__(model, optimizer, **clipping)
        self._first_lanes = self._per_replica([np.int32(lanes.start) for lanes in self._lanes])

    def __call__(
        self, x: Any, y: Any, states: Sequence[Any], seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
        """Update the model once; see `TrainStep`."""
        loss, norm, wishes, new_states = self._compiled(
            self._per_replica([x[lanes] for lanes in self._lanes]),
            self._per_replica([y[lanes] for lanes in self._lanes]),
            self._first_lanes,
            list(states),
            tf.convert_to_tensor(seed, tf.int32),
            tf.constant(self._job.wish),
        )
        self._job.wishes = self._first(wishes).numpy()
        return self._first(loss), self._first(norm), list(new_states)

    def put(self, ids: Any) -> Any:
        """See `TrainStep`; each replica takes its own rows."""
        return ids

    def zero_states(self, batch_size: int) -> list[Any]:
        """See `TrainStep`."""
        return self.scatter([state.numpy() for state in self.model.initial_states(batch_size)])

    def gather(self, states: Sequence[Any]) -> list[np.ndarray]:
        """See `TrainStep`. All processes of the job must do it together."""
        own = [self._job.strategy.experimental_local_results(state) for state in states]
        whole = np.zeros((len(own), self._batch_size, own[0][0].shape[1]), np.float32)
        for target, parts in zip(whole, own, strict=True):
            for lanes, part in zip(self._lanes, parts, strict=True):
                target[lanes] = part
        return list(self._job.total(whole))

    def scatter(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """See `TrainStep`."""
        return [self._per_replica([array[lanes] for lanes in self._lanes]) for array in arrays]

    def _per_replica(self, values: Sequence[Any]) -> Any:
        """One value for each replica of this process, as `strategy.run` takes them."""
        if len(values) == 1:  # as it gives them back: another type would be traced anew
            return tf.convert_to_tensor(values[0])
        first = self._job.index * len(self._lanes)
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
        first_lane: tf.Tensor,
        states: list[tf.Tensor],
        seed: tf.Tensor,
        wish: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        loss, gradients, new_states = self.loss_and_gradients(
            x, y, states, seed, first_lane, self._batch_size
        )
        # In one message: a small network's gradients travel as long as the way is, not as they are large.
        context = tf.distribute.get_replica_context()
        wish = tf.identity(wish)  # an argument is on no device, and what is reduced must be on one
        loss, wishes, *gradients = context.all_reduce("sum", [loss, wish, *gradients])
        return loss, self.apply(gradients), wishes, new_states
