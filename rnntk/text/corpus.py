"""Load a corpus: find its text, fill in its settings, prepare it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rnntk.cache import cache_dir, tidy
from rnntk.config import TextConfig, TrainConfig, corpus_settings, own_text
from rnntk.config.own_text import Choice
from rnntk.corpora import registry
from rnntk.corpora.card import Card, Resolved
from rnntk.errors import CorpusError, DataError, RnntkError, RunError, UsageError
from rnntk.text import inputs, prepared, preparing, preprocessors
from rnntk.text.prepared import Prepared
from rnntk.text.preprocessors import AUTO, Preprocessor
from rnntk.text.vocabulary import Vocabulary

log = logging.getLogger(__name__)

T = TypeVar("T", bound=TextConfig)

_OPENING = 1000  # symbols searched for the first lines


@dataclass(frozen=True, repr=False)
class Corpus:
    """A text ready to train on."""

    name: str  # of the corpus, or of the user's first file
    card: Card | None  # None for the user's own files
    prepared: Prepared
    record: dict[str, Any]  # `corpus` in `run.json`

    def __repr__(self) -> str:
        facts = self.prepared.facts
        return (
            f"Corpus({self.name!r}: {facts['characters']:,} characters, {facts['symbols']:,} symbols by "
            f"{facts['preprocessor']['name']}, {facts['vocabulary_size']} different)"
        )


def load(
    kind: type[T],
    given: Mapping[str, Any],
    own: Mapping[str, Any] | None = None,
    *,
    command: str = "train",
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sha256: str | None = None,
) -> tuple[T, Corpus]:
    """A complete configuration, and the prepared text (see `prepare_corpus`).

    Missing settings come from the corpus' config. For the user's own files they are chosen to suit the text
    (`own_text.choose`) and recorded with the reasons in `record["chosen"]`.

    Args:
        given: the user's settings, by field name.
        own: settings that override the corpus' config.
        command: the table to read in the corpus' config.

    Raises `UsageError` for a wrong setting or unknown corpus, `CorpusError` or `DataError` if the text is unavailable.
    """
    kind.check_names(given)
    own = own or {}
    text = {k: v for k, v in given.items() if k in TextConfig.names()}
    found = find(TextConfig.resolve(text, own))
    if found is None:
        defaults = _own_text_defaults({**own, **text}.get("preprocessor"))
    else:
        # Python shows warnings: another text than the one asked for is reported without logging set up.
        as_asked = text.get("corpus") and (found.same_bytes or not found.card.sha256)
        log.log(logging.INFO if as_asked else logging.WARNING, found.detail)
        defaults = corpus_settings(found.card.config, command, kind.names())
        defaults["corpus"] = found.card.name
    # Check the settings before a long preparation; the held-out fraction is chosen after it, so assume one.
    config = kind.resolve(given, own, defaults, {"val_fraction": 1e-9} if found is None else {})
    made = prepare_corpus(config, found, output=output, progress=progress, sha256=sha256)
    if found is None:
        fixed = {name: getattr(config, name) for name in {*own, *given} & set(kind.names())}
        chosen = _chosen(kind, made.prepared, fixed)
        values = {name: choice.value for name, choice in chosen.items()}
        config = kind.resolve(given, own, values, defaults)
        made.record["chosen"] = {name: choice._asdict() for name, choice in chosen.items()}
    if config.preprocessor == AUTO:  # given by the user, so not in `chosen`
        config = replace(config, preprocessor=made.prepared.preprocessor.name)
    return config, made


def _own_text_defaults(preprocessor: str | None) -> dict[str, Any]:
    """Text settings for the user's own files; none if the preprocessor reads raw bytes."""
    preprocessor = preprocessor or AUTO
    if preprocessor != AUTO and getattr(preprocessors.get(preprocessor), "raw", False):
        return {}
    return {"preprocessor": preprocessor, "newline": "lf", "markup": "text"}


def _chosen(kind: type[TextConfig], text: Prepared, fixed: Mapping[str, Any]) -> dict[str, Choice]:
    """The settings chosen for the user's own text, except the `fixed` ones."""
    hangul = text.preprocessor.name == "hangul"
    why = "most letters are Hangul" if hangul else "few letters or none are Hangul"
    chosen = {"preprocessor": Choice(text.preprocessor.name, why)}
    if text.facts["newline"] == "lf":
        chosen["newline"] = Choice("lf", "line ends are alike in all files")
    chosen = {name: choice for name, choice in chosen.items() if name not in fixed}
    if issubclass(kind, TrainConfig):
        chosen |= own_text.choose(len(text.ids), fixed)
    return chosen


def find(settings: TextConfig) -> Resolved | None:
    """The named or the default corpus, not yet prepared; None for the user's own files.

    Raises `UsageError` if the corpus is unknown or not text, `CorpusError` if it is unavailable.
    """
    if settings.input:
        return None
    options: dict[str, Any] = {"data_dir": settings.data_dir, "offline": settings.offline}
    options |= {"accept_licence": settings.accept_licence, "notify": log.debug}
    if settings.corpus is None:
        return registry.resolve_default(**options)
    card = registry.load_card(settings.corpus)
    if card.kind != "text":
        command = f"rnntk mnist --data {card.name}"
        raise UsageError(f"{card.name} holds {card.kind}, not text. Train on it: {command}")
    return registry.resolve(card, **options)


def prepare_corpus(
    settings: TextConfig,
    resolved: Resolved | None,
    *,
    output: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    sha256: str | None = None,
) -> Corpus:
    """Prepare a text, or reuse an earlier result; see `prepared.prepare`. `resolved` is from `find`."""
    card = resolved.card if resolved else None
    paths, encoding = settings.input, settings.encoding
    if resolved is not None:
        name, paths = resolved.card.name, (str(resolved.path),)
        encoding = encoding or resolved.encoding
    else:
        name = "stdin" if inputs.is_stream(paths[0]) else _name(paths[0])
    preprocessor = settings.preprocessor or (card and card.preprocessor) or "plain"
    if output is None:
        tidy("prepared")
    made = prepared.prepare(
        replace(settings, corpus=None, input=paths, encoding=encoding, preprocessor=preprocessor),
        stated_by="the user" if settings.encoding else f"the card of {name}",
        cache_dir=cache_dir(),
        output=output,
        progress=progress,
        sha256=sha256,
    )
    record = {
        "name": name,
        "source": resolved.source if resolved else "input",
        "path": str(resolved.path) if resolved else ", ".join(paths),
        "inputs": _absolute(settings.input),
        "detail": resolved.detail if resolved else "your own file",
        "sha256": made.facts["sha256"],
        "preprocessor": made.preprocessor.name,
        "preprocessor_version": made.preprocessor.version,
        "prime": card.prime if card else None,
        "opening": _opening(made),
        "prepared": str(made.folder),
        "facts": made.facts,
    }
    return Corpus(name, card, made, record)


def _name(path: str) -> str:
    """The name of a text, which begins the names of its runs: legal on Windows, and not hidden."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", Path(inputs.matches(path)[0]).resolve().stem)
    # Windows takes a device's name with an ending for the device.
    name = re.sub(
        r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.)", r"\1_", name.strip(". "), flags=re.IGNORECASE
    )
    return name or "text"


def _opening(made: Prepared) -> str:
    """The first lines of the text, up to the end of a paragraph, else of a line; "" without a line end."""
    text = made.preprocessor.decode(made.vocabulary.decode(made.ids[:_OPENING]))
    ends = (text.rfind(end) + len(end) for end in ("\n\r\n", "\n\n", "\n", "\r") if end in text)
    return text[: next(ends, 0)]


def untrusted(settings: T, record: Mapping[str, Any]) -> T:
    """Settings to find a run's text without trusting its `run.json`: no downloads, card files, pipes or devices.

    The caller still checks the text against the recorded SHA-256 (`prepare_corpus`).
    """
    card = settings.corpus
    if card is not None and (card.endswith(".toml") or Path(card).name != card):
        path, encoding = str(record.get("path")), record["facts"].get("encoding")
        settings = replace(settings, corpus=None, input=(path,), encoding=encoding)
    for path in settings.input:
        if inputs.is_stream(path):
            what = "standard input" if path == inputs.STDIN else f"{path}, a pipe or a device"
            raise _Unrepeatable(f"The run was trained on {what}, which cannot be read again.")
    return replace(settings, offline=True)


@dataclass(frozen=True)
class RunText:
    """Finds the text that a run was trained on."""

    record: dict[str, Any]  # `Corpus.record`
    vocabulary: Vocabulary
    run: Path  # folder
    settings: TextConfig  # the run's, with the folders to search now

    def prepare_again(self) -> Corpus:
        """Prepare the text that the settings name; `RunError` if it is not the run's."""
        return self._checked(prepare_corpus(self.settings, find(self.settings)))

    def _checked(self, corpus: Corpus) -> Corpus:
        """The corpus if it is the run's; else `RunError` with the differences."""
        old, now = self.vocabulary, corpus.prepared.vocabulary
        if old.symbols != now.symbols:
            same = set(old.symbols) == set(now.symbols)
            raise RunError(
                f"The vocabulary of {corpus.record['path']} is not that of {self.run}."
                + _difference("Only in the run", old, now)
                + _difference("Only in the text", now, old)
                + (" The order differs." if same else "")
                + " Train a new run."
            )
        if self.record["sha256"] != corpus.record["sha256"]:
            raise self._changed()
        return corpus

    def prepared(self) -> Prepared:
        """The text from the cache, or prepared again; `RunError` if it has changed or is missing."""
        try:
            return self._from_cache()
        except RunError as error:
            log.info(f"{error} Preparing the text again.")
        except DataError:  # damaged: the preparation says so
            pass
        try:
            return self._from_source().prepared
        except _Unrepeatable as error:
            raise RunError(f"{error} Give a text with `input`.") from None

    def reopen(self) -> Corpus:
        """The text for a resume: from its source, else from the cache; `RunError` if changed or missing."""
        try:
            return self._from_source()
        except (DataError, _Unrepeatable) as error:
            try:
                kept = self._from_cache()
            except RnntkError as lost:
                raise RunError(f"{error} {lost} Give the text with `input`.") from error
            log.info("%s Using its prepared form in the cache.", error)
            return Corpus(self.record["name"], None, kept, self.record)

    def _from_source(self) -> Corpus:
        """The text at the given paths, else at the absolute paths that they had in training."""
        try:
            return self._read(self.settings)
        except (DataError, RunError) as error:
            then = tuple(self.record.get("inputs") or ())
            moved = then and then != tuple(_absolute(self.settings.input))
            if isinstance(error, _Unrepeatable) or not moved:
                raise
            return self._read(replace(self.settings, input=then))

    def _read(self, settings: TextConfig) -> Corpus:
        settings = untrusted(settings, self.record)
        sha256 = self.record["sha256"]
        try:
            return self._checked(prepare_corpus(settings, find(settings), sha256=sha256))
        except prepared.OtherText:
            raise self._changed() from None
        except CorpusError as error:
            raise CorpusError(
                f"{error}\nDownload it: rnntk prep --corpus {settings.corpus}"
            ) from error

    def _changed(self) -> RunError:
        return RunError(
            f"The text has changed since {self.run} was trained (its SHA-256 began with "
            f"{self.record['sha256'][:12]}). Restore it, or train a new run."
        )

    def _from_cache(self) -> Prepared:
        """The prepared text in the cache; `RnntkError` if it is missing, damaged or another one."""
        name = Path(self.record.get("prepared") or "").name
        if not re.fullmatch("[0-9a-f]{32}", name):
            raise RunError("The prepared text was not kept in the cache.")
        folder = cache_dir() / "prepared" / name
        if not folder.exists():
            raise RunError("The prepared text is no longer in the cache.")
        kept = Prepared.open(folder)
        same = all(kept.facts.get(k) == self.record["facts"].get(k) for k in _DECISIVE)
        if not same or kept.vocabulary != self.vocabulary:
            raise RunError(f"{kept.folder} holds another text now.")
        return kept


class _Unrepeatable(RunError):
    """The text was read from a stream, which cannot be read again."""


# Facts that determine the ids.
_DECISIVE = (
    "sha256", "encoding", "preprocessor", "errors", "newline", "normalize", "min_count", "unknown_symbol",
)  # fmt: skip


def _difference(where: str, ours: Vocabulary, others: Vocabulary) -> str:
    only = sorted(set(ours.symbols) - set(others.symbols))
    return f" {where}: {' '.join(map(repr, only[:10]))}." if only else ""


def _absolute(paths: Iterable[str]) -> list[str]:
    return [p if inputs.is_stream(p) else str(Path(p).resolve()) for p in paths]


def read(settings: TextConfig, preprocessor: Preprocessor) -> str:
    """The text of `settings.input`, read as for training; `DataError` or its subclass `EncodingError`."""
    recipe = preparing.Recipe(preprocessor, settings)
    with inputs.opened(settings, raw=recipe.raw) as files:
        sources = preparing.examine(files, recipe, stated_by="the user", progress=None)
        for doubt in preparing.doubts(sources):
            log.info(f"Warning: {doubt}")
        return "".join(preparing.texts(sources, recipe))
