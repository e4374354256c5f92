"""The words of `demo_ko`, each with what it goes with.

A verb or an adjective is written as `Predicate.parse` reads it: stem, infinitive and, where it is
irregular, the base before 으.
"""

from __future__ import annotations

from rnntk.corpora.korean import Adjective, Verb


def _words(text: str) -> list[str]:
    return text.split()


NAMES = _words("민수 지영 철수 영희 수진 준호 서연 동현 은별 하준 지우 태민")
PEOPLE = _words(
    "소년 소녀 할머니 할아버지 어머니 아버지 선생님 학생 나그네 어부 농부 임금님 공주 도둑 마법사"
    " 의사 화가 시인 상인 장군 아이 목수 사냥꾼 스님 뱃사공 동생 이웃"
)
ANIMALS = _words(
    "고양이 강아지 호랑이 토끼 곰 여우 늑대 용 참새 까마귀 거북 말 닭 나비 사슴 두꺼비 잉어 부엉이"
)
PLACES = _words(
    "산 바다 숲 마을 학교 시장 집 강가 궁궐 동굴 들판 도서관 다리 섬 우물"
    " 골목 부엌 방 언덕 항구 절 서울 연못"
)
FOODS = _words("밥 국수 떡 사과 배 감 빵 김치 만두 수박 포도 고구마 생선 죽 미역국 달걀 참외")
DRINKS = _words("물 차 우유 커피 식혜 수정과")
THINGS = _words(
    "책 편지 칼 거울 지도 등불 모자 우산 열쇠 그림 상자 구슬 피리 반지"
    " 가방 연필 돌 시계 바구니 신발 부채"
)

NATIVE_NUMBERS = _words("한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 열두 스무")
SINO_NUMBERS = _words("이 삼 사 오 육 칠 팔 구 십")
ADVERBS = _words(
    "조용히 천천히 갑자기 다시 혼자 몰래 급히 열심히 가만히 마침내 또 겨우 기꺼이 자꾸"
)
WEATHER = _words("맑음 흐림 비 눈 바람 안개")

TIMES = [
    *("어느 날", "아침에", "저녁 무렵", "밤이 되자", "이튿날", "잠시 뒤", "그해 겨울", "봄이 오자"),
    *(
        "새벽에",
        "해 질 무렵",
        "며칠 뒤",
        "그때",
        "#년 뒤",
        "@ 년 뒤",
        "오후 #시에",
        "#월의 어느 밤",
    ),
]
"""When; # is a number in digits, @ one in words."""

CHAT_WORDS = _words(
    "ㅋㅋ ㅋㅋㅋ ㅋㅋㅋㅋㅋ ㅎㅎ ㅎㅎㅎ ㅠㅠ ㅠㅠㅠ ㅜㅜ ㅇㅇ"
    " ㄴㄴ ㄱㄱ ㅊㅋㅊㅋ ㄷㄷ ㅇㅋ ㅡㅡ ^^ … !! ? ~~ ♪"
)

ACTIONS = [
    (Verb.parse(forms), objects)
    for forms, objects in (
        ("먹 먹어", FOODS),
        ("마시 마셔", DRINKS),
        ("읽 읽어", _words("책 편지 시 신문 소설 일기 지도")),
        ("쓰 써", _words("편지 시 일기 소설 이름 글")),
        ("듣 들어 들으", _words("노래 음악 소문 이야기 빗소리 종소리")),
        ("부르 불러", _words("노래 이름")),
        ("열 열어", _words("문 창문 상자 가방 서랍")),
        ("닫 닫아", _words("문 창문 상자 서랍")),
        ("찾 찾아", THINGS),
        ("잃어버리 잃어버려", THINGS),
        ("줍 주워 주우", _words("돌 열쇠 반지 구슬 우산 밤 조개")),
        ("사 사", [*THINGS, *FOODS]),
        ("팔 팔아", [*FOODS, "책", "그림", "모자", "신발"]),
        ("만들 만들어", _words("등불 상자 피리 만두 떡 바구니 연 인형")),
        ("그리 그려", _words("그림 꽃 산 바다 얼굴 별")),
        ("심 심어", _words("나무 꽃 고구마 감나무")),
        ("바라보 바라봐", _words("하늘 달 별 구름 바다 산 불빛")),
        ("기다리 기다려", [*PEOPLE, "봄", "소식", "답장"]),
        ("만나 만나", PEOPLE),
        ("돕 도와 도우", PEOPLE),
        ("쫓 쫓아", ANIMALS),
        ("키우 키워", _words("고양이 강아지 토끼 말 닭 거북 꽃")),
        ("씻 씻어", _words("손 얼굴 그릇 사과 발")),
        ("짓 지어 지으", _words("집 밥 시 이름 옷")),
        ("끓이 끓여", _words("죽 차 국수 미역국 물")),
        ("굽 구워 구우", _words("빵 떡 생선 고구마")),
        ("건너 건너", _words("강 다리 바다 들판 개울")),
        ("숨기 숨겨", THINGS),
        ("배우 배워", _words("글 노래 그림 춤 바둑")),
        ("묻 묻어", _words("상자 구슬 씨앗 반지")),
        ("믿 믿어", _words("소문 이야기 친구 꿈")),
        ("꾸 꿔", _words("꿈")),
    )
]
"""Verbs with the objects they are done to."""

MOTIONS = [
    Verb.parse(forms)
    for forms in (
        *("가 가", "오 와", "돌아가 돌아가", "달려가 달려가", "걸어가 걸어가", "뛰어가 뛰어가"),
        *("떠나 떠나", "돌아오 돌아와", "들어가 들어가", "향하 향해"),
    )
]
DOINGS = [
    Verb.parse(forms)
    for forms in (
        *("웃 웃어", "울 울어", "달리 달려", "쉬 쉬어", "노래하 노래해", "춤추 춤춰", "놀 놀아"),
        *("걷 걸어 걸으", "생각하 생각해", "기도하 기도해", "하품하 하품해", "머무르 머물러"),
    )
]
SKIES = [
    (subject, Verb.parse(forms))
    for subject, forms in (
        *(("비가", "내리 내려"), ("눈이", "내리 내려"), ("바람이", "불 불어"), ("해가", "뜨 떠")),
        *(("달이", "뜨 떠"), ("별이", "빛나 빛나"), ("안개가", "끼 끼어"), ("구름이", "흐르 흘러")),
        *(("무지개가", "나타나 나타나"), ("종소리가", "들리 들려"), ("새들이", "날아가 날아가")),
    )
]
"""What comes over a place, with its verb."""

_TRAITS = {
    "PEOPLE": (
        *("착하 착해", "젊 젊어", "용감하 용감해", "외롭 외로워 외로우", "슬프 슬퍼", "기쁘 기뻐"),
        *("바쁘 바빠", "지혜롭 지혜로워 지혜로우", "가난하 가난해", "게으르 게을러"),
    ),
    "ANIMALS": (
        *("작 작아", "하얗 하얘 하야", "빠르 빨라", "까맣 까매 까마", "귀엽 귀여워 귀여우"),
        *("사납 사나워 사나우", "영리하 영리해", "느리 느려"),
    ),
    "PLACES": (
        *("멀 멀어", "조용하 조용해", "아름답 아름다워 아름다우", "어둡 어두워 어두우", "넓 넓어"),
        *("낯설 낯설어", "춥 추워 추우", "따뜻하 따뜻해"),
    ),
    "FOODS": (
        *(
            "뜨겁 뜨거워 뜨거우",
            "달 달아",
            "차갑 차가워 차가우",
            "비싸 비싸",
            "싱싱하 싱싱해",
            "크 커",
        ),
    ),
    "THINGS": (
        *("낡 낡아", "무겁 무거워 무거우", "빨갛 빨개 빨가", "길 길어", "크 커", "예쁘 예뻐"),
        *("가볍 가벼워 가벼우", "이상하 이상해", "작 작아", "노랗 노래 노라", "얇 얇아"),
    ),
}
TRAITS = {kind: [Adjective.parse(forms) for forms in traits] for kind, traits in _TRAITS.items()}
"""Adjectives by the kind of noun that they suit."""
