"""All configurations: one definition of every setting, for Python, flags, environment, TOML and `run.json`."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from pathlib import Path

from rnntk import duration
from rnntk.config.fields import FRACTION, POSITIVE, Config, Range, at_least, setting
from rnntk.errors import UsageError

CELLS = ("lstm", "gru", "rnn")
MOST_SYMBOLS = 10**8  # of all texts sampled at once: all but the first wait in memory, 8 bytes each
MOST_IN_BEAM = 10**7  # of all hypotheses of a beam: 16 bytes each, copied at every step


@dataclass(frozen=True, repr=False)
class TextConfig(Config):
    """Which text, and how it becomes symbols."""

    group = "Text"

    corpus: str | None = setting(None, "A corpus, or a card of your own (.toml).", metavar="NAME")
    input: tuple[str, ...] = setting(
        (),
        "A text file or folder of your own; may be given several times; - is stdin.",
        metavar="PATH",
        on_resume="kept",
    )
    glob: str = setting("*.txt", "Which files of an input folder are read.", metavar="PATTERN")
    preprocessor: str | None = setting(
        None,
        "How text becomes symbols: plain, hangul, hangul-slides, bytes, or an installed one."
        "  [default: the corpus' own, else plain]",
        metavar="NAME",
    )
    encoding: str | None = setting(
        None, "The text's encoding.  [default: the corpus' own, else detected]", metavar="NAME"
    )
    errors: str = setting(
        "strict", "Undecodable bytes: fail, or use U+FFFD.", ("strict", "replace")
    )
    newline: str = setting("keep", "Line ends: keep, or turn CRLF and CR into LF.", ("keep", "lf"))
    normalize: bool = setting(False, "Recompose conjoining jamo (NFD Hangul) into syllables.")
    min_count: int = setting(1, "Symbols rarer than this become the unknown symbol.", at_least(1))
    unknown_symbol: str | None = setting(
        None, "The symbol that stands for rare ones (with --min-count).", metavar="CHAR"
    )
    data_dir: Path | None = setting(
        None,
        "Folder with corpora, <name>/input.txt each.  [default: $RNNTK_DATA, else ./data]",
        metavar="DIR",
        on_resume="session",
    )
    offline: bool = setting(False, "Never use the network.", on_resume="session")
    accept_licence: bool = setting(
        False, "Allow the download of a text whose licence is not known to permit it."
    )

    def check_together(self) -> None:
        """One text, and an unknown symbol where rare ones are replaced."""
        super().check_together()
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

    group = "Model"

    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(2, "Recurrent layers, stacked.", at_least(1, 64))
    units: int = setting(128, "Units in each recurrent layer.", at_least(1, 65536))
    embedding: int = setting(128, "Width of the symbol embedding.", at_least(1, 65536))
    dropout: float = setting(0.0, "Fraction of each layer's outputs dropped in training.", FRACTION)
    dropout_kind: str = setting(
        "element",
        "A new dropout mask at every time step, or one per sequence.",
        ("element", "sequence"),
    )
    layer_norm: bool = setting(False, "Normalise each layer's outputs over its units.")
    gru_reset: str = setting(
        "after",
        "Where a GRU's reset gate acts: after the recurrent product (fastest), or before it, as in TensorFlow 1.",
        ("after", "before"),
    )


@dataclass(frozen=True, repr=False)
class OptimizationConfig(Config):
    """Batches and the learning rate."""

    group = "Training"

    batch_size: int = setting(50, "Batch rows: pieces of the text read side by side.", at_least(1))
    learning_rate: float = setting(0.002, "Learning rate of the optimizer.", POSITIVE)
    decay_rate: float = setting(
        0.97, "Factor of the learning rate after every epoch.", Range(0, 1, open_low=True)
    )
    schedule: str = setting(
        "decay",
        "Learning rate: decayed every epoch, cosine decay to 0, or halved when validation stalls.",
        ("decay", "cosine", "plateau"),
    )
    plateau_patience: int = setting(
        2, "Validations without a new best before plateau halves the rate.", at_least(1)
    )
    clip_norm: float = setting(5.0, "Threshold of gradient clipping.", POSITIVE)


@dataclass(frozen=True, repr=False)
class StoppingConfig(Config):
    """When training ends, and when it validates."""

    group = "Stopping"

    epochs: int = setting(50, "Passes over the text.", at_least(1), on_resume="kept")
    max_steps: int | None = setting(
        None, "Stop after this many steps in all.", at_least(1), on_resume="kept"
    )
    max_time: float | None = setting(
        None,
        "Stop after this long: 90s, 2m, 1h30m.",
        POSITIVE,
        metavar="TIME",
        parse=duration.parse,
        on_resume="session",
        stored=False,
    )
    val_every: int | None = setting(
        None, "Validate every N steps.  [default: after every epoch]", at_least(1), metavar="N"
    )
    patience: int | None = setting(
        None,
        "Stop after this many validations without a new best.",
        at_least(1),
        on_resume="kept",
    )
    explosion_steps: int = setting(
        200,
        "Stop when the loss stays above twice the uniform loss (2 ln V) for this many steps; 0 disables this.",
        at_least(0),
        on_resume="kept",
    )

    def check_validation(self, fraction: float, how: str) -> None:
        """Refuse what needs validation where none is held out.

        Raises:
            UsageError: `fraction` is 0 and a setting needs validation; `how` says how to hold some out.
        """
        if fraction:
            return
        wanted = {"patience": self.patience, "val_every": self.val_every}
        for name, value in wanted.items():
            if value is not None:
                raise UsageError(f"`{name}` needs validation: {how}")
        if getattr(self, "schedule", None) == "plateau":
            raise UsageError(f"`schedule` plateau needs validation: {how}")


@dataclass(frozen=True, repr=False)
class SavingConfig(Config):
    """What a run saves and reports."""

    group = "Saving"

    checkpoint_every: int = setting(
        500, "Save a checkpoint every N steps, and at the end.", at_least(1), metavar="N"
    )
    keep: int = setting(3, "Checkpoints kept beside the best.", at_least(1))
    log_every: int = setting(
        100, "Without a terminal, print a line every N steps.", at_least(1), metavar="N"
    )
    histograms_every: int = setting(
        0, "Steps between TensorBoard histograms of the weights; 0 for none.", at_least(0)
    )


@dataclass(frozen=True, repr=False)
class MachineConfig(Config):
    """Where and how a run computes."""

    group = "Machine"

    seed: int = setting(0, "Seed of every random choice.", at_least(0, 2**32 - 1))
    device: str = setting("auto", "Device to train on.", ("auto", "cpu", "gpu"))
    precision: str = setting(
        "float32",
        "Arithmetic of the large products; weights stay float32.",
        ("float32", "bfloat16"),
    )
    threads: int | None = setting(
        None, "Cores to use.  [default: all]", at_least(1, 1024), on_resume="session"
    )


@dataclass(frozen=True, repr=False)
class DistributeConfig(Config):
    """Which devices and processes share the batch rows."""

    group = "Machine"

    distribute: str = setting(
        "none",
        "Share the batch rows among the GPUs of this machine (mirrored) or several processes (multiworker).",
        ("none", "mirrored", "multiworker"),
        on_resume="session",
        stored=False,
    )
    workers: str | None = setting(
        None,
        "With multiworker: all its processes, the same list for each.  [default: $TF_CONFIG]",
        metavar="HOST:PORT,...",
        on_resume="session",
        stored=False,
    )
    index: int | None = setting(
        None,
        "With --workers: which of them this process is, from 0; 0 writes the run.",
        at_least(0),
        on_resume="session",
        stored=False,
    )

    def check_together(self) -> None:
        """Workers belong to multiworker."""
        super().check_together()
        for name in ("workers", "index"):
            if getattr(self, name) is not None and self.distribute != "multiworker":
                raise UsageError(f"`{name}` needs `distribute` multiworker.")
        if self.index is not None and self.workers is None:
            raise UsageError(
                "`index` says which of `workers` this process is; give `workers` HOST:PORT,HOST:PORT,... too, "
                "or leave it out where TF_CONFIG has both."
            )


# Bases are listed last group first: a dataclass takes the fields of its last base first.
@dataclass(frozen=True, repr=False)
class TrainConfig(
    DistributeConfig,
    MachineConfig,
    SavingConfig,
    StoppingConfig,
    OptimizationConfig,
    ModelConfig,
    TextConfig,
):
    """Everything about the training of a character model.

    The same object is what Python code writes, what the command line makes of its flags, what `run.json` stores,
    and what training reads.

    Example:
        >>> TrainConfig(input="novel.txt", units=256, max_time="5m").max_time
        300.0
    """

    seq_length: int = setting(
        200, "Sequence length of truncated BPTT: symbols per batch row and step.", at_least(1)
    )
    optimizer: str = setting(
        "adam",
        "Optimizer; adagrad and sgd want a higher --learning-rate.",
        ("adam", "adagrad", "rmsprop", "sgd"),
    )
    clip: str = setting(
        "global-norm", "How gradients are clipped.", ("global-norm", "norm", "value", "none")
    )
    val_fraction: float = setting(0.0, "Fraction held out for validation.", FRACTION)
    test_fraction: float = setting(0.0, "Fraction held out at the end, for rnntk eval.", FRACTION)
    sample_every: int = setting(
        500, "Steps between samples; 0 for none.", at_least(0), on_resume="kept"
    )

    def check_together(self) -> None:
        """Some text is left to train on, and validation where it is needed."""
        super().check_together()
        if self.val_fraction + self.test_fraction >= 1:
            raise UsageError(
                f"`val_fraction` {self.val_fraction} and `test_fraction` {self.test_fraction} "
                "leave no text to train on."
            )
        self.check_validation(self.val_fraction, "set `val_fraction`, for example 0.05.")


@dataclass(frozen=True, repr=False)
class MnistConfig(MachineConfig, SavingConfig, StoppingConfig, OptimizationConfig):
    """Everything about the training of the row classifier.

    Example:
        >>> MnistConfig(bidirectional=True, epochs=10)
        MnistConfig(epochs=10, bidirectional=True)
    """

    data: str | None = setting(
        None,
        "Images.  [default: mnist, else digits, which rnntk draws itself]",
        ("mnist", "digits"),
    )
    order: str = setting(
        "rows",
        "What one step reads: a row, a pixel, or a pixel in an order scrambled by --seed.",
        ("rows", "pixels", "permuted"),
    )
    cell: str = setting("lstm", "Recurrent cell.", CELLS)
    layers: int = setting(1, "Recurrent layers, stacked.", at_least(1, 64))
    units: int = setting(128, "Units in each layer and direction.", at_least(1, 65536))
    bidirectional: bool = setting(False, "Read the rows in both directions.")
    dropout: float = setting(0.0, "Fraction of each layer's outputs dropped in training.", FRACTION)
    batch_size: int = setting(128, "Images per step.", at_least(1))
    epochs: int = setting(5, "Passes over the training images.", at_least(1), on_resume="kept")
    learning_rate: float = setting(0.001, "Learning rate of Adam.", POSITIVE)
    decay_rate: float = setting(
        1.0, "Factor of the learning rate after every epoch.", Range(0, 1, open_low=True)
    )
    clip_norm: float = setting(5.0, "Global norm the gradient is clipped at.", POSITIVE)
    shift: int = setting(0, "Shift training images by up to N pixels at random.", at_least(0, 14))
    val_size: int = setting(5000, "Training images held out for validation.", at_least(0))
    data_dir: Path | None = setting(
        None, "Folder with mnist/mnist.npz.", metavar="DIR", on_resume="session", stored=False
    )
    offline: bool = setting(False, "Never use the network.", on_resume="session", stored=False)

    def check_together(self) -> None:
        """Validation where it is needed."""
        super().check_together()
        self.check_validation(self.val_size, "raise `val_size`.")


@dataclass(frozen=True, repr=False)
class SampleConfig(Config):
    """How text is generated by a model.

    Example:
        >>> SampleConfig(temperature=0.7, top_k=20)
        SampleConfig(temperature=0.7, top_k=20)
    """

    length: int = setting(1000, "Symbols to generate.", at_least(0, 10**9))
    temperature: float = setting(
        1.0, "Below 1 safer, above 1 wilder; 0 always takes the likeliest symbol.", at_least(0)
    )
    top_k: int | None = setting(
        None, "Sample from the K likeliest symbols.", at_least(1), metavar="K"
    )
    top_p: float | None = setting(
        None,
        "Sample from the likeliest symbols that together have the probability P.",
        Range(0, 1, open_low=True),
        metavar="P",
    )
    min_p: float | None = setting(
        None,
        "Sample from the symbols at least P times as likely as the likeliest.",
        at_least(0, 1),
        metavar="P",
    )
    beam: int | None = setting(
        None,
        "Search for the likeliest text with a beam of N instead of sampling.",
        at_least(1, 10_000),
        metavar="N",
    )
    beam_alpha: float = setting(
        1.0, "With --beam and --stop: 0 favours short texts, above 1 long ones.", at_least(0)
    )
    no_repeat: int | None = setting(
        None, "Never generate the same N symbols in a row twice.", at_least(2, 10**6), metavar="N"
    )
    num: int = setting(1, "How many texts to generate.", at_least(1, 100_000))
    stop: str | None = setting(None, "End a text where this appears.", metavar="TEXT")
    seed: int | None = setting(
        None,
        "Same seed, same text.  [default: a new one each time, printed]",
        at_least(0, 2**32 - 1),
    )
    on_unknown: str = setting(
        "error", "Characters of the prompt that the model does not know.", ("error", "skip")
    )
    raw: bool = setting(False, "Give the symbols as they are (jamo are not recomposed).")

    def check_together(self) -> None:
        """Sampling and beam search each have their own settings, and memory for several texts is bounded."""
        super().check_together()
        if self.stop == "":
            raise UsageError("`stop` is empty; give the text to stop at, or leave the option out.")
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
        """The seed, or a new one where none is set."""
        return secrets.randbelow(2**32) if self.seed is None else self.seed

    def _check_memory(self, name: str, texts: int, most: int) -> None:
        """Raise `UsageError` if several texts, which are held in memory, need too much of it."""
        if texts * self.length > most:
            raise UsageError(
                f"`{name}` {texts:,} with `length` {self.length:,} holds {texts * self.length:,} symbols in memory, "
                f"but {most:,} are the most. Lower one of them."
            )
