"""The files of a TensorFlow 1 character model: its checkpoint, and its pickled vocabulary."""

from __future__ import annotations

import re
from pathlib import Path

from rnntk.errors import DataError, UsageError
from rnntk.exchange import safe_pickle
from rnntk.text.vocabulary import Vocabulary

_VOCABULARIES = ("vocab.pkl", "chars_vocab.pkl")


def find_checkpoint(path: Path) -> tuple[Path, int]:
    """The prefix and the step of a checkpoint.

    Args:
        path: the folder, the prefix `model.ckpt-24000`, or a file that begins with it.

    Raises:
        UsageError: there is no checkpoint there.
    """
    if path.is_dir():
        prefix = _latest(path)
    else:
        name = re.sub(r"(.)\.(index|meta|data-\d+-of-\d+)$", r"\1", path.name)
        prefix = path.with_name(name)
        if not (_index(prefix).is_file() or prefix.is_file()):
            raise UsageError(
                f"There is no TensorFlow 1 checkpoint {path}: neither {_index(prefix)} nor a folder of that name. "
                "Give the folder, or the name up to the step, such as save/model.ckpt-24000."
            )
    return prefix, _step(prefix)


def _step(prefix: Path) -> int:
    found = re.search(r"-([0-9]{1,18})$", prefix.name)
    return int(found[1]) if found else 0


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def _latest(path: Path) -> Path:
    listed = path / "checkpoint"
    if listed.is_file():
        with listed.open(encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
        named = re.search(r'^model_checkpoint_path:\s*"(.*)"', text, re.MULTILINE)
        if named:
            # Only the last part: the folder may have moved.
            prefix = path / re.split(r"[/\\]", named[1])[-1]
            if _index(prefix).is_file() or prefix.is_file():
                return prefix
    # TensorFlow 0.x wrote a single file without a suffix.
    found = [p.with_suffix("") for p in path.glob("*.index")]
    found += [p for p in path.iterdir() if re.search(r"\.ckpt(-\d+)?$", p.name) and p.is_file()]
    found.sort(key=_step)
    if not found:
        raise UsageError(
            f"There is no TensorFlow 1 checkpoint in {path}: no file ends in .index or in .ckpt-<step>. "
            "Give the folder that has model.ckpt-<step>.index and .data-00000-of-00001."
        )
    return found[-1]


def read_vocabulary(path: Path, *, encoding: str = "ASCII") -> Vocabulary:
    """The symbols of a pickled vocabulary.

    Args:
        path: a pickle of a sequence of characters, of a dictionary from characters to ids or back, or of both as a
            pair (char-rnn-tensorflow's `chars_vocab.pkl`).
        encoding: of Python 2's byte strings, see `safe_pickle.load`.

    Raises:
        DataError: it holds anything else; see `safe_pickle.load`.
    """
    held = safe_pickle.load(path, encoding=encoding)
    if isinstance(held, (tuple, list)) and len(held) == 2 and not isinstance(held[0], str):
        held = held[0]
    if isinstance(held, dict):
        pairs = [(k, v) if type(k) is int else (v, k) for k, v in held.items()]
        by_id = {number: symbol for number, symbol in pairs if type(number) is int}
        if sorted(by_id) != list(range(len(pairs))):
            raise DataError(
                f"{path} is not a vocabulary: its ids are not the numbers from 0 to {len(pairs) - 1}."
            )
        held = [by_id[number] for number in sorted(by_id)]
    if isinstance(held, str):
        held = list(held)
    if not isinstance(held, (tuple, list)) or not all(
        isinstance(s, str) and len(s) == 1 for s in held
    ):
        raise DataError(
            f"{path} is not a vocabulary: it should hold a tuple, list or dict of single characters."
        )
    try:
        return Vocabulary(held)
    except DataError as error:
        raise DataError(f"{path} is not a vocabulary: {error}") from error


def find_vocabulary(prefix: Path) -> Path:
    """The vocabulary's file beside a checkpoint; `UsageError` if there is none."""
    for name in _VOCABULARIES:
        path = prefix.with_name(name)
        if path.is_file():
            return path
    raise UsageError(
        f"There is no {' or '.join(_VOCABULARIES)} beside {prefix}. Give its path with `vocab`."
    )
