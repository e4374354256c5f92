"""A checkpoint: one folder with weights, optimizer, states and progress, each file with its checksum."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnntk.errors import RunError
from rnntk.files import remove_stale, write_folder

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATES = "states.safetensors"
PROGRESS = "progress.json"

Arrays = Mapping[str, np.ndarray]


@dataclass
class Progress:
    """How far training is: the content of `progress.json`."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # epochs done
    batch: int = 0  # steps done in the current epoch
    seconds: float = 0.0  # wall time trained, over all sessions
    metrics_bytes: int = 0  # size of the metrics file at this checkpoint
    samples_bytes: int | None = None  # size of the file of samples; None if unknown
    losses: dict[str, float] = field(default_factory=dict)  # the last `loss`, `val_loss` in nats
    best: dict[str, float] | None = None  # the lowest `val_loss`, in nats, and its `step`
    stale: int = 0  # validations since the best one
    reductions: int = 0  # how often a plateau has halved the learning rate
    high_steps: int | None = None  # last steps far above the uniform loss; None before one below

    def stepped(self, loss: float, steps_per_epoch: int) -> None:
        """Count a step; the last one of an epoch begins the next."""
        self.losses["loss"] = loss
        self.step += 1
        self.batch += 1
        if self.batch == steps_per_epoch:
            self.epoch += 1
            self.batch = 0

    def validated(self, loss: float, plateau_patience: int | None = None) -> bool:
        """Record a validation loss in nats; True if it is the best so far.

        `plateau_patience` validations without a better one are a plateau; None: there are none.
        """
        self.losses["val_loss"] = loss
        if self.best is None or loss < self.best["val_loss"]:
            self.best = {"val_loss": loss, "step": self.step}
            self.stale = 0
            return True
        self.stale += 1
        if plateau_patience is not None and self.stale % plateau_patience == 0:
            self.reductions += 1
        return False


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk that has been checked against its manifest."""

    folder: Path
    progress: Progress

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights by name, float32."""
        return _unpack(self.folder / WEIGHTS)

    def mapped_weights(self) -> dict[str, np.ndarray]:
        """The same, memory-mapped and read-only; safetensors need not be imported. Raises `RunError` if damaged.

        The file holds the header's length (8 bytes), the header (JSON) and the arrays.
        """
        path = self.folder / WEIGHTS
        with _damage(path):
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            if any(entry["dtype"] != "F32" for entry in header.values()):
                raise ValueError("it must hold float32 arrays")
            # As a plain array: np.memmap's own slices are slow.
            data = np.asarray(np.memmap(path, np.uint8, "r", offset=8 + length))
            return {
                name: data[slice(*entry["data_offsets"])].view("<f4").reshape(entry["shape"])
                for name, entry in header.items()
            }

    def optimizer(self) -> dict[str, np.ndarray]:
        """The optimizer's variables by name."""
        return _unpack(self.folder / OPTIMIZER)

    def states(self) -> dict[str, np.ndarray]:
        """The recurrent states of the batch rows, by name."""
        return _unpack(self.folder / STATES)


def folder_name(step: int) -> str:
    """`500` -> `step-00000500`."""
    return f"step-{step:08d}"


def write(
    parent: Path, *, weights: Arrays, optimizer: Arrays, states: Arrays, progress: Progress
) -> Path:
    """Write one checkpoint atomically to `parent/step-<step>`, which is returned.

    Raises:
        TrainingError: the disk is full or read-only; nothing older is touched.
    """
    files = {
        WEIGHTS: _pack(weights),
        OPTIMIZER: _pack(optimizer),
        STATES: _pack(states),
        PROGRESS: json.dumps(asdict(progress), indent=2).encode(),
    }
    sums = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in files.items()
    }
    files[MANIFEST] = json.dumps({"files": sums}, indent=2).encode()
    folder = parent / folder_name(progress.step)
    write_folder(folder, files)
    return folder


# The library is imported where it is used: sampling starts sooner without it.
def _pack(arrays: Arrays) -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save(
        {name: np.asarray(value, order="C") for name, value in arrays.items()}
    )


def _unpack(path: Path) -> dict[str, np.ndarray]:
    import safetensors.numpy

    return safetensors.numpy.load_file(path)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn errors while a checkpoint is read into a `RunError`."""
    try:
        yield
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise RunError(f"{path} is damaged: {missing} is missing.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def read(folder: Path, *, only: Collection[str] | None = None) -> Checkpoint:
    """Open a checkpoint and check its files, or those in `only`. Raises `RunError` that names a damaged one."""
    with _damage(folder):
        manifest = _json(folder / MANIFEST)["files"]
        if missing := set(only or ()) - set(manifest):
            raise ValueError(f"its manifest lacks {', '.join(sorted(missing))}")
        for name in manifest if only is None else only:
            if Path(name).name != name:
                raise ValueError(f"its manifest names {name!r}")
            data, expected = (folder / name).read_bytes(), manifest[name]
            if len(data) != expected["bytes"]:
                raise ValueError(f"{name} has {len(data)} bytes instead of {expected['bytes']}")
            if hashlib.sha256(data).hexdigest() != expected["sha256"]:
                raise ValueError(f"the content of {name} has changed")
        return Checkpoint(folder, Progress(**_json(folder / PROGRESS)))


def glance(folder: Path) -> Progress:
    """The progress of a checkpoint, with a check of its files' sizes. Raises `RunError` if one is wrong."""
    with _damage(folder):
        for name, expected in _json(folder / MANIFEST)["files"].items():
            if (folder / name).stat().st_size != expected["bytes"]:
                raise ValueError(f"{name} has another size than when it was written")
        return Progress(**_json(folder / PROGRESS))


def steps(parent: Path) -> list[int]:
    """The steps of the checkpoints in `parent`, ascending, unchecked."""
    names = (path.name.removeprefix("step-") for path in parent.glob("step-*") if path.is_dir())
    return sorted(int(digits) for digits in names if digits.isdigit())


def prune(parent: Path, keep: int, newest: int, best_step: int | None) -> None:
    """Remove the oldest checkpoints but `keep`, never the newest or the best one.

    Later ones than the newest are removed too: a run resumes from its last intact checkpoint, so they were damaged.
    """
    remove_after(parent, newest)
    for step in steps(parent)[:-keep]:
        if step != best_step:
            shutil.rmtree(parent / folder_name(step), ignore_errors=True)


def remove_after(parent: Path, newest: int) -> None:
    """Remove the checkpoints of later steps than `newest`."""
    for step in steps(parent):
        if step > newest:
            shutil.rmtree(parent / folder_name(step), ignore_errors=True)


def remove_unfinished(parent: Path) -> None:
    """Remove the unfinished checkpoints of killed processes; the caller holds the run's lock."""
    remove_stale(parent)
    for aside in parent.glob(".step-*.tmp"):  # the names of rnntk before 1.0
        shutil.rmtree(aside, ignore_errors=True)
