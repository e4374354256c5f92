"""A run's own text: the part that its page opens on, and the losses of simpler models on it."""

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
from rnntk.decoding import baselines, splits
from rnntk.decoding.language_model import LanguageModel
from rnntk.errors import RnntkError
from rnntk.files import json_text, write_json
from rnntk.play import reading
from rnntk.play.models import Models

log = logging.getLogger(__name__)

EXCERPT = 3000  # characters that the page opens on
_GENERATED = 1000  # symbols, where the text is missing
_COUNTED = 2_000_000  # training symbols that n-grams are counted in: a few seconds
_MEASURED = 100_000  # symbols that losses are measured on
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
    """The text of the run of `models`, read when it is first needed. Thread-safe."""

    def __init__(self, models: Models) -> None:
        self._model = models.get()
        self._lock = threading.Lock()
        self._losses: dict[str, float] | None = None
        self._thread: threading.Thread | None = None

    @cached_property
    def _text(self) -> tuple[Any, str, int, int]:
        """See `splits.opening_part`."""
        return splits.opening_part(self._model.run)

    def excerpt(self) -> dict[str, str]:
        """`text` of up to `EXCERPT` characters, from the beginning of a line, and `of`: where it is from."""
        model = self._model
        try:
            prepared, name, start, end = self._text
            text = opening(model, prepared.ids[start:end], EXCERPT)
            of = "text it was trained on" if name == "train" else "text it was not trained on"
        except RnntkError as error:
            log.debug(
                f"The run's text is not at hand, so the page opens on a generated one. {error}"
            )
            text = model.default_prompt + "".join(model.stream(seed=1, length=_GENERATED))
            of = "text that it generated itself"
        return {"text": reading.excerpt(model, text), "of": of}

    def baselines(self, *, wait: bool = False) -> dict[str, Any]:
        """Losses of simpler models as JSON: `baselines`, rows of title and nats per symbol, and `measuring`.

        The first call starts to measure them, in a thread unless told to `wait`; until then only the uniform loss is
        known.
        """
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._measure, daemon=True)
                self._thread.start()
        if wait:
            self._thread.join()
        uniform = {"knowing nothing": math.log(len(self._model.vocabulary))}
        rows = {**uniform, **(self._losses or {})}
        return {
            "baselines": [{"title": title, "nats": round(nats, 4)} for title, nats in rows.items()],
            "measuring": self._losses is None,
        }

    def _measure(self) -> None:
        try:
            self._losses = self._cached()
        except (RnntkError, OSError, BrokenProcessPool) as error:
            log.debug(f"The losses of simpler models are not known: {error}")
            self._losses = {}

    def _cached(self) -> dict[str, float]:
        prepared, name, start, end = self._text
        _, first, last = splits.split_range(self._model.run, "train")
        if name == "train":  # nothing is held out: the last part is not counted
            start = last = first + (end - first) * 19 // 20
        end = min(end, start + _MEASURED)
        facts = [
            _VERSION,
            prepared.facts["sha256"],
            prepared.vocabulary.symbols,
            first,
            last,
            start,
            end,
        ]
        name = hashlib.sha256(json_text(facts).encode()).hexdigest()[:32] + ".json"
        path = cache_dir() / "baselines" / name
        try:
            found: dict[str, float] = stored.read_json(path, {...: float})
            return found
        except (OSError, ValueError):  # the first time, or damaged
            pass
        counted, held = prepared.ids[max(first, last - _COUNTED) : last], prepared.ids[start:end]
        given = (np.array(counted), np.array(held), len(prepared.vocabulary), max(_TITLES))
        # In a process of low priority, so that texts that are being written never wait for it.
        with ProcessPoolExecutor(1, get_context("spawn"), _give_way) as process:
            nats = process.submit(baselines.ngram_nats, *given).result()
        found = {title: float(np.mean(nats[k - 1])) for k, title in _TITLES.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        return found
