"""A picture of a classifier's worst mistakes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rnntk.decoding.strategies import log_softmax
from rnntk.errors import DataError, UsageError, check_output
from rnntk.files import write_bytes

COLUMNS, ROWS = 8, 5
ZOOM = 3
MARGIN, CAPTION = 16, 32
PAPER, FRAME, RIGHT, WRONG = "#ffffff", "#c8c8c8", "#1a6b2f", "#b3261e"


def check_path(path: Path) -> None:
    """Raise `UsageError`, before training, if no picture can be written to `path`."""
    Image.init()
    known = sorted(s for s, name in Image.EXTENSION.items() if name in Image.SAVE)
    if path.suffix.lower() not in known:
        raise UsageError(f"`plot` must end in a picture format such as .png, got {path}.")
    check_output("plot", path)


def draw(path: Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> int:
    """Draw the worst mistakes, highest loss first, or the least certain images; returns the number of mistakes drawn.

    Captions give the true and the predicted digit with their probabilities. `images` is `(N, H, W)` uint8, `labels`
    `(N,)`, `logits` `(N, classes)`; the suffix of `path` sets the format. Raises `DataError` if it cannot be written.
    """
    logs = log_softmax(logits)
    predicted = logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    candidates = wrong if len(wrong) else np.arange(len(labels))
    order = np.argsort(logs[candidates, labels[candidates]], kind="stable")
    worst = candidates[order[: COLUMNS * ROWS]]
    height, width = images.shape[1] * ZOOM, images.shape[2] * ZOOM
    rows = -(-len(worst) // COLUMNS)
    whole = (MARGIN + COLUMNS * (width + MARGIN), MARGIN + rows * (height + CAPTION + MARGIN))
    picture = Image.new("RGB", whole, PAPER)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(11)
    for i, k in enumerate(worst):
        x = MARGIN + i % COLUMNS * (width + MARGIN)
        y = MARGIN + i // COLUMNS * (height + CAPTION + MARGIN)
        digit = Image.fromarray(255 - images[k]).resize((width, height), Image.Resampling.NEAREST)
        picture.paste(digit, (x, y))
        pen.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
        for line, (word, which) in enumerate((("true", labels[k]), ("read as", predicted[k]))):
            caption = f"{word}: {which}  {100 * np.exp(logs[k, which]):.1f} %"
            colour = RIGHT if which == labels[k] else WRONG
            pen.text((x, y + height + 2 + 15 * line), caption, fill=colour, font=font)
    data = io.BytesIO()
    try:
        picture.save(data, format=Image.EXTENSION[path.suffix.lower()])
    except OSError as error:  # Pillow cannot encode it
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error
    write_bytes(path, data.getvalue(), advice="Name another file with `plot`.", error=DataError)
    return min(len(wrong), len(worst))
