"""Draw digits, so that `rnntk mnist` runs without a download. They are not MNIST.

Skeletons are bent, transformed (size, slant, rotation, shift) and drawn with random pens and noise. They are hard for a
linear classifier, but not for a recurrent network.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from rnntk.config import read_toml
from rnntk.corpora.system import Built

SIDE, TRAIN, TEST, SEED = 28, 10_000, 2_000, 0
VERSION = 1  # raised when the drawing changes

_POINTS = 17  # per skeleton
_CHUNK = 64  # images at a time, to fit the processor's cache


def _arc(
    x: float, y: float, rx: float, ry: float, start: float, end: float, n: float
) -> np.ndarray:
    """`n` points on an ellipse, `(n, 2)`; angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, int(n)))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _resampled(stroke: list[list[float]], n: int) -> np.ndarray:
    """`n` points `(n, 2)` at equal distances along a stroke of points and arcs."""
    points = np.concatenate([_arc(*part) if len(part) == 7 else [part] for part in stroke])
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0.0, lengths[-1], n)
    return np.stack([np.interp(at, lengths, points[:, axis]) for axis in (0, 1)], axis=1)


def _skeletons() -> tuple[np.ndarray, np.ndarray]:
    """Points of two ways to write each digit `(10, 2, P, 2)`, and a mask of segments with ink `(10, 2, P-1)`."""
    points = np.zeros((10, 2, _POINTS, 2))
    inked = np.ones((10, 2, _POINTS - 1), bool)
    data = read_toml(Path(__file__).with_name("digits_strokes.toml"))
    for digit, ways in enumerate(data.values()):
        for way, strokes in enumerate(ways):
            first = _POINTS if len(strokes) == 1 else _POINTS - 6
            parts = [_resampled(strokes[0], first)]
            if len(strokes) == 2:
                parts.append(_resampled(strokes[1], _POINTS - first))
                inked[digit, way, first - 1] = False
            points[digit, way] = np.concatenate(parts)
    return points, inked


def draw(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw an image of each label. int `(N,)`, 0 to 9, to uint8 `(N, 28, 28)`; 0 is background."""
    n = len(labels)
    points, inked = _skeletons()
    way = rng.integers(0, 2, n)
    curve, ink = points[labels, way], inked[labels, way]  # (N, P, 2), (N, P-1)
    # Bend with slow waves along the stroke.
    steps = np.linspace(0.0, np.pi, _POINTS)
    for frequency in (1, 2, 3):
        weight = rng.normal(0.0, 0.1 / frequency, (n, 1, 2))
        wave = np.cos(frequency * steps + rng.uniform(0, 2 * np.pi, (n, 1)))
        curve = curve + weight * wave[..., None]
    curve = curve @ _affine_maps(n, rng)
    curve += rng.uniform(-2.0, 2.0, (n, 1, 2)) + (SIDE - 1) / 2
    images = _distances(curve.astype(np.float32), ink)
    images -= rng.uniform(0.7, 1.6, (n, 1)).astype(np.float32)  # the pen's width
    # Full ink inside the pen's width, fading over one pixel at its edge.
    np.clip(1.0 - images, 0.0, 1.0, out=images)
    images *= rng.uniform(0.65, 1.0, (n, 1)).astype(np.float32)
    noise = rng.uniform(0.0, 0.12, (n, 1)).astype(np.float32)
    images += noise * rng.standard_normal(images.shape, np.float32)
    np.clip(images, 0.0, 1.0, out=images)
    return np.rint(images * 255).astype(np.uint8).reshape(n, SIDE, SIDE)


def _affine_maps(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random maps of the box -1..1 to pixels, `(N, 2, 2)`, for row vectors."""
    width = rng.uniform(5.0, 9.0, n)
    height = rng.uniform(7.5, 10.0, n)
    slant = rng.normal(0.0, 0.22, n)
    turn = rng.normal(0.0, 0.12, n)
    cos, sin = np.cos(turn), np.sin(turn)
    # x' = width x - slant height y, y' = height y; then turned.
    sheared = np.stack([np.stack([width, 0 * width], 1), np.stack([-slant * height, height], 1)], 1)
    turned = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)
    return np.asarray(sheared @ turned)


def _distances(curve: np.ndarray, inked: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the stroke, float32 `(N, 784)`. `curve` is `(N, P, 2)`, `inked` `(N, P-1)`."""
    pixel = np.arange(SIDE, dtype=np.float32)
    px, py = (axis.reshape(1, -1) for axis in np.meshgrid(pixel, pixel))  # (1, 784)
    nearest = np.full((len(curve), SIDE * SIDE), np.inf, np.float32)
    for begin in range(0, len(curve), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        squared = nearest[rows]
        for k in range(_POINTS - 1):
            a, b = curve[rows, k], curve[rows, k + 1]
            # Move segments without ink far outside the picture.
            a, b = (np.where(inked[rows, k, None], point, np.float32(-1e4)) for point in (a, b))
            ax, ay = a[:, :1], a[:, 1:]
            dx, dy = b[:, :1] - ax, b[:, 1:] - ay
            rx, ry = px - ax, py - ay
            along = (rx * dx + ry * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-9))
            np.clip(along, 0.0, 1.0, out=along)
            rx -= along * dx
            ry -= along * dy
            np.minimum(squared, rx * rx + ry * ry, out=squared)
    return np.sqrt(nearest, out=nearest)


def make(seed: int = SEED, train: int = TRAIN, test: int = TEST) -> dict[str, np.ndarray]:
    """The uint8 arrays x_train, y_train, x_test and y_test, as in MNIST; the test set has its own random stream."""
    arrays = {}
    streams = np.random.SeedSequence(seed).spawn(2)
    for part, count, stream in zip(("train", "test"), (train, test), streams, strict=True):
        rng = np.random.default_rng(stream)
        labels = rng.permutation(np.arange(count) % 10)
        arrays[f"x_{part}"] = draw(labels, rng)
        arrays[f"y_{part}"] = labels.astype(np.uint8)
    return arrays


def build() -> Built:
    """The images as an `.npz` file."""
    arrays = make()
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    detail = (
        f"{TRAIN:,} images to train on and {TEST:,} to test, drawn by rnntk, not MNIST"
        f" (drawing {VERSION}, seed {SEED}, arrays {digest[:12]})"
    )
    return Built(file.getvalue(), detail)
