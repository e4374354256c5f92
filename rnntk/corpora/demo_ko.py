"""Korean text from a grammar and a seed, to try the whole Hangul path without a download.

Short tales with dialogue, chats, diary pages and letters, in CRLF lines. The words of a sentence agree in sound
(particles and endings, see `korean`) and in kind (people read books, clouds hang over the sea). Some lines hold lone
jamo and symbols, as real ones do.
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
VERSION = 1  # raised when the grammar or the words change, so that results name their data

T = TypeVar("T")


class Words:
    """The words of `demo_ko_words.toml`: lists by name, people, and words with those that suit them."""

    def __init__(self) -> None:
        data = read_toml(Path(__file__).with_name("demo_ko_words.toml"))
        self.names = _nouns(data.pop("names"))
        self.nouns = {kind: _nouns(text) for kind, text in data.pop("nouns").items()}
        self.traits = {kind: _predicates(forms) for kind, forms in data.pop("traits").items()}
        self.skies = [(what, Predicate.parse(forms)) for what, forms in data.pop("skies").items()]
        self.actions = [
            (
                Predicate.parse(forms),
                [noun for word in _nouns(text) for noun in self.nouns.get(word, [word])],
            )
            for forms, text in data.pop("actions").items()
        ]
        self.patterns: dict[str, Any] = data.pop("patterns")
        self.lists: dict[str, list[Any]] = {
            "skies": self.skies,
            **{name: _predicates(data.pop(name)) for name in ("motions", "doings")},
            **{n: text.split() if isinstance(text, str) else text for n, text in data.items()},
        }


def _predicates(forms: list[str]) -> list[Predicate]:
    return list(map(Predicate.parse, forms))


def _nouns(text: str) -> list[Noun]:
    return [Noun(word) for word in text.split()]


@functools.cache
def words() -> Words:
    """The words, read once."""
    return Words()


def make(seed: int = SEED, size: int = BYTES) -> str:
    """The text: whole pieces up to at least `size` bytes of UTF-8, with CRLF line ends."""
    writer = _Writer(random.Random(seed))
    pieces: list[str] = []
    done = 0
    while done < size:
        piece = writer.piece(len(pieces)).replace("\n", "\r\n")
        pieces.append(piece)
        done += len(piece.encode())
    return "".join(pieces)


def build() -> Built:
    """The text as bytes of UTF-8."""
    detail = f"Korean text made by rnntk from a grammar (version {VERSION}, seed {SEED})"
    return Built(make().encode(), detail)


class _Action(NamedTuple):
    """A verb and its object, marked as one: (읽다, "책을")."""

    verb: Predicate
    what: str


class _Writer:
    """Samples sentences with `Random.random` alone, whose numbers are the same in every Python."""

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

    def place(self) -> Noun:
        return self.noun("PLACES")

    def object(self) -> Noun:
        return self.noun("THINGS")

    def to_place(self) -> str:
        return f"{self.noun('PLACES', 0.25):으로/로}"

    def time(self) -> str:
        count = self.word("sino_numbers")
        text = self.word("times")
        return text.replace("#", str(2 + int(self.rng.random() * 10))).replace("@", count)

    def counted(self) -> Noun:
        """Some of them: 토끼 세 마리."""
        kind, counter = self.pick([("ANIMALS", "마리"), ("PEOPLE", "명"), ("THINGS", "개")])
        noun = self.noun(kind, 0.2)
        if noun.endswith("책"):
            counter = "권"
        return Noun(f"{noun} {self.word('native_numbers')} {counter}")

    # Sentences of a tale about `who`

    def sentence(self, who: Noun) -> str:
        names, *texts = self.pick(self.words.patterns["sentences"])
        text = self.fill(names, *texts, who=who) if texts else getattr(self, names)(who)
        if self.chance(0.2) and not text.startswith("그러나"):
            return f"{self.time()} {text}"
        return str(text)

    def fill(self, names: str, *texts: str, **known: Any) -> str:
        """One of the texts, with words for the names, which are sampled first, in their order."""
        for name in names.split():
            key, _, source = name.partition("=")
            source = source or key
            if "," in source:
                known[key] = self.pick(source.split(","))
            elif source in self.words.lists:
                known[key] = self.word(source)
            elif source in self.nouns:
                known[key] = self.bare(source)
            elif source in ("thing", "trait"):
                known[key] = (self.bare if source == "thing" else self.trait)(known["kind"])
            else:
                known[key] = getattr(self, source)()
        return (self.pick(texts) if len(texts) > 1 else texts[0]).format_map(known)

    def how(self) -> str:
        return f"{self.word('adverbs')} " if self.chance(0.4) else ""

    def hour(self) -> int:
        return 1 + int(self.rng.random() * 12)

    def was_like(self, _who: Noun) -> str:
        kind = self.pick(list(self.nouns))
        first, second = self.trait(kind), self.trait(kind)
        what = self.bare(kind)
        if first == second:
            return f"{what:은/는} 아주 {first:었다}."
        return f"{what:은/는} {first:고} {second:었다}."

    def together(self, who: Noun) -> str:
        other = self.pick([name for name in self.words.names if name != who])
        verb, what = self.action()
        return f"{who:과/와} {other:은/는} 함께 {what} {verb:었다}."

    def was_someone(self, who: Noun) -> str:
        if self.chance(0.5):
            return f"{who:이/가} 찾은 것은 {self.noun('THINGS', 0.8):이었다/였다}."
        return f"{who:은/는} 사실 {self.noun('PEOPLE', 0.7):이었다/였다}."

    def saw_weather(self, _who: Noun) -> str:
        subject, verb = self.pick(self.words.skies)
        first = self.bare("PLACES")
        second = self.pick([place for place in self.nouns["PLACES"] if place != first])
        return f"{first:과/와} {second} 위로 {subject} {verb:었다}."

    # Talk

    def exchange(self, who: Noun, other: Noun) -> str:
        """A question and its answer, one line each."""
        names, *texts = self.pick(self.words.patterns["questions"])
        both = self.fill(names, *texts) if texts else getattr(self, names)()
        question, answer = both.split("|")
        asked, told = self.word("asked"), self.word("told")
        if self.chance(0.5):
            asker, teller, between = f"{who:이/가}", f"{other:은/는}", "\n"
        else:
            asker, teller, between = f"하고 {who:이/가}", f"{other:이/가}", " "
        return f"“{question}”{between}{asker} {asked}.\n“{answer}”{between}{teller} {told}."

    def asked_who(self) -> str:
        verb, what = self.action()
        questions = ["거기 누구 없어요?", f"누구 {what} {verb:은} 사람 있어요?", "누구 찾아요?"]
        question = self.pick(questions)
        return f"{question}|{self.person():이/가} {self.noun('PLACES', 0.2)}에 있어요."

    def proposed(self) -> str:
        verb, what = self.action()
        name = self.pick(self.words.names)
        if self.chance(0.5):
            return f"{name:아/야}, {what} {verb:을까요}?|좋아요! {what} {verb:고} 싶어요."
        return f"{name:아/야}, {self.noun('PLACES')}에 가서 {what} {verb:자}.|{self.refusal()}"

    def refusal(self) -> str:
        kind = self.pick(["PLACES", "FOODS", "THINGS"])
        why = f"{self.bare(kind):이/가} 너무 {self.trait(kind):어서} 싫어요."
        return self.pick(["아니요. ", "글쎄요, ", ""]) + why

    # Pieces

    def piece(self, number: int) -> str:
        """A tale most of the time, now and then a chat, a page of a diary or a letter."""
        if number % 3 == 2:
            return self.pick([self.chat, self.diary, self.letter])() + "\n\n"
        return self.tale() + "\n\n"

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
                paragraphs.append(self.exchange(hero, other))
        if self.chance(0.3):
            paragraphs.append(f"‘{self.sentence(Noun('나')).removesuffix('.')}…’")
        return "\n".join(paragraphs)

    def chat(self) -> str:
        """Messages between two friends, with the lone jamo people type."""
        first, second = self.pick(self.words.names), self.pick(self.words.names)
        lines = ["★ 대화방 ★"]
        for turn in range(4 + int(self.rng.random() * 5)):
            lines.append(f"{(first, second)[turn % 2]}: {self.message()}")
        return "\n".join(lines)

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
