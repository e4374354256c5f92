"""The prepared corpus: a text as ids on disk, with vocabulary and facts. Format: docs/prepared.md."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnntk import stored
from rnntk.cache import ANOTHER_CACHE
from rnntk.config import TextConfig
from rnntk.errors import DataError, RunError
from rnntk.files import remove, replacing
from rnntk.text import inputs, preparing, preprocessors
from rnntk.text.preparing import Progress, Recipe, Source
from rnntk.text.preprocessors import Preprocessor
from rnntk.text.vocabulary import Vocabulary, refuse_newer

log = logging.getLogger(__name__)


# Types of the parts of `meta.json` that are read (see `stored.conform`).
_FACTS = {"sha256": str, "symbols": int, "characters": int, "warnings": [str], "sources": [{}]}
_META = {
    "format_version": int, "key": str, "preprocessor": {"name": str, "version": int}, "dtype": str, "length": int,
    "index": bool, "facts": _FACTS,
}  # fmt: skip


class OtherText(DataError):
    """The text does not have the required SHA-256."""

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__(
            f"{', '.join(paths)} is not the text of the run. To use it anyway, give it with `input`."
        )


@dataclass(repr=False)
class Prepared:
    """A prepared corpus, read from its folder by `Prepared.open`."""

    folder: Path
    # The text: uint8, uint16 or uint32 `(n,)`, read-only, memory-mapped unless small.
    ids: NDArray[np.unsignedinteger]
    vocabulary: Vocabulary
    meta: dict[str, Any]  # the content of `meta.json`
    # Symbols and characters before each piece of the text, `(pieces + 1, 2)`; None: one symbol per character.
    _index: NDArray[np.uint64] | None
    reused: bool = False  # whether `prepare` found it in the cache

    def __repr__(self) -> str:
        return f"Prepared({str(self.folder)!r}: {len(self.ids):,} symbols)"

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the text, for JSON."""
        return self.meta["facts"]

    @property
    def key(self) -> str:
        """Identifies text, preprocessor and settings."""
        return str(self.meta["key"])

    @classmethod
    def open(cls, folder: str | Path) -> Prepared:
        """Read a prepared corpus and check all its bytes (1 s per GB at most).

        Raises `DataError` if it is missing or damaged, `RunError` if it is from a newer rnntk.
        """
        folder = Path(folder)
        try:
            return cls._read(folder)
        except FileNotFoundError as error:
            problem = f"{folder} is not a prepared corpus: {Path(error.filename).name} is missing."
            raise DataError(f"{problem} Make one: rnntk prep") from error
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror}.") from error
        except (ValueError, DataError) as error:
            problem = f"The prepared corpus {folder} is damaged: {str(error).rstrip('.')}."
            raise DataError(f"{problem} Remove it, then prepare the text again.") from error

    @classmethod
    def _read(cls, folder: Path, *, checksums: bool = False) -> Prepared:
        """`open` without its error messages. `checksums`: require them, which rnntk before 1.0 did not write."""
        meta = stored.read_json(folder / "meta.json", {})
        version = meta.get("format_version")
        if type(version) is int:
            refuse_newer(folder, version, preparing.FORMAT_VERSION)
        stored.conform(meta, _META)
        if checksums or (folder / stored.MANIFEST).exists():
            index = ("index.bin",) if meta["index"] else ()
            stored.check_manifest(folder, (*preparing.FILES, *index))
            checksums = True
        with stored.opened(folder / "vocabulary.json") as file:
            vocabulary = Vocabulary.from_json(file.read(stored.LARGEST_JSON))
        dtype, length = vocabulary.dtype.newbyteorder("<"), meta["length"]
        ids = stored.array(folder / "ids.bin", dtype)
        rows = None
        if meta["index"]:
            rows = stored.array(folder / "index.bin", "<u8").reshape(-1, 2)
            if not len(rows):
                raise ValueError("index.bin is empty")
        if (len(ids), dtype.str) != (length, meta["dtype"]):
            expected = f"{length:,} of type {meta['dtype']}"
            raise ValueError(f"ids.bin has {len(ids):,} ids of type {dtype.str}, not {expected}")
        if not checksums and (largest := int(ids.max(initial=0))) >= len(vocabulary):
            raise ValueError(f"ids.bin has the id {largest:,}, for {len(vocabulary):,} symbols")
        return cls(folder, ids, vocabulary, meta, rows)

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """The preprocessor that made it; `UsageError` if it is not installed, `DataError` in another version."""
        name, version = (self.meta["preprocessor"][key] for key in ("name", "version"))
        found = preprocessors.get(name)
        if found.version != version:
            problem = f"Version {version} of the preprocessor {name!r} made {self.folder}"
            raise DataError(
                f"{problem}; version {found.version} is installed. Prepare the text again."
            )
        return found

    def original_characters(self, start: int = 0, end: int | None = None) -> int:
        """Number of characters of the original text that end within `ids[start:end]`; adjacent ranges add up.

        Characters that the preprocessor drops count at the end of their piece (`counting.PIECE` characters).
        """
        end = len(self.ids) if end is None else min(end, len(self.ids))
        return self._characters_before(end) - self._characters_before(start)

    def _characters_before(self, position: int) -> int:
        if self._index is None or position <= 0:
            return max(position, 0)
        row = self._row(position)
        return int(self._index[row, 1]) + self._kept(row, position)

    def _row(self, position: int) -> int:
        """The row of the index for the piece of text that holds this symbol."""
        assert self._index is not None
        return int(np.searchsorted(self._index[:, 0], position, "right")) - 1

    def _kept(self, row: int, position: int) -> int:
        """Number of characters of a piece that end before `position`, without those that the preprocessor dropped."""
        assert self._index is not None
        if row + 1 == len(self._index):
            return 0
        (first, before), (stop, after) = ((int(n) for n in self._index[i]) for i in (row, row + 1))
        piece = self.vocabulary.decode(self.ids[first:stop])
        text, codec = self.preprocessor.decode(piece), self.preprocessor
        if position >= stop:
            return min(len(text), after - before)
        lengths = [len(codec.encode(character)) for character in text]
        if sum(lengths) == len(piece):
            kept = sum(end <= position - first for end in accumulate(lengths))
        else:  # rare symbols were replaced
            kept = len(codec.decoder().feed(piece[: position - first]))
        return min(kept, after - before)

    def characters(self, start: int, end: int) -> int:
        """Number of characters whose last symbol is in `ids[start:end]`: the divisor of bits per character.

        Dropped characters do not count, because no symbol predicts them; one with unknown symbols counts once.
        """
        if self._index is None:
            return self.original_characters(start, end)
        start, end = max(start, 0), min(end, len(self.ids))
        if end <= start:
            return 0
        rows = range(self._row(start), self._row(end) + 1)
        return sum(self._kept(row, end) for row in rows) - self._kept(rows[0], start)


def prepare(
    config: TextConfig,
    *,
    cache_dir: Path,
    stated_by: str = "the user",
    output: Path | None = None,
    progress: Progress | None = None,
    sha256: str | None = None,
) -> Prepared:
    """Prepare a text, or reuse an earlier result with the same bytes, preprocessor and settings.

    Args:
        config: `input` lists files (also gzip, xz and documents), folders, and `-` for standard input.
        cache_dir: results go to `prepared/<key>` in it.
        stated_by: who gave the encoding, for the facts.
        output: folder for the result, instead of the cache.
        progress: called with bytes done and total; each file is read twice.
        sha256: required SHA-256 of the raw bytes; nothing of other bytes is shown or kept.

    Raises:
        DataError: a file is missing, empty, binary, damaged or undecodable (`EncodingError`); `sha256` does not match
            (`OtherText`); `output` is another prepared text; the disk is full.
        UsageError: settings contradict each other, or the preprocessor or encoding is unknown.
    """
    auto = config.preprocessor == preprocessors.AUTO
    name = "plain" if auto else config.preprocessor or "plain"
    recipe = Recipe(preprocessors.get(name), config)
    try:
        with inputs.opened(config, raw=recipe.raw) as files:
            try:
                sources = preparing.examine(files, recipe, stated_by=stated_by, progress=progress)
            except DataError:
                if sha256 is None:
                    raise
                raise OtherText(config.input) from None
            if sha256 not in (None, preparing.raw_sha256(sources)):
                raise OtherText(config.input)
            if auto:
                natural = preparing.natural_preprocessor(sources)
                recipe = Recipe(preprocessors.get(natural), config)
            key = preparing.key(sources, recipe)
            folder = output or cache_dir / "prepared" / key
            prepared = _ready(folder, key, ours=output is None)
            if prepared is None:
                _write_aside(folder, sources, recipe, progress)
    except OSError as error:
        path = Path(os.fsdecode(error.filename or ""))
        why = f"{error.strerror or error}" + (f" ({path})." if error.filename else ".")
        if error.errno == errno.ENOSPC:
            why += " Free some space on the disk."
        in_cache = path.is_relative_to(cache_dir) or cache_dir.is_relative_to(path)
        if output is None and error.filename and in_cache:
            why += f" {ANOTHER_CACHE}"
        raise DataError(f"The text cannot be prepared: {why}") from error
    if prepared is None:
        prepared = Prepared.open(folder)
    else:
        preparing.refuse_unknown_alone(prepared.vocabulary, recipe)
        # The same bytes may now have another path, or a stated encoding.
        prepared.reused = True
        for before, source in zip(prepared.facts["sources"], sources, strict=False):
            before |= source.to_json() | {"replaced": before.get("replaced", 0)}
    # Not stored, because a stated encoding makes them go away.
    prepared.facts["warnings"] = [*preparing.doubts(sources), *prepared.facts["warnings"]]
    return prepared


def _ready(folder: Path, expected: str, *, ours: bool) -> Prepared | None:
    """The result if the folder holds it; a damaged one is removed if it is `ours`, that is, in the cache."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if ours:
        try:
            found = Prepared._read(folder, checksums=True)
            if found.key == expected:
                return found
            problem = f"its key is {found.key}"
            del found  # Windows cannot remove a file that is mapped
        except (ValueError, OSError, DataError, RunError) as error:
            problem = str(error)
        log.warning(f"Warning: preparing again, because {folder} is damaged ({problem}).")
        remove(folder)
        return None
    if (folder / "meta.json").exists() and (found := Prepared.open(folder)).key == expected:
        return found
    raise DataError(f"{folder} is not this prepared text. Choose another `output`.")


def _write_aside(
    folder: Path, sources: list[Source], recipe: Recipe, progress: Progress | None
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(folder) as made:
            made.mkdir()
            preparing.write(made, sources, recipe, progress)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    except OSError:
        # Another process may have written the same result first.
        if not _ready(folder, preparing.key(sources, recipe), ours=False):
            raise
