"""Make a prepared corpus, in one pass over the bytes and one over the characters, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rnntk import stored
from rnntk.config import TextConfig
from rnntk.corpora.encoding import EncodingReport, detect, iter_text
from rnntk.errors import DataError, EmptyError, UsageError
from rnntk.text import facts as known
from rnntk.text.counting import SymbolWriter
from rnntk.text.hangul import Recomposer
from rnntk.text.inputs import Input
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
FILES = ("ids.bin", "vocabulary.json", "meta.json")  # required in a prepared corpus

log = logging.getLogger(__name__)

Progress = Callable[[int, int], object]  # called with bytes done and total; each file is read twice


@dataclass(frozen=True)
class Recipe:
    """The settings that determine the ids; `UsageError` if they contradict each other."""

    preprocessor: Preprocessor
    config: TextConfig

    def __post_init__(self) -> None:
        if self.raw and self.config.errors != "strict":
            raise _no_effect("errors", self)

    @property
    def raw(self) -> bool:
        """Whether the preprocessor takes the bytes of files undecoded."""
        return bool(getattr(self.preprocessor, "raw", False))

    def to_json(self) -> dict[str, Any]:
        preprocessor = {"name": self.preprocessor.name, "version": self.preprocessor.version}
        names = ("errors", "newline", "normalize", "min_count", "unknown_symbol")
        return {"preprocessor": preprocessor, **{n: getattr(self.config, n) for n in names}}


def _no_effect(setting: str, recipe: Recipe) -> UsageError:
    return UsageError(
        f'`{setting}="{getattr(recipe.config, setting)}"` has no effect with `preprocessor` '
        f"{recipe.preprocessor.name}, which does not decode. Leave one out."
    )


@dataclass(frozen=True)
class Source:
    """A file of the text, and its encoding."""

    input: Input
    report: EncodingReport
    size: int  # bytes on disk

    def to_json(self) -> dict[str, Any]:
        return {"name": self.input.name, **self.report.to_json()}


def examine(
    inputs: Sequence[Input], recipe: Recipe, *, stated_by: str, progress: Progress | None
) -> list[Source]:
    """The pass over the bytes: encoding, size and SHA-256 of every file; empty ones are left out.

    Raises `UsageError` if the user gave an encoding that is not used, `DataError` if a file is unreadable or all are
    empty.
    """
    encoding = recipe.config.encoding
    if recipe.raw and encoding is not None and stated_by == "the user":
        raise _no_effect("encoding", recipe)
    try:
        sizes = [entry.path.stat().st_size for entry in inputs]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
    sources: list[Source] = []
    empty: list[EmptyError] = []
    for i, (entry, size) in enumerate(zip(inputs, sizes, strict=True)):
        shifted = _shifted(progress, sum(sizes[:i]), 2 * sum(sizes))
        try:
            report = detect(
                entry.path,
                raw=recipe.raw,
                encoding="utf-8" if entry.document else encoding,
                stated_by=stated_by,
                errors=recipe.config.errors,
                name=entry.name,
                progress=shifted,
            )
            report.how = f"the text of {entry.document}" if entry.document else report.how
            sources.append(Source(entry, report, size))
        except EmptyError as error:
            empty.append(error)
    if not sources:
        raise empty[0]
    if empty:
        log.info(f"{len(empty):,} of {len(inputs):,} files have no text: {empty[0]}")
    return sources


def natural_preprocessor(sources: Sequence[Source]) -> str:
    """`hangul` if most letters in samples of the files are Hangul, else `plain`."""
    hangul = sum(source.report.hangul * source.size for source in sources)
    return "hangul" if 2 * hangul > sum(source.size for source in sources) else "plain"


def _shifted(progress: Progress | None, before: int, total: int) -> Callable[[int], object] | None:
    """Progress of one file, as progress of the whole."""
    return (lambda done: progress(before + done, total)) if progress else None


def raw_sha256(sources: Sequence[Source]) -> str:
    """SHA-256 of the only file's bytes; for several files, of their hex digests, one per line."""
    digests = [source.report.sha256 for source in sources]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(d + "\n" for d in digests).encode()).hexdigest()


def key(sources: Sequence[Source], recipe: Recipe) -> str:
    """Identifier of the result: 32 hex digits of the SHA-256 of content and recipe."""
    content = {
        "format_version": FORMAT_VERSION,
        "sha256": raw_sha256(sources),
        "encodings": [source.report.encoding for source in sources],
        "recipe": recipe.to_json(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def texts(
    sources: Sequence[Source], recipe: Recipe, progress: Progress | None = None
) -> Iterator[str]:
    """The text of all files, in pieces of bounded size."""
    total = sum(source.size for source in sources)
    done = total
    for source in sources:
        recomposer = Recomposer() if recipe.config.normalize else None
        for text in iter_text(
            source.input.path,
            source.report,
            errors=recipe.config.errors,
            newline=recipe.config.newline,
            name=source.input.name,
            progress=_shifted(progress, done, 2 * total),
        ):
            yield recomposer.feed(text) if recomposer else text
        if recomposer:
            yield recomposer.flush()
        done += source.size


def write(
    folder: Path, sources: Sequence[Source], recipe: Recipe, progress: Progress | None
) -> None:
    """The pass over the characters: write a prepared corpus into an empty folder."""
    with closing(SymbolWriter(folder / "provisional.bin", recipe.preprocessor)) as writer:
        for text in texts(sources, recipe, progress):
            writer.add(text)
    counts = writer.symbols()
    if not counts:
        problem = f"The preprocessor {recipe.preprocessor.name!r} drops the whole text."
        raise DataError(f"{problem} Choose another `preprocessor`.")
    merged: dict[str, int] = {}  # with rare symbols counted as the unknown symbol
    unknown = recipe.config.unknown_symbol
    for symbol, count in counts.items():
        rare = unknown is not None and count < recipe.config.min_count
        target = str(unknown) if rare else symbol
        merged[target] = merged.get(target, 0) + count
    if len(merged) == len(counts):  # no symbol was merged
        unknown = None
        # Symbols of the alphabet that the text lacks come last.
        missing = [s for s in getattr(recipe.preprocessor, "alphabet", "") if s not in counts]
        merged = counts | dict.fromkeys(missing, 0)
    vocabulary = Vocabulary.from_counts(merged, unknown=unknown)
    refuse_unknown_alone(vocabulary, recipe)
    writer.renumber(vocabulary, folder / "ids.bin")
    if not writer.one_to_one:
        (folder / "index.bin").write_bytes(np.array(writer.index, "<u8").tobytes())
    (folder / "vocabulary.json").write_text(vocabulary.to_json() + "\n", "utf-8")
    meta = {
        "format_version": FORMAT_VERSION,
        "key": key(sources, recipe),
        "preprocessor": recipe.to_json()["preprocessor"],
        "dtype": vocabulary.dtype.newbyteorder("<").str,
        "length": writer.index[-2],
        "index": not writer.one_to_one,
        "facts": _facts(sources, recipe, writer, merged, vocabulary),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", "utf-8")
    manifest = stored.file_sums(sorted(folder.iterdir()))
    (folder / stored.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def refuse_unknown_alone(vocabulary: Vocabulary, recipe: Recipe) -> None:
    """Raise `DataError` if all symbols of the text are rare."""
    if vocabulary.symbols == vocabulary.unknown_symbol:
        raise DataError(f"No symbol occurs {recipe.config.min_count:,} times. Lower `min_count`.")


def _facts(
    sources: Sequence[Source], recipe: Recipe, writer: SymbolWriter, merged: dict[str, int],
    vocabulary: Vocabulary,
) -> dict[str, Any]:  # fmt: skip
    characters, counts = writer.characters(), writer.symbols()
    ranked = {symbol: merged[symbol] for symbol in vocabulary.symbols if merged[symbol]}
    length, total = sum(ranked.values()), sum(characters.values())
    entropy = known.entropy_bits(ranked.values())
    reports = [source.report for source in sources]
    rare = [count for symbol, count in counts.items() if symbol not in merged]
    # The U+FFFD that stand for undecodable bytes are not in the text itself.
    replaced = sum(report.replaced for report in reports)
    own = characters | {"\ufffd": characters.get("\ufffd", 0) - replaced}
    facts = {
        **recipe.to_json(),
        "sha256": raw_sha256(sources),
        "bytes": sum(report.bytes for report in reports),
        "characters": total,
        "distinct_characters": len(characters),
        "symbols": length,
        "vocabulary_size": len(vocabulary),
        "encoding": ", ".join(dict.fromkeys(report.encoding for report in reports)),
        "replaced": replaced,
        "rare": {"count": sum(rare), "distinct": len(rare)},
        "changed": known.changed({} if recipe.raw else characters, recipe.preprocessor),
        "unusual": known.unusual({c: n for c, n in own.items() if n > 0}),
        **known.frequencies(ranked),
        "entropy_bits": entropy,
        "bits_per_character": entropy * length / total,
    }
    facts["warnings"] = list(_warnings(sources, recipe, facts, characters, counts))
    return {**facts, "sources": [source.to_json() for source in sources]}


def doubts(sources: Sequence[Source]) -> Iterator[str]:
    """A warning for every guessed encoding, with the evidence from its first file."""
    guessed: dict[str, list[Source]] = {}
    for source in sources:
        if source.report.unsure:
            guessed.setdefault(source.report.encoding, []).append(source)
    for encoding, (first, *others) in guessed.items():
        more = f" So are {len(others):,} more files." if others else ""
        doubt = first.report.doubt
        yield f"{first.input.name} is read as {encoding}, which is a guess {doubt}{more}"


def _composed(sources: Sequence[Source], recipe: Recipe, conjoining: int) -> int:
    """Number of the conjoining jamo that `normalize` would compose; it leaves those of old Korean.

    Reads the text once more if it has any.
    """
    if not conjoining or recipe.config.normalize:
        return 0
    normalized = replace(recipe, config=replace(recipe.config, normalize=True))
    left: Counter[str] = Counter()
    for text in texts(sources, normalized):
        left.update(text)
    return conjoining - known.conjoining(left)


def _warnings(
    sources: Sequence[Source], recipe: Recipe, facts: dict[str, Any], characters: dict[str, int],
    counts: dict[str, int],
) -> Iterator[str]:  # fmt: skip
    escaped = sum(n for c, n in characters.items() if "\udc80" <= c <= "\udcff")
    if recipe.raw and escaped:
        yield f"{escaped:,} bytes are not UTF-8; text shows them as U+FFFD."
    if facts["replaced"]:
        yield f"{facts['replaced']:,} undecodable byte sequences were replaced by U+FFFD."
    if composed := _composed(sources, recipe, known.conjoining(characters)):
        jamo = f"{composed:,} conjoining jamo (Hangul in NFD)"
        yield f"The text has {jamo}. `normalize=True` composes them to syllables."
    changed = facts["changed"]
    if changed["count"]:
        number = f"{changed['count']:,} characters ({changed['distinct']:,} distinct)"
        yield f"The preprocessor {recipe.preprocessor.name!r} does not restore {number}."
    if facts["rare"]["count"] and (own := counts.get(str(recipe.config.unknown_symbol))):
        yield (
            f"The unknown symbol {recipe.config.unknown_symbol!r} also occurs in the text, {own:,} times, "
            "not distinguished from rare symbols."
        )
