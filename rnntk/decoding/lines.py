"""Lines from a model, each of them new: no repeats, and no copies of lines of the training text."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Iterator

import numpy as np

from rnntk.config import SampleConfig
from rnntk.decoding.language_model import LanguageModel
from rnntk.decoding.reference import States
from rnntk.errors import RnntkError, RunError, UsageError
from rnntk.storage import splits
from rnntk.text.prepared import Prepared

_PATIENCE = 2000  # tries without a new line
_STREAMS = (16, 64)  # generated at once: fewest and most
_CHECKED = 1024  # most lines looked for in one pass over the training text
_LONGEST = 100_000  # characters
_BEFORE = 64  # symbols of the training text that a stream reads first
_WINDOW = 1 << 16  # symbols in which the streams' places are
_AT_A_TIME = 1 << 20  # symbols decoded at a time
_LONG, _REPEATED, _EMPTY, _COPIED = "too long", "repeated", "empty", "copied from the training text"
_RAISED = {
    "`temperature`": (_REPEATED, _EMPTY, _COPIED),
    "`length`": (_LONG,),
}  # what helps against them

log = logging.getLogger(__name__)


def generate(
    model: LanguageModel,
    count: int,
    prompt: str,
    config: SampleConfig,
    *,
    allow_copies: bool = False,
) -> Iterator[str]:
    """Yield `count` new lines without their line ends.

    A line begins after a line end of the training text, where that is available, and with the prompt. Empty lines,
    repeats and lines longer than `config.length` are dropped; blanks around a line make no difference.

    Args:
        model: a run's model.
        count: number of lines. If 2,000 tries in a row give no new line, fewer come, with a warning in the log.
        prompt: each line begins with it, or with its last line.
        config: settings for sampling, without `beam`, `stop`, `num` and `raw`.
        allow_copies: keep lines that are in the training text.

    Raises:
        UsageError: a setting that does not fit, or a model without line ends.
        RunError: the training text is not available, and copies are not allowed.
        RnntkError: there is no new line at all.
    """
    for name in ("beam", "stop", "num", "raw"):
        if getattr(config, name) != getattr(SampleConfig, name):
            raise UsageError(f"`{name}` does not work with `lines`. Leave it out.")
    if not model.line_end:
        raise UsageError(
            "`lines` needs a model that knows line ends. Leave it out, or train on several lines."
        )
    text = None
    try:
        text = splits.training_text(model.run)
    except RnntkError as error:
        if not allow_copies:
            raise RunError(
                f"Copies cannot be left out: {str(error).partition('. ')[0].rstrip('.')}. "
                "Keep them with `allow_copies`."
            ) from error
    source, seen = _Source(model, prompt, config, text), set[str]()
    dropped = Counter[str]()
    given = fruitless = 0
    candidates = itertools.chain.from_iterable(source.attempt(k, count) for k in itertools.count())
    while given < count and fruitless < _PATIENCE:
        found: dict[str, str] = {}
        wanted = min(count - given, _CHECKED)
        while len(found) < wanted and fruitless < _PATIENCE:
            fruitless += 1
            line = next(candidates)
            key = "" if line is None else source.key(line)
            if line is None or not key or key in seen or key in found:
                dropped[_LONG if line is None else _REPEATED if key else _EMPTY] += 1
            else:
                found[key] = line.rstrip()
        copies = source.copies(set(found), text) if text and not allow_copies else set()
        dropped[_COPIED] += len(copies)
        seen |= found.keys()
        fresh = [line for key, line in found.items() if key not in copies]
        yield from fresh
        if fresh:
            given, fruitless = given + len(fresh), 0
    if given < count:
        listed = ", ".join(f"{n:,} {kind}" for kind, n in dropped.most_common() if n)
        raised = [name for name, kinds in _RAISED.items() if any(map(dropped.get, kinds))]
        copied = ", or allow copies with `allow_copies`" if dropped[_COPIED] else ""
        message = (
            f"Only {given:,} of {count:,} lines: {_PATIENCE:,} tries in a row gave no new one ({listed}). "
            f"Raise {' or '.join(raised)}{copied}."
        )
        if not given:
            raise RnntkError(message)
        log.warning(f"Warning: {message}")


class _Source:
    """Candidate lines, and which of them are in a text."""

    def __init__(
        self, model: LanguageModel, prompt: str, config: SampleConfig, text: Prepared | None
    ) -> None:
        self._model, self._config, self._text = model, config, text
        self._seed = config.new_seed()
        self._prompt = model.prompt(prompt, config.on_unknown)
        self._start = self._prompt.text.rpartition("\n")[2]
        self._end = model.line_end[-1]

    def attempt(self, number: int, count: int) -> list[str | None]:
        """Some lines; None for one that is too long."""
        n = min(max(2 * count, _STREAMS[0]), _STREAMS[1])
        rng = np.random.default_rng((self._seed, number))
        states = self._states(n, rng)
        length = min(self._config.length, _LONGEST)
        config = dataclasses.replace(self._config, num=n, stop=self._end, length=length)
        texts, seed = [self._start] * n, int(rng.integers(2**32))
        for piece in self._model.pieces(self._prompt, config, seed, states=states):
            texts[piece.stream] += piece.text
        return [text.rstrip("\r\n") if text.endswith(self._end) else None for text in texts]

    def _states(self, n: int, rng: np.random.Generator) -> States:
        """`n` streams that have read training text up to a line end, or its first lines, and then the prompt."""
        decoder, vocabulary = self._model.decoder, self._model.vocabulary
        states, ends = decoder.initial_states(n), np.array([], np.intp)
        if self._text is not None:
            ids = self._text.ids
            at = int(rng.integers(max(1, len(ids) - _WINDOW)))
            end = vocabulary.encode(self._model.preprocessor.encode(self._end))[-1]
            ends = at + 1 + np.flatnonzero(ids[at : at + _WINDOW] == end)
            ends = ends[ends >= _BEFORE]
        if ends.size:
            places = rng.choice(ends, n)[:, None] + np.arange(-_BEFORE, 0)
            for symbols in ids[places].T:
                states.step(symbols)
        else:
            decoder.prime(self._model.prompt("").ids, states)
        if self._prompt.symbols:
            decoder.prime(self._prompt.ids, states)
        return states

    def key(self, line: str) -> str:
        """The text by which lines are compared: that of the line's symbols, without blanks around it."""
        preprocessor = self._model.preprocessor
        return preprocessor.decode(preprocessor.encode(line)).strip()

    def copies(self, keys: set[str], text: Prepared) -> set[str]:
        """Those of the keys that are lines of the text, which is read in pieces."""
        preprocessor = self._model.preprocessor
        end = preprocessor.encode(self._end)
        longest = max(map(len, keys), default=0)
        found, rest = set[str](), ""
        for start in range(0, len(text.ids), _AT_A_TIME):
            symbols = text.vocabulary.decode(text.ids[start : start + _AT_A_TIME])
            whole, _, rest = (rest + symbols).rpartition(end)
            lines = preprocessor.decode(whole).split(self._end)
            found.update(keys.intersection(map(str.strip, lines)))
            if len(rest) > _AT_A_TIME:  # too long to be a key
                rest = "x" * (longest + 1)
        return found | keys.intersection([preprocessor.decode(rest).strip()])
