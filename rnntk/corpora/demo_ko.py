"""Generate Korean text (tales, chats, diary pages, letters) from a grammar and a seed, to try Hangul offline.

Lines end in CRLF, and some have lone jamo and symbols, like real texts.
"""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rnntk.config import read_toml
from rnntk.corpora.korean import Noun, Predicate
from rnntk.corpora.system import Built

SEED = 0
BYTES = 200_000
VERSION = 1  # raised when the grammar or the words change

T = TypeVar("T")


class Words:
    """The content of `demo_ko_words.toml`."""

    def __init__(self) -> None:
        data = read_toml(Path(__file__).with_name("demo_ko_words.toml"))
        self.names = _nouns(data.pop("names"))
        self.nouns = {kind: _nouns(text) for kind, text in data.pop("nouns").items()}
        self.traits = {kind: _predicates(forms) for kind, forms in data.pop("traits").items()}
        self.skies = [(what, Predicate.parse(forms)) for what, forms in data.pop("skies").items()]
        self.actions: list[tuple[Predicate, list[Noun]]] = []
        for forms, text in data.pop("actions").items():
            objects = [noun for word in _nouns(text) for noun in self.nouns.get(word, [word])]
            self.actions.append((Predicate.parse(forms), objects))
        self.patterns: dict[str, Any] = data.pop("patterns")
        self.lists: dict[str, list[Any]] = {
            "names": self.names,
            "skies": self.skies,
            **{name: _predicates(data.pop(name)) for name in ("motions", "doings")},
            **{n: text.split() if isinstance(text, str) else text for n, text in data.items()},
        }


def _predicates(forms: list[str]) -> list[Predicate]:
    return list(map(Predicate.parse, forms))


def _nouns(text: str) -> list[Noun]:
    return list(map(Noun, text.split()))


words = functools.cache(Words)  # read once


def make(seed: int = SEED, size: int = BYTES) -> str:
    """A text of at least `size` bytes of UTF-8, made of whole pieces."""
    writer = _Writer(random.Random(seed))
    pieces: list[str] = []
    done = 0
    while done < size:
        piece = writer.piece(len(pieces)).replace("\n", "\r\n")
        pieces.append(piece)
        done += len(piece.encode())
    return "".join(pieces)


def build() -> Built:
    """The text in UTF-8."""
    detail = f"Korean text made by rnntk from a grammar (version {VERSION}, seed {SEED})"
    return Built(make().encode(), detail)


class _Action(NamedTuple):
    """A verb and its object with a particle: (읽다, "책을")."""

    verb: Predicate
    what: str


class _Writer:
    """Samples text. Uses only `Random.random`, which gives the same numbers in every version of Python."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.words = words()
        self.nouns = self.words.nouns
        self.chapter = 0
        self.day = datetime.date(2026, 3, 1)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.random() * len(choices))]

    def word(self, name: str) -> str:
        return self.pick(self.words.lists[name])

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # Words

    def bare(self, kind: str) -> Noun:
        return self.pick(self.nouns[kind])

    def noun(self, kind: str, describe: float = 0.35) -> Noun:
        noun = self.bare(kind)
        return Noun(f"{self.trait(kind):은} {noun}") if self.chance(describe) else noun

    def trait(self, kind: str) -> Predicate:
        return self.pick(self.words.traits[kind])

    def person(self) -> Noun:
        return self.pick(self.words.names) if self.chance(0.4) else self.noun("PEOPLE")

    def action(self) -> _Action:
        verb, objects = self.pick(self.words.actions)
        return _Action(verb, f"{self.pick(objects):을/를}")

    def time(self) -> str:
        count = self.word("sino_numbers")
        text = self.word("times")
        return text.replace("#", str(2 + int(self.rng.random() * 10))).replace("@", count)

    def counted(self) -> Noun:
        """A noun with a number and a counter: 토끼 세 마리."""
        kind, counter = self.pick([("ANIMALS", "마리"), ("PEOPLE", "명"), ("THINGS", "개")])
        noun = self.noun(kind, 0.2)
        if noun.endswith("책"):
            counter = "권"
        return Noun(f"{noun} {self.word('native_numbers')} {counter}")

    def how(self) -> str:
        return f"{self.word('adverbs')} " if self.chance(0.4) else ""

    def hour(self) -> int:
        return 1 + int(self.rng.random() * 12)

    # Sentences

    def fill(self, names: str, /, *texts: Any, **known: Any) -> str:
        """One of the texts, with words sampled for the names filled in."""
        for name in names.split():
            key, _, source = name.partition("=")
            known[key] = self.sample(source or key, known)
        text = self.pick(texts) if len(texts) > 1 else texts[0]
        return text.format_map(known) if isinstance(text, str) else self.fill(*text, **known)

    def sample(self, source: str, known: dict[str, Any]) -> Any:
        """A word from a source of the patterns, or the two parts of a text with a bar."""
        kind, _, describe = source.partition(":")
        listed, _, other = source.partition("!")
        if "," in source:
            return self.pick(source.split(","))
        if describe:
            return self.noun(kind, float(describe))
        if source in ("thing", "trait"):
            return (self.bare if source == "thing" else self.trait)(known["kind"])
        choices = self.words.lists.get(listed) or self.nouns.get(listed)
        if choices:
            word = self.pick([one for one in choices if one != known[other]] if other else choices)
            return word.format_map(known) if type(word) is str else word
        if source in self.words.patterns:
            parts = self.fill(*self.words.patterns[source]).split("|")
            return parts if len(parts) > 1 else parts[0]
        return getattr(self, source)()

    def sentence(self, who: Noun) -> str:
        """A sentence of a tale about `who`."""
        text = self.fill("", *self.words.patterns["sentences"], who=who)
        if self.chance(0.2) and not text.startswith("그러나"):
            return f"{self.time()} {text}"
        return text

    def was_like(self) -> str:
        kind = self.pick(list(self.nouns))
        first, second = self.trait(kind), self.trait(kind)
        what = self.bare(kind)
        if first == second:
            return f"{what:은/는} 아주 {first:었다}."
        return f"{what:은/는} {first:고} {second:었다}."

    # Pieces

    def piece(self, number: int) -> str:
        """Two tales, then a chat, a diary page or a letter."""
        short = number % 3 == 2
        kind = self.pick([self.chat, self.diary, self.letter]) if short else self.tale
        return kind() + "\n\n"

    def tale(self) -> str:
        self.chapter += 1
        heroes = self.nouns["PEOPLE"] + self.words.names
        hero, other = self.pick(heroes), self.pick(heroes)
        title = f"● 제{self.chapter}장. {hero:과/와} {self.noun('THINGS', 0.6)}"
        paragraphs = [title, ""]
        for _ in range(3 + int(self.rng.random() * 3)):
            who = [hero]
            for _ in range(2 + int(self.rng.random() * 4)):
                who.append(self.pick([hero, Noun("그"), other]))
            paragraphs.append(" ".join(self.sentence(name) for name in who))
            if self.chance(0.6):
                exchange = self.words.patterns["exchange"]
                paragraphs.append(self.fill(*exchange, who=hero, other=other))
        if self.chance(0.3):
            paragraphs.append(f"‘{self.sentence(Noun('나')).removesuffix('.')}…’")
        return "\n".join(paragraphs)

    def chat(self) -> str:
        first, second = self.pick(self.words.names), self.pick(self.words.names)
        turns = range(4 + int(self.rng.random() * 5))
        lines = (f"{(first, second)[turn % 2]}: {self.message()}" for turn in turns)
        return "\n".join(["★ 대화방 ★", *lines])

    def message(self) -> str:
        text = self.fill(*self.words.patterns["message"])
        mark = self.word("chat_words")
        shape = self.rng.random()
        return mark if shape < 0.12 else f"{mark} {text}" if shape < 0.35 else f"{text} {mark}"

    def diary(self) -> str:
        self.day += datetime.timedelta(days=1 + int(self.rng.random() * 5))
        day = self.day
        weekday = "월화수목금토일"[day.weekday()]
        title = f"{day.year}년 {day.month}월 {day.day}일 {weekday}요일, {self.word('weather')}"
        body = " ".join(self.sentence(Noun("나")) for _ in range(4 + int(self.rng.random() * 4)))
        return f"{title}\n{body}"

    def letter(self) -> str:
        to, sender = self.bare("PEOPLE"), self.pick(self.words.names)
        count = 3 + int(self.rng.random() * 3)
        body = " ".join(self.fill(*self.words.patterns["letter"]) for _ in range(count))
        return f"{to}께\n\n{body}\n\n{sender} 드림"
