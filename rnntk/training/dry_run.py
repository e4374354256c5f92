"""What a run would take, from a few real steps that are then forgotten."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass

from rnntk.runs.checkpoint import Progress
from rnntk.training.tasks import CharTask

STEPS = 8


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        parameters: weights of the network.
        steps: optimizer steps in all.
        steps_per_epoch: steps an epoch.
        first_step: seconds to the end of the first step, with TensorFlow's tracing.
        step_seconds: seconds a step after that (median).
        seconds: of all steps; validation is not counted.
        memory: peak memory of this process in bytes, or None where the system does not tell.
    """

    parameters: int
    steps: int
    steps_per_epoch: int
    first_step: float
    step_seconds: float
    seconds: float
    memory: int | None


def estimate(task: CharTask, total_steps: int) -> Estimate:
    """Train a few steps and measure. The task is used up: nothing of it is saved.

    Memory is the peak of the process after these steps: every buffer of a step is as large as it will be, since
    nothing in training grows with the text but the memory map of its ids.
    """
    progress = Progress()
    task.begin_epoch(0)
    times = []
    for _ in range(min(STEPS, total_steps)):
        begin = time.perf_counter()
        task.step(progress)
        times.append(time.perf_counter() - begin)
        progress.stepped(0.0, task.steps_per_epoch)
    step = statistics.median(times[1:] or times)
    return Estimate(
        parameters=int(task.model.count_params()),
        steps=total_steps,
        steps_per_epoch=task.steps_per_epoch,
        first_step=times[0],
        step_seconds=step,
        seconds=times[0] + step * (total_steps - 1),
        memory=_peak_memory(),
    )


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
