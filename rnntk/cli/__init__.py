"""The command line: options, output, exit codes. Nothing imports it."""

from rnntk.cli.main import main

__all__ = ["main"]
