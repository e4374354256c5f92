"""The files of a TensorFlow 1 character model: checkpoint and pickled vocabulary."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rnntk.errors import DataError, UsageError
from rnntk.exchange import safe_pickle
from rnntk.text.vocabulary import Vocabulary

_VOCABULARIES = ("vocab.pkl", "chars_vocab.pkl")
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of a single-file checkpoint, a LevelDB table
_CKPT = re.compile(r"\.ckpt(-\d+)?$")


def find_checkpoint(path: Path) -> tuple[Path, int]:
    """Prefix and step of the checkpoint at a folder (the latest), a prefix (`model.ckpt-24000`) or one of its files.

    Raises `UsageError` if there is none, or the file is another one of its folder.
    """
    if path.is_dir():
        prefix = _latest(path)
    else:
        name = re.sub(r"(.)\.(index|meta|data-\d+-of-\d+)$", r"\1", path.name)
        prefix = path.with_name(name)
        if not (_index(prefix).is_file() or prefix.is_file()):
            raise UsageError(
                f"There is no folder {path} and no file {_index(prefix)}. Give a folder, or a prefix "
                "such as save/model.ckpt-24000."
            )
        if not (_index(prefix).is_file() or _is_single(prefix)):
            raise UsageError(
                f"{path} holds no weights. Give its folder, {path.parent}, or a prefix such as "
                "save/model.ckpt-24000."
            )
    return prefix, _step(prefix)


def _step(prefix: Path) -> int:
    found = re.search(r"-([0-9]{1,18})$", prefix.name)
    return int(found[1]) if found else 0


def _is_single(path: Path) -> bool:
    """Whether this file is a checkpoint of TensorFlow 0.x: by its name, as it may be damaged, or its last bytes."""
    if _CKPT.search(path.name):
        return True
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - len(_TABLE_END), 0))
        return file.read() == _TABLE_END


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _latest(path: Path) -> Path:
    listed = path / "checkpoint"
    if listed.is_file():
        with listed.open(encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
        named = re.search(r'^model_checkpoint_path:\s*"(.*)"', text, re.MULTILINE)
        if named:
            prefix = path / re.split(r"[/\\]", named[1])[-1]  # the folder may have moved
            if {_index(prefix), prefix} & set(
                path.iterdir()
            ):  # is_file() raises for overlong names
                return prefix
    # TensorFlow 0.x wrote a single file without a suffix.
    found = [p.with_suffix("") for p in path.glob("*.index")]
    found += [p for p in path.iterdir() if _CKPT.search(p.name) and p.is_file()]
    found.sort(key=_step)
    if not found:
        raise UsageError(
            f"No file in {path} ends in .index or .ckpt-<step>. Give the folder with model.ckpt-<step>.index "
            "and .data-00000-of-00001."
        )
    return found[-1]


def read_vocabulary(path: Path, *, encoding: str = "ASCII") -> Vocabulary:
    """Read a vocabulary from a pickle: a sequence of characters, a dict of characters and ids (either way), or both.

    For `encoding` and errors see `safe_pickle.load`; also `DataError` if the pickle holds anything else.
    """
    held = safe_pickle.load(path, encoding=encoding)
    if isinstance(held, (tuple, list)) and len(held) == 2 and not isinstance(held[0], str):
        held = held[0]
    if isinstance(held, dict):
        pairs = [(k, v) if type(k) is int else (v, k) for k, v in held.items()]
        by_id = {number: symbol for number, symbol in pairs if type(number) is int}
        if sorted(by_id) != list(range(len(pairs))):
            ids = f"0 to {len(pairs) - 1}"
            raise DataError(f"{path} is not a vocabulary: its ids are not the numbers {ids}.")
        held = [by_id[number] for number in sorted(by_id)]
    characters = list(held) if isinstance(held, (str, tuple, list)) else []
    try:
        if not all(isinstance(c, str) and len(c) == 1 for c in characters or [None]):
            raise DataError("it should be a tuple, list or dict of single characters.")
        return Vocabulary(characters)
    except DataError as error:
        raise DataError(f"{path} is not a vocabulary: {error}") from error


def find_vocabulary(prefix: Path) -> Path:
    """The vocabulary file next to a checkpoint; `UsageError` if there is none."""
    for name in _VOCABULARIES:
        path = prefix.with_name(name)
        if path.is_file():
            return path
    names = " or ".join(_VOCABULARIES)
    raise UsageError(f"There is no {names} next to {prefix}. Give its path with `vocab`.")
