"""A trained character model with its vocabulary and preprocessor, without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk.config import SampleConfig
from rnntk.decoding import evaluate, generate
from rnntk.decoding.beam import beam_search
from rnntk.decoding.decoder import Decoder, Progressed
from rnntk.decoding.evaluate import Evaluation
from rnntk.decoding.generate import Piece, TextStream
from rnntk.decoding.reference import States
from rnntk.decoding.strategies import pipeline
from rnntk.errors import DataError, RunError, UsageError, listed, named
from rnntk.storage import folder
from rnntk.storage.checkpoint import PROGRESS, WEIGHTS, Progress
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.preprocessors import Plain, Preprocessor
from rnntk.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class EncodedText:
    """A text encoded for the model."""

    text: str  # without skipped characters
    symbols: str  # the preprocessor's output, T symbols
    ids: NDArray[np.integer]  # `(T,)`
    skipped: dict[str, int]  # counts of skipped unknown characters, in order of appearance


class LanguageModel:
    """A trained character model that generates and evaluates text.

    Args:
        decoder, vocabulary, preprocessor: the model's parts.
        run: the run folder, whose settings tell how to normalise text; without one, text is not changed.
        progress: the training progress at the checkpoint, if the weights come from one.

    Attributes:
        default_prompt: the corpus' own prompt, or "" without one or if the model does not know its characters.
        line_end: the line end of the training text: a newline, `"\r\n"`, `"\r"`, or "" if it has none.

    Raises:
        RunError: decoder and vocabulary do not match.

    Example:
        >>> model = LanguageModel.load(directory.find("runs", "novel-1"))      # doctest: +SKIP
        >>> "".join(model.stream("/* ", length=40, seed=1))                 # doctest: +SKIP
        'The read the read of the start the stats'
        >>> model.evaluate("int main(void)").bits_per_character             # doctest: +SKIP
        2.31
    """

    run: RunFolder

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        preprocessor: Preprocessor,
        run: RunFolder | None = None,
        progress: Progress | None = None,
    ) -> None:
        if len(vocabulary) != decoder.vocabulary_size:
            raise RunError(
                f"The vocabulary has {len(vocabulary)} symbols, the model {decoder.vocabulary_size}: they "
                "are of different runs."
            )
        self.decoder, self.vocabulary, self.preprocessor = decoder, vocabulary, preprocessor
        self.progress, prompt, opening = progress, "", ""
        self._lf = self._recompose = False
        if run:
            self.run, prompt = run, run.record["corpus"].get("prime") or ""
            opening = run.record["corpus"].get("opening") or ""
            self._lf = run.settings.get("newline") == "lf"
            self._recompose = bool(run.settings.get("normalize"))
        self.default_prompt = "" if self._unknown(prompt, strict=True) else prompt
        # Symbols come by descending count, so a text of CRLF has CR first.
        line_end = vocabulary.symbols.partition("\n")
        self.line_end = ("\r" if "\r" in line_end[0] else "") + line_end[1]
        # For a text of one line, the commonest symbol, usually a space.
        opening = preprocessor.encode(opening)
        if not opening or vocabulary.unknown(opening):
            opening = preprocessor.encode(self.line_end) or vocabulary.symbols[0]
        self._opening = opening
        unknown = vocabulary.unknown_symbol
        self._banned = [] if unknown is None else vocabulary.encode(unknown).tolist()

    @classmethod
    def of_run(
        cls, run: RunFolder, weights: Mapping[str, np.ndarray], progress: Progress | None = None
    ) -> LanguageModel:
        """The model of a run with given weights, named as in `Decoder`.

        Raises `RunError` if the run is not a character model, or its parts do not match.
        """
        if run.kind != folder.CHAR_RNN:
            raise RunError(f"{run.path} is a {run.kind}; only character models generate text.")
        model = run.record["model"]
        layer_norm = bool(model.get("layer_norm", False))
        decoder = Decoder(weights, str(model["cell"]), layer_norm=layer_norm)
        return cls(decoder, run.vocabulary(), _preprocessor(run), run, progress)

    @classmethod
    def load(cls, run: RunFolder, checkpoint: str | int = "best") -> LanguageModel:
        """The model of a checkpoint (`last`, `best` or a step), its weights checked by SHA-256 and memory-mapped.

        Raises `RunError` if the checkpoint is missing or damaged, or the run is not a character model.
        """
        saved = run.checkpoint(str(checkpoint), only=(WEIGHTS, PROGRESS))
        return cls.of_run(run, saved.mapped_weights(), saved.progress)

    @property
    def step(self) -> int:
        """The training step of the checkpoint, or 0 without one."""
        return self.progress.step if self.progress else 0

    def encode(
        self,
        text: str,
        on_unknown: str = "error",
        *,
        name: str = "text",
        error: type[Exception] = DataError,
    ) -> EncodedText:
        """Encode a text, normalised like the run's own (`newline`, `normalize`).

        A character is unknown if the preprocessor makes no symbol of it, or if one of its symbols is not in the
        vocabulary and that has no unknown symbol.

        Args:
            text: any text.
            on_unknown: `error`, or `skip` to leave out unknown characters.
            name, error: name of the text in the message, and the exception to raise.

        Raises:
            error: the text has unknown characters (all are listed).
            UsageError: `on_unknown` is invalid.
        """
        if on_unknown not in ("error", "skip"):
            raise UsageError(f"`on_unknown` must be error or skip, got {on_unknown!r}.")
        text = self._as_trained(text)
        unknown = self._unknown(text)
        if unknown and on_unknown == "error":
            raise error(
                f"The {name} has characters unknown to the model: {listed(named(unknown))}. Change them, or set "
                '`on_unknown="skip"`.'
            )
        counts = Counter(text) if unknown else {}
        text = text.translate(dict.fromkeys(map(ord, unknown)))
        symbols = self.preprocessor.encode(text)
        skipped = {c: counts[c] for c in unknown}
        return EncodedText(text, symbols, self.vocabulary.encode(symbols), skipped)

    def _as_trained(self, text: str) -> str:
        if self._lf:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if self._recompose:
            # Imported here because building its tables is slow.
            from rnntk.text import hangul

            text = hangul.recompose(text)
        return text

    def _unknown(self, text: str, *, strict: bool = False) -> list[str]:
        """The unknown characters, each once; with `strict` also those encoded as the unknown symbol."""
        replaced = self.vocabulary.unknown_symbol is not None and not strict
        return [
            c
            for c in dict.fromkeys(text)
            if not (symbols := self.preprocessor.encode(c))
            or (not replaced and self.vocabulary.unknown(symbols))
        ]

    def prompt(self, text: str, on_unknown: str = "error") -> EncodedText:
        """Encode a prompt.

        An empty one gets the `ids` of the training text's first lines, or of a line end if the run does not have them,
        so that generated text begins at a line start. They are not printed.

        Raises:
            UsageError: the prompt has unknown characters (all are listed); see `encode`.
        """
        found = self.encode(text, on_unknown, name="prompt", error=UsageError)
        if found.symbols:
            return found
        return dataclasses.replace(found, ids=self.vocabulary.encode(self._opening))

    def pieces(
        self,
        prompt: EncodedText,
        config: SampleConfig,
        seed: int,
        *,
        echo: bool = False,
        surprisal: bool = False,
        states: States | None = None,
    ) -> Iterator[Piece]:
        """Generate text in pieces by sampling or beam search; several texts come one after another.

        Args:
            prompt: the text to continue.
            config: settings; its `seed` and `on_unknown` are ignored.
            seed: same seed, same text.
            echo: yield the prompt first.
            surprisal: include the surprisal of each symbol (always with a beam search).
            states: `config.num` streams that have read the prompt; by default it is read now.

        Raises:
            UsageError: `stop` has unknown characters.
        """
        config = dataclasses.replace(config, stop=self._stop(config))
        codec: Preprocessor = Plain() if config.raw else self.preprocessor
        stop = config.stop if config.beam is None else None  # the search itself ends there
        before = prompt.symbols if echo else ""
        texts = [TextStream(k, codec, before, stop, config.length) for k in range(config.num)]
        if states is None:
            states = self.decoder.initial_states(1)
            self.decoder.prime(prompt.ids, states)
            if config.num > 1 and config.beam is None:
                one, states = states, self.decoder.initial_states(config.num)
                states.assign(one)
        if config.beam is not None:
            return self._search(config, codec, states, texts)
        strategies, rng = pipeline(config, self._banned), np.random.default_rng(seed)
        most = generate.most_symbols(codec, config.length)
        blocks = self.decoder.sample(states, strategies, rng, most, surprisal)
        return generate.assemble(blocks, self.vocabulary, texts)

    def _stop(self, config: SampleConfig) -> str | None:
        """`config.stop`, normalised like the run's text; `UsageError` if the model cannot generate it."""
        stop = self._as_trained(config.stop or "")
        symbols = config.raw and config.beam is None
        unknown = self.vocabulary.unknown(stop) if symbols else self._unknown(stop, strict=True)
        if unknown:
            raise UsageError(
                f"`stop` has characters unknown to the model: {listed(named(unknown))}. Change them."
            )
        return stop or None

    def _search(
        self, config: SampleConfig, codec: Preprocessor, states: States, texts: list[TextStream]
    ) -> Iterator[Piece]:
        stop = config.stop or ""
        end = self.vocabulary.encode(self.preprocessor.encode(stop)).tolist()

        def left(ids: NDArray[np.intp]) -> int:
            return generate.fewest_symbols(codec, self.vocabulary.decode(ids), config.length)

        # Without a stop, all texts have the same number of characters, though not of symbols.
        alpha = config.beam_alpha if stop else 0.0
        limits = generate.most_symbols(codec, config.length), config.beam or 1, alpha
        found = beam_search(self.decoder, states, *limits, stop=end, banned=self._banned, left=left)
        return (
            piece
            for text, (ids, nats, _) in zip(texts, found, strict=False)
            for piece in text.whole(self.vocabulary.decode(ids), nats.tolist())
        )

    def stream(
        self,
        prompt: str | None = None,
        *,
        seed: int | None = 0,
        echo: bool = False,
        **settings: Any,
    ) -> Iterator[str]:
        """Generate one text lazily, as non-empty strings of whole characters; settings are checked at once.

        Args:
            prompt: the text to continue; by default the corpus' own prompt.
            seed: same seed, same text; None for a random one.
            echo: yield the prompt first.
            settings: fields of `SampleConfig` except `num` and `seed`.

        Raises:
            UsageError: a setting is unknown or out of range, or the prompt has unknown characters.
        """
        config = SampleConfig(**settings, seed=seed)
        if config.num != 1:
            raise UsageError("`num` must be 1 here; sample again for another text.")
        ready = self.prompt(self.default_prompt if prompt is None else prompt, config.on_unknown)
        pieces = self.pieces(ready, config, config.new_seed(), echo=echo)
        return (piece.text for piece in pieces if piece.text)

    def evaluate(
        self,
        text: str | NDArray[np.integer],
        *,
        on_unknown: str = "error",
        characters: int | None = None,
        progress: Progressed | None = None,
    ) -> Evaluation:
        """Measure how well the model predicts a text, read once from zero states.

        Args:
            text: any text, or ids `(T,)` of a part of a prepared corpus.
            on_unknown: `error`, or `skip` to leave out unknown characters.
            characters: number of characters of ids (`Prepared.characters`); by default of their decoded text.
            progress: called after each chunk.

        Raises:
            DataError: the text has unknown characters, or fewer than two symbols.
        """
        if isinstance(text, str):
            found = self.encode(text, on_unknown)
        else:
            symbols = self.vocabulary.decode(text)
            found = EncodedText(self.preprocessor.decode(symbols), symbols, text, {})
        if len(found.ids) < 2:
            raise DataError(f"Evaluation needs a text of at least 2 symbols, got {len(found.ids)}.")
        text, symbols = found.text, found.symbols
        nats = self.decoder.costs(found.ids, progress=progress)
        by_character = evaluate.by_character(self.preprocessor, text, symbols, nats)
        characters = len(text) if characters is None else characters
        left_out = sum(found.skipped.values())
        return Evaluation(text, symbols, nats, by_character, characters, left_out)


def _preprocessor(run: RunFolder) -> Preprocessor:
    corpus = run.record["corpus"]
    found = preprocessors.get(corpus.get("preprocessor") or "")
    version = corpus.get("preprocessor_version")
    if found.version != version:
        raise RunError(
            f"{run.path} needs version {version} of the preprocessor {found.name}, not the installed "
            f"{found.version}. Install the release that has it."
        )
    return found
