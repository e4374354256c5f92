"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# No deadline: a shared machine can be slow at any moment, and that is no failure of a law.
settings.register_profile("rnntk", deadline=None)
settings.load_profile("rnntk")
