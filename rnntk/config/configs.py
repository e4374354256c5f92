"""All settings, each defined once for Python, flags, environment, TOML and `run.json`."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnntk import duration
from rnntk.config.fields import FRACTION, POSITIVE, Config, Range, fields_of, setting
from rnntk.errors import UsageError

CELLS = ("lstm", "gru", "rnn")
MOST_SYMBOLS = 10**8  # characters in all texts of `num`; all but the first are in memory
MOST_IN_BEAM = 10**7  # characters in all texts of a beam: 16 bytes per symbol, copied at each step

# A setting of one session: a resume may set it, and `run.json` does not store it.
of_session = functools.partial(setting, on_resume="session", stored=False)


@dataclass(frozen=True, repr=False)
class TextConfig(Config):
    """The text, and its conversion to symbols."""

    corpus: str | None = setting(
        None, "Name of a corpus, or a .toml file that describes your own corpus."
    )
    input: tuple[str, ...] = setting(
        (),
        "Same as TEXT: a file or folder; repeatable; - is stdin.",
        on_resume="kept",
    )
    glob: str | None = setting(
        None,
        "Which files to read in a folder, such as *.rst.  [default: .txt, .md, .docx, .odt, .epub, .html]",
    )
    preprocessor: str | None = setting(
        None,
        "Text to symbols: plain; hangul (syllables to letters); hangul-slides (the same with the errors of "
        "the 2017 notebooks); bytes; or one that an installed package adds.  [default: the corpus' own; your "
        "files: hangul if Korean, else plain]",
    )
    encoding: str | None = setting(
        None, "Text encoding, such as utf-8.  [default: the corpus' own, else detected]"
    )
    errors: str = setting(
        "strict",
        "If bytes cannot be decoded: stop (strict), or replace them with U+FFFD.",
        ("strict", "replace"),
    )
    newline: str = setting(
        "keep",
        "Keep line ends as they are, or make all of them LF.  [default: lf for your files, else keep]",
        ("keep", "lf"),
    )
    markup: str = setting(
        "keep",
        "HTML files: keep the tags, or only the text.  [default: text for your files, else keep]",
        ("keep", "text"),
    )
    normalize: bool = setting(
        False, "Join Korean letters that are stored singly (Unicode NFD) into syllables."
    )
    min_count: int = setting(1, "Replace symbols that occur fewer than N times.", Range(1))
    unknown_symbol: str | None = setting(
        None, "Character that replaces the symbols rarer than `min_count`."
    )
    data_dir: Path | None = setting(
        None,
        "Folder that has corpora as NAME/input.txt.  [default: $RNNTK_DATA, else ./data]",
        on_resume="session",
    )
    offline: bool = setting(False, "Never use the network.", on_resume="session")
    accept_licence: bool = setting(
        False, "Allow the download of a corpus whose licence is unknown.", stored=False
    )

    def check_together(self) -> None:
        if self.corpus and self.input:
            raise UsageError("Give `corpus` or `input`, not both.")
        if (self.min_count > 1) != (self.unknown_symbol is not None):
            raise UsageError("`min_count` above 1 and `unknown_symbol` need each other.")
        if self.unknown_symbol is not None and len(self.unknown_symbol) != 1:
            raise UsageError(
                f"`unknown_symbol` must be one character, got {self.unknown_symbol!r}."
            )


def overridden(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings; `corpus` and `input` replace each other.

    >>> overridden({"corpus": "linux_kernel", "units": 64}, {"input": ["tale.txt"]})
    {'units': 64, 'input': ['tale.txt']}
    """
    replaced = {"corpus": "input", "input": "corpus"}
    dropped = {replaced[name] for name, value in stronger.items() if name in replaced and value}
    return {**{k: v for k, v in weaker.items() if k not in dropped}, **stronger}


@dataclass(frozen=True, repr=False)
class ModelConfig(Config):
    """The character model."""

    cell: str = setting("lstm", "Recurrent cell; rnn: the vanilla one.", CELLS)
    layers: int = setting(2, "Number of recurrent layers.", Range(1, 64))
    units: int = setting(128, "Units in each recurrent layer.", Range(1, 65536))
    embedding: int = setting(
        128, "How many numbers represent a symbol (embedding size).", Range(1, 65536)
    )
    dropout: float = setting(
        0.0, "Fraction of each layer's outputs set to zero in training.", FRACTION
    )
    dropout_kind: str = setting(
        "element",
        "Choose the outputs to zero for each time step (element), or once per sequence.",
        ("element", "sequence"),
    )
    layer_norm: bool = setting(
        False,
        "Layer normalization: keep each layer's outputs in a similar range.  [default: on for your files, else off]",
    )
    gru_reset: str = setting(
        "after",
        "GRU: apply the reset gate after the product with the recurrent matrix (faster), or before it (as "
        "TensorFlow 1 does).",
        ("after", "before"),
    )


@dataclass(frozen=True, repr=False)
class RunConfig(Config):
    """Settings of every training run: batches, learning rate, validation, stopping, saving, machine."""

    batch_size: int = setting(50, "Parts of the text read side by side (batch rows).", Range(1))
    learning_rate: float = setting(0.002, "Scales the changes of the weights.", POSITIVE)
    decay_rate: float = setting(
        0.97,
        'With `schedule="decay"`: factor of the learning rate per epoch.',
        Range(0, 1, open_low=True),
    )
    schedule: str = setting(
        "decay",
        "Lower the learning rate by `decay_rate` per epoch (decay), to 0 along a cosine, or by half when "
        "validation stops improving (plateau).",
        ("decay", "cosine", "plateau"),
    )
    warmup_steps: int = setting(
        0, "Raise the learning rate from 0 over the first N steps.", Range(0)
    )
    plateau_patience: int = setting(
        2,
        'With `schedule="plateau"`: halve the learning rate after N validations without a new best.',
        Range(1),
    )
    clip_norm: float = setting(
        5.0, 'Largest norm of the gradient (with `clip="value"`: largest value).', POSITIVE
    )

    epochs: int = setting(50, "Passes over the text.", Range(1), on_resume="kept")
    max_steps: int | None = setting(None, "Stop after N steps.", Range(1), on_resume="kept")
    max_time: float | None = of_session(
        None, "Stop after this time, such as 90s, 2m or 1h30m.", POSITIVE, parse=duration.parse
    )
    val_every: int | None = setting(
        None, "Validate every N steps.  [default: every epoch]", Range(1)
    )
    patience: int | None = setting(
        None, "Stop after N validations without a new best.", Range(1), on_resume="kept"
    )
    explosion_steps: int = setting(
        200,
        "Stop after N steps in a row whose loss is above twice that of a uniform guess; 0: never.",
        Range(0),
        on_resume="kept",
    )

    checkpoint_every: int = setting(
        500, "Save a checkpoint every N steps, and at the end.", Range(1)
    )
    keep: int = setting(
        3, "How many of the newest checkpoints to keep, besides the best.", Range(1)
    )
    log_every: int = setting(
        100, "Outside a terminal, print a line of progress every N steps.", Range(1)
    )
    histograms_every: int = setting(
        0, "Write histograms of the weights, for TensorBoard, every N steps; 0: never.", Range(0)
    )

    seed: int = setting(0, "Random seed.", Range(0, 2**32 - 1))
    device: str = setting(
        "auto", "Device to train on; auto: a GPU if there is one.", ("auto", "cpu", "gpu")
    )
    precision: str = setting(
        "float32",
        "Number format in products of large matrices; weights stay float32.",
        ("float32", "bfloat16"),
    )
    threads: int | None = setting(
        None, "CPU cores to use.  [default: all]", Range(1, 1024), on_resume="session"
    )

    def check_validation(self, held_out: float, how: str) -> None:
        """Refuse settings that need validation if nothing is `held_out`; `how` is the advice."""
        needs = [name for name in ("patience", "val_every") if getattr(self, name) is not None]
        needs += ['schedule="plateau"'] if self.schedule == "plateau" else []
        if needs and not held_out:
            raise UsageError(f"`{needs[0]}` needs validation: {how}")


@dataclass(frozen=True, repr=False)
class DistributeConfig(Config):
    """Devices and processes that share the batch rows."""

    distribute: str = of_session(
        "none",
        "Divide the batch rows among this machine's GPUs (mirrored) or among processes (multiworker).",
        ("none", "mirrored", "multiworker"),
    )
    workers: str | None = of_session(
        None, "Addresses of all processes.  [default: those in $TF_CONFIG]"
    )
    index: int | None = of_session(
        None, "Position of this process in `workers`, from 0; process 0 writes the run.", Range(0)
    )

    def check_together(self) -> None:
        for name in ("workers", "index"):
            if getattr(self, name) is not None and self.distribute != "multiworker":
                raise UsageError(f'`{name}` needs `distribute="multiworker"`.')
        if self.index is not None and self.workers is None:
            raise UsageError(
                "`index` needs `workers`. Give `workers` HOST:PORT,HOST:PORT,... too, or leave `index` to "
                "TF_CONFIG."
            )


# The last base comes first in the order of the fields.
@dataclass(frozen=True, repr=False)
class TrainConfig(DistributeConfig, RunConfig, ModelConfig, TextConfig):
    """All settings for training a character model, in Python, on the command line and in `run.json`.

    Example:
        >>> TrainConfig(input="novel.txt", units=256, max_time="5m").max_time
        300.0
    """

    seq_length: int = setting(200, "Symbols read per batch row and step.", Range(1))
    optimizer: str = setting(
        "adam",
        "Optimizer; adagrad and sgd need a higher `learning_rate`.",
        ("adam", "adagrad", "rmsprop", "sgd"),
    )
    weight_decay: float = setting(
        0.0,
        "Shrink the weight matrices per step by a fraction: X times the learning rate (as AdamW does).",
        Range(0),
    )
    beta_2: float = setting(
        0.999, "Adam: decay of its mean of squared gradients; 0.99 follows them sooner.", FRACTION
    )
    ema: float = setting(
        0.0,
        "Save a moving average of the weights, with this decay, such as 0.999; 0: off.",
        FRACTION,
    )
    clip: str = setting(
        "global-norm",
        "What `clip_norm` limits: the norm of the whole gradient, the norm of each weight array's gradient, "
        "each value, or nothing.",
        ("global-norm", "norm", "value", "none"),
    )
    val_fraction: float = setting(0.0, "Fraction of the text held out for validation.", FRACTION)
    test_fraction: float = setting(
        0.0, "Fraction at the text's end held out for testing with rnntk eval.", FRACTION
    )
    sample_every: int = setting(
        500, "Generate a short text every N steps; 0: never.", Range(0), on_resume="kept"
    )

    def check_together(self) -> None:
        TextConfig.check_together(self)
        DistributeConfig.check_together(self)
        if self.val_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"`val_fraction={self.val_fraction}` and `test_fraction={self.test_fraction}` leave no text "
                "to train on; lower one."
            )
        self.check_validation(
            self.val_fraction, "start a run with `val_fraction=0.05`, for example."
        )


@dataclass(frozen=True, repr=False)
class MnistConfig(RunConfig):
    """All settings for training the row classifier.

    Example:
        >>> MnistConfig(bidirectional=True, epochs=10)
        MnistConfig(epochs=10, bidirectional=True)
    """

    data: str | None = setting(
        None, "Images to use.  [default: mnist, else digits drawn by rnntk]", ("mnist", "digits")
    )
    order: str = setting(
        "rows",
        "Read an image by rows, pixel by pixel, or by pixels in an order shuffled by `seed`.",
        ("rows", "pixels", "permuted"),
    )
    cell: str = setting("lstm", "Recurrent cell; rnn: the vanilla one.", CELLS)
    layers: int = setting(1, "Number of recurrent layers.", Range(1, 64))
    units: int = setting(128, "Units in each layer and direction.", Range(1, 65536))
    bidirectional: bool = setting(False, "Read each image from both ends.")
    dropout: float = setting(
        0.0, "Fraction of each layer's outputs set to zero in training.", FRACTION
    )
    batch_size: int = setting(128, "Images per step.", Range(1))
    epochs: int = setting(5, "Passes over the training images.", Range(1), on_resume="kept")
    learning_rate: float = setting(0.001, "Learning rate of Adam.", POSITIVE)
    decay_rate: float = setting(
        1.0,
        'With `schedule="decay"`: factor of the learning rate per epoch.',
        Range(0, 1, open_low=True),
    )
    clip_norm: float = setting(
        5.0, "Largest norm of the gradient; a larger one is scaled down.", POSITIVE
    )
    shift: int = setting(0, "Shift training images at random by up to N pixels.", Range(0, 14))
    val_size: int = setting(5000, "Training images held out for validation.", Range(0))
    data_dir: Path | None = of_session(
        None, "Folder that has mnist/mnist.npz or mnist.npz.  [default: $RNNTK_DATA, else ./data]"
    )
    offline: bool = of_session(False, "Never use the network.")

    def check_together(self) -> None:
        self.check_validation(self.val_size, "start a run with `val_size=5000`, for example.")


@dataclass(frozen=True, repr=False)
class SampleConfig(Config):
    """Settings for generating text.

    Example:
        >>> SampleConfig(temperature=0.7, top_k=20)
        SampleConfig(temperature=0.7, top_k=20)
    """

    length: int = setting(1000, "Characters to generate per text.", Range(0, 10**9))
    temperature: float = setting(
        1.0, "Below 1: safer text; above 1: wilder; 0: always the likeliest symbol.", Range(0)
    )
    top_k: int | None = setting(None, "Sample only from the K likeliest symbols.", Range(1))
    top_p: float | None = setting(
        None,
        "Sample only from the likeliest symbols that together have probability P.",
        Range(0, 1, open_low=True),
    )
    min_p: float | None = setting(
        None, "Never choose a symbol with less than P times the highest probability.", Range(0, 1)
    )
    beam: int | None = setting(
        None,
        "Search for the likeliest text instead of sampling; keep the N best beginnings (beam search).",
        Range(1, 10_000),
    )
    beam_alpha: float = setting(
        1.0, "With `beam` and `stop`: 0 favours short texts; above 1, long ones.", Range(0)
    )
    no_repeat: int | None = setting(
        None, "Never generate the same sequence of N symbols twice.", Range(2, 10**6)
    )
    num: int = setting(1, "Number of texts to generate.", Range(1, 100_000))
    stop: str | None = setting(None, "End a text after this string; \\n in it is a line end.")
    seed: int | None = setting(
        None,
        "Random seed; the same seed gives the same text.  [default: a random one, printed]",
        Range(0, 2**32 - 1),
    )
    on_unknown: str = setting(
        "error",
        "If the model does not know a character of the prompt: stop, or skip it.",
        ("error", "skip"),
    )
    raw: bool = setting(
        False, "Print the symbols unjoined, such as single jamo; `length` then counts symbols."
    )

    def check_together(self) -> None:
        if self.stop == "":
            raise UsageError("`stop` is empty; leave it out.")
        if self.beam is None:
            if self.beam_alpha != 1:
                raise UsageError("`beam_alpha` needs `beam`.")
            if self.num > 1:
                self._check_memory("num", self.num, MOST_SYMBOLS)
            return
        for name in ("temperature", "top_k", "top_p", "min_p", "no_repeat"):
            if getattr(self, name) != fields_of(SampleConfig)[name].default:
                raise UsageError(f"`beam` does not sample; leave out `{name}`.")
        if self.num > self.beam:
            raise UsageError(f"`num` must be at most `beam` ({self.beam}), got {self.num}.")
        if self.length < 1:
            raise UsageError("`beam` needs a `length` of at least 1.")
        self._check_memory("beam", self.beam, MOST_IN_BEAM)

    def new_seed(self) -> int:
        """The seed, or a random one if none is set."""
        return secrets.randbelow(2**32) if self.seed is None else self.seed

    def _check_memory(self, name: str, texts: int, most: int) -> None:
        """Raise `UsageError` if the texts held in memory have more than `most` characters."""
        if texts * self.length > most:
            raise UsageError(
                f"`{name}={texts}` with `length={self.length}` needs {texts * self.length:,} characters; "
                f"the limit is {most:,}. Lower one."
            )
