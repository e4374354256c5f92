"""The character model on a text, as a task of the training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rnntk.config import ModelConfig, TrainConfig
from rnntk.models import fast
from rnntk.models.char_rnn import CharRNN
from rnntk.storage import folder
from rnntk.storage.checkpoint import Progress
from rnntk.text.corpus import Corpus
from rnntk.text.vocabulary import Vocabulary
from rnntk.training import memory, optimizers
from rnntk.training.batches import Batches, Split
from rnntk.training.job import ALONE, Job
from rnntk.training.loop import Task
from rnntk.training.report import seconds_of
from rnntk.training.step import EvalStep, step_seed

log = logging.getLogger(__name__)

VALIDATION_PIECE = 1000


class CharTask(Task):
    """A character model on the `split` of a text; recurrent states are carried within an epoch.

    Call `device.ready` first. Raises `DataError` if the training part is shorter than one batch, `UsageError` if there
    are fewer batch rows than replicas.
    """

    kind = folder.CHAR_RNN
    unit, target = "chars", "symbol"
    config: TrainConfig
    vocabulary: Vocabulary

    def __init__(self, config: TrainConfig, corpus: Corpus, split: Split, job: Job = ALONE) -> None:
        self.config, self.job = config, job
        self.vocabulary = corpus.prepared.vocabulary
        self.corpus = {**corpus.record, "split": split.to_json()}
        ids = corpus.prepared.ids
        self._batches = Batches(ids[: split.train], config.batch_size, config.seq_length)
        fast.check_precision(config.precision)
        V, T = len(self.vocabulary), config.seq_length
        if not tf.config.list_logical_devices("GPU"):
            memory.check(config, config.embedding, V, config.batch_size // job.workers, T)
        with job.scope():
            network = config.part(ModelConfig)
            self.model = CharRNN(V, seed=config.seed, precision=config.precision, **network)
            self.optimizer = optimizers.make(
                config.optimizer,
                config.learning_rate,
                weight_decay=config.weight_decay,
                beta_2=config.beta_2,
                ema=config.ema,
            )
            self.optimizer.build(self.model.trainable_variables)
        self.steps_per_epoch = len(self._batches)
        self.items_per_step = config.batch_size * config.seq_length
        self.uniform_loss = math.log(max(2, self.model.vocabulary_size))
        device = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        shared = f", {job.describe()}" if job.describe() else ""
        log.info(
            f"{self.model.count_params():,} parameters, {self.steps_per_epoch:,} batches per epoch, "
            f"on the {device}{shared}."
        )
        clipping = {"clip": config.clip, "clip_norm": config.clip_norm}
        self._step = job.step(self.model, self.optimizer, config.batch_size, **clipping)
        self._evaluate = EvalStep(self.model)
        held_out = ids[split.train : split.val]
        self._held_out = held_out if len(held_out) > 1 else None
        characters = corpus.prepared.characters(split.train, split.val)
        self._symbols_per_character = len(held_out) / max(characters, 1)
        self._states = self._step.zero_states(config.batch_size)
        self._ahead: dict[int, tuple[Any, Any]] = {}  # the next batch, by its number

    def model_record(self) -> dict[str, Any]:
        return {**self.config.part(ModelConfig), "parameters": int(self.model.count_params())}

    def begin_epoch(self, epoch: int) -> None:
        self._states = self._step.zero_states(self.config.batch_size)

    def step(self, progress: Progress) -> dict[str, float]:
        """Train on one batch; `loss` is in nats per symbol."""
        rate = self.set_learning_rate(progress)
        x, y = self._ahead.get(progress.batch) or self._batch(progress.batch)
        seed = step_seed(self.config.seed, progress.step)
        loss, norm, self._states = self._step(x, y, self._states, seed)
        # A GPU works until the loss is read, so preparing the next batch here takes no extra time.
        k = progress.batch + 1
        self._ahead = {k: self._batch(k)} if k < self.steps_per_epoch else {}
        return {"loss": float(loss), "grad_norm": float(norm), "learning_rate": rate}

    def _batch(self, number: int) -> tuple[Any, Any]:
        x, y = self._batches[number]
        return self._step.put(x), self._step.put(y)

    def validate(self) -> dict[str, float]:
        """Loss in nats per symbol on the held-out text, read as one row with the state carried through."""
        if self._held_out is None:
            return {}
        total = self._nats(self._held_out)
        # One row cannot be split: each process reads all of it, and the chief's sum counts.
        loss = float(self.job.broadcast(np.array([total]))[0]) / (len(self._held_out) - 1)
        return {
            "val_loss": loss,
            "val_bits_per_character": loss * self._symbols_per_character / math.log(2),
            "val_perplexity": math.exp(min(loss, 700.0)),
        }

    def _nats(self, ids: np.ndarray) -> float:
        """Sum of the losses of a text, read as one row with the state carried through."""
        total, states = 0.0, self.model.initial_states(1)
        for start in range(0, len(ids) - 1, VALIDATION_PIECE):
            window = ids[None, start : start + VALIDATION_PIECE + 1].astype(np.int32)
            nats, states = self._evaluate(window[:, :-1], window[:, 1:], states)
            total += float(nats)
        return total

    def reserved_seconds(self) -> float:
        """Estimated seconds of a validation."""
        if self._held_out is None:
            return 0.0
        piece = self._held_out[: VALIDATION_PIECE + 1]
        return (len(self._held_out) - 1) / (len(piece) - 1) * seconds_of(lambda: self._nats(piece))

    def graph(self) -> tf.Graph:
        ids = tf.TensorSpec([self.config.batch_size, self.config.seq_length], tf.int32)
        return tf.function(lambda x: self.model(x)[0]).get_concrete_function(ids).graph

    def states(self) -> Mapping[str, np.ndarray]:
        """Recurrent states by position, each `(B, units)` float32, and those of every task."""
        gathered = self._step.gather(self._states)
        return {**{f"{i:04d}": array for i, array in enumerate(gathered)}, **super().states()}

    def restore(self, states: Mapping[str, np.ndarray]) -> None:
        super().restore(states)
        recurrent = sorted(name for name in states if name.isdigit())
        self._states = self._step.scatter([states[name] for name in recurrent])
