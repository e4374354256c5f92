"""From a prime to text, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnntk.decoding.beam import beam_search
from rnntk.decoding.decoder import Decoder, States
from rnntk.decoding.strategies import Ban, Strategy
from rnntk.errors import RunError, UsageError
from rnntk.text.preprocessors import Plain, Preprocessor
from rnntk.text.vocabulary import Vocabulary


class Piece(NamedTuple):
    """A little more text.

    Attributes:
        text: whole characters, never to be taken back.
        symbols: what was drawn since the piece before and made this text certain (the last of them
            may belong to the next character: some ends are seen only from what follows).
        costs: nats of each of these symbols under the model's own softmax, whatever the strategy;
            empty unless asked for. `exp(-sum(costs))` is the probability of the piece.
        stream: which of the `num` texts it belongs to, from 0.
    """

    text: str
    symbols: str
    costs: tuple[float, ...]
    stream: int


class Prime(NamedTuple):
    """A prime made ready.

    Attributes:
        ids: what the model is fed before the first draw, `(T,)`, at least one symbol.
        text: what of the prime is in it: empty where the model starts from a symbol of its own.
        skipped: the characters that were left out, each once.
    """

    ids: NDArray[np.integer]
    text: str
    skipped: list[str]


def encode_prime(
    prime: str, vocabulary: Vocabulary, preprocessor: Preprocessor, *, on_unknown: str = "error"
) -> Prime:
    """Turns a prime into ids.

    An empty prime starts from a newline, since most texts can begin after one, or, where the
    vocabulary has none, from the commonest symbol; it is fed and not printed.

    Args:
        prime: text, not symbols.
        vocabulary: the model's.
        preprocessor: the model's.
        on_unknown: `error`, or `skip` to leave out characters that the model does not know.

    Raises:
        UsageError: the prime has characters outside the vocabulary (all are named).
    """
    if on_unknown not in ("error", "skip"):
        raise UsageError(f"--on-unknown is {on_unknown!r}; it can be error or skip.")
    skipped: list[str] = []
    if vocabulary.unknown_symbol is None and vocabulary.unknown(preprocessor.encode(prime)):
        # By characters, since a user knows these and not the symbols they become.
        skipped = [c for c in dict.fromkeys(prime) if vocabulary.unknown(preprocessor.encode(c))]
        if on_unknown == "error":
            shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in skipped[:20])
            more = f" and {len(skipped) - 20} more" if len(skipped) > 20 else ""
            raise UsageError(
                f"The prime has characters that the model has never seen: {shown}{more}. "
                "Choose others, or leave them out with --on-unknown skip."
            )
        left_out = set(skipped)
        prime = "".join(c for c in prime if c not in left_out)
    symbols = preprocessor.encode(prime)
    if symbols:
        return Prime(vocabulary.encode(symbols), prime, skipped)
    start = "\n" if "\n" in vocabulary else vocabulary.decode([0])
    return Prime(vocabulary.encode(start), "", skipped)


def generate(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    *,
    rng: np.random.Generator,
    prime: str | Prime = "",
    states: States | None = None,
    length: int = 1000,
    strategies: Sequence[Strategy] = (),
    num: int = 1,
    stop: str | None = None,
    raw: bool = False,
    echo: bool = False,
    costs: bool = False,
) -> Iterator[Piece]:
    """Draws text from a model.

    Args:
        decoder: the model.
        vocabulary: its symbols.
        preprocessor: what turned its text into symbols.
        rng: where every draw comes from.
        prime: what the text goes on from, fed in one pass; the first draw follows its last symbol.
        states: of `num` streams that have seen the prime already, which then is not fed.
        length: symbols to draw for each text (jamo count one by one).
        strategies: see `strategies.pipeline`; none is the model's own softmax.
        num: texts, drawn together. The first streams as it is drawn; the others follow, one after
            another.
        stop: a text ends when this has appeared in it, and ends with it.
        raw: give the symbols as they are, not recomposed.
        echo: give the prime first.
        costs: also say what each symbol cost.

    Returns:
        An iterator of pieces; those of one stream, joined, are `decode` of all that was drawn.

    Raises:
        UsageError: a value is out of range, or the prime has unknown characters.
        RunError: the vocabulary is not the model's.
    """
    if length < 0:
        raise UsageError(f"--length is {length}; it must be 0 or more.")
    if num < 1:
        raise UsageError(f"--num is {num}; it must be at least 1.")
    if stop == "":
        raise UsageError("--stop is empty; give the text to stop at, or leave the option out.")
    ready, states = _primed(decoder, vocabulary, preprocessor, prime, num, states)
    if vocabulary.unknown_symbol is not None:
        strategies = [Ban(vocabulary.encode(vocabulary.unknown_symbol).tolist()), *strategies]
    rows = _row_by_row(decoder.sample(states, strategies, rng, length, costs))
    codec: Preprocessor = Plain() if raw else preprocessor
    before = preprocessor.encode(ready.text) if echo else ""
    texts = [_Text(k, codec, before, stop) for k in range(num)]
    return _draw(rows, vocabulary, texts, length, costs, stop is not None)


def search(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    *,
    width: int,
    prime: str | Prime = "",
    length: int = 1000,
    alpha: float = 1.0,
    stop: str | None = None,
    raw: bool = False,
    echo: bool = False,
) -> list[Piece]:
    """The likeliest texts that a beam search finds, the best first, each as one piece.

    Args:
        decoder: the model.
        vocabulary: its symbols.
        preprocessor: what turned its text into symbols.
        width: of the beam.
        prime: what the text goes on from.
        length: symbols at most.
        alpha: length control, see `beam.beam_search`; it matters only with `stop`.
        stop: a text may end with this.
        raw: give the symbols as they are.
        echo: put the prime before each text.

    Raises:
        UsageError: a value is out of range, or the prime or `stop` has unknown characters.
        RunError: the vocabulary is not the model's.
    """
    ready, states = _primed(decoder, vocabulary, preprocessor, prime, 1)
    ending = preprocessor.encode(stop or "")
    if missing := vocabulary.unknown(ending):
        raise UsageError(f"--stop has characters that the model has never seen: {missing}.")
    unknown = vocabulary.unknown_symbol
    found = beam_search(
        decoder,
        states,
        length,
        width,
        alpha=alpha,
        stop=vocabulary.encode(ending).tolist(),
        banned=[] if unknown is None else vocabulary.encode(unknown).tolist(),
    )
    before = preprocessor.encode(ready.text) if echo else ""
    pieces = []
    for k, hypothesis in enumerate(found):
        symbols = vocabulary.decode(hypothesis.ids)
        text = before + symbols
        pieces.append(
            Piece(
                text if raw else preprocessor.decode(text),
                symbols,
                tuple(hypothesis.costs.tolist()),
                k,
            )
        )
    return pieces


def spread(
    piece: Piece,
    preprocessor: Preprocessor,
    *,
    before: str = "",
    raw: bool = False,
) -> Iterator[Piece]:
    """A whole text as the pieces it would have come in, had it been drawn.

    Args:
        piece: one that `search` gave.
        preprocessor: what turned its text into symbols.
        before: a text to come first.
        raw: give the symbols as they are.
    """
    codec: Preprocessor = Plain() if raw else preprocessor
    text = _Text(piece.stream, codec, preprocessor.encode(before), None)
    yield from text.begin()
    for symbol, cost in zip(piece.symbols, piece.costs, strict=True):
        if found := text.add(symbol, (cost,)):
            yield found
    yield from text.end()


def _primed(
    decoder: Decoder,
    vocabulary: Vocabulary,
    preprocessor: Preprocessor,
    prime: str | Prime,
    num: int,
    states: States | None = None,
) -> tuple[Prime, States]:
    """The prime made ready, and the states of `num` streams that have seen it."""
    if len(vocabulary) != decoder.vocabulary_size:
        raise RunError(
            f"The vocabulary has {len(vocabulary)} symbols and the model {decoder.vocabulary_size}: "
            "they belong to different runs."
        )
    if isinstance(prime, str):
        prime = encode_prime(prime, vocabulary, preprocessor)
    if states is not None:
        return prime, states
    one = decoder.initial_states(1)
    decoder.prime(prime.ids, one)
    if num == 1:
        return prime, one
    many = decoder.initial_states(num)
    many.assign(one)
    return prime, many


class _Text:
    """One stream's text: recomposes what was drawn and watches for the end."""

    def __init__(self, stream: int, codec: Preprocessor, echo: str, stop: str | None) -> None:
        self.ended = False
        self._stream = stream
        self._decoder = codec.decoder()
        self._echo = self._decoder.feed(echo)
        self._stop = stop
        self._tail = ""  # enough of the text to see a stop that begins in an earlier piece
        self._symbols = ""
        self._costs: list[float] = []

    def begin(self) -> Iterator[Piece]:
        """The prime, where it is wanted."""
        if self._echo:
            yield Piece(self._echo, "", (), self._stream)

    def add(self, symbols: str, costs: Sequence[float]) -> Piece | None:
        """The text that these symbols make certain, if any."""
        text = self._decoder.feed(symbols)
        self._symbols += symbols
        self._costs += costs
        return self._piece(text) if text else None

    def end(self) -> Iterator[Piece]:
        """What was held back."""
        text = "" if self.ended else self._decoder.flush()
        if text or self._symbols:
            yield self._piece(text)

    def _piece(self, text: str) -> Piece:
        if self._stop:
            text = self._until_stop(text, self._stop)
        piece = Piece(text, self._symbols, tuple(self._costs), self._stream)
        self._symbols = ""
        self._costs.clear()
        return piece

    def _until_stop(self, text: str, stop: str) -> str:
        seen = self._tail + text
        place = seen.find(stop)
        if place >= 0:
            self.ended = True
            return text[: place + len(stop) - len(self._tail)]
        self._tail = seen[max(0, len(seen) - len(stop) + 1) :]
        return text


Row = tuple[NDArray[np.intp], NDArray[np.float64]]
"""What all streams drew at one step, and what it cost: `(n,)` each, or no costs."""


def _row_by_row(blocks: Iterator[Row]) -> Iterator[Row]:
    for ids, nats in blocks:
        yield from zip(ids, nats, strict=True)


def _draw(
    rows: Iterator[Row],
    vocabulary: Vocabulary,
    texts: list[_Text],
    length: int,
    costs: bool,
    stopping: bool,
) -> Iterator[Piece]:
    """The pieces of the first text as they come, then the others'."""
    symbols = vocabulary.symbols
    first, *others = texts
    drawn = np.zeros((len(others), length), np.intp)
    nats = np.zeros((len(others), length if costs else 0))
    later: list[list[Piece]] = [[] for _ in texts]
    yield from first.begin()
    done = 0
    for ids, cost_row in rows:
        if not first.ended:
            piece = first.add(symbols[ids.item(0)], (cost_row.item(0),) if costs else ())
            if piece:
                yield piece
        if others:
            drawn[:, done] = ids[1:]
            if costs:
                nats[:, done] = cost_row[1:]
        done += 1
        if stopping:
            # Only for this are the others looked at now: recomposing many streams symbol by symbol
            # would cost more than drawing them.
            for k, text in enumerate(others, 1):
                if not text.ended:
                    cost = (cost_row.item(k),) if costs else ()
                    piece = text.add(symbols[ids.item(k)], cost)
                    later[k] += [piece] if piece else []
            if all(text.ended for text in texts):
                break
    yield from first.end()
    for k, text in enumerate(others, 1):
        yield from text.begin()
        yield from later[k]
        if done and not stopping:
            whole = vocabulary.decode(drawn[k - 1, :done])
            parts = (
                zip(whole, nats[k - 1, :done, None].tolist(), strict=True)
                if costs
                else [(whole, ())]
            )
            for part, cost in parts:
                if piece := text.add(part, cost):
                    yield piece
        yield from text.end()
