"""Settings: one definition of every option, for flags, environment, TOML files and Python alike.

A command's settings are a few frozen dataclasses. Each field carries its help, range and choices as
metadata; the command line makes its options from them, a TOML file is checked against them, and a
value out of range is refused here for all three, naming the flag.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rnntk.errors import UsageError, nearest

T = TypeVar("T")


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    open_high: bool = False,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
) -> Any:
    """A dataclass field that is also an option.

    Args:
        default: the value when nobody says otherwise.
        help: one line, shown by `--help`.
        low: the least value allowed (the bound itself is excluded when `open_low`).
        high: the greatest value allowed (the bound itself is excluded when `open_high`).
        choices: the words allowed.
        metavar: what the value is called in `--help`.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "open_low": open_low,
            "open_high": open_high,
            "choices": choices,
            "metavar": metavar,
        },
    )


def flag(name: str) -> str:
    """The option a field is set by: `batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Settings:
    """Base of all settings: checks every field's range and choices when it is made.

    Raises:
        UsageError: a value is out of its range; the message names the flag and the range.
    """

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None or not f.metadata:
                continue
            choices = f.metadata["choices"]
            if choices and value not in choices:
                guess = nearest(str(value), choices)
                raise UsageError(
                    f"{flag(f.name)} is {value!r}, but must be one of {', '.join(choices)}."
                    + (f" Did you mean {guess!r}?" if guess else "")
                )
            if isinstance(value, (int, float)) and not _in_range(value, f.metadata):
                raise UsageError(
                    f"{flag(f.name)} is {value}, but must be {describe_range(f.metadata)}."
                )


def _in_range(value: float, metadata: Mapping[str, Any]) -> bool:
    low, high = metadata["low"], metadata["high"]
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if low is not None and (value <= low if metadata["open_low"] else value < low):
        return False
    return not (high is not None and (value >= high if metadata["open_high"] else value > high))


def describe_range(metadata: Mapping[str, Any]) -> str:
    """The range in words: `at least 1`, `above 0 and at most 1`."""
    parts = []
    if metadata["low"] is not None:
        parts.append(("above " if metadata["open_low"] else "at least ") + f"{metadata['low']:g}")
    if metadata["high"] is not None:
        parts.append(("below " if metadata["open_high"] else "at most ") + f"{metadata['high']:g}")
    return " and ".join(parts) or "a finite number"


@dataclass(frozen=True)
class TextSettings(Settings):
    """Which text, and how it becomes symbols."""

    corpus: str | None = setting(
        None, "A corpus by name, or a card of your own (a .toml file).", metavar="NAME"
    )
    input: tuple[str, ...] = setting(
        (),
        "A text file or folder of your own; may be given several times; - is stdin.",
        metavar="PATH",
    )
    glob: str = setting("*.txt", "Which files of an input folder are read.", metavar="PATTERN")
    preprocessor: str | None = setting(
        None,
        "How text becomes symbols: plain, hangul, hangul-slides, or an installed one."
        "  [default: the corpus' own, else plain]",
        metavar="NAME",
    )
    encoding: str | None = setting(
        None, "The text's encoding.  [default: the corpus' own, else detected]", metavar="NAME"
    )
    errors: str = setting(
        "strict",
        "Bytes that do not decode: an error, or replaced by U+FFFD.",
        choices=("strict", "replace"),
    )
    newline: str = setting(
        "keep", "Line ends: as they are, or CRLF and CR turned into LF.", choices=("keep", "lf")
    )
    normalize: bool = setting(False, "Recompose conjoining jamo (NFD Hangul) into syllables.")
    min_count: int = setting(1, "Symbols rarer than this become the unknown symbol.", low=1)
    unknown_symbol: str | None = setting(
        None, "The symbol that stands for rare ones (with --min-count).", metavar="CHAR"
    )
    data_dir: Path | None = setting(
        None,
        "Folder with corpora, <name>/input.txt each.  [default: $RNNTK_DATA, else ./data]",
        metavar="DIR",
    )
    offline: bool = setting(False, "Never use the network.")
    accept_licence: bool = setting(
        False, "Allow the download of a text whose licence is not known to permit it."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corpus and self.input:
            raise UsageError("--corpus and --input are both given; use one of them.")
        if self.min_count > 1 and self.unknown_symbol is None:
            raise UsageError(
                "--min-count above 1 needs --unknown-symbol: the character that stands for rare ones."
            )


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The character model."""

    cell: str = setting("lstm", "The recurrent cell.", choices=("lstm", "gru", "rnn"))
    layers: int = setting(2, "Recurrent layers, one on the other.", low=1, high=64)
    units: int = setting(128, "Units in each recurrent layer.", low=1, high=65536)
    embedding: int = setting(128, "Width of the embedding of a symbol.", low=1, high=65536)
    dropout: float = setting(
        0.0, "Share of each layer's outputs dropped while training.", low=0, high=1, open_high=True
    )
    dropout_kind: str = setting(
        "element",
        "A new mask at every time step, or one mask a sequence.",
        choices=("element", "sequence"),
    )
    gru_reset: str = setting(
        "after",
        "Where a GRU's reset gate acts: after the recurrent product (fastest), or before it, as in TensorFlow 1.",
        choices=("after", "before"),
    )


@dataclass(frozen=True)
class FitSettings(Settings):
    """How a model is trained."""

    batch_size: int = setting(50, "Lanes: pieces of the text read side by side.", low=1)
    seq_length: int = setting(
        200, "Symbols a lane reads in one step (truncated backpropagation).", low=1
    )
    epochs: int = setting(50, "Passes over the text.", low=1)
    max_steps: int | None = setting(None, "Stop after this many steps in all.", low=1)
    optimizer: str = setting(
        "adam",
        "What takes the step against the gradient; adagrad and sgd want a higher --learning-rate.",
        choices=("adam", "adagrad", "rmsprop", "sgd"),
    )
    learning_rate: float = setting(0.002, "The optimizer's learning rate.", low=0, open_low=True)
    decay_rate: float = setting(
        0.97,
        "The learning rate is multiplied by this after every epoch.",
        low=0,
        high=1,
        open_low=True,
    )
    clip: str = setting(
        "global-norm",
        "How gradients are clipped.",
        choices=("global-norm", "norm", "value", "none"),
    )
    clip_norm: float = setting(5.0, "The threshold gradients are clipped at.", low=0, open_low=True)
    val_fraction: float = setting(
        0.0,
        "Share of the text held out for validation, before the test tail.",
        low=0,
        high=1,
        open_high=True,
    )
    test_fraction: float = setting(
        0.0,
        "Tail of the text that training never sees (rnntk eval reads it).",
        low=0,
        high=1,
        open_high=True,
    )
    val_every: int | None = setting(
        None, "Validate after this many steps.  [default: after every epoch]", low=1
    )
    patience: int | None = setting(
        None, "Stop after this many validations without a better one.", low=1
    )
    schedule: str = setting(
        "decay",
        "The learning rate: multiplied every epoch, falling as a cosine to 0, or halved when validation stalls.",
        choices=("decay", "cosine", "plateau"),
    )
    plateau_patience: int = setting(
        2, "Validations without a better one before plateau halves the rate.", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"--val-fraction {self.val_fraction} and --test-fraction {self.test_fraction} "
                "leave no text to train on."
            )
        if self.val_fraction == 0:
            for name, value in (("--patience", self.patience), ("--val-every", self.val_every)):
                if value is not None:
                    raise UsageError(
                        f"{name} needs validation: set --val-fraction, for example 0.05."
                    )
            if self.schedule == "plateau":
                raise UsageError(
                    "--schedule plateau needs validation: set --val-fraction, for example 0.05."
                )


@dataclass(frozen=True)
class MachineSettings(Settings):
    """What a run computes with, and when it saves."""

    seed: int = setting(0, "Seed of every random choice.", low=0, high=2**32 - 1)
    device: str = setting("auto", "Where to compute.", choices=("auto", "cpu", "gpu"))
    precision: str = setting(
        "float32",
        "Arithmetic of the large products; weights stay float32.",
        choices=("float32", "bfloat16"),
    )
    threads: int | None = setting(None, "Cores to use.  [default: all]", low=1)
    checkpoint_every: int = setting(500, "Save after this many steps (and at the end).", low=1)
    keep: int = setting(3, "Checkpoints kept, beside the best; older ones are removed.", low=1)
    log_every: int = setting(
        100, "A line of progress after this many steps, where there is no terminal.", low=1
    )
    histograms_every: int = setting(
        0,
        "Steps between histograms of the weights in TensorBoard; 0 for none (they cost time).",
        low=0,
    )


@dataclass(frozen=True)
class MnistSettings(Settings):
    """The row classifier (systems 7 and 8)."""

    data: str | None = setting(
        None,
        "The images.  [default: mnist, else digits, which the code draws itself]",
        choices=("mnist", "digits"),
    )
    order: str = setting(
        "rows",
        "What is read at a step: a row, a pixel, or a pixel in a scrambled order (drawn from --seed).",
        choices=("rows", "pixels", "permuted"),
    )
    cell: str = setting("lstm", "The recurrent cell.", choices=("lstm", "gru", "rnn"))
    layers: int = setting(1, "Recurrent layers, one on the other.", low=1, high=64)
    units: int = setting(128, "Units in each layer and direction.", low=1, high=65536)
    bidirectional: bool = setting(False, "Read the rows downwards and upwards.")
    dropout: float = setting(
        0.0, "Share of each layer's outputs dropped while training.", low=0, high=1, open_high=True
    )
    batch_size: int = setting(128, "Images a step.", low=1)
    epochs: int = setting(5, "Passes over the training images.", low=1)
    max_steps: int | None = setting(None, "Stop after this many steps in all.", low=1)
    learning_rate: float = setting(0.001, "Adam's learning rate.", low=0, open_low=True)
    decay_rate: float = setting(
        1.0,
        "The learning rate is multiplied by this after every epoch.",
        low=0,
        high=1,
        open_low=True,
    )
    clip_norm: float = setting(5.0, "Global norm the gradient is clipped at.", low=0, open_low=True)
    shift: int = setting(
        0, "Move each training image by up to this many pixels, at random.", low=0, high=14
    )
    val_size: int = setting(5000, "Training images held out for validation.", low=0)


@dataclass(frozen=True)
class SampleSettings(Settings):
    """How text is drawn from a model (systems 2 and 5)."""

    length: int = setting(1000, "Symbols to draw.", low=0)
    temperature: float = setting(
        1.0, "Below 1 safer, above 1 wilder; 0 takes the likeliest symbol always.", low=0
    )
    top_k: int | None = setting(None, "Draw from the K likeliest symbols only.", low=1, metavar="K")
    top_p: float | None = setting(
        None,
        "Draw from the likeliest symbols that together have the probability P.",
        metavar="P",
        low=0,
        high=1,
        open_low=True,
    )
    min_p: float | None = setting(
        None,
        "Draw from the symbols at least P times as likely as the likeliest.",
        low=0,
        high=1,
        metavar="P",
    )
    greedy: bool = setting(False, "Take the likeliest symbol always.")
    beam: int | None = setting(
        None, "Do not draw: search for the likeliest text, N at a time.", low=1, metavar="N"
    )
    beam_alpha: float = setting(
        1.0, "With --beam and --stop: 0 favours short texts, above 1 long ones.", low=0
    )
    no_repeat: int | None = setting(
        None, "Never draw the same run of N symbols twice.", low=2, metavar="N"
    )
    num: int = setting(1, "How many texts to draw.", low=1)
    stop: str | None = setting(None, "End a text where this appears.", metavar="TEXT")
    seed: int | None = setting(
        None,
        "Same seed, same text.  [default: a new one each time, printed]",
        low=0,
        high=2**32 - 1,
    )
    on_unknown: str = setting(
        "error", "Characters of the prime the model has never seen.", choices=("error", "skip")
    )
    raw: bool = setting(False, "Print the symbols as drawn (jamo are not recomposed).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop == "":
            raise UsageError("--stop is empty; give the text to stop at, or leave the option out.")
        if self.beam is None:
            if self.beam_alpha != 1:
                raise UsageError("--beam-alpha says how --beam ranks texts; give --beam too.")
            return
        drawing = ("temperature", "top_k", "top_p", "min_p", "greedy", "no_repeat")
        for f in dataclasses.fields(self):
            if f.name in drawing and getattr(self, f.name) != f.default:
                raise UsageError(
                    "--beam searches for the likeliest text and draws nothing, so "
                    f"{flag(f.name)} cannot be given with it."
                )
        if self.num > self.beam:
            raise UsageError(
                f"A beam of {self.beam} finds {self.beam} texts at most; raise --beam, or lower --num ({self.num})."
            )
        if self.length < 1:
            raise UsageError("--beam needs a --length of at least 1.")


_EVERY_KEY = {
    f.name
    for kind in (
        TextSettings,
        ModelSettings,
        FitSettings,
        MachineSettings,
        MnistSettings,
        SampleSettings,
    )
    for f in dataclasses.fields(kind)
} | {"prime", "prime_file", "run", "runs_dir", "max_time", "sample_every", "output", "checkpoint"} | {
    "format", "vocab", "forget_bias"
}  # fmt: skip


def to_json(*settings: Settings) -> dict[str, Any]:
    """Settings as one flat, JSON-able dictionary."""
    merged: dict[str, Any] = {}
    for part in settings:
        for key, value in dataclasses.asdict(part).items():
            merged[key] = str(value) if isinstance(value, Path) else value
    return merged


def from_mapping(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make one kind of settings from the keys of `values` that belong to it; the rest is ignored."""
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    picked: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in names
    }
    if picked.get("data_dir") is not None:
        picked["data_dir"] = Path(picked["data_dir"])
    return kind(**picked)


def read_config(path: Path, command: str, known: list[str], commands: list[str]) -> dict[str, Any]:
    """The settings a TOML file gives to one command.

    Keys before the first table go to every command that knows them; the table named like the command
    goes to it alone. Dashes and underscores are the same.

    Args:
        path: the file.
        command: `train`, `sample`, ...
        known: the command's keys, with underscores.
        commands: all commands' names, which tables may be called.

    Raises:
        UsageError: no such file, no TOML, an unknown table or key (with the nearest name).
    """
    document = read_toml(path)
    values: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in commands:
                raise UsageError(f"{path}: [{key}] is no command." + _guess(key, commands))
            continue
        if _plain(key) in known:
            values[_plain(key)] = value
        elif _plain(key) not in _EVERY_KEY:
            raise UsageError(
                f"{path}: {key!r} is no setting of any command."
                + _guess(_plain(key), [*_EVERY_KEY])
            )
    for key, value in document.get(command, {}).items():
        if _plain(key) not in known:
            raise UsageError(
                f"{path}: {key!r} in [{command}] is no setting of rnntk {command}."
                + _guess(_plain(key), known)
            )
        values[_plain(key)] = value
    return values


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        UsageError: the file is missing, or not TOML (with the line).
    """
    # Here, because most commands read no file and should not wait for the parser.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error


def shipped_config(name: str) -> Path | None:
    """The TOML of this name that comes with rnntk (`configs/`), or None."""
    package = Path(__file__).parent
    # An installed wheel carries configs/ inside the package; a checkout has it beside the package.
    for folder in (package / "configs", package.parent / "configs"):
        path = folder / f"{name}.toml"
        if path.is_file():
            return path
    return None


def _plain(key: str) -> str:
    return key.replace("-", "_")


def _guess(key: str, choices: list[str]) -> str:
    guess = nearest(key, choices)
    return f" Did you mean {guess!r}?" if guess else ""
