"""The text that a run was trained on, and its training, validation and test parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk.config import TextConfig
from rnntk.errors import UsageError
from rnntk.storage import folder
from rnntk.storage.folder import RunFolder
from rnntk.text import corpus

if TYPE_CHECKING:
    from rnntk.text.prepared import Prepared

SPLITS = ("val", "test", "train")


def split_range(run: RunFolder, name: str | None = None) -> tuple[str, int, int]:
    """Name and range `ids[start:end]` of a split of a run's text: `val` (default), `test` or `train`.

    Raises `UsageError` if the run has no such split, or it is too short to evaluate.
    """
    parts: dict[str, list[int]] = run.record["corpus"].get("split") or {}
    if not parts:
        raise UsageError(
            f"{run.path} has no record of its training text. Evaluate another text (`input`)."
        )
    lengths = {k: parts[k][1] - parts[k][0] if k in parts else 0 for k in SPLITS}
    name = name or "val"
    if lengths[name] > 1:
        start, end = parts[name]
        return name, start, end
    others = [f'its {k} part (`split="{k}"`)' for k in SPLITS if lengths[k] > 1]
    advice = f"Evaluate {' or '.join([*others, 'another text (`input`)'])}"
    fraction = float(run.settings.get(f"{name}_fraction") or 0)
    if name == "train" or fraction:
        symbols = "1 symbol" if lengths[name] == 1 else f"{lengths[name]} symbols"
        raise UsageError(
            f"The {name} part of {run.path} has {symbols}; evaluation needs at least 2. {advice}."
        )
    raise UsageError(
        f"{run.path} has no {name} part (`{name}_fraction=0`). {advice}, or train with "
        f"`{name}_fraction=0.05`."
    )


def opening_part(run: RunFolder) -> tuple[Prepared, str, int, int]:
    """The prepared text, and name and range of the part to show first: validation, else test, else training.

    Raises `UsageError` if the run has none of them, `RnntkError` if its text is not available.
    """
    for name in SPLITS:
        try:
            part = split_range(run, name)
        except UsageError as error:
            missing = error
        else:
            return (training_text(run), *part)
    raise missing


def text_settings(run: RunFolder, **changed: Any) -> TextConfig:
    """The text settings of a run, with changes."""
    return dataclasses.replace(TextConfig.from_json(run.settings), **changed)


def training_text(run: RunFolder, *, data_dir: Path | None = None) -> Prepared:
    """The prepared text of a run including held-out parts; see `corpus.RunText.prepared`."""
    folder.check_text(run)
    places = {"data_dir": data_dir} if data_dir is not None else {}
    settings = text_settings(run, **places)
    return corpus.RunText(run.record["corpus"], run.vocabulary(), run.path, settings).prepared()
