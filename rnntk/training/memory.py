"""The memory that training needs, compared with what there is before any is taken.

A system that has promised too much memory stops the process without a word, so an error would come too late.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from rnntk.config import MnistConfig, TrainConfig
from rnntk.errors import TrainingError

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# Of the weights: they, the optimizer's averages, and a checkpoint's largest file as it is written, or the gradients.
_COPIES = {"adam": 5, "adagrad": 3, "rmsprop": 3, "sgd": 2}


def check(
    config: TrainConfig | MnistConfig, inputs: int, vocabulary: int, rows: int, steps: int
) -> None:
    """Raise `TrainingError` for a network that cannot fit: copies of the weights, outputs of all layers, logits.

    `inputs` is the width of the first layer's input, `vocabulary` the number of symbols that are embedded and
    predicted at every step, and `rows` and `steps` are the size of a batch.
    """
    ways = 2 if getattr(config, "bidirectional", False) else 1
    width = ways * config.units
    parameters = vocabulary * (inputs + width + 1)
    for layer in range(config.layers):
        below = width if layer else inputs
        parameters += _GATES[config.cell] * width * (below + config.units + 1)
    copies = _COPIES[getattr(config, "optimizer", "adam")]
    needed = 4 * (copies * parameters + rows * steps * (config.layers * width + vocabulary))
    free = available()
    if free is not None and needed > free:
        raise TrainingError(
            f"{parameters:,} parameters and batches of {rows:,} x {steps:,} need at least {needed / 1e9:,.1f} GB of "
            f"memory, and {free / 1e9:,.1f} GB are available. Lower `units`, `layers` or `batch_size`."
        )


def available() -> int | None:
    """Bytes this process can still take on the machine, in its container and under `ulimit -v`; None if unknown."""
    found = []
    with suppress(OSError, ValueError, KeyError):
        machine = _facts("/proc/meminfo")
        found.append(machine["MemAvailable"] + machine["SwapFree"])
    with suppress(OSError, ValueError):  # a container without a limit has "max" for a number
        group = Path("/sys/fs/cgroup")
        limit, taken = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - taken)
    with suppress(ImportError, OSError, ValueError, KeyError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            found.append(limit - _facts("/proc/self/status")["VmSize"])
    return max(0, min(found)) if found else None


def _facts(path: str) -> dict[str, int]:
    """The lines `name: number kB` of a file of Linux, in bytes."""
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines if words[2:] == ["kB"]}
