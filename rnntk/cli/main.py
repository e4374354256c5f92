"""The `rnntk` group: commands by name, errors as messages and exit codes."""

from __future__ import annotations

import codecs
import errno
import importlib
import keyword
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rnntk import __version__, signals
from rnntk.cli import stdout
from rnntk.cli.console import harmless, print_error
from rnntk.cli.help import Group, write_sections
from rnntk.config.fields import flag
from rnntk.errors import Interrupted, RnntkError, os_error

# Help of the commands, by title and name. A command is imported only when it runs: `--help` stays fast.
GROUPS = {
    "First commands": {
        "train": "Train a character model on a text or a corpus.",
        "sample": "Generate text with a trained model.",
        "play": "Open a page to look inside a model.",
        "eval": "Measure a model on held-out text.",
    },
    "Runs": {
        "runs": "List, show, rename or delete runs.",
        "plot": "Draw loss curves as a picture or in the terminal.",
        "board": "Show the runs in TensorBoard.",
    },
    "Other models": {
        "mnist": "Train a network that reads an image row by row.",
        "minchar": "Train the smallest model, one file of NumPy code.",
    },
    "Texts and files": {
        "prep": "List the corpora, or see how a text is read.",
        "export": "Export a model to Keras, TensorFlow, ONNX, NumPy or HTML.",
        "import": "Turn a TensorFlow 1 checkpoint into a run.",
        "cache": "List or clean the cache.",
    },
}
COMMANDS = {name: help for commands in GROUPS.values() for name, help in commands.items()}

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "token_normalize_func": lambda word: word.replace("_", "-"),  # --batch_size is --batch-size
}


def load_command(name: str) -> click.Command:
    """Import `command` from `rnntk.cli.<name>` (for `import` from `import_`)."""
    module = f"{name}_" if keyword.iskeyword(name) else name
    command = importlib.import_module(f"rnntk.cli.{module}").command
    assert isinstance(command, click.Command)
    return command


class LazyGroup(Group):
    """A group whose commands are imported when they are called."""

    advised = (
        "help", "--version", "runs show", "runs rename", "runs delete", "cache clean", "prep --list", "train --resume",
        "train --init-from",
    )  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of use."""
        return list(COMMANDS)

    def _advice(self, name: str, ctx: click.Context) -> str:
        everywhere = ("--json", "--quiet", "-q", "--verbose", "-v", "--config")
        return " Write it after the command." if name in everywhere else super()._advice(name, ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return load_command(name) if name in COMMANDS else None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = {title: list(commands.items()) for title, commands in GROUPS.items()}
        options = [("-V, --version", "Show the version."), ("-h, --help", "Show this help.")]
        write_sections(formatter, {**sections, "Options": options})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes a message on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, stdout.Lost):
            raise
        except Interrupted as error:
            click.echo(harmless(str(error)), err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)
        except Exception as error:
            if os.environ.get("RNNTK_DEBUG") == "1":
                raise
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # stderr is closed; click ends quietly
            if isinstance(error, RnntkError):
                print_error(error.render(_option_names(ctx)))
            elif code := _signal_behind(error):
                ctx.exit(code)
            else:
                print_error(_message(error) + _keep_traceback(error))
            ctx.exit(getattr(error, "exit_code", 1))


def _signal_behind(error: Exception) -> int:
    """Exit code of a signal that TensorFlow's import turned into another error; 0 if there was none."""
    behind: BaseException = error
    while cause := behind.__cause__ or behind.__context__:
        behind = cause
        if isinstance(behind, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(behind, SystemExit) and isinstance(behind.code, int):
            return behind.code
    return 0


def _message(error: Exception) -> str:
    """Message for an error that is no `RnntkError`."""
    disk = os_error(error)
    if disk is not None:
        problem = disk.strerror or str(disk)
        if not disk.filename and not _has_folder():
            return "The current folder no longer exists. Change to another folder."
        return f"{os.fsdecode(disk.filename)}: {problem}." if disk.filename else f"{problem}."
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        # One line of TensorFlow's message names the tensor.
        lines = str(getattr(error, "message", error)).splitlines() or [""]
        why = next((line for line in lines if "OOM when alloc" in line), lines[0])
        why = f" ({why.rpartition('}} ')[2].strip()})" if why else ""
        return f"Not enough memory{why}. Lower the batch size, length or number of texts."
    home = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(home)][-1]
    what = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())[:200])))
    return (
        f"Unexpected error at {Path(own.filename).name}, line {own.lineno} ({what}). Run it again with "
        "RNNTK_CRASH_FILE=crash.txt, and report it with that file."
    )


def _has_folder() -> bool:
    """Whether the current folder exists."""
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to RNNTK_CRASH_FILE, if set; return a sentence on it."""
    path = os.environ.get("RNNTK_CRASH_FILE")
    if not path:
        return ""
    versions = f"rnntk {__version__}, Python {sys.version}, {sys.platform}\n{sys.argv}\n"
    text = versions + "".join(traceback.format_exception(error))
    try:
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as refusal:
        return f" The details cannot be written: {refusal}."
    return f" The details are in {path}."


def _option_names(ctx: click.Context) -> Callable[[str], str]:
    """A function from settings to the options of the running command."""
    name = ctx.invoked_subcommand
    params = load_command(name).params if name in COMMANDS else []
    options = {p.name: p.opts[0] for p in params if isinstance(p, click.Option)}
    return lambda setting: options.get(setting, flag(setting))


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="rnntk")
def group() -> None:
    """Train, sample and understand recurrent networks on text.

    \b
    Start here:
      rnntk train novel.txt
      rnntk sample
    """


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.replace_errors(error)


def main() -> None:
    """Entry point of the console script."""
    stdout.watch()
    signals.end_cleanly()
    # Pipes and Windows consoles may not be UTF-8. File names that are not UTF-8 are printed as bytes.
    codecs.register_error("rnntk-names", _as_bytes)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            errors = None if stream is sys.stdin else "rnntk-names"
            stream.reconfigure(encoding="utf-8", errors=errors)
    try:
        try:
            group(prog_name="rnntk", windows_expand_args=False)
        finally:
            # Ctrl-C must not interrupt Python's exit.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.stdout.flush()  # Python cannot report errors at exit
    except stdout.Lost as lost:
        if not isinstance(lost, stdout.Closed):
            print_error(lost)
        sys.exit(lost.exit_code)
