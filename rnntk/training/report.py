"""What a user sees while a model trains: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import keras
from tqdm import tqdm

from rnntk.runs.checkpoint import Progress


def duration(seconds: float) -> str:
    """`75.0` -> `1m15s`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{secs:02d}s" if minutes else f"{secs}s"


class Report(keras.callbacks.Callback):
    """Progress on stderr.

    Args:
        progress: where training stands.
        total: steps in all, or None when only time ends it.
        max_seconds: the time limit of this session.
        unit: what is counted a second: `chars`, `images`.
        every: steps between lines where there is no terminal.
        quiet: print nothing.
        stream: where to; stderr.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        total: int,
        max_seconds: float | None,
        unit: str,
        every: int,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        super().__init__()
        self._progress, self._total, self._max_seconds = progress, total, max_seconds
        self._unit, self._every, self._quiet = unit, every, quiet
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._begin = (progress.step, progress.seconds)
        self._loss: float | None = None
        self._rate: float | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Show the bar where there is a terminal."""
        if not self._quiet and self._stream.isatty():
            self._bar = tqdm(
                total=self._total,
                initial=self._progress.step,
                file=self._stream,
                dynamic_ncols=True,
                unit="step",
                bar_format="{n_fmt}/{total_fmt} |{bar}| {desc}",
            )

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Move the bar, or print a line when it is time."""
        logs = logs or {}
        self._say_validation(logs)
        # Single steps are noisy: both numbers are running means.
        self._loss = logs["loss"] if self._loss is None else 0.9 * self._loss + 0.1 * logs["loss"]
        self._rate = logs["rate"] if self._rate is None else 0.9 * self._rate + 0.1 * logs["rate"]
        if self._bar is not None:
            self._bar.set_description_str(self._numbers(), refresh=False)
            self._bar.update(1)
        elif not self._quiet and self._progress.step % self._every == 0:
            print(
                f"step {self._progress.step}/{self._total}  {self._numbers()}",
                file=self._stream,
                flush=True,
            )

    def _say_validation(self, logs: Mapping[str, Any]) -> None:
        numbers = [
            f"{name.removeprefix('val_').replace('_', ' ')} {value:.4f}"
            for name, value in logs.items()
            if name.startswith("val_")
        ]
        if numbers:
            best = (
                self._progress.best is not None
                and self._progress.best["step"] == self._progress.step
            )
            self.say(
                f"step {self._progress.step}: validation {', '.join(numbers)}"
                + (" (best so far)" if best else "")
            )

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Leave the bar as it stands."""
        self.close()

    def close(self) -> None:
        """Take the bar away; safe to call twice."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a note without breaking the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def _numbers(self) -> str:
        return f"loss {self._loss:.3f}  {self._rate:,.0f} {self._unit}/s  {duration(self._left())} left"

    def _left(self) -> float:
        steps, seconds = (
            self._progress.step - self._begin[0],
            self._progress.seconds - self._begin[1],
        )
        left = (self._total - self._progress.step) * seconds / max(steps, 1)
        if self._max_seconds is not None:
            left = min(left, self._max_seconds - seconds)
        return left


class Samples(keras.callbacks.Callback):
    """Draws a text now and then, so one sees the model learn to write.

    Args:
        progress: where training stands.
        draw: makes a text from the model as it is.
        every: steps between samples.
        show: called with each text.
    """

    def __init__(
        self,
        progress: Progress,
        draw: Callable[[keras.Model], str],
        every: int,
        show: Callable[[int, str], None],
    ) -> None:
        super().__init__()
        self._progress, self._draw, self._every, self._show = progress, draw, every, show

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw when it is time."""
        if self._progress.step % self._every == 0:
            self._show(self._progress.step, self._draw(self.model))
