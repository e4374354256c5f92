"""A trained character model: its weights, vocabulary and preprocessor as one object, without TensorFlow."""

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
from rnntk.errors import DataError, RunError, UsageError
from rnntk.storage import folder
from rnntk.storage.checkpoint import PROGRESS, WEIGHTS, Progress
from rnntk.storage.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.preprocessors import Plain, Preprocessor
from rnntk.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class EncodedText:
    """A text as the model reads it."""

    text: str  # without the characters that were skipped
    symbols: str  # what the preprocessor makes of it, T symbols
    ids: NDArray[np.integer]  # `(T,)`
    skipped: dict[str, int]  # how often each unknown character was left out, in order of appearance


class LanguageModel:
    """A trained character model, ready to generate and to evaluate text.

    Args:
        decoder: computes logits.
        vocabulary: the symbols.
        preprocessor: turns text into symbols and back.
        run: the run folder, whose settings say in what form text is read; without one it is read as it is.
        progress: how far training had come, when the weights are a checkpoint's.

    Attributes:
        default_prompt: the corpus' own prompt, or nothing where the model does not know its characters.

    Raises:
        RunError: decoder and vocabulary do not fit together.

    Example:
        >>> model = LanguageModel.load(folder.find("runs", "novel-1"))      # doctest: +SKIP
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
                f"The vocabulary has {len(vocabulary)} symbols and the model {decoder.vocabulary_size}: "
                "they belong to different runs."
            )
        self.decoder, self.vocabulary, self.preprocessor = decoder, vocabulary, preprocessor
        self.progress, prompt = progress, ""
        self._lf = self._recompose = False
        if run:
            self.run, prompt = run, run.record["corpus"].get("prime") or ""
            self._lf = run.settings.get("newline") == "lf"
            self._recompose = bool(run.settings.get("normalize"))
        self.default_prompt = "" if self._unknown(prompt, strict=True) else prompt
        unknown = vocabulary.unknown_symbol
        self._banned = [] if unknown is None else vocabulary.encode(unknown).tolist()

    @classmethod
    def of_run(
        cls, run: RunFolder, weights: Mapping[str, np.ndarray], progress: Progress | None = None
    ) -> LanguageModel:
        """The model of a run with the weights of a checkpoint, or of the moment, named as `Decoder` takes them.

        Raises:
            RunError: the run is not a character model, or its parts do not fit together.
        """
        if run.kind != folder.CHAR_RNN:
            raise RunError(f"{run.path} is a {run.kind}; only character models write text.")
        model = run.record["model"]
        layer_norm = bool(model.get("layer_norm", False))
        decoder = Decoder(weights, str(model["cell"]), layer_norm=layer_norm)
        return cls(decoder, run.vocabulary(), _preprocessor(run), run, progress)

    @classmethod
    def load(cls, run: RunFolder, checkpoint: str | int = "last") -> LanguageModel:
        """The model of a checkpoint (`last`, `best` or a step), its weights checked by SHA-256 and memory-mapped.

        Raises:
            RunError: there is no such checkpoint, it is damaged, or the run is not a character model.
        """
        saved = run.checkpoint(str(checkpoint), only=(WEIGHTS, PROGRESS))
        return cls.of_run(run, saved.mapped_weights(), saved.progress)

    @property
    def step(self) -> int:
        """The training step of the checkpoint; 0 for weights that are no checkpoint's."""
        return self.progress.step if self.progress else 0

    def encode(
        self,
        text: str,
        on_unknown: str = "error",
        *,
        name: str = "text",
        error: type[Exception] = DataError,
    ) -> EncodedText:
        """Encode a text, in the form that the run's own text was brought into (`newline`, `normalize`).

        A character is unknown when the vocabulary lacks one of its symbols (and has no unknown symbol),
        or when the preprocessor makes no symbol of it.

        Args:
            text: any text.
            on_unknown: `error`, or `skip` to leave unknown characters out.
            name, error: what the message calls the text, and the exception that carries it.

        Raises:
            error: the text has unknown characters (all are named).
            UsageError: `on_unknown` is neither.
        """
        if on_unknown not in ("error", "skip"):
            raise UsageError(f"`on_unknown` must be error or skip, got {on_unknown!r}.")
        text = self._as_trained(text)
        unknown = self._unknown(text)
        if unknown and on_unknown == "error":
            raise error(
                f"The {name} has characters that the model does not know: {_listed(unknown)}. "
                'Change them, or leave them out with `on_unknown="skip"`.'
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
            # Only here: its tables take longer to make than most texts to sample.
            from rnntk.text import hangul

            text = hangul.recompose(text)
        return text

    def _unknown(self, text: str, *, strict: bool = False) -> list[str]:
        """The unknown characters, each once; with `strict` also those that the unknown symbol stands for.

        By characters, since a user knows these and not the symbols they become.
        """
        replaced = self.vocabulary.unknown_symbol is not None and not strict
        return [
            c
            for c in dict.fromkeys(text)
            if not (symbols := self.preprocessor.encode(c))
            or (not replaced and self.vocabulary.unknown(symbols))
        ]

    def prompt(self, text: str, on_unknown: str = "error") -> EncodedText:
        """Encode a prompt.

        For an empty one the `ids` are those of a newline, since most texts can begin after one, or, where the
        vocabulary has none, of the commonest symbol; that symbol is read and not printed.

        Raises:
            UsageError: the prompt has unknown characters (all are named), see `encode`.
        """
        found = self.encode(text, on_unknown, name="prompt", error=UsageError)
        if found.symbols:
            return found
        start = "\n" if "\n" in self.vocabulary else self.vocabulary.decode([0])
        return dataclasses.replace(found, ids=self.vocabulary.encode(start))

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
        """Sample text, or search for it with a beam; the pieces of several texts come one text after another.

        Args:
            prompt: what the text continues.
            config: how it is generated; its `seed` and `on_unknown` are not looked at.
            seed: same seed, same text.
            echo: give the prompt first.
            surprisal: also give the surprisal of each symbol (a beam search always does).
            states: `config.num` streams that have read the prompt; by default it is read now.

        Returns:
            An iterator; the pieces of one stream, joined, are `decode` of all its symbols.

        Raises:
            UsageError: a beam search is to stop at a text that the model cannot write.
        """
        codec: Preprocessor = Plain() if config.raw else self.preprocessor
        stop = config.stop if config.beam is None else None  # the search itself ends there
        before = prompt.symbols if echo else ""
        texts = [TextStream(k, codec, before, stop) for k in range(config.num)]
        if states is None:
            states = self.decoder.initial_states(1)
            self.decoder.prime(prompt.ids, states)
            if config.num > 1 and config.beam is None:
                one, states = states, self.decoder.initial_states(config.num)
                states.assign(one)
        if config.beam is not None:
            return self._search(config, states, texts)
        strategies, rng = pipeline(config, self._banned), np.random.default_rng(seed)
        blocks = self.decoder.sample(states, strategies, rng, config.length, surprisal)
        rows = (row for block in blocks for row in zip(*block, strict=True))
        return generate.assemble(rows, self.vocabulary, texts)

    def _search(
        self, config: SampleConfig, states: States, texts: list[TextStream]
    ) -> Iterator[Piece]:
        stop = config.stop or ""
        if unknown := self._unknown(stop, strict=True):
            message = f"`stop` has characters that the model does not know: {_listed(unknown)}."
            raise UsageError(message)
        end = self.vocabulary.encode(self.preprocessor.encode(stop)).tolist()
        limits = config.length, config.beam or 1, config.beam_alpha
        found = beam_search(self.decoder, states, *limits, stop=end, banned=self._banned)
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
        """Generate one text, some whole characters at a time.

        The settings are checked at once; symbols are generated as the iterator is asked for them.

        Args:
            prompt: what the text continues, by default the corpus' own.
            seed: same seed, same text; None for a new one.
            echo: give the prompt first.
            settings: fields of `SampleConfig` other than `num` and `seed`.

        Returns:
            An iterator of strings, none empty; joined they are the text.

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
        """Measure how well the model predicts a text, its state carried through from zero.

        Args:
            text: any text, or a part of a prepared corpus: ids `(T,)`.
            on_unknown: `error`, or `skip` to leave unknown characters out; they then count nowhere.
            characters: how many ids stand for (`Prepared.characters`); by default those that they decode to.
            progress: is told how far it has come.

        Raises:
            DataError: the text has unknown characters, or fewer than two symbols.
        """
        if isinstance(text, str):
            found = self.encode(text, on_unknown)
        else:
            symbols = self.vocabulary.decode(text)
            found = EncodedText(self.preprocessor.decode(symbols), symbols, text, {})
        if len(found.ids) < 2:
            raise DataError(
                f"The text has {len(found.ids)} symbols; it needs at least 2, since the first is given."
            )
        text, symbols = found.text, found.symbols
        nats = self.decoder.costs(found.ids, progress=progress)
        by_character = evaluate.by_character(self.preprocessor, text, symbols, nats)
        characters = len(text) if characters is None else characters
        left_out = sum(found.skipped.values())
        return Evaluation(text, symbols, nats, by_character, characters, left_out)


def _listed(characters: list[str]) -> str:
    shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in characters[:20])
    return shown + (f" and {len(characters) - 20} more" if len(characters) > 20 else "")


def _preprocessor(run: RunFolder) -> Preprocessor:
    corpus = run.record["corpus"]
    found = preprocessors.get(corpus.get("preprocessor", ""))
    version = corpus.get("preprocessor_version")
    if found.version != version:
        raise RunError(
            f"{run.path} was trained with version {version} of the preprocessor {found.name}, "
            f"but version {found.version} is installed, which makes other symbols."
        )
    return found
