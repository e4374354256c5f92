"""Compare the memory that training needs with what is free, as a system that runs out kills a process silently."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rnntk.cells import CELLS
from rnntk.config import MnistConfig, TrainConfig
from rnntk.errors import TrainingError

# Copies of the weights: themselves, the optimizer's averages, and the gradients or a checkpoint's file being written.
_COPIES = {"adam": 5, "adagrad": 3, "rmsprop": 3, "sgd": 2}


def check(
    config: TrainConfig | MnistConfig, inputs: int, vocabulary: int, rows: int, steps: int
) -> None:
    """Raise `TrainingError` if copies of the weights, outputs of all layers and logits do not fit in memory.

    `inputs` is the width of the first layer's input, `vocabulary` the number of symbols, `rows` x `steps` a batch.
    """
    ways = 2 if getattr(config, "bidirectional", False) else 1
    width = ways * config.units
    gates = len(CELLS[config.cell].gates)
    parameters = vocabulary * (inputs + width + 1)
    for layer in range(config.layers):
        below = width if layer else inputs
        parameters += gates * width * (below + config.units + 1)
    copies = _COPIES[getattr(config, "optimizer", "adam")]
    needed = 4 * (copies * parameters + rows * steps * (config.layers * width + vocabulary))
    free = available()
    if free is not None and needed > free:
        raise TrainingError(
            f"{parameters:,} parameters and batches of {rows:,} x {steps:,} need at least "
            f"{needed / 1e9:,.1f} GB of memory; {free / 1e9:,.1f} GB are free. Lower `units`, `layers` "
            "or `batch_size`."
        )


def available() -> int | None:
    """Free bytes for this process on the machine, in its container and under `ulimit -v`; None if unknown."""
    found = []
    with suppress(OSError, ValueError, KeyError):
        machine = facts("/proc/meminfo")
        found.append(machine["MemAvailable"] + machine["SwapFree"])
    with suppress(OSError, ValueError):  # without a limit, the file says "max"
        group = Path("/sys/fs/cgroup")
        limit, taken = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - taken)
    with suppress(ImportError, OSError, ValueError, KeyError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            found.append(limit - facts("/proc/self/status")["VmSize"])
    return max(0, min(found)) if found else None


def facts(path: str) -> dict[str, int]:
    """The `name: number kB` lines of a file in `/proc`, in bytes."""
    lines = [line.split() for line in Path(path).read_text("ascii", "replace").splitlines()]
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines if words[2:] == ["kB"]}
