"""A trained character model, read from its run folder without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnntk.config import SampleConfig
from rnntk.decoding import generate, strategies
from rnntk.decoding.decoder import Decoder, States
from rnntk.decoding.generate import Piece, Prime
from rnntk.errors import RunError
from rnntk.runs import folder
from rnntk.runs.checkpoint import PROGRESS, WEIGHTS, Progress
from rnntk.runs.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rnntk.decoding.evaluate import Evaluation


class TrainedModel:
    """What a run has learnt, ready to write.

    Args:
        run: the run folder.
        weights: by name; those of a checkpoint, or of the moment.
        progress: where training stood, when the weights are a checkpoint's.

    Attributes:
        decoder: computes logits.
        vocabulary: the symbols.
        preprocessor: turns text into symbols and back.

    Raises:
        RunError: the run is no character model, or its parts do not fit each other.
    """

    def __init__(
        self, run: RunFolder, weights: Mapping[str, np.ndarray], progress: Progress | None = None
    ) -> None:
        if run.kind != folder.CHAR_RNN:
            raise RunError(f"{run.path} is a {run.kind}; only character models write text.")
        self.run = run
        self.progress = progress
        self.vocabulary: Vocabulary = run.vocabulary()
        self.preprocessor: Preprocessor = _preprocessor(run)
        model = run.record["model"]
        self.decoder = Decoder(
            weights, str(model["cell"]), layer_norm=bool(model.get("layer_norm", False))
        )

    @property
    def default_prime(self) -> str:
        """The corpus' own prime where the model knows its characters, else nothing."""
        prime = self.run.record["corpus"].get("prime") or ""
        return "" if self.vocabulary.unknown(self.preprocessor.encode(prime)) else prime

    def prime(self, text: str, on_unknown: str = "error") -> Prime:
        """A prime made ready, in the form that the run's own text was brought into; see `generate.encode_prime`."""
        return generate.encode_prime(
            self._as_trained(text), self.vocabulary, self.preprocessor, on_unknown=on_unknown
        )

    def _as_trained(self, text: str) -> str:
        """What `--newline lf` and `--normalize` made of the run's own text, made of this one."""
        if self.run.settings.get("newline") == "lf":
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if self.run.settings.get("normalize"):
            from rnntk.text import hangul

            text = hangul.recompose(text)
        return text

    def pieces(
        self,
        prime: Prime,
        settings: SampleConfig,
        seed: int,
        *,
        echo: bool = False,
        costs: bool = False,
        states: States | None = None,
    ) -> Iterator[Piece]:
        """Draw text, or search for it; pieces of several texts come one text after another.

        Args:
            prime: what the text goes on from.
            settings: how it is drawn.
            seed: same seed, same text.
            echo: give the prime first.
            costs: also what each symbol cost (a beam search always says it).
            states: that have seen the prime already, where text is drawn.
        """
        if settings.beam is not None:
            return self._search(prime, settings, echo)
        return generate.generate(
            self.decoder,
            self.vocabulary,
            self.preprocessor,
            rng=np.random.default_rng(seed),
            prime=prime,
            states=states,
            length=settings.length,
            strategies=strategies.pipeline(
                temperature=settings.temperature,
                top_k=settings.top_k,
                top_p=settings.top_p,
                min_p=settings.min_p,
                greedy=settings.greedy,
                no_repeat=settings.no_repeat,
            ),
            num=settings.num,
            stop=settings.stop,
            raw=settings.raw,
            echo=echo,
            costs=costs,
        )

    def _search(self, prime: Prime, settings: SampleConfig, echo: bool) -> Iterator[Piece]:
        found = generate.search(
            self.decoder,
            self.vocabulary,
            self.preprocessor,
            width=settings.beam or 1,
            prime=prime,
            length=settings.length,
            alpha=settings.beam_alpha,
            stop=settings.stop,
        )
        for piece in found[: settings.num]:
            yield from generate.spread(
                piece,
                self.preprocessor,
                before=prime.text if echo else "",
                raw=settings.raw,
            )

    def sample(self, prime: str | None = None, *, seed: int = 0, **settings: Any) -> Iterator[str]:
        """Draw one text, a string of whole characters at a time.

        The settings are checked at once; symbols are drawn as the iterator is asked for them, so that
        nothing is lost by leaving it early.

        Args:
            prime: what the text goes on from; the corpus' own by default. It is not repeated.
            seed: same seed, same text.
            settings: any of `config.SampleConfig` but `num` and `seed`: length, temperature, top_k, top_p,
                min_p, greedy, beam, beam_alpha, no_repeat, stop, on_unknown, raw.

        Returns:
            An iterator of strings, none empty; joined they are the text.

        Raises:
            UsageError: a value is out of range, or the prime has characters the model does not know.
            TypeError: there is no such setting.

        Example:
            >>> import rnntk                                                    # doctest: +SKIP
            >>> model = rnntk.load("runs/linux_kernel-1")                       # doctest: +SKIP
            >>> "".join(model.sample("/* ", length=40, seed=1))                 # doctest: +SKIP
            'The read the read of the start the stats'
            >>> for text in model.sample("int main(", temperature=0.7):         # doctest: +SKIP
            ...     print(text, end="", flush=True)
        """
        chosen = SampleConfig(**settings, seed=seed, num=1)
        ready = self.prime(self.default_prime if prime is None else prime, chosen.on_unknown)
        return (piece.text for piece in self.pieces(ready, chosen, seed) if piece.text)

    def evaluate(
        self,
        text: str,
        *,
        on_unknown: str = "error",
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """What a text costs under this model; see `evaluate.evaluate_text`.

        Example:
            >>> model.evaluate("int main(void)").bits_per_character             # doctest: +SKIP
            2.31
        """
        from rnntk.decoding import evaluate

        return evaluate.evaluate_text(
            self.decoder,
            self.vocabulary,
            self.preprocessor,
            self._as_trained(text),
            on_unknown=on_unknown,
            progress=progress,
        )


def _preprocessor(run: RunFolder) -> Preprocessor:
    corpus = run.record["corpus"]
    found = preprocessors.get(corpus["preprocessor"])
    if found.version != corpus["preprocessor_version"]:
        raise RunError(
            f"{run.path} was trained with version {corpus['preprocessor_version']} of the preprocessor {found.name}, "
            f"but version {found.version} is installed, which makes other symbols."
        )
    return found


def load(
    path: str | Path,
    checkpoint: str | int = "last",
) -> TrainedModel:
    """Load a run's model.

    Args:
        path: the run folder, or its name in `runs/`.
        checkpoint: `last`, `best` or a step. Its weights are checked against their SHA-256 and memory-mapped.

    Raises:
        RunError: there is no such run or checkpoint, or it is damaged.
    """
    run = folder.find(Path("runs"), Path(path))
    saved = run.checkpoint(str(checkpoint), only=(WEIGHTS, PROGRESS))
    return TrainedModel(run, saved.mapped_weights(), saved.progress)
