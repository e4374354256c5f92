"""Check of the Matplotlib backend before Matplotlib is imported."""

from __future__ import annotations

import os
import sys


def check_backend() -> None:
    """Replace a backend in `MPLBACKEND` that is not installed: it breaks all imports of Matplotlib, also Keras'."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        pass
    except ValueError:
        os.environ["MPLBACKEND"] = "agg"
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # half imported
