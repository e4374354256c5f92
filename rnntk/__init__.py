"""rnntk: train, sample and understand recurrent networks on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rnntk.decoding.language_model import LanguageModel

__version__ = "0.1.0"
__all__ = ["LanguageModel", "load"]


def load(path: str | Path, checkpoint: str | int = "last") -> LanguageModel:
    """Load the model of a run folder, or of a run by its name in `runs/`; see `LanguageModel.load`."""
    from pathlib import Path

    from rnntk.decoding.language_model import LanguageModel
    from rnntk.runs import folder

    return LanguageModel.load(folder.find(Path("runs"), Path(path)), checkpoint)


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `rnntk --help` does not load NumPy.
    if name == "LanguageModel":
        from rnntk.decoding.language_model import LanguageModel

        return LanguageModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
