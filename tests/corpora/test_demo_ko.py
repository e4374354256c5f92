from __future__ import annotations

import doctest
import hashlib
import re

import pytest

from rnntk.corpora import demo_ko, korean, system
from rnntk.corpora.korean import Noun, Predicate, final_of

TEXT = demo_ko.make()
WORDS = demo_ko.words()
NOUNS = {
    *(noun for nouns in (*WORDS.nouns.values(), WORDS.names) for noun in nouns),
    *("그", "마리", "명", "개"),
    *(noun for _, objects in WORDS.actions for noun in objects),
}


def test_the_text_is_the_published_one():
    """Docs and cards state its facts: raise `demo_ko.VERSION` when changing it."""
    assert hashlib.sha256(TEXT.encode()).hexdigest() == (
        "19c78aafa24d09d1ab52bce9fb11f469f5463a87249e168411410bb93235977c"
    )


def test_the_text_is_about_200_kb_of_utf8_in_crlf_lines():
    size = len(TEXT.encode())
    assert demo_ko.BYTES <= size < demo_ko.BYTES + 5000
    assert TEXT.count("\n") == TEXT.count("\r\n") == TEXT.count("\r") > 1000


def test_a_seed_determines_the_text():
    assert demo_ko.make(5, 3000) == demo_ko.make(5, 3000)
    assert demo_ko.make(5, 3000) != demo_ko.make(6, 3000)
    assert demo_ko.build().data == TEXT.encode()


def test_the_text_is_varied():
    lines = [line for line in TEXT.split("\r\n") if len(line) > 12]
    assert len(set(lines)) > 0.95 * len(lines)
    assert len(set(TEXT)) > 400


def test_the_text_has_the_signs_of_real_korean():
    for mark in ("“", "”", "…", "●", "ㅋㅋㅋ", "ㅠㅠ", "누구 "):
        assert mark in TEXT, mark
    assert re.search(r"\d+년 \d+월 \d+일", TEXT)
    assert TEXT.count("“") == TEXT.count("”")
    # It can be encoded in cp949 too, to try detection on it.
    assert TEXT.encode("cp949").decode("cp949") == TEXT


@pytest.mark.parametrize("pair", ["은/는", "이/가", "을/를", "과/와", "으로/로"])
def test_particles_agree_with_their_nouns(pair):
    after_consonant, after_vowel = pair.split("/")
    nouns = "|".join(sorted(NOUNS, key=len, reverse=True))
    found = re.findall(rf"(?<![가-힣])({nouns})({after_consonant}|{after_vowel})(?![가-힣])", TEXT)
    checked = 0
    for noun, particle in found:
        if noun + particle in NOUNS:  # 강가, 마을
            continue
        closed = final_of(noun) != 0
        if pair == "으로/로" and (ord(noun[-1]) - 0xAC00) % 28 == 8:
            closed = False
        assert particle == (after_consonant if closed else after_vowel), noun + particle
        checked += 1
    assert checked > 200


def test_the_object_particle_eul_follows_closed_syllables_only():
    # 지을, 들을, 주울: forms of verbs that end like the particle.
    forms = {f"{verb:을}" for verb, _ in WORDS.actions}
    wrong = [
        word
        for word in re.findall(r"[가-힣]+(?:을|를)(?![가-힣])", TEXT)
        if (final_of(word[:-1]) != 0) != (word[-1] == "을") and word not in NOUNS | forms
    ]
    assert wrong == []


def test_the_copula_agrees_with_its_noun():
    nouns = "|".join(sorted(NOUNS, key=len, reverse=True))
    found = re.findall(rf"(?<![가-힣])({nouns})(이었다|였다|이에요|예요|이야|야)(?![가-힣])", TEXT)
    assert {ending for _, ending in found} == {"이었다", "였다", "이에요", "예요", "이야", "야"}
    for noun, ending in found:
        assert (final_of(noun) != 0) == ending.startswith("이"), noun + ending


@pytest.mark.parametrize(
    ("word", "pair", "whole"),
    [
        *(("책", "은/는", "책은"), ("차", "은/는", "차는"), ("물", "으로/로", "물로")),
        *(("집", "으로/로", "집으로"), ("바다", "으로/로", "바다로"), ("물", "을/를", "물을")),
        *(("책", "이다/다", "책이다"), ("차", "이다/다", "차다"), ("나", "이/가", "내가")),
        *(("민수", "아/야", "민수야"), ("지영", "아/야", "지영아"), ("칼", "과/와", "칼과")),
    ],
)
def test_particles_of_a_noun(word, pair, whole):
    assert format(Noun(word), pair) == whole


def test_a_particle_needs_hangul():
    with pytest.raises(ValueError, match="does not end in a Hangul syllable"):
        format(Noun("Linux"), "은/는")


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("가 가", "갔다 가는 간 갈 갑니다 가면서"),
        ("먹 먹어", "먹었다 먹는 먹은 먹을 먹습니다 먹으면서"),
        ("만들 만들어", "만들었다 만드는 만든 만들 만듭니다 만들면서"),
        ("듣 들어 들으", "들었다 듣는 들은 들을 듣습니다 들으면서"),
        ("돕 도와 도우", "도왔다 돕는 도운 도울 돕습니다 도우면서"),
        ("짓 지어 지으", "지었다 짓는 지은 지을 짓습니다 지으면서"),
        ("부르 불러", "불렀다 부르는 부른 부를 부릅니다 부르면서"),
        ("하 해", "했다 하는 한 할 합니다 하면서"),
    ],
)
def test_verb_forms(verb, forms):
    endings = ("었다", "는", "은", "을", "습니다", "으면서")
    assert [format(Predicate.parse(verb), ending) for ending in endings] == forms.split()


@pytest.mark.parametrize(
    ("adjective", "forms"),
    [
        ("작 작아", "작았다 작은 작네요 작아서"),
        ("춥 추워 추우", "추웠다 추운 춥네요 추워서"),
        ("길 길어", "길었다 긴 기네요 길어서"),
        ("빨갛 빨개 빨가", "빨갰다 빨간 빨갛네요 빨개서"),
        ("크 커", "컸다 큰 크네요 커서"),
    ],
)
def test_adjective_forms(adjective, forms):
    endings = ("었다", "은", "네요", "어서")
    assert [format(Predicate.parse(adjective), ending) for ending in endings] == forms.split()


@pytest.mark.parametrize("module", [korean, system], ids=lambda module: module.__name__)
def test_the_docstring_examples_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
