"""Training progress on stderr: a bar on a terminal or in a notebook, else a line every `log_every` steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import keras
from tqdm.auto import tqdm

from rnntk import duration
from rnntk.storage.checkpoint import Progress
from rnntk.storage.metrics import MEAN_STEPS
from rnntk.training import schedule
from rnntk.training.loop import Task

FIRST_LINE = 10.0  # seconds after which the first line is printed, whatever `log_every` is
_BEFORE_TEXT = len("100% ####  ")


class _Bar(tqdm):
    """A bar from 0 to 1, followed by `text(columns)`, which is told the space left beside a short bar."""

    def __init__(self, text: Callable[[int], str], **options: Any) -> None:
        self._text = text
        super().__init__(
            total=1,
            miniters=0,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% {bar}  {numbers}",
            **options,
        )

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        found = super().format_dict
        columns = found["ncols"]  # text in notebooks, 0 if unknown
        width = columns if isinstance(columns, int) and columns > 0 else 80
        return {**found, "numbers": self._text(width - _BEFORE_TEXT)}


class Report(keras.callbacks.Callback):
    """Shows progress on `stream`, by default stderr, unless `quiet`. `limit` is the seconds this session may train."""

    def __init__(
        self,
        task: Task,
        progress: Progress,
        limit: float | None = None,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        super().__init__()
        self._config, self._progress = task.config, progress
        self._unit, self._target = task.unit, task.target
        self._steps_per_epoch = task.steps_per_epoch
        self._total = schedule.total_steps(task.config, task.steps_per_epoch)
        self._limit = limit
        self._stream = stream or sys.stderr
        self._quiet = quiet or self._stream is None  # `sys.stderr` is None if it was closed
        self._bar: _Bar | None = None
        self._began = (progress.step, progress.seconds)
        self._timed = (
            self._began
        )  # the first step, which includes tracing, is left out of the estimate
        self._shown = progress.step  # last step that a line was printed for
        self._validating = False
        self._rate: float | None = None  # running mean, as single steps are noisy

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        epochs = self._total / self._steps_per_epoch
        most = f" or {duration.show(self._limit)}" if self._limit is not None else ""
        self.say(
            f"Training up to {self._total:,} steps ({epochs:,.3g} epochs){most}; Ctrl-C stops and saves.\n"
            f"Loss is the mean of the last {MEAN_STEPS} steps, in nats per {self._target}."
        )
        with self._unhindered():
            if not self._quiet and _shows_bars(self._stream):
                self._bar = _Bar(self._text, file=self._stream, initial=self._state()[0])

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs, p = logs or {}, self._progress
        if p.step == self._began[0] + 1:
            self._timed = (p.step, p.seconds)
        self._rate = logs["rate"] if self._rate is None else 0.9 * self._rate + 0.1 * logs["rate"]
        self._say_validation(logs)
        if self._bar is not None:
            with self._unhindered():
                self._bar.update(self._state()[0] - self._bar.n)
        elif p.step % self._config.log_every == 0 or (
            self._shown == self._began[0] and p.seconds - self._began[1] >= FIRST_LINE
        ):
            self._say_line()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._show_validating(True)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._show_validating(False)

    def _show_validating(self, validating: bool) -> None:
        self._validating = validating
        with self._unhindered():
            if self._bar is not None:
                self._bar.refresh()

    def _say_validation(self, logs: Mapping[str, Any]) -> None:
        found = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        found.pop("perplexity", None)  # says the same as the loss
        names = sorted(found, key=lambda name: (name != "loss", name))
        numbers = [f"{name.replace('_', ' ')} {found[name]:.4f}" for name in names]
        if numbers:
            step, best = self._progress.step, self._progress.best
            mark = " (best so far)" if best and best["step"] == step else ""
            self.say(f"step {step}: validation {', '.join(numbers)}{mark}")

    def _say_line(self) -> None:
        self._shown = self._progress.step
        self.say(f"{100 * self._state()[0]:3.0f}%  {self._text(sys.maxsize)}")

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._bar is None and self._shown != self._progress.step:
            self._say_line()
        self.close()

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with self._unhindered():
                bar.close()

    def say(self, text: str) -> None:
        """Print a note without breaking the bar."""
        with self._unhindered():
            if self._bar is not None:
                self._bar.write(text, file=self._stream)
            elif not self._quiet:
                print(text, file=self._stream, flush=True)

    @contextmanager
    def _unhindered(self) -> Iterator[None]:
        """Context in which a closed or full stream silences the report and does not stop training."""
        try:
            yield
        except (OSError, ValueError):
            self._quiet, self._bar = True, None

    def _state(self) -> tuple[float, float, bool]:
        """How much is done, from 0 to 1, the seconds left, and whether it is the time that ends the run first.

        With a time limit, which holds for this session alone, the steps of earlier sessions do not count as done.
        """
        p, (began, seconds), (first, timed) = self._progress, self._began, self._timed
        steps, spent = p.step - began, p.seconds - seconds
        per_step = (p.seconds - timed) / (p.step - first) if p.step > first else spent
        left = (self._total - p.step) * per_step
        if self._limit is not None and (not steps or self._limit - spent < left):
            return min(1.0, spent / max(self._limit, spent, 1e-9)), self._limit - spent, True
        start = began if self._limit is not None else 0
        return (p.step - start) / max(self._total - start, 1), left, False

    def _text(self, width: int) -> str:
        """The numbers that fit into `width` columns: those that matter most stay."""
        p, (_, left, timed) = self._progress, self._state()
        epoch = p.epoch + (1 if p.batch else 0)
        # Each with its rank: the highest are left out first.
        parts = [(4, f"epoch {epoch}")]
        if not timed and self._config.epochs * self._steps_per_epoch == self._total:
            parts.append((6, f"/{self._config.epochs}"))
        parts.append((3, f"step {p.step}"))
        if not timed:
            parts.append((6, f"/{self._total}"))
        if "mean_loss" in p.losses:
            parts.append((0, f"loss {p.losses['mean_loss']:.3f}"))
        if "val_loss" in p.losses:
            parts.append((2, f"val {p.losses['val_loss']:.3f}"))
        if self._rate is not None:
            parts.append((5, f"{tqdm.format_sizeof(self._rate)} {self._unit}/s"))
            doing = "validating" if self._validating else f"{duration.show(left)} left"
            parts.append((1, doing))
        return _fitted(parts, width)


def _fitted(parts: Sequence[tuple[int, str]], width: int) -> str:
    """Parts of these ranks in a line of `width` columns, without those of the highest rank if they do not fit."""
    line = "  ".join(text for _, text in parts).replace("  /", "/")
    most = max(rank for rank, _ in parts)
    if len(line) <= width or not most:
        return line
    return _fitted([part for part in parts if part[0] < most], width)


def _shows_bars(stream: TextIO) -> bool:
    return stream.isatty() or "ipykernel" in sys.modules


def bar(items: Iterable[int], *, title: str, quiet: bool) -> Iterable[int]:
    """The items, with a bar on stderr while they are taken, where `Report` would show one."""
    hidden = quiet or sys.stderr is None or not _shows_bars(sys.stderr)
    form = "{percentage:3.0f}% {bar}  {desc}{remaining} left"
    return tqdm(items, desc=title, disable=hidden, leave=False, dynamic_ncols=True, bar_format=form)
