"""`Run`: a trained model in its run folder, for Python code and notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import duration
from rnntk.config import MnistConfig, TrainConfig
from rnntk.errors import RnntkError, RunError, naming_arguments
from rnntk.storage import folder, metrics
from rnntk.storage.folder import RunFolder

if TYPE_CHECKING:
    import keras
    import numpy as np
    from matplotlib.figure import Figure

    from rnntk.decoding.evaluate import Evaluation
    from rnntk.decoding.language_model import LanguageModel
    from rnntk.exchange.export import Exported
    from rnntk.training.row_task import ClassifierResult

SAMPLE_IN_NOTEBOOK = 300


class Run:
    """A trained model with its settings, metrics and checkpoints.

    Made by `rnntk.train`, `rnntk.resume`, `rnntk.train_mnist`, `rnntk.load` and `rnntk.runs`. Generating and
    evaluating text needs no TensorFlow.

    Attributes:
        folder: the run folder.
        checkpoint: the checkpoint whose weights are used: "last", "best" or a step.
        test: result on the test images, right after `rnntk.train_mnist`; otherwise None.

    Example:
        >>> run = rnntk.load("my-run")
        >>> run.config.units
        16
        >>> text = run.sample("the ", length=20, seed=1)
        >>> text.startswith("the "), len(text)
        (True, 24)
    """

    def __init__(
        self,
        folder: RunFolder,
        checkpoint: str | int = "last",
        test: ClassifierResult | None = None,
    ) -> None:
        self.folder, self.checkpoint, self.test = folder, str(checkpoint), test
        self._model: LanguageModel | None = None

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.folder.name

    @property
    def config(self) -> TrainConfig | MnistConfig:
        """All settings of the run."""
        return self.folder.config

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Every logged number: columns `step`, `loss`, `val_loss`, ... as float64 arrays of one length.

        A step without a number has NaN there, as most steps have for `val_loss`.
        """
        return metrics.read(self.folder.metrics).columns

    def sample(
        self,
        prompt: str | None = None,
        *,
        length: int = 1000,
        seed: int | None = None,
        **settings: Any,
    ) -> str:
        """Generate text that begins with the prompt.

        Args:
            prompt: text to continue; the corpus' own by default, else nothing.
            length: symbols to generate.
            seed: same seed, same text; a new one each time by default.
            settings: other fields of `rnntk.SampleConfig`: temperature, top_k, top_p, min_p, beam, stop, ...

        Raises:
            UsageError: a setting is unknown or out of range, or the model does not know a character of the prompt.
            RunError: the run is not a character model, or has no whole checkpoint.
        """
        return "".join(self.stream(prompt, length=length, seed=seed, **settings))

    def stream(
        self,
        prompt: str | None = None,
        *,
        length: int = 1000,
        seed: int | None = None,
        **settings: Any,
    ) -> Iterator[str]:
        """The text of `sample`, as an iterator of strings: each piece as soon as it is certain."""
        return self.model.stream(prompt, length=length, seed=seed, echo=True, **settings)

    @naming_arguments
    def evaluate(self, text: str | None = None, *, on_unknown: str = "error") -> Evaluation:
        """Loss, bits per character and perplexity on a text, by default the run's held-out validation text.

        `on_unknown="skip"` leaves out characters that the model does not know; else they raise `DataError`, as does a
        text of fewer than two symbols. Raises `UsageError` if no text is given and the run holds none out.
        """
        if text is not None:
            return self.model.evaluate(text, on_unknown=on_unknown)
        from rnntk.decoding import splits

        _, start, end = splits.split_range(self.folder, None)
        prepared = splits.training_text(self.folder)
        characters = prepared.characters(start, end)
        return self.model.evaluate(prepared.ids[start:end], characters=characters)

    @naming_arguments
    def export(self, format: str, path: str | Path | None = None) -> Exported:
        """Write the network for another program, checked against the run's own results.

        Args:
            format: "keras", "savedmodel", "onnx" or "npz".
            path: of the new file; by default the run's name, in the working folder.

        Raises:
            UsageError: the file exists, or is not named as the format asks.
            RunError: it cannot be written.
        """
        from rnntk.exchange import export

        output = export.target(self.folder, format, path)
        if export.needs_tensorflow(self.folder, format):
            from rnntk.training import device

            device.import_tensorflow()
        saved = self.folder.checkpoint(self.checkpoint)
        return export.export(self.folder, saved, format, output)

    @naming_arguments
    def plot(self, y: str = "loss", *, x: str = "steps", log: bool = False) -> Figure:
        """A Matplotlib figure of a learning curve, with `log=True` on a logarithmic y axis.

        Args:
            y: "loss", "bits", "perplexity", "accuracy", "grad_norm", "learning_rate" or "rate".
            x: "steps" or "time".

        Raises:
            UsageError: no such quantity, or the run has none of it.
            RnntkError: Matplotlib is not installed.
        """
        from rnntk.monitoring import curves, picture

        return picture.figure([curves.load(self.folder, y, x)], log=log)

    def keras_model(self) -> keras.Model:
        """The network as a Keras model with the run's weights: a `rnntk.CharRNN`, or a row classifier."""
        from rnntk.training import device

        device.import_tensorflow()
        from rnntk.models import weights

        saved = self.folder.checkpoint(self.checkpoint)
        return weights.rebuild(self.folder.record["model"], saved.weights())

    @property
    def model(self) -> LanguageModel:
        """Weights, vocabulary and preprocessor, ready to generate and evaluate; without TensorFlow.

        Raises `RunError` if the run is not a character model, or has no whole checkpoint.
        """
        if self._model is None:
            from rnntk.decoding.language_model import LanguageModel

            self._model = LanguageModel.load(self.folder, self.checkpoint)
        return self._model

    def __repr__(self) -> str:
        words = {"steps": "{} steps", "loss": "loss {}", "validation": "validation {}"}
        facts = [words.get(name, "{}").format(fact) for name, fact in self._facts().items()]
        return f"Run({str(self.path)!r}: {', '.join(facts)})"

    def _facts(self) -> dict[str, str]:
        """Short facts by name, without those that are not known."""
        from rnntk.storage import listing

        found = listing.summarize(self.path)
        return {"corpus": found.corpus, "model": found.model} | {
            name: f"{value:{form}}"
            for name, value, form in (
                ("steps", found.step, ","),
                ("loss", found.loss, ".3f"),
                ("validation", found.best, ".3f"),
            )
            if value is not None
        }

    def _repr_html_(self) -> str:
        """A table of facts, the learning curve and a sample, for a notebook."""
        model, progress = self.folder.record["model"], metrics.last(self.folder.metrics)
        facts = {"run": str(self.path), **self._facts()}
        if "parameters" in model:
            facts["parameters"] = f"{model['parameters']:,}"
        if "seconds" in progress:
            facts["training time"] = duration.show(progress["seconds"])
        if self.test is not None:
            facts["test"] = str(self.test)
        parts = [_table(None, facts.items())]
        try:
            from rnntk.monitoring import curves, picture

            parts.append(picture.svg([curves.load(self.folder, "loss", "steps")]))
        except RnntkError:
            pass  # nothing is logged yet, or Matplotlib is not installed
        if self.folder.kind == folder.CHAR_RNN:
            try:
                text = self.sample(length=SAMPLE_IN_NOTEBOOK, seed=0)
            except RunError as error:  # no checkpoint yet
                text = str(error)
            parts.append(f"<pre>{html.escape(text)}</pre>")
        return "\n".join(f"<div>{part}</div>" for part in parts)


class Runs(list[Run]):
    """Runs in a folder, newest first; shown as a table."""

    def __repr__(self) -> str:
        return "\n".join(repr(run) for run in self) or "no runs"

    def _repr_html_(self) -> str:
        names = ["run", "corpus", "model", "steps", "loss", "validation"]
        found = [{"run": run.name, **run._facts()} for run in self]
        return _table(names, ([facts.get(name, "") for name in names] for facts in found))


def _table(names: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """An HTML table, with `names` as its head or with the first cell of each row as the row's."""

    def row(cells: Sequence[str], heads: int) -> str:
        kinds = ["th" if i < heads else "td" for i in range(len(cells))]
        texts = zip(kinds, map(html.escape, cells), strict=True)
        return f"<tr>{''.join(f'<{kind}>{text}</{kind}>' for kind, text in texts)}</tr>"

    head = row(names, len(names)) if names else ""
    return f"<table>{head}{''.join(row(cells, 0 if names else 1) for cells in rows)}</table>"
