"""Training progress on stderr: a bar on a terminal or in a notebook, else a line every `log_every` steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
from tqdm.auto import tqdm

from rnntk import duration
from rnntk.storage.checkpoint import Progress
from rnntk.storage.metrics import MEAN_STEPS
from rnntk.training import schedule
from rnntk.training.loop import Task

FIRST_LINE = 10.0  # seconds after which the first line is printed, whatever `log_every` is
_BAR: dict[str, Any] = {"dynamic_ncols": True, "bar_format": "{percentage:3.0f}% {bar}  {desc}"}
_BEFORE_TEXT = len("100% ####  ")


class Report(keras.callbacks.Callback):
    """Shows progress on stderr, unless `quiet`. `limit` is the seconds that this session may train."""

    def __init__(
        self, task: Task, progress: Progress, limit: float | None = None, *, quiet: bool = False
    ) -> None:
        super().__init__()
        self._task, self._config, self._progress = task, task.config, progress
        self._total = schedule.total_steps(task.config, task.steps_per_epoch)
        self._limit, self._stream = limit, sys.stderr
        self._quiet = quiet or self._stream is None  # None if it was closed
        self._bar: Any = None
        # Step and seconds at the start, and after the first step, which includes tracing.
        self._began = self._timed = (progress.step, progress.seconds)
        self._shown = progress.step  # last step that a line was printed for
        self._validating = False
        self._rate: float | None = None  # running mean

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        epochs = self._total / self._task.steps_per_epoch
        limit = f" or {duration.show(self._limit)}" if self._limit is not None else ""
        self.say(
            f"Training up to {self._total:,} steps ({epochs:,.3g} epochs){limit}; Ctrl-C stops and saves.\n"
            f"Loss is the mean of the last {MEAN_STEPS} steps, in nats per {self._task.target}."
        )
        with self._ignoring_errors():
            if not self._quiet and _shows_bars():
                self._bar = tqdm(total=1, miniters=0, file=self._stream, **_BAR)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs, p = logs or {}, self._progress
        step, seconds = self._began
        if p.step == step + 1:
            self._timed = (p.step, p.seconds)
        self._rate = logs["rate"] if self._rate is None else 0.9 * self._rate + 0.1 * logs["rate"]
        self._say_validation(logs)
        self._show()
        late = self._shown == step and p.seconds - seconds >= FIRST_LINE
        if self._bar is None and (late or p.step % self._config.log_every == 0):
            self._say_line()

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._validating = True
        self._show()

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._validating = False

    def _say_validation(self, logs: Mapping[str, Any]) -> None:
        found = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        found.pop("perplexity", None)  # a function of the loss
        names = sorted(found, key=lambda name: (name != "loss", name))
        if names:
            numbers = ", ".join(f"{name.replace('_', ' ')} {found[name]:.4f}" for name in names)
            step, best = self._progress.step, self._progress.best
            mark = " (best so far)" if best and best["step"] == step else ""
            self.say(f"step {step}: validation {numbers}{mark}")

    def _show(self) -> None:
        if self._bar is not None:
            with self._ignoring_errors():
                columns = self._bar.format_dict["ncols"]  # text in notebooks, 0 if unknown
                width = columns if isinstance(columns, int) and columns > 0 else 80
                self._bar.set_description_str(self._text(width - _BEFORE_TEXT), refresh=False)
                self._bar.update(self._state()[0] - self._bar.n)
                if self._validating:
                    self._bar.refresh()  # at once, as no step will follow soon

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
            with self._ignoring_errors():
                bar.close()

    def say(self, text: str) -> None:
        """Print a note without breaking the bar."""
        with self._ignoring_errors():
            if self._bar is not None:
                self._bar.write(text, file=self._stream)
            elif not self._quiet:
                print(text, file=self._stream, flush=True)

    @contextmanager
    def _ignoring_errors(self) -> Iterator[None]:
        """Context in which a closed or full stream silences the report and does not stop training."""
        try:
            yield
        except (OSError, ValueError):
            self._quiet, self._bar = True, None

    def _state(self) -> tuple[float, float, bool]:
        """The fraction done, the seconds left, and whether the time limit will end the run first.

        A time limit holds for this session alone, so with one the steps of earlier sessions do not count as done.
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
        """The numbers that fit into `width` columns, by rank: the highest are left out first, 0 never."""
        p, (_, left, by_time), config = self._progress, self._state(), self._config
        by_epochs = not by_time and config.epochs * self._task.steps_per_epoch == self._total
        epochs = f"/{config.epochs}" if by_epochs else ""
        parts = [(4, f"epoch {p.epoch + (p.batch > 0)}"), (6, epochs)]
        parts += [(3, f"step {p.step}"), (6, "" if by_time else f"/{self._total}")]
        for rank, name, key in ((0, "loss", "mean_loss"), (2, "val", "val_loss")):
            parts += [(rank, f"{name} {p.losses[key]:.3f}")] if key in p.losses else []
        if self._rate is not None:
            doing = "validating" if self._validating else f"{duration.show(left)} left"
            rate = f"{tqdm.format_sizeof(self._rate)} {self._task.unit}/s"
            parts += [(5, rate), (1, doing)]
        for most in range(6, -1, -1):
            shown = [text for rank, text in parts if rank <= most and text]
            if len(line := "  ".join(shown).replace("  /", "/")) <= width:
                break
        return line


def _shows_bars() -> bool:
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that some work takes the second time; the first includes tracing."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bar(items: Iterable[int], *, title: str, quiet: bool) -> Iterable[int]:
    """The items, with a progress bar where `Report` would show one."""
    hidden = quiet or sys.stderr is None or not _shows_bars()
    return tqdm(items, desc=title, disable=hidden, leave=False, **_BAR)
