"""A run's own text: the part that its page opens on, and the losses of baselines on it."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk import stored
from rnntk.cache import cache_dir
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import RnntkError
from rnntk.evaluation import baselines
from rnntk.files import json_text, write_json
from rnntk.play import reading
from rnntk.play.models import Models
from rnntk.storage import splits

log = logging.getLogger(__name__)

EXCERPT = 3000  # characters that the page opens on
_GENERATED = 1000  # symbols, if the text is missing
_COUNTED = 2_000_000  # training symbols for the n-grams: a few seconds
_MEASURED = 100_000  # symbols for the losses
_TITLES = {1: "letter frequencies", 3: "n-grams up to 3", 6: "n-grams up to 6"}
_VERSION = 1  # of the cached losses


def _give_way() -> None:
    if hasattr(os, "nice"):  # not on Windows
        os.nice(15)


def opening(model: LanguageModel, ids: NDArray[np.integer], most: int) -> str:
    """The beginning of a text, from the beginning of a line if one is near: at most `most` characters."""
    text = model.preprocessor.decode(model.vocabulary.decode(ids[: 4 * most]))
    return text[text.find("\n", 0, 300) + 1 :].lstrip("\r\n")[:most]


class OwnText:
    """The text of a run, loaded on first use. Thread-safe."""

    def __init__(self, models: Models) -> None:
        self._model = models.get()
        self._lock = threading.Lock()
        self._losses: dict[str, float] | None = None
        self._thread: threading.Thread | None = None

    @cached_property
    def _text(self) -> tuple[Any, str, int, int]:
        return splits.opening_part(self._model.run)

    def excerpt(self) -> dict[str, str]:
        """`text` of up to `EXCERPT` characters, and `of`: held-out, training or generated text."""
        model = self._model
        try:
            prepared, name, start, end = self._text
            text = opening(model, prepared.ids[start:end], EXCERPT)
            of = "training text" if name == "train" else "held-out text"
        except RnntkError as error:
            log.debug("The run's text is missing; the page opens on a generated one: %s", error)
            text = model.default_prompt + "".join(model.stream(seed=1, length=_GENERATED))
            of = "generated text"
        return {"text": reading.excerpt(model, text), "of": of}

    def baselines(self, *, wait: bool = False) -> dict[str, Any]:
        """`baselines` (titles, nats per symbol) and whether they are still being measured (`measuring`), as JSON.

        The first call starts measuring in a thread; until that ends, or unless `wait`, there is only the uniform loss.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._measure, daemon=True)
                self._thread.start()
        if wait:
            self._thread.join()
        uniform = {"uniform guess": math.log(len(self._model.vocabulary))}
        rows = {**uniform, **(self._losses or {})}
        return {
            "baselines": [{"title": title, "nats": round(nats, 4)} for title, nats in rows.items()],
            "measuring": self._losses is None,
        }

    def _measure(self) -> None:
        try:
            self._losses = self._cached()
        except (RnntkError, OSError, BrokenProcessPool) as error:
            log.debug("The baselines could not be measured: %s", error)
            self._losses = {}

    def _cached(self) -> dict[str, float]:
        prepared, name, start, end = self._text
        _, first, last = splits.split_range(self._model.run, "train")
        if name == "train":  # nothing is held out: measure on the last twentieth
            start = last = first + (end - first) * 19 // 20
        end = min(end, start + _MEASURED)
        facts = [_VERSION, prepared.facts["sha256"], prepared.vocabulary.symbols]
        facts += [first, last, start, end]
        name = hashlib.sha256(json_text(facts).encode()).hexdigest()[:32] + ".json"
        path = cache_dir() / "baselines" / name
        try:
            found: dict[str, float] = stored.read_json(path, {...: float})
            return found
        except (OSError, ValueError):  # missing or damaged
            pass
        counted, held = prepared.ids[max(first, last - _COUNTED) : last], prepared.ids[start:end]
        given = (np.array(counted), np.array(held), len(prepared.vocabulary), max(_TITLES))
        # In a process of low priority, so that it does not slow generation down.
        with ProcessPoolExecutor(1, get_context("spawn"), _give_way) as process:
            nats = process.submit(baselines.ngram_nats, *given).result()
        found = {title: float(np.mean(nats[k - 1])) for k, title in _TITLES.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        return found
