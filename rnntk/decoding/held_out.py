"""The text a run is measured on, and what simpler models make of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnntk.config import TextConfig
from rnntk.decoding import ngram
from rnntk.errors import UsageError
from rnntk.runs.folder import RunFolder
from rnntk.text import corpus

if TYPE_CHECKING:
    from rnntk.decoding.evaluate import Evaluation
    from rnntk.text.prepared import Prepared
    from rnntk.text.preprocessors import Preprocessor
    from rnntk.text.vocabulary import Vocabulary

SPLITS = ("val", "test", "train")
ORDER = 6
COUNTED = 20_000_000
"""Training symbols that n-grams are counted over, at most; sorting more would take minutes and gigabytes."""


def split_range(run: RunFolder, name: str | None) -> tuple[str, int, int]:
    """Where a part of a run's text lies.

    Args:
        run: a character model's.
        name: `val`, `test` or `train`; None is `val`.

    Returns:
        The name, and the offsets in the prepared ids: `ids[start:end]`.

    Raises:
        UsageError: the run has no such part; the message says what there is to do.
    """
    parts: dict[str, list[int]] = run.record["corpus"].get("split") or {}
    wanted = name or "val"
    start, end = parts.get(wanted, [0, 0])
    if end - start > 1:
        return wanted, start, end
    if not parts:
        raise UsageError(
            f"{run.path} does not say what text it was trained on. Evaluate it on a text: --input FILE."
        )
    there = [
        f"--split {k}" for k in SPLITS if parts.get(k, [0, 0])[1] - parts.get(k, [0, 0])[0] > 1
    ]
    raise UsageError(
        f"{run.path} holds nothing out as {wanted}: it was trained with --{wanted}-fraction 0. "
        f"Give {' or '.join(there)}, another text with --input FILE, "
        f"or train with --{wanted}-fraction 0.05."
    )


def text_settings(run: RunFolder, **changed: Any) -> TextConfig:
    """Which text a run was trained on and how it became symbols, with some of it changed."""
    settings = TextConfig.from_json(run.settings)
    return dataclasses.replace(settings, **changed)


def training_text(
    run: RunFolder,
    *,
    data_dir: Path | None = None,
    offline: bool = False,
) -> Prepared:
    """The prepared text that a run was trained on, held-out parts included; see `corpus.RunText.prepared`."""
    settings = text_settings(run, offline=offline)
    if data_dir is not None:
        settings = dataclasses.replace(settings, data_dir=data_dir)
    return corpus.RunText(run.record["corpus"], run.vocabulary(), run.path, settings).prepared()


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What a text costs without a network.

    Attributes:
        rows: names and bits a character, the costliest first.
        summary: the same for JSON, with stable names.
    """

    rows: list[tuple[str, float]]
    summary: dict[str, Any]


def neighbours(
    evaluation: Evaluation,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    training: NDArray[np.integer] | None,
    *,
    held_out: bool = True,
) -> Neighbours:
    """Measure the same text with n-grams and xz.

    Args:
        evaluation: of the text.
        vocabulary: the run's.
        preprocessor: the run's.
        training: ids that the n-grams are counted over, `(N,)`; None where they are not to be had, and
            then there is only xz.
        held_out: whether the text is not part of them. If it is, longer n-grams would know it by
            heart, so there are only single symbols.

    Raises:
        DataError: an id is outside the vocabulary.
    """
    if training is None:
        alone, _ = ngram.xz_bits("", evaluation.text)
        return Neighbours([("xz", alone)], {"xz_bits_per_character": alone})
    training = training[-COUNTED:]
    found = ngram.floors(
        training,
        vocabulary.encode(evaluation.symbols),
        len(vocabulary),
        training_text=preprocessor.decode(vocabulary.decode(training)) if held_out else "",
        held_out_text=evaluation.text,
        order=ORDER if held_out else 1,
    )
    one_to_one = len(evaluation.symbols) == len(evaluation.text)
    rows = [
        (
            f"n-grams up to {k}"
            if k > 1
            else f"single {'characters' if one_to_one else 'symbols'}",
            b,
        )
        for k, b in found.ngrams_per_character.items()
    ]
    rows.append(("xz", found.xz))
    summary = found.summary()
    if held_out:
        rows.append(("xz after the training text", found.xz_given_training))
    else:
        del summary["xz_given_training_bits_per_character"]
    return Neighbours(sorted(rows, key=lambda row: -row[1]), summary)
