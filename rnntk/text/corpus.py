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
from rnntk.errors import RnntkError, RunError, UsageError
from rnntk.text import inputs, prepared, preparing, preprocessors
from rnntk.text.prepared import Prepared
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary


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


def prepare_again(
    record: dict[str, Any],
    vocabulary: Vocabulary,
    settings: TextSettings,
    *,
    run: Path,
    notify: Callable[[str], None],
) -> Corpus:
    """The very text that a run was trained on, found and prepared once more.

    Args:
        record: what the run keeps of it (`Corpus.record`).
        vocabulary: the run's.
        settings: the run's, with the places to look in now.
        run: its folder, for messages.
        notify: told what is passed over and why.

    Raises:
        RunError: the text has changed; both sides are named.
        UsageError, CorpusError, DataError: as `find` and `prepare_corpus`.
    """
    corpus = prepare_corpus(settings, find(settings, notify=notify))
    now = corpus.prepared.vocabulary
    if vocabulary.symbols != now.symbols:
        raise RunError(
            f"The vocabulary does not match: {run} was trained on {len(vocabulary)} symbols, "
            f"{corpus.record['path']} now has {len(now)}."
            + _difference("only in the run", set(vocabulary.symbols) - set(now.symbols))
            + _difference("only in the text", set(now.symbols) - set(vocabulary.symbols))
            + (
                ""
                if set(vocabulary.symbols) != set(now.symbols)
                else " They are the same symbols in another order."
            )
            + " Train a new run on the changed text."
        )
    if record["sha256"] != corpus.record["sha256"]:
        raise RunError(
            f"The text has changed since {run} was trained (sha256 {record['sha256'][:12]}, "
            f"now {corpus.record['sha256'][:12]}), so nothing that needs the same text can go on. "
            "Train a new run on it."
        )
    return corpus


def _difference(where: str, symbols: set[str]) -> str:
    return f" {where}: {' '.join(repr(s) for s in sorted(symbols)[:10])}." if symbols else ""


# What of a prepared text's facts decides its ids.
_DECISIVE = (
    "sha256", "encoding", "preprocessor", "errors", "newline", "normalize", "min_count", "unknown_symbol",
)  # fmt: skip


def of_run(
    record: dict[str, Any],
    vocabulary: Vocabulary,
    settings: TextSettings,
    *,
    run: Path,
    notify: Callable[[str], None],
) -> Prepared:
    """The prepared text that a run was trained on: as it was left, or prepared once more.

    Args:
        record, vocabulary, settings, run, notify: as in `prepare_again`.

    Raises:
        RunError: the text has changed, or was read from standard input and is gone.
        UsageError, CorpusError, DataError: as `prepare_again`.
    """
    if record.get("prepared"):
        try:
            kept = Prepared.open(record["prepared"])
        except RnntkError as error:
            notify(str(error))
        else:
            same = all(kept.facts.get(k) == record["facts"].get(k) for k in _DECISIVE)
            if same and kept.vocabulary == vocabulary:
                return kept
            notify(f"{record['prepared']} holds another text now; it is prepared again.")
    if inputs.STDIN in settings.input:
        raise RunError(
            f"{run} was trained on standard input, and what was prepared from it is gone "
            f"({record.get('prepared')}). Give a text with --input."
        )
    return prepare_again(record, vocabulary, settings, run=run, notify=notify).prepared


def read(settings: TextSettings, preprocessor: Preprocessor) -> str:
    """The text of `settings.input`, decoded and brought into the same form as for training.

    Args:
        settings: which files, their encoding, and what is done with line ends and conjoining jamo.
        preprocessor: what will make symbols of it.

    Raises:
        DataError, EncodingError: a file is missing, empty or binary, or does not decode.
    """
    recipe = preparing.Recipe(preprocessor, settings.errors, settings.newline, settings.normalize)
    with inputs.opened(settings.input, glob=settings.glob) as files:
        sources = preparing.examine(
            files,
            recipe,
            encoding=settings.encoding,
            stated_by="--encoding",
            progress=None,
        )
        return "".join(preparing.texts(sources, recipe))
