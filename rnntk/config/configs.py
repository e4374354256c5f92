"""All settings, each defined once for Python, flags, environment, TOML and `run.json`."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass
from pathlib import Path

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

    corpus: str | None = setting(None, "Name of a corpus, or your .toml file.")
    input: tuple[str, ...] = setting(
        (), "Text file or folder; repeatable; - is stdin.", on_resume="kept"
    )
    glob: str | None = setting(
        None, "Files to read in a folder.  [default: .txt, .md, .docx, .odt, .epub, .html]"
    )
    preprocessor: str | None = setting(
        None,
        "Text to symbols: plain, hangul, hangul-slides, bytes or an installed one.  [default: the corpus' "
        "own; your files: hangul if Korean, else plain]",
    )
    encoding: str | None = setting(
        None, "Text encoding.  [default: the corpus' own, else detected]"
    )
    errors: str = setting(
        "strict", "Undecodable bytes: stop, or replace with U+FFFD.", ("strict", "replace")
    )
    newline: str = setting(
        "keep",
        "Keep line ends, or make all LF.  [default: lf for your files, else keep]",
        ("keep", "lf"),
    )
    markup: str = setting(
        "keep",
        "Keep HTML tags, or only the text.  [default: text for your files, else keep]",
        ("keep", "text"),
    )
    normalize: bool = setting(False, "Compose decomposed Hangul (NFD) into syllables.")
    min_count: int = setting(1, "Replace symbols that occur fewer than N times.", Range(1))
    unknown_symbol: str | None = setting(None, "Replacement for symbols below `min_count`.")
    data_dir: Path | None = setting(
        None,
        "Folder of corpora, as NAME/input.txt.  [default: $RNNTK_DATA, else ./data]",
        on_resume="session",
    )
    offline: bool = setting(False, "Never use the network.", on_resume="session")
    accept_licence: bool = setting(
        False, "Download a text even without a known licence.", stored=False
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


@dataclass(frozen=True, repr=False)
class ModelConfig(Config):
    """The character model."""

    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(2, "Recurrent layers.", Range(1, 64))
    units: int = setting(128, "Units per recurrent layer.", Range(1, 65536))
    embedding: int = setting(128, "Size of the symbol embedding.", Range(1, 65536))
    dropout: float = setting(0.0, "Dropout rate of each layer's outputs.", FRACTION)
    dropout_kind: str = setting(
        "element", "New dropout mask per time step or sequence.", ("element", "sequence")
    )
    layer_norm: bool = setting(False, "Normalise the outputs of each layer.")
    gru_reset: str = setting(
        "after",
        "GRU reset gate after the recurrent product (faster) or before (TensorFlow 1).",
        ("after", "before"),
    )


@dataclass(frozen=True, repr=False)
class RunConfig(Config):
    """Settings of every training run: batches, learning rate, validation, stopping, saving, machine."""

    batch_size: int = setting(50, "Batch rows, read in parallel.", Range(1))
    learning_rate: float = setting(0.002, "Learning rate.", POSITIVE)
    decay_rate: float = setting(0.97, "Learning rate factor per epoch.", Range(0, 1, open_low=True))
    schedule: str = setting(
        "decay",
        "Learning rate: decay per epoch, cosine to 0, or halve when validation stalls.",
        ("decay", "cosine", "plateau"),
    )
    warmup_steps: int = setting(0, "Raise the learning rate from 0 over N steps.", Range(0))
    plateau_patience: int = setting(
        2, "Validations without a new best before plateau halves.", Range(1)
    )
    clip_norm: float = setting(5.0, "Gradient clipping threshold.", POSITIVE)

    epochs: int = setting(50, "Passes over the text.", Range(1), on_resume="kept")
    max_steps: int | None = setting(None, "Stop after N steps.", Range(1), on_resume="kept")
    max_time: float | None = of_session(
        None, "Stop after this time: 90s, 2m, 1h30m.", POSITIVE, parse=duration.parse
    )
    val_every: int | None = setting(
        None, "Validate every N steps.  [default: every epoch]", Range(1)
    )
    patience: int | None = setting(
        None, "Stop after N validations without a new best.", Range(1), on_resume="kept"
    )
    explosion_steps: int = setting(
        200,
        "Stop after N steps above twice the uniform loss (2 ln V); 0: off.",
        Range(0),
        on_resume="kept",
    )

    checkpoint_every: int = setting(500, "Save every N steps, and at the end.", Range(1))
    keep: int = setting(3, "Checkpoints to keep besides the best.", Range(1))
    log_every: int = setting(100, "Steps between progress lines outside a terminal.", Range(1))
    histograms_every: int = setting(
        0, "Steps between weight histograms in TensorBoard; 0: off.", Range(0)
    )

    seed: int = setting(0, "Random seed.", Range(0, 2**32 - 1))
    device: str = setting("auto", "Device to train on.", ("auto", "cpu", "gpu"))
    precision: str = setting(
        "float32", "Precision of large products; weights are float32.", ("float32", "bfloat16")
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
        "Share the batch among GPUs (mirrored) or processes (multiworker).",
        ("none", "mirrored", "multiworker"),
    )
    workers: str | None = of_session(None, "Addresses of all processes.  [default: $TF_CONFIG]")
    index: int | None = of_session(
        None, "This process's place in `workers`; 0 writes the run.", Range(0)
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

    seq_length: int = setting(200, "Symbols per batch row and step.", Range(1))
    optimizer: str = setting(
        "adam",
        "Optimizer; adagrad and sgd need a higher `learning_rate`.",
        ("adam", "adagrad", "rmsprop", "sgd"),
    )
    weight_decay: float = setting(
        0.0, "AdamW: kernels shrink by X times the learning rate per step.", Range(0)
    )
    ema: float = setting(
        0.0,
        "Decay of the saved weight average, such as 0.999; 0: off.",
        FRACTION,
    )
    clip: str = setting(
        "global-norm",
        "Clip gradients by global norm, norm per array, or value.",
        ("global-norm", "norm", "value", "none"),
    )
    val_fraction: float = setting(0.0, "Fraction held out for validation.", FRACTION)
    test_fraction: float = setting(0.0, "Fraction held out at the end for rnntk eval.", FRACTION)
    sample_every: int = setting(500, "Steps between samples; 0: off.", Range(0), on_resume="kept")

    def check_together(self) -> None:
        TextConfig.check_together(self)
        DistributeConfig.check_together(self)
        if self.val_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"`val_fraction={self.val_fraction}` and `test_fraction={self.test_fraction}` leave no text "
                "to train on; lower one."
            )
        self.check_validation(self.val_fraction, "set `val_fraction=0.05`, for example.")


@dataclass(frozen=True, repr=False)
class MnistConfig(RunConfig):
    """All settings for training the row classifier.

    Example:
        >>> MnistConfig(bidirectional=True, epochs=10)
        MnistConfig(epochs=10, bidirectional=True)
    """

    data: str | None = setting(
        None, "Images.  [default: mnist, else digits drawn by rnntk]", ("mnist", "digits")
    )
    order: str = setting(
        "rows",
        "Read rows, pixels, or pixels in an order shuffled by `seed`.",
        ("rows", "pixels", "permuted"),
    )
    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(1, "Recurrent layers.", Range(1, 64))
    units: int = setting(128, "Units per layer and direction.", Range(1, 65536))
    bidirectional: bool = setting(False, "Read the rows in both directions.")
    dropout: float = setting(0.0, "Dropout rate of each layer's outputs.", FRACTION)
    batch_size: int = setting(128, "Images per step.", Range(1))
    epochs: int = setting(5, "Passes over the training images.", Range(1), on_resume="kept")
    learning_rate: float = setting(0.001, "Learning rate of Adam.", POSITIVE)
    decay_rate: float = setting(1.0, "Learning rate factor per epoch.", Range(0, 1, open_low=True))
    clip_norm: float = setting(5.0, "Largest global norm of the gradient.", POSITIVE)
    shift: int = setting(0, "Shift training images at random by up to N pixels.", Range(0, 14))
    val_size: int = setting(5000, "Training images held out for validation.", Range(0))
    data_dir: Path | None = of_session(
        None, "Folder with mnist/mnist.npz.  [default: $RNNTK_DATA, else ./data]"
    )
    offline: bool = of_session(False, "Never use the network.")

    def check_together(self) -> None:
        self.check_validation(self.val_size, "raise `val_size`.")


@dataclass(frozen=True, repr=False)
class SampleConfig(Config):
    """Settings for generating text.

    Example:
        >>> SampleConfig(temperature=0.7, top_k=20)
        SampleConfig(temperature=0.7, top_k=20)
    """

    length: int = setting(1000, "Characters to generate.", Range(0, 10**9))
    temperature: float = setting(
        1.0, "Below 1 safer, above 1 wilder; 0 takes the likeliest symbol.", Range(0)
    )
    top_k: int | None = setting(None, "Sample from the K likeliest symbols.", Range(1))
    top_p: float | None = setting(
        None,
        "Sample from the likeliest with total probability P.",
        Range(0, 1, open_low=True),
    )
    min_p: float | None = setting(
        None, "Drop symbols below P times the highest probability.", Range(0, 1)
    )
    beam: int | None = setting(
        None, "Find the likeliest text by beam search of width N.", Range(1, 10_000)
    )
    beam_alpha: float = setting(
        1.0, "With `beam` and `stop`: 0 favours short texts, above 1 long ones.", Range(0)
    )
    no_repeat: int | None = setting(
        None, "Never generate the same N symbols twice.", Range(2, 10**6)
    )
    num: int = setting(1, "Number of texts.", Range(1, 100_000))
    stop: str | None = setting(None, "End a text at this; \\n is a line end.")
    seed: int | None = setting(
        None, "Same seed, same text.  [default: a new one, printed]", Range(0, 2**32 - 1)
    )
    on_unknown: str = setting("error", "Prompt characters unknown to the model.", ("error", "skip"))
    raw: bool = setting(False, "Print symbols, such as single jamo; `length` counts them.")

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
                f"`{name}={texts}` with `length={self.length}` needs {texts * self.length:,} characters in "
                f"memory; the limit is {most:,}. Lower one."
            )
