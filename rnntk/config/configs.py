"""All settings, each defined once for Python, flags, environment, TOML and `run.json`."""

from __future__ import annotations

import dataclasses
import functools
import secrets
from dataclasses import dataclass
from pathlib import Path

from rnntk import duration
from rnntk.config.fields import FRACTION, POSITIVE, Config, Range, setting
from rnntk.errors import UsageError

CELLS = ("lstm", "gru", "rnn")
MOST_SYMBOLS = 10**8  # characters in all texts of `num`; all but the first are in memory
MOST_IN_BEAM = 10**7  # characters in all texts of a beam: 16 bytes per symbol, copied at each step

# A setting of one session: a resume may set it, and `run.json` does not store it.
of_session = functools.partial(setting, on_resume="session", stored=False)


@dataclass(frozen=True, repr=False)
class TextConfig(Config):
    """The text, and how it becomes symbols."""

    corpus: str | None = setting(None, "A corpus, or a card of your own (.toml).", metavar="NAME")
    input: tuple[str, ...] = setting(
        (), "A text file or folder; can be repeated; - is stdin.", metavar="PATH", on_resume="kept"
    )
    glob: str | None = setting(
        None,
        "Which files of an input folder are read.  [default: .txt, .md, .docx, .odt, .epub, .html]",
        metavar="PATTERN",
    )
    preprocessor: str | None = setting(
        None,
        "Symbols: plain, hangul, hangul-slides, bytes, or an installed one."
        "  [default: the corpus' own; for your files hangul if they are Korean, else plain]",
        metavar="NAME",
    )
    encoding: str | None = setting(
        None, "The text's encoding.  [default: the corpus' own, else detected]", metavar="NAME"
    )
    errors: str = setting("strict", "Undecodable bytes: error, or U+FFFD.", ("strict", "replace"))
    newline: str = setting(
        "keep",
        "Line ends: keep, or turn CRLF and CR into LF.  [default: lf for your files, else keep]",
        ("keep", "lf"),
    )
    markup: str = setting(
        "keep",
        "HTML and RTF files: keep them as they are, or take the text of HTML."
        "  [default: text for your files, else keep]",
        ("keep", "text"),
    )
    normalize: bool = setting(False, "Recompose conjoining jamo (NFD Hangul) into syllables.")
    min_count: int = setting(1, "Symbols rarer than this become the unknown symbol.", Range(1))
    unknown_symbol: str | None = setting(
        None, "The symbol that stands for rare ones (with `min_count`).", metavar="CHAR"
    )
    data_dir: Path | None = setting(
        None,
        "Folder with corpora, <name>/input.txt each.  [default: $RNNTK_DATA, else ./data]",
        metavar="DIR",
        on_resume="session",
    )
    offline: bool = setting(False, "Never use the network.", on_resume="session")
    accept_licence: bool = setting(
        False, "Allow the download of a text whose licence is not known to permit it.", stored=False
    )

    def check_together(self) -> None:
        if self.corpus and self.input:
            raise UsageError("`corpus` and `input` are both given; use one of them.")
        if (self.min_count > 1) != (self.unknown_symbol is not None):
            raise UsageError(
                "`min_count` (above 1) and `unknown_symbol` belong together: symbols rarer than the one are replaced "
                "by the other."
            )
        if self.unknown_symbol is not None and len(self.unknown_symbol) != 1:
            raise UsageError(
                f"`unknown_symbol` must be one character, got {self.unknown_symbol!r}."
            )


@dataclass(frozen=True, repr=False)
class ModelConfig(Config):
    """The character model."""

    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(2, "Recurrent layers, stacked.", Range(1, 64))
    units: int = setting(128, "Units in each recurrent layer.", Range(1, 65536))
    embedding: int = setting(128, "Width of the symbol embedding.", Range(1, 65536))
    dropout: float = setting(0.0, "Fraction of each layer's outputs dropped in training.", FRACTION)
    dropout_kind: str = setting(
        "element", "A dropout mask per time step, or one per sequence.", ("element", "sequence")
    )
    layer_norm: bool = setting(False, "Normalise each layer's outputs over its units.")
    gru_reset: str = setting(
        "after",
        "Where a GRU's reset gate acts: after the recurrent product (fastest), or before it, as in TensorFlow 1.",
        ("after", "before"),
    )


@dataclass(frozen=True, repr=False)
class RunConfig(Config):
    """Settings of every training run: batches, learning rate, validation, stopping, saving and machine."""

    batch_size: int = setting(50, "Batch rows, read side by side.", Range(1))
    learning_rate: float = setting(0.002, "Learning rate of the optimizer.", POSITIVE)
    decay_rate: float = setting(
        0.97, "Factor of the learning rate after every epoch.", Range(0, 1, open_low=True)
    )
    schedule: str = setting(
        "decay",
        "Learning rate: decayed every epoch, cosine decay to 0, or halved when validation stalls.",
        ("decay", "cosine", "plateau"),
    )
    warmup_steps: int = setting(
        0, "Steps over which the learning rate first rises linearly from 0.", Range(0)
    )
    plateau_patience: int = setting(
        2, "Validations without a new best before plateau halves the rate.", Range(1)
    )
    clip_norm: float = setting(5.0, "Threshold of gradient clipping.", POSITIVE)

    epochs: int = setting(50, "Passes over the text.", Range(1), on_resume="kept")
    max_steps: int | None = setting(None, "Stop after N steps in all.", Range(1), on_resume="kept")
    max_time: float | None = of_session(
        None, "Stop after a time: 90s, 2m, 1h30m.", POSITIVE, metavar="TIME", parse=duration.parse
    )
    val_every: int | None = setting(
        None, "Validate every N steps.  [default: after every epoch]", Range(1)
    )
    patience: int | None = setting(
        None, "Stop after this many validations without a new best.", Range(1), on_resume="kept"
    )
    explosion_steps: int = setting(
        200,
        "Stop when the loss stays above twice the uniform loss (2 ln V) for this many steps; 0 disables this.",
        Range(0),
        on_resume="kept",
    )

    checkpoint_every: int = setting(500, "Checkpoint every N steps, and at the end.", Range(1))
    keep: int = setting(3, "Checkpoints kept beside the best.", Range(1))
    log_every: int = setting(100, "Without a terminal, print a line every N steps.", Range(1))
    histograms_every: int = setting(
        0, "Steps between TensorBoard histograms of the weights; 0 for none.", Range(0)
    )

    seed: int = setting(0, "Seed of every random choice.", Range(0, 2**32 - 1))
    device: str = setting("auto", "Device to train on.", ("auto", "cpu", "gpu"))
    precision: str = setting(
        "float32", "Arithmetic of large products; weights stay float32.", ("float32", "bfloat16")
    )
    threads: int | None = setting(
        None, "CPU cores.  [default: all]", Range(1, 1024), on_resume="session"
    )

    def check_validation(self, held_out: float, how: str) -> None:
        """Refuse settings that need validation if nothing is `held_out`; `how` is the advice in the message."""
        needs = [name for name in ("patience", "val_every") if getattr(self, name) is not None]
        needs += ['schedule="plateau"'] if self.schedule == "plateau" else []
        if needs and not held_out:
            raise UsageError(f"`{needs[0]}` needs validation: {how}")


@dataclass(frozen=True, repr=False)
class DistributeConfig(Config):
    """Devices and processes that share the batch rows."""

    distribute: str = of_session(
        "none",
        "Share the batch rows among the GPUs of this machine (mirrored) or several processes (multiworker).",
        ("none", "mirrored", "multiworker"),
    )
    workers: str | None = of_session(
        None,
        "With multiworker: all its processes, the same list for each.  [default: $TF_CONFIG]",
        metavar="HOST:PORT,...",
    )
    index: int | None = of_session(
        None, "With `workers`: which of them this process is, from 0; 0 writes the run.", Range(0)
    )

    def check_together(self) -> None:
        for name in ("workers", "index"):
            if getattr(self, name) is not None and self.distribute != "multiworker":
                raise UsageError(f'`{name}` needs `distribute="multiworker"`.')
        if self.index is not None and self.workers is None:
            raise UsageError(
                "`index` says which of `workers` this process is; give `workers` HOST:PORT,HOST:PORT,... too, "
                "or leave it out where TF_CONFIG has both."
            )


# The last base comes first in the order of the fields.
@dataclass(frozen=True, repr=False)
class TrainConfig(DistributeConfig, RunConfig, ModelConfig, TextConfig):
    """All settings for training a character model, in Python, on the command line and in `run.json`.

    Example:
        >>> TrainConfig(input="novel.txt", units=256, max_time="5m").max_time
        300.0
    """

    seq_length: int = setting(200, "Symbols per batch row and step (truncated BPTT).", Range(1))
    optimizer: str = setting(
        "adam",
        "Optimizer; adagrad and sgd want a higher `learning_rate`.",
        ("adam", "adagrad", "rmsprop", "sgd"),
    )
    weight_decay: float = setting(
        0.0,
        "Decoupled weight decay (AdamW): each step shrinks kernels by this times the learning rate.",
        Range(0),
    )
    ema: float = setting(
        0.0,
        "Decay of averaged weights, such as 0.999; they are validated, saved and sampled from. 0 for none.",
        FRACTION,
    )
    clip: str = setting(
        "global-norm", "How gradients are clipped.", ("global-norm", "norm", "value", "none")
    )
    val_fraction: float = setting(0.0, "Fraction held out for validation.", FRACTION)
    test_fraction: float = setting(0.0, "Fraction held out at the end, for rnntk eval.", FRACTION)
    sample_every: int = setting(
        500, "Steps between samples; 0 for none.", Range(0), on_resume="kept"
    )

    def check_together(self) -> None:
        TextConfig.check_together(self)
        DistributeConfig.check_together(self)
        if self.val_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"`val_fraction={self.val_fraction}` and `test_fraction={self.test_fraction}` "
                "leave no text to train on."
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
        None, "Images.  [default: mnist, else digits, drawn by rnntk]", ("mnist", "digits")
    )
    order: str = setting(
        "rows",
        "What one step reads: a row, a pixel, or a pixel in an order scrambled by `seed`.",
        ("rows", "pixels", "permuted"),
    )
    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(1, "Recurrent layers, stacked.", Range(1, 64))
    units: int = setting(128, "Units in each layer and direction.", Range(1, 65536))
    bidirectional: bool = setting(False, "Read the rows in both directions.")
    dropout: float = setting(0.0, "Fraction of each layer's outputs dropped in training.", FRACTION)
    batch_size: int = setting(128, "Images per step.", Range(1))
    epochs: int = setting(5, "Passes over the training images.", Range(1), on_resume="kept")
    learning_rate: float = setting(0.001, "Learning rate of Adam.", POSITIVE)
    decay_rate: float = setting(
        1.0, "Factor of the learning rate after every epoch.", Range(0, 1, open_low=True)
    )
    clip_norm: float = setting(5.0, "Global norm the gradient is clipped at.", POSITIVE)
    shift: int = setting(0, "Shift training images by up to N pixels at random.", Range(0, 14))
    val_size: int = setting(5000, "Training images held out for validation.", Range(0))
    data_dir: Path | None = of_session(None, "Folder with mnist/mnist.npz.", metavar="DIR")
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
        1.0, "Below 1 safer, above 1 wilder; 0 always takes the likeliest symbol.", Range(0)
    )
    top_k: int | None = setting(None, "Sample from the K likeliest symbols.", Range(1), metavar="K")
    top_p: float | None = setting(
        None,
        "Sample from the likeliest symbols that together have the probability P.",
        Range(0, 1, open_low=True),
        metavar="P",
    )
    min_p: float | None = setting(
        None, "Drop symbols less than P times as likely as the likeliest.", Range(0, 1), metavar="P"
    )
    beam: int | None = setting(
        None, "Search for the likeliest text with a beam of N, without sampling.", Range(1, 10_000)
    )
    beam_alpha: float = setting(
        1.0, "With `beam` and `stop`: 0 favours short texts, above 1 long ones.", Range(0)
    )
    no_repeat: int | None = setting(
        None, "Never generate the same N symbols in a row twice.", Range(2, 10**6)
    )
    num: int = setting(1, "How many texts to generate.", Range(1, 100_000))
    stop: str | None = setting(
        None, "End a text where this appears; on the command line, \\n is a line end."
    )
    seed: int | None = setting(
        None, "Same seed, same text.  [default: a new one each time, printed]", Range(0, 2**32 - 1)
    )
    on_unknown: str = setting(
        "error", "Characters of the prompt that the model does not know.", ("error", "skip")
    )
    raw: bool = setting(
        False, "Give the symbols as they are (jamo are not recomposed); `length` counts them."
    )

    def check_together(self) -> None:
        if self.stop == "":
            raise UsageError("`stop` is empty; give the text to stop at, or leave it out.")
        if self.beam is None:
            if self.beam_alpha != 1:
                raise UsageError("`beam_alpha` ranks the texts of `beam`; give `beam` too.")
            if self.num > 1:
                self._check_memory("num", self.num, MOST_SYMBOLS)
            return
        sampling = ("temperature", "top_k", "top_p", "min_p", "no_repeat")
        for f in dataclasses.fields(self):
            if f.name in sampling and getattr(self, f.name) != f.default:
                raise UsageError(
                    "`beam` searches for the likeliest text and samples nothing, so "
                    f"`{f.name}` cannot be given with it."
                )
        if self.num > self.beam:
            raise UsageError(
                f"A beam of {self.beam} finds {self.beam} texts at most; raise `beam`, or lower `num` ({self.num})."
            )
        if self.length < 1:
            raise UsageError("`beam` needs a `length` of at least 1.")
        self._check_memory("beam", self.beam, MOST_IN_BEAM)

    def new_seed(self) -> int:
        """The seed, or a random one if none is set."""
        return secrets.randbelow(2**32) if self.seed is None else self.seed

    def _check_memory(self, name: str, texts: int, most: int) -> None:
        """Raise `UsageError` if texts that are held in memory need too much of it."""
        if texts * self.length > most:
            raise UsageError(
                f"`{name}={texts}` with `length={self.length}` holds {texts * self.length:,} characters in memory, "
                f"but {most:,} are the most. Lower one of them."
            )
