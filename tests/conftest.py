"""What all tests share."""

from __future__ import annotations

import functools
import inspect
import logging
import signal
from collections import Counter

import pytest
from click.testing import CliRunner
from hypothesis import settings

# A shell that starts the tests in the background has Ctrl-C ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So has nohup the signal of a closed terminal.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before click 8.2, a runner put both streams into one unless it was told not to.
if "mix_stderr" in inspect.signature(CliRunner).parameters:
    CliRunner.__init__ = functools.partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[method-assign]

# No deadline: a shared machine can be slow at any moment, and that is no failure of a law.
settings.register_profile("rnntk", deadline=None)
settings.load_profile("rnntk")


@pytest.fixture(autouse=True)
def _own_logging(caplog: pytest.LogCaptureFixture) -> None:
    """The library's log as a program finds it, whatever a command set before; all of it is captured."""
    logger = logging.getLogger("rnntk")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.DEBUG)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last what was not tested here, and what it needs."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:4} {reason}")
