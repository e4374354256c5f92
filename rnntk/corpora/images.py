"""Reads image sets: MNIST, whose arrays are checked whatever their container, and the drawn digits."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnntk.corpora.fetch import unpacked
from rnntk.errors import DataError

if TYPE_CHECKING:
    from rnntk.corpora.card import Resolved

SIDE, CLASSES = 28, 10
MOST_BYTES = 10**9  # of a set, unpacked

_IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels, and the name and title of the corpus."""

    x_train: np.ndarray  # uint8 (N, 28, 28), 0 is background
    y_train: np.ndarray  # uint8 (N,), 0 to 9
    x_test: np.ndarray
    y_test: np.ndarray
    name: str
    title: str


def load_images(resolved: Resolved) -> ImageSet:
    """Read and check an image set: an `.npz` without pickles, or a folder of IDX files. Raises `DataError`."""
    path, card = resolved.path, resolved.card
    if path.is_dir():
        files = zip(_IDX_NAMES, idx_files(path), strict=True)
        arrays = {name: read_idx(file) for name, file in files}
    else:
        arrays = _read_npz(path)
    _check_shapes(arrays, path)
    for name, expected in card.arrays:
        found = hashlib.sha256(arrays[name].tobytes()).hexdigest()
        if found != expected:
            raise DataError(
                f"{path} is not {card.title}: the SHA-256 of its {name} is {found}, not {expected}.\n"
                "The file was left as it is. Move it away to have the right one downloaded."
            )
    return ImageSet(**arrays, name=card.name, title=card.title)


def idx_files(folder: Path) -> list[Path]:
    """The four IDX files of a folder, plain or `.gz`; empty unless all exist."""
    files: list[Path] = []
    # Some distributions write train-images.idx3-ubyte.
    for name in _IDX_NAMES.values():
        stems = (folder / name, folder / name.replace("-idx", ".idx"))
        paths = (Path(f"{stem}{suffix}") for stem in stems for suffix in ("", ".gz"))
        files += [path for path in paths if path.is_file()][:1]
    return files if len(files) == len(_IDX_NAMES) else []


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because NumPy leaves a bad archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in _IDX_NAMES if name not in archive]:
                raise DataError(f"{path} has no array {', '.join(missing)}.")
            if sum(info.file_size for info in archive.zip.infolist()) > MOST_BYTES:
                raise DataError(f"{path} has over {MOST_BYTES:,} bytes unpacked.")
            return {name: np.ascontiguousarray(archive[name]) for name in _IDX_NAMES}
    except DataError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many classes
        raise DataError(
            f"{path} cannot be read as an .npz file: {error}\nThe file was left as it is."
        ) from None


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, plain or gzip (the format of the original MNIST). Raises `DataError`."""
    try:
        with unpacked(path) as file:
            # Two zero bytes, the type (8: unsigned byte), the number of dimensions, then each of them, big-endian.
            head = file.read(4)
            dimensions = head[3] if len(head) == 4 and head.startswith(b"\0\0\x08") else 0
            sizes = file.read(4 * dimensions) if dimensions < 4 else b""
            if not sizes or len(sizes) < 4 * dimensions:
                raise DataError(
                    f"{path} is not an IDX file of unsigned bytes in 1 to 3 dimensions."
                )
            shape = struct.unpack(f">{dimensions}I", sizes)
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise DataError(
                    f"{path} should hold {size:,} values, more than the {MOST_BYTES:,} that are read."
                )
            data = file.read(size + 1)
    except DataError:
        raise
    except Exception as error:  # a damaged file raises many classes
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(data) != size:
        count = "more" if len(data) > size else f"{len(data):,}"
        raise DataError(f"{path} should hold {size:,} values after its header, not {count}.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _check_shapes(arrays: dict[str, np.ndarray], path: Path) -> None:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        good = x.ndim == 3 and x.shape[1:] == (SIDE, SIDE) and y.shape == x.shape[:1] and len(x) > 0
        if not good or x.dtype != np.uint8 or y.dtype != np.uint8:
            raise DataError(
                f"{path}: x_{part} must be uint8 (N, {SIDE}, {SIDE}) and y_{part} uint8 (N,), not"
                f" {x.dtype} {x.shape} and {y.dtype} {y.shape}."
            )
        if y.max() >= CLASSES:
            raise DataError(
                f"{path}: y_{part} holds the label {y.max()}; labels are 0 to {CLASSES - 1}."
            )
