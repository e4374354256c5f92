"""Estimate the time and memory of a run from a few real steps in a temporary folder."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rnntk.config import TrainConfig
from rnntk.errors import Interrupted, UsageError
from rnntk.files import disk_errors, scratch
from rnntk.storage.folder import RunFolder
from rnntk.training import character, device, memory, schedule

if TYPE_CHECKING:
    from rnntk.text.corpus import Corpus

STEPS = 8
HELD_OUT = 2001  # symbols of held-out text: two pieces of a validation


@dataclass(frozen=True)
class Estimate:
    """Estimated size and time of a run."""

    parameters: int
    steps: int  # in all
    steps_per_epoch: int
    first_step: float  # seconds, with TensorFlow's tracing
    step_seconds: float  # median of the later ones
    validations: int
    validation_seconds: float  # of one
    seconds: float  # of all steps and validations, without samples and checkpoints
    memory: int | None  # peak of the process in bytes, without a GPU's; None if unknown


def estimate(
    config: TrainConfig, corpus: Corpus, path: Path, init_from: RunFolder | None = None
) -> Estimate:
    """Measure a few steps, two validations, samples and checkpoints in a temporary folder beside `path`.

    Their peak memory is that of the whole run: it grows neither with the steps nor with the text (memory-mapped).
    Arguments and errors as in `character.start`.
    """
    if config.distribute != "none":
        raise UsageError("A dry run measures one process. Leave `distribute` out.")
    split = character.checked_split(config, corpus)
    short = dataclasses.replace(split, val=min(split.val, split.train + HELD_OUT))
    device.ready(config.device, config.threads)
    # These import TensorFlow, whose device must be set before.
    from rnntk.training import callbacks, session, transfer
    from rnntk.training.char_task import CharTask

    task = CharTask(config, corpus, short)
    if init_from is not None:
        transfer.take_weights(task.model, task.vocabulary, init_from)
    steps = schedule.total_steps(config, task.steps_per_epoch)
    tried = min(STEPS, steps)
    every = max(1, tried // 2)  # twice, as the first time includes tracing
    task.config = dataclasses.replace(
        config,
        max_steps=tried,
        max_time=None,
        val_every=every if config.val_fraction else None,
        patience=None,
        checkpoint_every=every,
        keep=1,
        sample_every=every if config.sample_every else 0,
        histograms_every=every if config.histograms_every else 0,
    )
    clock = callbacks.Clock(task.items_per_step)
    beside = next(p for p in path.absolute().parents if p.exists())
    with contextlib.ExitStack() as stack:
        with disk_errors(path, advice="Choose another folder with `run`."):
            temporary = stack.enter_context(scratch(beside))
        try:
            session.start(task, temporary / "run", quiet=True, extra=[clock])
        except Interrupted as error:
            raise Interrupted("Stopped; a dry run keeps nothing.", error.exit_code - 128) from error
    step = statistics.median(clock.steps[1:] or clock.steps)
    held_out = split.val - split.train
    due_every = config.val_every or task.steps_per_epoch
    validations = math.ceil(steps / due_every) if held_out else 0  # with one at the end
    validation = 0.0
    if validations:
        validation = clock.validations[-1] * held_out / (short.val - short.train)
    return Estimate(
        parameters=int(task.model.count_params()),
        steps=steps,
        steps_per_epoch=task.steps_per_epoch,
        first_step=clock.steps[0],
        step_seconds=step,
        validations=validations,
        validation_seconds=validation,
        seconds=clock.steps[0] + step * (steps - 1) + validations * validation,
        memory=peak_memory(),
    )


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes; None if unknown."""
    # On Linux, ru_maxrss includes the peak of the parent process before exec.
    with contextlib.suppress(OSError, KeyError):
        return memory.facts("/proc/self/status")["VmHWM"]
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
