"""Train the row classifier: load the images, start or resume a run, test it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnntk import signals
from rnntk.config import MnistConfig, corpus_settings
from rnntk.corpora import images, registry
from rnntk.corpora.card import Card, Resolved
from rnntk.corpora.images import ImageSet
from rnntk.errors import RunError
from rnntk.storage.checkpoint import Progress
from rnntk.storage.folder import RunFolder, open_run
from rnntk.training import device, schedule

if TYPE_CHECKING:
    import keras

    from rnntk.training.row_task import ClassifierResult, RowTask
    from rnntk.training.session import Result

_LIMITS = {"epochs", "max_steps", "max_time", "patience"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Images:
    """Images to train on, their record in `run.json`, and their card."""

    images: ImageSet
    record: dict[str, Any]
    card: Card
    began: float = field(default_factory=time.perf_counter)  # when loading them began


def load(given: Mapping[str, Any]) -> tuple[MnistConfig, Images]:
    """Configuration and images of a new classifier; `given` holds the user's settings by field name.

    Raises `UsageError` if a setting is unknown or invalid, `CorpusError` if the images are unavailable.
    """
    wanted = MnistConfig.resolve(given)
    data = find(wanted.data, wanted.data_dir, wanted.offline)
    own = corpus_settings(data.card.config, "mnist", MnistConfig.names())
    return MnistConfig.resolve(given, own), data


def find(name: str | None, data_dir: Path | None, offline: bool) -> Images:
    """The images of this name; `CorpusError` if they are unavailable."""
    began = time.perf_counter()
    found = registry.resolve_images(name, data_dir=data_dir, offline=offline, notify=log.debug)
    return _loaded(found, began)


def _loaded(found: Resolved, began: float) -> Images:
    log.info(found.detail)
    path = str(found.path.resolve())  # for a resume in another folder
    record = {**found.to_json(), "name": found.card.name, "path": path}
    return Images(images.load_images(found), record, found.card, began)


def start(
    config: MnistConfig,
    data: Images,
    path: Path,
    *,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[Result, ClassifierResult]:
    """Train a new classifier in the folder `path` and test it; options and errors as in `character.start`.

    Raises `DataError` if `val_size` leaves no training images, `Interrupted` if a signal ends the test.
    """
    session, row_task = device.modules(config, "session", "row_task")
    task = row_task.RowTask(config, data.images, data.record, data.began)
    result = session.start(task, path, quiet=quiet, extra=callbacks)
    return result, _tested(result.run, task, quiet)


def resume(
    run: RunFolder,
    changes: Mapping[str, Any],
    data: Images,
    *,
    quiet: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[Result, ClassifierResult]:
    """Resume a classifier exactly from its last checkpoint and test it; `changes` as in `character.resume`.

    A finished classifier is only tested, unless `changes` has a limit.

    Raises:
        RunError: no whole checkpoint, in use, or other images than `data` (see `images_of`).
        UsageError: a setting cannot change; the run has reached the given limit.
        TrainingError, Interrupted: see `session.train`.
    """
    _check_images(run, data)
    config, saved, finished = _progress(run, changes)
    with ExitStack() as stack:
        if not finished:
            stack.enter_context(run.lock())
            # Again: another process may have trained it until now.
            run = open_run(run.path)
            config, saved, finished = _progress(run, changes)
        session, task = _task_of(run, config, data)
        if finished:
            session.restore(run, task, str(saved.step))
            result = session.Result(run, saved, finished)
        else:
            result = session.resume(run, task, str(saved.step), quiet=quiet, extra=callbacks)
    return result, _tested(result.run, task, quiet)


def _progress(run: RunFolder, changes: Mapping[str, Any]) -> tuple[MnistConfig, Progress, str]:
    """Configuration and progress of a resume, and why it only tests the classifier, or an empty string."""
    config = MnistConfig.from_json(run.settings).resumed(changes)
    saved = run.checkpoint("last").progress
    finished = "" if _LIMITS & changes.keys() else schedule.reached(config, saved)
    if not finished:
        schedule.refuse_finished(config, saved, run.path)
    return config, saved, finished


def _check_images(run: RunFolder, data: Images) -> None:
    record = run.record["corpus"]
    if record.get("sha256") != data.record["sha256"] and _arrays(record) != _arrays(data.record):
        raise RunError(
            f"{run.path} was trained on other images ({record.get('name')}, not {data.record['name']}). "
            "Set `data_dir` to their folder."
        )


def _task_of(run: RunFolder, config: MnistConfig, data: Images) -> tuple[Any, RowTask]:
    """The module `session`, and the task of a run."""
    session, row_task = device.modules(config, "session", "row_task")
    task: RowTask = row_task.RowTask(config, data.images, data.record, data.began)
    before, now = run.record["model"], task.reading.to_json()
    if before.get("permutation_sha256") != now.get("permutation_sha256"):
        raise RunError(
            f"With seed {config.seed}, this rnntk permutes the pixels differently than {run.path}. "
            "Train a new run."
        )
    return session, task


def _tested(run: RunFolder, task: RowTask, quiet: bool) -> ClassifierResult:
    with signals.explained(f"The training is saved. Test it with: {run.resume_command}"):
        return task.test(quiet=quiet)


def _arrays(record: Mapping[str, Any]) -> str:
    """Checksum of the arrays of drawn digits, else that of the file: the bytes of an .npz file depend on Python."""
    found = re.search(r"\barrays ([0-9a-f]{12})\b", record.get("detail") or "")
    return found[1] if found else str(record.get("sha256"))


def images_of(run: RunFolder, changes: Mapping[str, Any]) -> Images:
    """Images of a run, without a download; `changes` as in `resume`, may have another `data_dir`."""
    began = time.perf_counter()
    config = MnistConfig.from_json(run.settings).resumed(changes)
    return _loaded(registry.resolve_recorded(run.record["corpus"], config.data_dir), began)
