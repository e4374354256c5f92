"""What a run would take, from a few real steps in a folder that is then removed."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk.errors import Interrupted
from rnntk.files import disk_errors, scratch
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.training import text_run
from rnntk.training.schedule import Limits
from rnntk.training.text_run import Split, TextRun

if TYPE_CHECKING:
    from rnntk.text.corpus import Corpus

STEPS = 8
HELD_OUT = 2001  # symbols of the held-out text: two pieces, as validation reads it


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        parameters: weights of the network.
        steps: optimizer steps in all.
        steps_per_epoch: steps an epoch.
        first_step: seconds to the end of the first step, with TensorFlow's tracing.
        step_seconds: seconds a step after that (median).
        validations: how often the held-out text will be read.
        validation_seconds: of reading it once.
        seconds: of all steps and validations; samples and checkpoints are not counted.
        memory: peak memory of the process in bytes, or None where the system does not tell. A GPU's own
            memory is not in it.
    """

    parameters: int
    steps: int
    steps_per_epoch: int
    first_step: float
    step_seconds: float
    validations: int
    validation_seconds: float
    seconds: float
    memory: int | None


def estimate(
    settings: TextRun,
    corpus: Corpus,
    path: Path,
    *,
    notify: Callable[[str], None],
    draw: Callable[[RunFolder, dict[str, Any]], str] | None = None,
    sample_every: int = 0,
    init_from: RunFolder | None = None,
) -> Estimate:
    """Train a few steps, with all that goes with them, and measure.

    Nothing in training grows with the number of steps, and nothing with the text but the memory map of its ids. So
    the peak memory of a few steps, two validations, samples and checkpoints is that of the whole run.

    Args:
        settings, corpus, notify, draw, sample_every, init_from: as in `text_run.start`.
        path: where the run would be; the steps are done in a temporary folder beside it, so that what cannot be
            written there is found now.

    Raises:
        DataError, RunError, UsageError, TrainingError: as `text_run.start` would.
        Interrupted: by a signal; nothing is kept.
    """
    fit = settings.fit
    split = Split.of(len(corpus.prepared.ids), fit)
    short = dataclasses.replace(split, val=min(split.val, split.train + HELD_OUT))
    task = text_run.prepare_task(settings, corpus, short, notify)
    # TensorFlow is imported from here on, for it must be told its device before.
    from rnntk.models.weights import named_weights
    from rnntk.training import callbacks, device, session, transfer

    if init_from is not None:
        transfer.take_weights(task.model, corpus.prepared.vocabulary, init_from, notify)
    steps = text_run.limits(fit).steps(task.steps_per_epoch)
    tried = min(STEPS, steps)
    often = max(1, tried // 2)  # twice, for the first time makes the graphs
    clock = callbacks.Clock(task.items_per_step)

    beside = next(p for p in path.absolute().parents if p.exists())
    with contextlib.ExitStack() as stack:
        with disk_errors(path, advice="Choose another folder with --run."):
            temporary = stack.enter_context(scratch(beside))
        run = folder.create(
            temporary / "run",
            kind=folder.CHAR_RNN,
            settings=settings.to_json(),
            model=dataclasses.asdict(settings.model),
            corpus={**corpus.record, "split": split.to_json()},
            versions=device.versions(),
            vocabulary=corpus.prepared.vocabulary,
        )
        try:
            session.train(
                run,
                task,
                Progress(),
                Limits(fit.epochs, tried, val_every=often),
                weights_of=named_weights,
                checkpoint_every=often,
                keep=1,
                log_every=1,
                quiet=True,
                draw=text_run.of_model(run, draw),
                sample_every=often if sample_every else 0,
                graph=task.graph,
                histograms_every=often if settings.machine.histograms_every else 0,
                extra_callbacks=[clock],
            )
        except Interrupted as error:
            raise Interrupted("Stopped; a dry run keeps nothing.", error.exit_code - 128) from error
    step = statistics.median(clock.steps[1:] or clock.steps)
    validations = steps // (fit.val_every or task.steps_per_epoch) if split.val > split.train else 0
    validation = 0.0
    if validations:
        validation = clock.validations[-1] * (split.val - split.train) / (short.val - short.train)
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
    """The most memory this process has had resident, in bytes; None where the system does not tell."""
    try:
        # Linux counts in a process's ru_maxrss what the process that started it had.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
