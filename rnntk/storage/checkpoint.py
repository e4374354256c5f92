"""Checkpoints: folders with weights, optimizer, states, progress, and a manifest of checksums."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from rnntk import stored
from rnntk.errors import RunError
from rnntk.files import remove, remove_stale, write_folder
from rnntk.stored import MANIFEST

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATES = "states.safetensors"
PROGRESS = "progress.json"
FILES = (WEIGHTS, OPTIMIZER, STATES, PROGRESS)

_NAME = re.compile("step-([0-9]{8,18})")
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U64": "<u8", "U32": "<u4", "U16": "<u2",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
_ENTRY = {"dtype": str, "shape": [int], "data_offsets": (int, int)}  # of a safetensors header
_BEST = {"val_loss": float, "step": float}
_PROGRESS = {
    "step": int, "epoch?": int, "batch?": int, "seconds?": float, "metrics_bytes?": int, "samples_bytes?": int,
    "losses?": {...: float}, "best?": _BEST, "stale?": int, "reductions?": int, "high_steps?": int,
    "lowest?": float,
}  # fmt: skip

Arrays = Mapping[str, np.ndarray]


class Removed(RunError):
    """Training has removed a checkpoint that was being read."""


@dataclass
class Progress:
    """Progress of training, the content of `progress.json`."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # epochs done
    batch: int = 0  # steps done in the current epoch
    seconds: float = 0.0  # wall time trained, over all sessions
    metrics_bytes: int = 0  # size of the metrics file at this checkpoint
    samples_bytes: int | None = None  # size of the samples file; None if unknown
    # In nats: the last `loss` and `val_loss`, and `mean_loss`.
    losses: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] | None = None  # the lowest `val_loss`, in nats, and its `step`
    lowest: float | None = None  # the lowest `val_loss` of the regular validations
    stale: int = 0  # regular validations since the lowest one, for patience and plateau
    reductions: int = 0  # times that a plateau halved the learning rate
    # Newest steps in a row with a loss far above the uniform loss; None before a step below it.
    high_steps: int | None = None

    def stepped(self, loss: float, steps_per_epoch: int) -> None:
        """Count a step and, after the last step of an epoch, the epoch."""
        self.losses["loss"] = loss
        self.step += 1
        self.batch += 1
        if self.batch == steps_per_epoch:
            self.epoch += 1
            self.batch = 0

    def validated(
        self, loss: float, plateau_patience: int | None = None, *, due: bool = True
    ) -> None:
        """Record a validation loss in nats. A plateau is `plateau_patience` validations without a new lowest loss.

        The extra validation at the end of a run is not `due` and does not count for patience and plateau, so a resume
        continues as if the run had not ended.
        """
        self.losses["val_loss"] = loss
        if self.best is None or loss < self.best["val_loss"]:
            self.best = {"val_loss": loss, "step": self.step}
        if not due:
            return
        if self.lowest is None or loss < self.lowest:
            self.lowest, self.stale = loss, 0
            return
        self.stale += 1
        if plateau_patience is not None and self.stale % plateau_patience == 0:
            self.reductions += 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk. The methods return arrays by name and raise `RunError` if a file is damaged."""

    folder: Path
    progress: Progress

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights, float32."""
        return _copied(self.folder / WEIGHTS)

    def mapped_weights(self) -> dict[str, np.ndarray]:
        """The weights, read-only, memory-mapped unless small."""
        with _damage(self.folder):
            arrays = _arrays(self.folder / WEIGHTS)
            if any(array.dtype != np.float32 for array in arrays.values()):
                raise ValueError(f"{WEIGHTS} must hold float32 arrays")
        return arrays

    def optimizer(self) -> dict[str, np.ndarray]:
        return _copied(self.folder / OPTIMIZER)

    def states(self) -> dict[str, np.ndarray]:
        """The hidden states of the batch rows."""
        return _copied(self.folder / STATES)


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def write(
    parent: Path, *, weights: Arrays, optimizer: Arrays, states: Arrays, progress: Progress
) -> Path:
    """Write a checkpoint atomically; return its folder. Raises `TrainingError` if the disk is full or read-only."""
    files = {
        WEIGHTS: _pack(weights),
        OPTIMIZER: _pack(optimizer),
        STATES: _pack(states),
        PROGRESS: json.dumps(asdict(progress), indent=2).encode(),
    }
    manifest = stored.sums({name: [data] for name, data in files.items()})
    files[MANIFEST] = json.dumps(manifest, indent=2).encode()
    folder = parent / folder_name(progress.step)
    write_folder(folder, files)
    return folder


def _pack(arrays: Arrays) -> bytes:
    import safetensors.numpy  # here, so that sampling starts sooner

    return safetensors.numpy.save(
        {name: np.asarray(value, order="C") for name, value in arrays.items()}
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Read-only arrays of a safetensors file: 8 bytes with the length of the header, the header (JSON), the data."""
    with stored.opened(path) as file:
        length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
        if length > min(size - 8, stored.LARGEST_JSON):
            raise ValueError(f"the header of {path.name} has {length:,} bytes, the file {size:,}")
        header = stored.parse(file.read(length), path.name)
    stored.conform(header, {}, path.name)
    header.pop("__metadata__", None)
    stored.conform(header, {...: _ENTRY}, path.name)
    data = stored.array(path, np.uint8, 8 + length)
    found, left = {}, len(data)
    for name, entry in header.items():
        (start, end), shape = entry["data_offsets"], entry["shape"]
        dtype = _DTYPES.get(entry["dtype"])
        fits = dtype and min(shape, default=0) >= 0 and 0 <= start <= end <= len(data)
        if not dtype or not fits or math.prod(shape) * np.dtype(dtype).itemsize != end - start:
            raise ValueError(f"the entry for {name!r} in {path.name} is wrong")
        found[name] = data[start:end].view(dtype).reshape(shape)
        left -= end - start
    if left:
        raise ValueError(f"the arrays of {path.name} overlap or leave gaps")
    return found


def _copied(path: Path) -> dict[str, np.ndarray]:
    with _damage(path.parent):
        return {name: array.copy() for name, array in _arrays(path).items()}


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn errors of reading a checkpoint into a `RunError`."""
    try:
        yield
    except FileNotFoundError as error:
        if not path.exists():
            raise Removed(f"{path} was removed while it was read. Try again.") from error
        missing = Path(str(error.filename)).name
        raise RunError(f"{path} is damaged: {missing} is missing.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror} ({error.filename}).") from error
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def read(folder: Path, *, only: Collection[str] | None = None) -> Checkpoint:
    """Open a checkpoint and check its files, or only those in `only`. Raises `RunError` if one is damaged."""
    with _damage(folder):
        stored.check_manifest(folder, FILES, only)
        for name in FILES if only is None else only:
            if name != PROGRESS:
                _arrays(folder / name)
        return Checkpoint(folder, _progress(folder))


def glance(folder: Path) -> Progress:
    """Progress of a checkpoint, after a check of the file sizes alone. Raises `RunError` if one is wrong."""
    with _damage(folder):
        recorded = stored.read_json(folder / MANIFEST, stored.MANIFEST_TYPE)["files"]
        for name in FILES:
            if name not in recorded or (folder / name).stat().st_size != recorded[name]["bytes"]:
                raise ValueError(f"the size of {name} has changed")
        return _progress(folder)


def _progress(folder: Path) -> Progress:
    content = stored.read_json(folder / PROGRESS, _PROGRESS)
    content.setdefault("lowest", (content.get("best") or {}).get("val_loss"))  # older runs lack it
    found = Progress(**{key: value for key, value in content.items() if value is not None})
    if folder.name != folder_name(found.step) or found.metrics_bytes < 0 or found.batch < 0:
        raise ValueError(f"{PROGRESS} is of step {found.step}")
    return found


def steps(parent: Path) -> list[int]:
    """Steps of the checkpoints in `parent`, ascending; their files are not checked."""
    found = (_NAME.fullmatch(path.name) for path in parent.glob("step-*") if path.is_dir())
    return sorted(int(name[1]) for name in found if name and name[0] == folder_name(int(name[1])))


def prune(parent: Path, keep: int, newest: int, best_step: int | None) -> None:
    """Remove all but the last `keep` checkpoints and the best, and any after `newest`: a resume found them damaged."""
    remove_after(parent, newest)
    _remove(parent, [step for step in steps(parent)[:-keep] if step != best_step])


def remove_after(parent: Path, newest: int) -> None:
    _remove(parent, [step for step in steps(parent) if step > newest])


def _remove(parent: Path, gone: list[int]) -> None:
    for step in gone:
        with suppress(OSError):
            remove(parent / folder_name(step))


def remove_unfinished(parent: Path) -> None:
    """Remove unfinished checkpoints of killed processes; the caller holds the run's lock."""
    remove_stale(parent)
    for unfinished in parent.glob(".step-*.tmp"):  # written by rnntk before 1.0
        shutil.rmtree(unfinished, ignore_errors=True)
