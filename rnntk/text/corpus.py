"""From settings to a prepared corpus: the one way by which every command comes to its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnntk.cache import cache_dir
from rnntk.config import TextConfig
from rnntk.corpora import registry
from rnntk.corpora.card import Card
from rnntk.corpora.registry import Resolved
from rnntk.errors import DataError, RnntkError, RunError, UsageError
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
        record: what a run keeps of it, JSON-able: name, source, path, inputs (absolute), detail, sha256,
            preprocessor, facts.
    """

    name: str
    card: Card | None
    prepared: Prepared
    record: dict[str, Any]


def find(settings: TextConfig, *, notify: Callable[[str], None]) -> Resolved | None:
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
    settings: TextConfig,
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
        cache_dir=cache_dir(),
        output=output,
        progress=progress,
    )
    record = {
        "name": name,
        "source": resolved.source if resolved else "input",
        "path": str(resolved.path) if resolved else ", ".join(paths),
        "inputs": _absolute(settings.input),
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
    settings: TextConfig,
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
    settings: TextConfig,
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
    try:
        return _kept(record, vocabulary)
    except RnntkError as error:
        notify(str(error))
    try:
        return _from_source(record, vocabulary, settings, run=run, notify=notify).prepared
    except _Gone as error:
        raise RunError(f"{error} Give a text with --input.") from None


def reopen(
    record: dict[str, Any],
    vocabulary: Vocabulary,
    settings: TextConfig,
    *,
    run: Path,
    notify: Callable[[str], None],
) -> Corpus:
    """The text of a run that goes on: from its source, so that a change is noticed; as it was left where that is gone.

    Args:
        record, vocabulary, settings, run, notify: as in `prepare_again`.

    Raises:
        RunError: the text has changed, or neither it nor what was prepared from it is there.
        UsageError, CorpusError, DataError: as `prepare_again`.
    """
    try:
        return _from_source(record, vocabulary, settings, run=run, notify=notify)
    except (DataError, _Gone) as error:
        try:
            kept = _kept(record, vocabulary)
        except RnntkError as lost:
            raise RunError(f"{error} {lost} Say where the text is now with --input.") from error
        notify(f"{error} What was prepared from it before is used.")
        return Corpus(record["name"], None, kept, record)


class _Gone(RunError):
    """A text that cannot be read twice."""


def _from_source(
    record: dict[str, Any],
    vocabulary: Vocabulary,
    settings: TextConfig,
    *,
    run: Path,
    notify: Callable[[str], None],
) -> Corpus:
    """`prepare_again` from the paths as they were given, seen from here, else from where they were then."""
    if inputs.STDIN in settings.input:
        raise _Gone(f"{run} was trained on standard input, which cannot be read again.")
    try:
        return prepare_again(record, vocabulary, settings, run=run, notify=notify)
    except (DataError, RunError):
        then = tuple(record.get("inputs") or ())
        if not then or then == tuple(_absolute(settings.input)):
            raise
        there = replace(settings, input=then)
        return prepare_again(record, vocabulary, there, run=run, notify=notify)


def _absolute(paths: Iterable[str]) -> list[str]:
    return [p if p == inputs.STDIN else str(Path(p).resolve()) for p in paths]


def _kept(record: dict[str, Any], vocabulary: Vocabulary) -> Prepared:
    """The prepared text as the run left it.

    Raises:
        RnntkError: it is gone, damaged, or another one now.
    """
    folder = record.get("prepared")
    if not folder:
        raise RunError("What was prepared from the text was not kept.")
    kept = Prepared.open(folder)
    same = all(kept.facts.get(k) == record["facts"].get(k) for k in _DECISIVE)
    if not same or kept.vocabulary != vocabulary:
        raise RunError(f"{folder} holds another text now.")
    return kept


def read(settings: TextConfig, preprocessor: Preprocessor) -> str:
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
