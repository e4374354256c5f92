"""From settings to a prepared corpus: the one way by which every command comes to its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnntk.config import TextSettings
from rnntk.corpora import places, registry
from rnntk.corpora.card import Card
from rnntk.corpora.registry import Resolved
from rnntk.errors import UsageError
from rnntk.text import prepared, preprocessors
from rnntk.text.prepared import Prepared


@dataclass(frozen=True)
class Corpus:
    """A text ready to train on.

    Attributes:
        name: of the corpus, or of the user's first file.
        card: where it is a known corpus.
        prepared: its ids, vocabulary and facts.
        record: what a run keeps of it, JSON-able: name, source, path, detail, sha256, preprocessor, facts.
    """

    name: str
    card: Card | None
    prepared: Prepared
    record: dict[str, Any]


def find(settings: TextSettings, *, notify: Callable[[str], None]) -> Resolved | None:
    """The corpus a user asked for, as a file of raw bytes; None for files of their own.

    Args:
        settings: which text. Without corpus and input it is the default corpus.
        notify: told what is passed over and why.

    Raises:
        UsageError: no corpus of that name, or it holds no text.
        CorpusError: none of its sources answers.
    """
    if settings.input:
        return None
    if settings.corpus is None:
        return registry.resolve_default(
            data_dir=settings.data_dir, offline=settings.offline, notify=notify
        )
    card = registry.load_card(settings.corpus)
    if card.kind != "text":
        raise UsageError(
            f"{card.name} holds {card.kind}, not text. Train on it with: rnntk mnist --data {card.name}"
        )
    return registry.resolve(
        card,
        data_dir=settings.data_dir,
        offline=settings.offline,
        accept_licence=settings.accept_licence,
        notify=notify,
    )


def prepare_corpus(
    settings: TextSettings,
    resolved: Resolved | None,
    *,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Find the text, decode it, count its symbols; or take what was prepared before.

    Args:
        settings: which text, and how it becomes symbols.
        resolved: what `find` found.
        output: where the prepared corpus goes; the cache by default.
        progress: called with bytes done and in all.

    Raises:
        UsageError, EncodingError, DataError: see `prepared.prepare`.
    """
    card = resolved.card if resolved else None
    if resolved is not None:
        paths: tuple[str, ...] = (str(resolved.path),)
        encoding = settings.encoding or resolved.encoding
        name = resolved.card.name
    else:
        paths, encoding = settings.input, settings.encoding
        name = "stdin" if paths[0] == "-" else Path(paths[0]).resolve().stem
    wanted = settings.preprocessor or (card.preprocessor if card else None) or "plain"
    preprocessor = preprocessors.get(wanted)
    made = prepared.prepare(
        paths,
        preprocessor=preprocessor,
        encoding=encoding,
        stated_by="--encoding" if settings.encoding else f"the card of {name}",
        errors=settings.errors,
        newline=settings.newline,
        normalize=settings.normalize,
        min_count=settings.min_count,
        unknown_symbol=settings.unknown_symbol,
        glob=settings.glob,
        cache_dir=places.cache_dir(),
        output=output,
        progress=progress,
    )
    record = {
        "name": name,
        "source": resolved.source if resolved else "input",
        "path": str(resolved.path) if resolved else ", ".join(paths),
        "detail": resolved.detail if resolved else "your own file",
        "sha256": made.facts["sha256"],
        "preprocessor": preprocessor.name,
        "preprocessor_version": preprocessor.version,
        "prime": card.prime if card else None,
        "prepared": str(made.folder),
        "facts": made.facts,
    }
    return Corpus(name, card, made, record)
