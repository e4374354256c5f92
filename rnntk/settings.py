"""All settings there are: one definition of every option, for flags, environment, TOML files and Python alike."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from rnntk.errors import UsageError
from rnntk.fields import Settings, flag, setting

EXPLOSION_STEPS = 200

TOGETHER = 10**8
"""Symbols of all the texts drawn at once: the first is printed as it comes, the others wait in memory, 8 bytes each."""

IN_BEAM = 10**7
"""Symbols of all hypotheses of a beam: 16 bytes each, copied at every step."""


@dataclass(frozen=True)
class TextConfig(Settings):
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
        "How text becomes symbols: plain, hangul, hangul-slides, bytes, or an installed one."
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
class ModelConfig(Settings):
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
    layer_norm: bool = setting(
        False, "Normalise each layer's outputs over its units (layer normalisation)."
    )
    gru_reset: str = setting(
        "after",
        "Where a GRU's reset gate acts: after the recurrent product (fastest), or before it, as in TensorFlow 1.",
        choices=("after", "before"),
    )


@dataclass(frozen=True)
class OptimizationConfig(Settings):
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
    explosion_steps: int = setting(
        EXPLOSION_STEPS,
        "Stop after this many steps in a row whose loss is twice that of knowing nothing; 0 for never.",
        low=0,
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
class MachineConfig(Settings):
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
class DistributeConfig(Settings):
    """Which devices and processes share the lanes; a matter of where a run trains, and no part of the run."""

    distribute: str = setting(
        "none",
        "Share the lanes of a batch among the GPUs of this machine (mirrored) or several processes (multiworker).",
        choices=("none", "mirrored", "multiworker"),
    )
    workers: str | None = setting(
        None,
        "With multiworker: all its processes, the same list for each.  [default: $TF_CONFIG]",
        metavar="HOST:PORT,...",
    )
    index: int | None = setting(
        None, "With --workers: which of them this process is, from 0; 0 writes the run.", low=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("--workers", self.workers), ("--index", self.index)):
            if value is not None and self.distribute != "multiworker":
                raise UsageError(f"{name} needs --distribute multiworker.")
        if self.index is not None and self.workers is None:
            raise UsageError(
                "--index says which of --workers this process is; give --workers HOST:PORT,HOST:PORT,... too, "
                "or leave it out where TF_CONFIG says both."
            )


@dataclass(frozen=True)
class MnistConfig(Settings):
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
class SampleConfig(Settings):
    """How text is sampled from a model, or searched for with a beam."""

    length: int = setting(1000, "Symbols to generate.", low=0, high=10**9)
    temperature: float = setting(
        1.0, "Below 1 safer, above 1 wilder; 0 always takes the likeliest symbol.", low=0
    )
    top_k: int | None = setting(
        None, "Sample from the K likeliest symbols only.", low=1, metavar="K"
    )
    top_p: float | None = setting(
        None,
        "Sample from the likeliest symbols that together have the probability P.",
        metavar="P",
        low=0,
        high=1,
        open_low=True,
    )
    min_p: float | None = setting(
        None,
        "Sample from the symbols at least P times as likely as the likeliest.",
        low=0,
        high=1,
        metavar="P",
    )
    beam: int | None = setting(
        None,
        "Search for the likeliest text with a beam of N instead of sampling.",
        low=1,
        high=10_000,
        metavar="N",
    )
    beam_alpha: float = setting(
        1.0, "With --beam and --stop: 0 favours short texts, above 1 long ones.", low=0
    )
    no_repeat: int | None = setting(
        None, "Never generate the same N symbols in a row twice.", low=2, high=10**6, metavar="N"
    )
    num: int = setting(1, "How many texts to generate.", low=1, high=100_000)
    stop: str | None = setting(None, "End a text where this appears.", metavar="TEXT")
    seed: int | None = setting(
        None,
        "Same seed, same text.  [default: a new one each time, printed]",
        low=0,
        high=2**32 - 1,
    )
    on_unknown: str = setting(
        "error", "Characters of the prompt that the model does not know.", choices=("error", "skip")
    )
    raw: bool = setting(False, "Give the symbols as they are (jamo are not recomposed).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop == "":
            raise UsageError("--stop is empty; give the text to stop at, or leave the option out.")
        if self.beam is None:
            if self.beam_alpha != 1:
                raise UsageError("--beam-alpha says how --beam ranks texts; give --beam too.")
            if self.num > 1:
                self._refuse_more_than("--num", self.num, TOGETHER)
            return
        sampling = ("temperature", "top_k", "top_p", "min_p", "no_repeat")
        for f in dataclasses.fields(self):
            if f.name in sampling and getattr(self, f.name) != f.default:
                raise UsageError(
                    "--beam searches for the likeliest text and samples nothing, so "
                    f"{flag(f.name)} cannot be given with it."
                )
        if self.num > self.beam:
            raise UsageError(
                f"A beam of {self.beam} finds {self.beam} texts at most; raise --beam, or lower --num ({self.num})."
            )
        if self.length < 1:
            raise UsageError("--beam needs a --length of at least 1.")
        self._refuse_more_than("--beam", self.beam, IN_BEAM)

    def _refuse_more_than(self, name: str, texts: int, most: int) -> None:
        """Raise `UsageError` where several texts, which are held in memory, are too much for it."""
        if texts * self.length > most:
            raise UsageError(
                f"{name} {texts:,} with --length {self.length:,} holds {texts * self.length:,} symbols in memory, but "
                f"{most:,} are the most. Lower one of them."
            )
