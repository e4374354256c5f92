"""`Run`: a trained model in its run folder, for Python code and notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import duration
from rnntk.config import MnistConfig, SampleConfig, TrainConfig
from rnntk.config.fields import argument, counted
from rnntk.errors import RnntkError, UsageError, naming_arguments
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

LOSS = f"loss ({metrics.MEAN_LOSS})"


class Run:
    """A trained model with its settings, metrics and checkpoints, as returned by `rnntk.train` and `rnntk.load`.

    Generating and evaluating text needs no TensorFlow.

    Attributes:
        folder: the `RunFolder`.
        checkpoint: "best" (lowest validation loss, else "last"), "last" or a step.
        test: result on the test images after `rnntk.train_mnist` or `rnntk.resume`, else None.

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
        checkpoint: str | int = "best",
        test: ClassifierResult | None = None,
    ) -> None:
        self.folder, self.checkpoint, self.test = folder, str(checkpoint), test
        self._model: LanguageModel | None = None

    @property
    def path(self) -> Path:
        """Path of the run folder."""
        return self.folder.path

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.folder.name

    @property
    def config(self) -> TrainConfig | MnistConfig:
        """All settings of the run."""
        return self.folder.config

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """Logged metrics by name (`step`, `loss`, `val_loss`, ...): float64 `(n,)`, NaN for a missing value."""
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
            prompt: text to continue; the corpus' own prompt by default.
            length: characters to generate.
            seed: the same seed gives the same text; random by default.
            settings: other fields of `rnntk.SampleConfig`: temperature, top_k, top_p, min_p, beam, stop, ...

        Raises `UsageError` for an invalid setting or an unknown character in the prompt, `RunError` as `model` does.
        """
        return "".join(self.stream(prompt, length=length, seed=seed, **settings))

    def stream(
        self, prompt: str | None = None, *, seed: int | None = None, **settings: Any
    ) -> Iterator[str]:
        """Generate the text of `sample` piece by piece, with the same arguments."""
        SampleConfig.check_names(settings, ("prompt",))
        if prompt is not None:
            prompt = argument("prompt", str, prompt)
        return self.model.stream(prompt, seed=seed, echo=True, **settings)

    def lines(
        self, count: int, prompt: str = "", *, allow_copies: bool = False, **settings: Any
    ) -> list[str]:
        """Generate new lines, such as names: none empty, none twice, none copied from the training text.

        Args:
            count: number of lines; fewer, with a warning in the log, if the model only repeats itself.
            prompt: beginning of each line.
            allow_copies: keep lines of the training text, which then need not be available.
            settings: fields of `rnntk.SampleConfig`: seed, temperature, top_p, length (largest, per line), ...

        Raises `UsageError` for an invalid setting, `RunError` if the training text is missing, `RnntkError` if no line
        is new.
        """
        from rnntk.decoding import lines

        count, prompt = counted("count", count), argument("prompt", str, prompt)
        SampleConfig.check_names(settings, ("count", "prompt", "allow_copies"))
        config = SampleConfig(**settings)
        return list(lines.generate(self.model, count, prompt, config, allow_copies=allow_copies))

    @naming_arguments
    def evaluate(self, text: str | None = None, *, on_unknown: str = "error") -> Evaluation:
        """Loss, bits per character and perplexity on a text, by default the run's validation text.

        Raises `DataError` for fewer than two symbols or, unless `on_unknown="skip"`, for unknown characters;
        `UsageError` without `text` if the run has no validation text.
        """
        model = self.model
        if isinstance(text, str):
            return model.evaluate(text, on_unknown=on_unknown)
        if text is not None:
            kind = type(text).__name__
            raise UsageError(f"`text` must be text, got a {kind}. Read a file with `read_text`.")
        from rnntk.storage import splits

        try:
            _, start, end = splits.split_range(self.folder, None)
        except UsageError as error:
            problem = f"{self.path} has no validation text of two symbols or more."
            raise UsageError(
                f"{problem} Give a text, or train with `val_fraction=0.05`."
            ) from error
        prepared = splits.training_text(self.folder)
        characters = prepared.characters(start, end)
        return model.evaluate(prepared.ids[start:end], characters=characters)

    @naming_arguments
    def export(
        self, format: str, path: str | Path | None = None, *, weights: str | None = None
    ) -> Exported:
        """Export the network as "keras", "savedmodel", "onnx", "npz" or "html", checked against the run's own results.

        Args:
            format: "html" is a page that runs a character model in a browser.
            path: the new file, by default the run's name in the working folder.
            weights: for "html", "float32", "float16", "int8" or (default) "auto", the smallest that changes the loss
                by at most 0.002 nats.

        Raises `UsageError` if the file exists or has the wrong suffix, `RunError` if it cannot be written.
        """
        from rnntk.exchange import export

        path = None if path is None else argument("path", Path, path)
        output = export.target(self.folder, format, path)
        if export.needs_tensorflow(self.folder, format):
            from rnntk.training import device

            device.import_tensorflow()
        saved = self.folder.checkpoint(self.checkpoint)
        return export.export(self.folder, saved, format, output, weights)

    @naming_arguments
    def plot(self, y: str = "loss", *, x: str = "steps", log: bool = False) -> Figure:
        """Matplotlib figure of a learning curve; `log=True` makes the y axis logarithmic.

        `y` is "loss", "bits", "perplexity", "accuracy", "grad_norm", "learning_rate" or "rate"; `x` is "steps" or
        "time". Raises `UsageError` if the run has no such metric, `RnntkError` without Matplotlib.
        """
        from rnntk.monitoring import curves, picture

        return picture.figure([curves.load(self.folder, y, x)], log=log)

    def keras_model(self) -> keras.Model:
        """Keras model with the run's weights: `rnntk.CharRNN` or `RowClassifier`."""
        from rnntk.training import device

        device.import_tensorflow()
        from rnntk.models import weights

        saved = self.folder.checkpoint(self.checkpoint)
        return weights.rebuild(self.folder.record["model"], saved.weights())

    @property
    def model(self) -> LanguageModel:
        """The character model, without TensorFlow. Raises `RunError` for other runs and without a whole checkpoint."""
        if self._model is None:
            from rnntk.decoding.language_model import LanguageModel

            self._model = LanguageModel.load(self.folder, self.checkpoint)
        return self._model

    def reload(self) -> None:
        """Read settings and weights from the run folder again, after a resume; `test` is None then."""
        self.folder, self._model, self.test = folder.open_run(self.path), None, None

    def __repr__(self) -> str:
        words = {
            "steps": "{} steps", LOSS: f"loss {{}} ({metrics.MEAN_LOSS})", "validation": "validation {}",
        }  # fmt: skip
        facts = [words.get(name, "{}").format(fact) for name, fact in self._facts().items()]
        return f"Run({str(self.path)!r}: {', '.join(facts)})"

    def _facts(self) -> dict[str, str]:
        from rnntk.storage import listing

        found = listing.summarize(self.path)
        facts = {"corpus": found.corpus, "model": found.model}
        if found.step is not None:
            facts["steps"] = f"{found.step:,}"
        for name, loss in ((LOSS, found.mean_loss), ("validation", found.best)):
            if loss is not None:
                facts[name] = f"{loss:.3f}"
        return facts

    def _repr_html_(self) -> str:
        """HTML for a notebook: facts, learning curve and a sample."""
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
            pass  # nothing logged yet, or no Matplotlib
        if self.folder.kind == folder.CHAR_RNN:
            try:
                text = self.sample(length=300, seed=0)
            except RnntkError as error:  # no checkpoint yet, or no such preprocessor
                text = str(error)
            parts.append(f"<pre>{html.escape(text)}</pre>")
        return "\n".join(f"<div>{part}</div>" for part in parts)


class Runs(list[Run]):
    """List of runs, shown as a table in a notebook."""

    def __repr__(self) -> str:
        return "\n".join(repr(run) for run in self) or "no runs"

    def _repr_html_(self) -> str:
        names = ["run", "corpus", "model", "steps", LOSS, "validation"]
        found = [{"run": run.name, **run._facts()} for run in self]
        return _table(names, ([facts.get(name, "") for name in names] for facts in found))


def _table(names: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """HTML table with `names` in its first row; without them, the first cell of each row is a heading."""

    def row(cells: Sequence[str], headings: int) -> str:
        tags = ["th" if i < headings else "td" for i in range(len(cells))]
        texts = zip(tags, map(html.escape, cells), strict=True)
        return f"<tr>{''.join(f'<{tag}>{text}</{tag}>' for tag, text in texts)}</tr>"

    head = row(names, len(names)) if names else ""
    return f"<table>{head}{''.join(row(cells, 0 if names else 1) for cells in rows)}</table>"
