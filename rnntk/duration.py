"""Durations such as `90s`, `2m` and `1h30m`."""

from __future__ import annotations

import re


def parse(text: str) -> float:
    """Parse `90`, `90s`, `2m` or `1h30m` into seconds. Raises `ValueError` for anything else.

    >>> parse("1h30m")
    5400.0
    """
    text = text.strip()
    if re.fullmatch(r"(?:\d+[hm])+\d+(?:\.\d+)?", text):
        units = "s" if "m" in text else "ms"
        forms = " or ".join(text + unit for unit in units)
        raise ValueError(f"must end in a unit, {forms}, got {text!r}")
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    hours, minutes, rest = found.groups() if found else (None, None, None)
    seconds = 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(rest or 0)
    if seconds <= 0:
        raise ValueError(f"must be a time such as 90s, 2m or 1h30m, got {text!r}")
    return seconds


def show(seconds: float) -> str:
    """Format seconds for reading.

    >>> show(75.0)
    '1m15s'
    """
    minutes, secs = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{secs:02d}s" if minutes else f"{secs}s"
