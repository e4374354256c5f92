"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that starts the tests in the background has Ctrl-C ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a shared machine can be slow at any moment, and that is no failure of a law.
settings.register_profile("rnntk", deadline=None)
settings.load_profile("rnntk")
