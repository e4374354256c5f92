"""Matplotlib's backend, checked before anything imports Matplotlib."""

from __future__ import annotations

import os
import sys


def check_backend() -> None:
    """Replace the backend in `MPLBACKEND` if it is not installed: Matplotlib, also in Keras, could not be imported."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        pass
    except ValueError:
        os.environ["MPLBACKEND"] = "agg"
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # half imported
