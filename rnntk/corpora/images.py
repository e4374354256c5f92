"""Read image sets (MNIST and rnntk's own digits) and pictures of digits."""

from __future__ import annotations

import hashlib
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from rnntk import stored
from rnntk.corpora.fetch import unpacked
from rnntk.errors import DataError

if TYPE_CHECKING:
    from rnntk.corpora.card import Resolved

SIDE, CLASSES = 28, 10
MOST_BYTES = 10**9  # of a set, unpacked
MOST_PIXELS = 50_000_000  # of a picture
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "GIF", "WEBP", "TIFF")  # PPM includes PGM

_BOX = 20  # longer side of a digit in MNIST, in pixels
_PEN = 2.5  # width of its strokes, in pixels
_EDGE = 0.3  # least ink of a stroke, 0 to 1

_IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of a corpus."""

    x_train: np.ndarray  # uint8 (N, 28, 28), 0 is background
    y_train: np.ndarray  # uint8 (N,), 0 to 9
    x_test: np.ndarray
    y_test: np.ndarray
    name: str  # of the corpus
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
                f"{path} is not {card.title}: the SHA-256 of {name} is {found}, not {expected}.\nMove it "
                "away to download the right one."
            )
    return ImageSet(**arrays, name=card.name, title=card.title)


def idx_files(folder: Path) -> list[Path]:
    """The four IDX files of a folder, plain or `.gz`; empty unless all exist."""
    files: list[Path] = []
    for name in _IDX_NAMES.values():
        stems = (folder / name, folder / name.replace("-idx", ".idx"))  # both spellings are common
        paths = (Path(f"{stem}{suffix}") for stem in stems for suffix in ("", ".gz"))
        files += [path for path in paths if path.is_file()][:1]
    return files if len(files) == len(_IDX_NAMES) else []


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turn the many errors of NumPy, zipfile and zlib into a `DataError`; `kind` says what the file should be."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if why := getattr(error, "strerror", None):
            raise DataError(f"{path} cannot be read: {why}.") from None
        raise DataError(
            f"{path} is not {kind}, or it is damaged. Replace it, or move it away to download it again."
        ) from None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    # NumPy would leave the file of a damaged archive open.
    with (
        _reading(path, "an .npz file of numbers"),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        if missing := [name for name in _IDX_NAMES if name not in archive]:
            raise DataError(f"{path} has no array {', '.join(missing)}.")
        if sum(info.file_size for info in archive.zip.infolist()) > MOST_BYTES:
            raise DataError(f"{path} has over {MOST_BYTES:,} bytes unpacked, the limit.")
        return {name: np.ascontiguousarray(archive[name]) for name in _IDX_NAMES}


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, plain or gzip (the format of the original MNIST). Raises `DataError`."""
    with _reading(path, "an IDX file"), unpacked(path) as file:
        # Two zero bytes, the type (8: unsigned byte), the number of dimensions, then their sizes, big-endian.
        head = file.read(4)
        dimensions = head[3] if len(head) == 4 and head.startswith(b"\0\0\x08") else 0
        sizes = file.read(4 * dimensions) if dimensions < 4 else b""
        if not sizes or len(sizes) < 4 * dimensions:
            raise DataError(f"{path} is not an IDX file of unsigned bytes in 1 to 3 dimensions.")
        shape = struct.unpack(f">{dimensions}I", sizes)
        size = math.prod(shape)
        if size > MOST_BYTES:
            raise DataError(f"{path} should hold {size:,} values; the limit is {MOST_BYTES:,}.")
        data = file.read(size + 1)
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
            wrong = f"{path}: y_{part} holds the label {y.max()}"
            raise DataError(f"{wrong}; labels are 0 to {CLASSES - 1}.")


def read_picture(path: Path) -> np.ndarray:
    """Read a picture of one digit, in any of `FORMATS`, as an MNIST image: uint8 `(28, 28)`, see `centred`.

    Raises `DataError` if it is not a picture, damaged, blank or over `MOST_PIXELS`.
    """
    most = f"the limit is {MOST_PIXELS / 1e6:.0f} million. Scale it down."
    try:
        with stored.opened(path) as file, Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise DataError(f"{path} has {picture.width:,} x {picture.height:,} pixels; {most}")
            grey = _grey(picture)
    except Image.DecompressionBombError:
        raise DataError(f"{path} has far too many pixels; {most}") from None
    except (Image.UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}".replace("PPM", "PGM, PPM")
        why = f"it is not a picture, or damaged. Give a {formats} file"
        why = getattr(error, "strerror", None) or why
        raise DataError(f"{path} cannot be read: {why}.") from None
    try:
        return centred(grey)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


@contextmanager
def _damage_ignored() -> Iterator[None]:
    """Context in which Pillow may fail or warn, as at damaged EXIF data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
            yield


def _grey(picture: Image.Image) -> np.ndarray:
    """Grey values float32 `(H, W)`, 0 to 255, of a picture as viewers show it; of a digit on nothing, the opacity."""
    picture.thumbnail((1000, 1000))
    with _damage_ignored():
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(
        ("I", "F")
    ):  # more than 8 bits, which Pillow's own conversion would cut off
        values = np.nan_to_num(np.asarray(picture, np.float32))
        most = 65535.0 if picture.mode.startswith("I;16") else float(values.max())
        white = next((n for n in (1.0, 255.0, 65535.0) if most <= n), most)
        return values * (255 / white)
    page = picture.convert("RGBA")
    opacity = np.asarray(page.getchannel("A"), np.float32)
    if np.median(_border(opacity)) < 128:
        return opacity
    white_page = Image.new("RGBA", page.size, "white")
    return np.asarray(Image.alpha_composite(white_page, page).convert("L"), np.float32)


def _border(pixels: np.ndarray) -> np.ndarray:
    """The outermost rows and columns of `(H, W)` in one array."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


def centred(grey: np.ndarray) -> np.ndarray:
    """The digit scaled to 20 x 20 pixels, its centre of mass in the middle of 28 x 28: uint8 `(28, 28)`.

    MNIST was made like this (LeCun, Cortes and Burges). Strokes much thinner than MNIST's are widened.

    Args:
        grey: values `(H, W)`, 0 to 255, dark on light or light on dark; the border is background.

    Raises:
        DataError: nothing differs from the background.
    """
    ink = (grey - np.median(_border(grey))).astype(np.float32)
    ink *= 1 if ink.max() > -ink.min() else -1
    if ink.max() < 24:
        raise DataError("The picture is blank. Draw one digit.")
    ink = np.clip(ink / ink.max(), 0, 1)
    rows, columns = (np.flatnonzero((ink > _EDGE).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    strokes = np.pad(ink > _EDGE, 1)
    outline = sum(int(np.diff(strokes, axis=axis).sum()) for axis in (0, 1))
    width = 2 * strokes.sum() / outline * _BOX / max(ink.shape)  # of a stroke in the box, in pixels
    if width < _PEN / 2:
        ink = _widened(ink, _PEN - width)
    small = np.clip(_scaled(ink, _BOX), 0, 1)
    weight = small.sum()
    image = np.zeros((SIDE, SIDE), np.float32)
    place = []
    for axis, length in enumerate(small.shape):
        centre = small.sum(axis=1 - axis) @ np.arange(length) / weight
        start = int(np.clip(round(SIDE / 2 - centre), 0, SIDE - length))
        place.append(slice(start, start + length))
    image[tuple(place)] = small / small.max()
    return np.rint(image * 255).astype(np.uint8)


def _widened(ink: np.ndarray, by: float) -> np.ndarray:
    """Strokes widened by `by` pixels of the box."""
    scale = 10  # pixels here for each of the box
    room = np.pad(_scaled(ink, _BOX * scale), int(by * scale))
    grown = Image.fromarray((np.clip(room, 0, 1) * 255).astype(np.uint8))
    grown = grown.filter(ImageFilter.MaxFilter(int(by * scale) // 2 * 2 + 1))
    return np.asarray(grown, np.float32) / 255


def _scaled(ink: np.ndarray, longer: int) -> np.ndarray:
    """Scaled so that the longer side has this many pixels."""
    height, width = (max(1, round(n * longer / max(ink.shape))) for n in ink.shape)
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR))


def stream(seed: int, kind: int, which: int) -> np.random.SeedSequence:
    """Random stream `which` of one `kind` of random choice of a classifier."""
    return np.random.SeedSequence((seed, kind, which))


class PixelOrder:
    """Turns images of `shape` (H, W) into sequences of `steps` (T) vectors of `features` (F).

    The order `rows` gives H steps of W inputs, `pixels` H*W steps of one input, and `permuted` those in a random order,
    the same for all images (Le et al., 2015).
    """

    def __init__(self, order: str, shape: tuple[int, int], seed: int) -> None:
        height, width = shape
        self.order = order
        self.steps, self.features = (height, width) if order == "rows" else (height * width, 1)
        self.permutation: np.ndarray | None = None
        if order == "permuted":
            # Generator.permutation may change between versions of NumPy; raw PCG64 does not.
            drawn = np.random.PCG64(stream(seed, 2, 0)).random_raw(self.steps)
            self.permutation = np.argsort(drawn, kind="stable")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(N, H, W)` to float32 `(N, T, F)` in 0..1."""
        sequences: np.ndarray = images.reshape(len(images), self.steps, self.features)
        if self.permutation is not None:
            sequences = sequences[:, self.permutation]
        return sequences.astype(np.float32) / np.float32(255)

    def to_json(self) -> dict[str, Any]:
        """Record for `run.json`; by its hash a resume checks the permutation."""
        record: dict[str, Any] = {"order": self.order, "features": self.features}
        if self.permutation is not None:
            data = self.permutation.astype("<u2").tobytes()
            record["permutation_sha256"] = hashlib.sha256(data).hexdigest()
        return record
