"""From settings to a prepared corpus: the one way by which every command comes to its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnntk.config import TextSettings
from rnntk.corpora import places, registry
from rnntk.corpora.card import Card
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


def find_card(settings: TextSettings, notify: Callable[[str], None]) -> tuple[Card | None, registry.Resolved | None]:
    """The corpus a user asked for, resolved to a file of raw bytes; `(None, None)` for files of their own.

    Raises:
        UsageError: no corpus of that name.
        CorpusError: none of its sources answers.
    """
    if settings.input:
        return None, None
    where = {
        "data_dir": settings.data_dir,
        "offline": settings.offline,
        "accept_licence": settings.accept_licence,
        "notify": notify,
    }
    if settings.corpus is None:
        found = registry.resolve_default(**where)
        return found.card, found
    card = registry.load_card(settings.corpus)
    if card.kind != "text":
        raise UsageError(f"{card.name} holds {card.kind}, not text. Train on it with: rnntk mnist --data {card.name}")
    return card, registry.resolve(card, **where)


def prepare_corpus(
    settings: TextSettings,
    *,
    notify: Callable[[str], None],
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Find the text, decode it, count its symbols; or take what was prepared before.

    Args:
        settings: which text, and how it becomes symbols.
        notify: told what is used and why, a sentence at a time.
        output: where the prepared corpus goes; the cache by default.
        progress: called with bytes done and in all.

    Raises:
        UsageError, CorpusError, EncodingError, DataError: see the stages.
    """
    card, resolved = find_card(settings, notify)
    if card is not None and resolved is not None:
        notify(resolved.detail)
        paths: tuple[str, ...] = (str(resolved.path),)
        # A stand-in for the card's own bytes may be in any encoding.
        encoding = settings.encoding or (card.encoding if resolved.same_bytes else None)
        name = card.name
    else:
        paths, encoding = settings.input, settings.encoding
        name = "stdin" if paths[0] == "-" else Path(paths[0]).resolve().stem
    preprocessor = preprocessors.get(settings.preprocessor or (card.preprocessor if card else None) or "plain")
    made = prepared.prepare(
        paths,
        preprocessor=preprocessor,
        encoding=encoding,
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
