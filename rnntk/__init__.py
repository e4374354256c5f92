"""rnntk: train, sample and understand recurrent networks on text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnntk.decoding.trained import TrainedModel, load

__version__ = "0.1.0"
__all__ = ["TrainedModel", "load"]


def __getattr__(name: str) -> Any:
    # Imported when first used, so that `rnntk --help` does not load NumPy.
    if name in __all__:
        from rnntk.decoding import trained

        return getattr(trained, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
