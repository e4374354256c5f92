"""Training progress on stderr: a bar on a terminal or in a notebook, else a line every `log_every` steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

import keras
from tqdm.auto import tqdm

from rnntk import duration
from rnntk.storage.checkpoint import Progress
from rnntk.training import schedule
from rnntk.training.loop import Task


class Report(keras.callbacks.Callback):
    """Shows progress on `stream`, by default stderr, unless `quiet`."""

    def __init__(
        self, task: Task, progress: Progress, *, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        super().__init__()
        self._config, self._progress, self._unit = task.config, progress, task.unit
        self._total = schedule.total_steps(task.config, task.steps_per_epoch)
        self._stream = stream or sys.stderr
        self._quiet = quiet or self._stream is None  # `sys.stderr` is None if it was closed
        self._bar: Any = None
        self._begin = (progress.step, progress.seconds)
        self._loss: float | None = None  # both are running means, as single steps are noisy
        self._rate: float | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        with self._unhindered():
            if not self._quiet and (self._stream.isatty() or "ipykernel" in sys.modules):
                self._bar = tqdm(
                    total=self._total,
                    initial=self._progress.step,
                    file=self._stream,
                    dynamic_ncols=True,
                    unit="step",
                    bar_format="{n_fmt}/{total_fmt} |{bar}| {desc}",
                )

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs = logs or {}
        self._say_validation(logs)
        self._loss = logs["loss"] if self._loss is None else 0.9 * self._loss + 0.1 * logs["loss"]
        self._rate = logs["rate"] if self._rate is None else 0.9 * self._rate + 0.1 * logs["rate"]
        if self._bar is not None:
            with self._unhindered():
                self._bar.set_description_str(self._numbers(), refresh=False)
                self._bar.update(1)
        elif self._progress.step % self._config.log_every == 0:
            self.say(f"step {self._progress.step}/{self._total}  {self._numbers()}")

    def _say_validation(self, logs: Mapping[str, Any]) -> None:
        numbers = [
            f"{name.removeprefix('val_').replace('_', ' ')} {value:.4f}"
            for name, value in logs.items()
            if name.startswith("val_")
        ]
        if numbers:
            step, best = self._progress.step, self._progress.best
            mark = " (best so far)" if best and best["step"] == step else ""
            self.say(f"step {step}: validation {', '.join(numbers)}{mark}")

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
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

    def _numbers(self) -> str:
        return f"loss {self._loss:.3f}  {self._rate:,.0f} {self._unit}/s  {duration.show(self._left())} left"

    def _left(self) -> float:
        p, (step, began) = self._progress, self._begin
        seconds = p.seconds - began
        left = (self._total - p.step) * seconds / max(p.step - step, 1)
        if self._config.max_time is not None:
            left = min(left, self._config.max_time - seconds)
        return left
