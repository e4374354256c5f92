"""A trained character model, read from its run folder without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from rnntk.config import SampleSettings
from rnntk.decoding import generate, strategies
from rnntk.decoding.decoder import Decoder
from rnntk.decoding.generate import Piece, Prime
from rnntk.errors import RunError
from rnntk.runs import folder
from rnntk.runs.checkpoint import Progress
from rnntk.runs.folder import RunFolder
from rnntk.text import preprocessors
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary


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
        self.decoder = Decoder(weights, str(run.record["model"]["cell"]))

    @property
    def default_prime(self) -> str:
        """The corpus' own prime where the model knows its characters, else nothing."""
        prime = self.run.record["corpus"].get("prime") or ""
        return "" if self.vocabulary.unknown(self.preprocessor.encode(prime)) else prime

    def prime(self, text: str, on_unknown: str = "error") -> Prime:
        """A prime made ready; see `generate.encode_prime`."""
        return generate.encode_prime(
            text, self.vocabulary, self.preprocessor, on_unknown=on_unknown
        )

    def pieces(
        self,
        prime: Prime,
        settings: SampleSettings,
        seed: int,
        *,
        echo: bool = False,
        costs: bool = False,
    ) -> Iterator[Piece]:
        """Draw text; pieces of several texts come one text after another.

        Args:
            prime: what the text goes on from.
            settings: how it is drawn.
            seed: same seed, same text.
            echo: give the prime first.
            costs: also what each symbol cost.
        """
        return generate.generate(
            self.decoder,
            self.vocabulary,
            self.preprocessor,
            rng=np.random.default_rng(seed),
            prime=prime,
            length=settings.length,
            strategies=strategies.pipeline(
                temperature=settings.temperature,
                top_k=settings.top_k,
                top_p=settings.top_p,
                greedy=settings.greedy,
            ),
            num=settings.num,
            stop=settings.stop,
            raw=settings.raw,
            echo=echo,
            costs=costs,
        )

    def sample(
        self, prime: str | None = None, *, seed: int = 0, **settings: object
    ) -> Iterator[str]:
        """Draw one text, a string of whole characters at a time.

        Args:
            prime: what the text goes on from; the corpus' own by default. It is not repeated.
            seed: same seed, same text.
            settings: any of `config.SampleSettings`: length, temperature, top_k, top_p, greedy, stop, raw.

        Example:
            "".join(rnntk.load("runs/linux_kernel-1").sample("/* ", length=100))
        """
        chosen = dataclasses.replace(SampleSettings(), **settings, num=1)  # type: ignore[arg-type]
        ready = self.prime(self.default_prime if prime is None else prime, chosen.on_unknown)
        for piece in self.pieces(ready, chosen, seed):
            if piece.text:
                yield piece.text


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
    path: str | Path, checkpoint: str = "last", *, warn: Callable[[str], None] = lambda _: None
) -> TrainedModel:
    """Load a run's model.

    Args:
        path: the run folder.
        checkpoint: `last`, `best` or a step.
        warn: told of a damaged checkpoint that is passed over.

    Raises:
        RunError: there is no such run or checkpoint, or it is damaged.
    """
    run = folder.open_run(Path(path))
    saved = run.checkpoint(checkpoint, warn=warn)
    return TrainedModel(run, saved.weights(), saved.progress)
