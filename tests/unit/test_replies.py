"""Replies in words as typed values: what cannot be read is None."""

import pytest

from enrich.replies import choices_of, read_reply, same_words
from enrich.replies.numbers import read_number
from enrich.types import AnswerType, Question


def value(reply: str, kind: AnswerType, *choices: str, language: str | None = None) -> object:
    return read_reply(reply, Question("q", "?", kind, choices, language))


def test_a_string_is_the_reply_itself() -> None:
    assert value(" A dog. ", "string") == "A dog."
    assert value(" ", "string") is None


@pytest.mark.parametrize(
    "reply", ["Yes", "yes, there is.", "YES!", "true", "是的", "有。", "Oui.", "Ja", "Sí", "si"]
)
@pytest.mark.parametrize("more", ["", " "])
def test_yes(reply: str, more: str) -> None:
    assert value(reply + more, "boolean") is True


def test_yes_and_no_of_japanese_and_korean() -> None:
    assert [
        value(reply, "boolean") for reply in ("はい。", "はい、います", "あり", "네", "예, 있습니다", "있음")
    ] == [True] * 6
    assert [
        value(reply, "boolean") for reply in ("いいえ", "ありません", "なし。", "아니요", "없습니다.", "없음")
    ] == [False] * 6


@pytest.mark.parametrize(
    "reply", ["No", "no.", "No, there is not", "false", "不是", "没有", "Non", "Nein!", "falso"]
)
def test_no(reply: str) -> None:
    assert value(reply, "boolean") is False


@pytest.mark.parametrize(
    ("reply", "is_so"),
    [
        ("**Yes**", True),
        ('"Yes"', True),
        ("<yes>", True),
        ("- Yes", True),
        ("Yes - there is", True),
        ("Yes — a dog", True),
        ("Yes (a dog)", True),
        ("Yes\nThere is a dog.", True),
        ("Answer: Yes", True),
        ("The answer is yes.", True),
        ("Antwort: ja", True),
        ("Yes it is", True),
        ("Oui il y en a", True),
        ("Ja da ist einer", True),
        ("Yup", True),
        ("Y", True),
        ("'no'", False),
        ("the answer is no", False),
        ("no, there isn't", False),
        ("No there is not", False),
        ("Nein da ist keiner", False),
        ("Nah", False),
        ("1. No.", False),
    ],
)
def test_yes_and_no_in_what_models_put_around_them(reply: str, is_so: bool) -> None:
    assert value(reply, "boolean") is is_so


@pytest.mark.parametrize("reply", ["Yes or no", "Yes/No", "Yes but no", "No dog", "No doubt", "Answer:"])
def test_a_beginning_alone_is_no_answer(reply: str) -> None:
    assert value(reply, "boolean") is None


@pytest.mark.parametrize(
    "reply", ["No idea", "no one", "maybe", "Yesterday", "not sure", "yes and no", "", "?", "是不是"]
)
def test_neither_yes_nor_no(reply: str) -> None:
    assert value(reply, "boolean") is None


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("3", 3),
        ("３", 3),
        ("There are 3 dogs.", 3),
        ("three", 3),
        ("Zero", 0),
        ("none", 0),
        ("Twenty-one", 21),
        ("forty two people", 42),
        ("-4", -4),
        ("2.5", 2.5),
        ("1,234", 1234),
        ("1,234.5", 1234.5),
        ("3,5", 3.5),
        ("1 234", 1234),
        ("12.5 %", 12.5),
        ("deux", 2),
        ("vingt et un", 21),
        ("soixante et onze", 71),
        ("quatre-vingt-dix-neuf", 99),
        ("aucun", 0),
        ("eine Person", 1),
        ("Fünf", 5),
        ("einundzwanzig", 21),
        ("dreißig", 30),
        ("niemand", 0),
        ("una", 1),
        ("dieciséis", 16),
        ("treinta y dos", 32),
        ("ninguno", 0),
        ("三", 3),
        ("有两个人", 2),
        ("二十一", 21),
        ("一百零五", 105),
        ("没有", 0),
        ("3人", 3),
        ("三人です", 3),
        ("なし", 0),
        ("세 명", 3),
        ("두 마리입니다", 2),
        ("다섯", 5),
        ("이십일", 21),
        ("없음", 0),
        # Not only the word alone says that there is none.
        ("There are no people in this image.", 0),
        ("There aren't any.", 0),
        ("No one is visible", 0),
        ("Il n’y a pas de chien", 0),
        ("Es gibt keine Menschen", 0),
        ("No hay personas", 0),
        ("图中没有人", 0),
        ("人は写っていません", 0),
        ("아무도 없습니다", 0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("5 m²", 5),
        ("2 cents", 2),
        ("au moins trois personnes", 3),
        ("Hay al menos 3.", 3),
        ("3 tiers", 3),
    ],
)
def test_the_only_number_in_a_reply(reply: str, number: float) -> None:
    assert value(reply, "number") == number


@pytest.mark.parametrize(
    "reply",
    [
        "some",
        "3-4",
        "1/2",
        "2 cats and 3 dogs",
        "one or two",
        "un chien et deux chats",
        "B52",
        "1.2.3",
        "一些",
        "第三",
        "three million",
        "3万",
        "two dozen",
        "ten thousand",
        "12345678901234567890",
        "",
        "No idea",
        "7:30",
        "There are no people, only 2 dogs",
        "There is no way to tell",
        "No hay información",
        "Keine Ahnung",
        "minus five",
        "It is minus 5 degrees",
        "10²",
        "2½",
        "deux cents",
        "one third",
        "三分之一",
        "星期三",
        "a 3D render",
        "ein paar Hunde",
        "un par de perros",
        "une dizaine de personnes",
        "a couple of dogs",
        # Of no language that has these numbers.
        "once",
        "null",
    ],
)
def test_no_number_or_more_than_one(reply: str) -> None:
    assert value(reply, "number") is None


def test_the_language_tells_what_points_and_commas_are() -> None:
    assert [read_number("1.234", language) for language in (None, "en", "de", "fr-CA", "es")] == [
        1.234,
        1.234,
        1234,
        1234,
        1234,
    ]
    assert read_number("1.234,5", "de") == 1234.5
    assert [read_number("once", language) for language in ("es-MX", "en")] == [11, None]
    assert [read_number("null", language) for language in ("de", "en")] == [0, None]


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("white", "white"),
        ("White.", "white"),
        ("the  WHITE", "white"),
        ("Hell Grun", "hell-grün"),
        ("ﾌﾞﾙｰ", "ブルー"),
        ("プルー", None),
        ("STRASSE", "Straße"),
        ("Answer: white", "white"),
        ("B) white", "white"),
        ("2. **White**", "white"),
        ("not white", None),
        ("white or grey", None),
        ("other", None),
        ("", None),
    ],
)
def test_a_choice_is_the_whole_reply_in_other_spelling(reply: str, choice: str | None) -> None:
    assert value(reply, "choice", "white", "hell-grün", "ブルー", "Straße") == choice


def test_an_article_alone_stays() -> None:
    assert same_words("The") == "the"
    assert same_words("L'étoile") == "etoile"


@pytest.mark.parametrize(
    ("reply", "date"),
    [
        ("2024-05-31", "2024-05-31"),
        ("It was taken on 2024/5/1.", "2024-05-01"),
        ("May 31, 2024", "2024-05-31"),
        ("June 1st, 2024", "2024-06-01"),
        ("31 May 2024", "2024-05-31"),
        ("May 2024", "2024-05"),
        ("1er mai 2024", "2024-05-01"),
        ("le 14 août 2023", "2023-08-14"),
        ("31. Mai 2024", "2024-05-31"),
        ("am 31.5.2024", "2024-05-31"),
        ("31 de mayo de 2024", "2024-05-31"),
        ("2024年5月31日", "2024-05-31"),
        ("２０２４年５月", "2024-05"),
        ("2024년 5월 31일", "2024-05-31"),
        ("13/06/2024", "2024-06-13"),
        ("06/13/2024", "2024-06-13"),
        ("5/5/2024", "2024-05-05"),
        ("1999", "1999"),
        ("in the year 1999.", "1999"),
        ("2024. 5. 31.", "2024-05-31"),
    ],
)
def test_the_only_date_in_a_reply_as_exact_as_it_was_said(reply: str, date: str) -> None:
    assert value(reply, "date") == date


@pytest.mark.parametrize(
    "reply",
    [
        "05/06/2024",
        "2024-13-01",
        "31 February 2024",
        "1999 or 2000",
        "5/6/24",
        "yesterday",
        "1,999",
        "the 1990s",
        "1990's",
        "1990er",
        "1990年代",
        "",
        "12",
    ],
)
def test_no_date_or_more_than_one(reply: str) -> None:
    assert value(reply, "date") is None


def test_the_language_tells_day_and_month_apart() -> None:
    assert value("05/06/2024", "date", language="fr") == "2024-06-05"
    assert value("05/06/2024", "date", language="en") is None


def test_of_choices_in_the_same_words_the_one_that_was_said_is_meant() -> None:
    assert value("US", "choice", "us", "US") == "US"


@pytest.mark.parametrize(
    ("kind", "language", "choices"),
    [
        ("boolean", None, ("Yes", "No")),
        ("boolean", "tlh", ("Yes", "No")),
        ("boolean", "fr-CA", ("Oui", "Non")),
        ("choice", None, ("a", "b")),
        ("number", None, ()),
        ("string", "fr", ()),
    ],
)
def test_what_a_model_can_be_held_to(
    kind: AnswerType, language: str | None, choices: tuple[str, ...]
) -> None:
    given = ("a", "b") if kind == "choice" else ()
    assert choices_of(Question("q", "?", kind, given, language)) == choices


@pytest.mark.parametrize("language", ["en", "zh", "fr", "de", "es", "ja", "ko"])
def test_what_a_model_is_held_to_can_be_read(language: str) -> None:
    question = Question("q", "?", "boolean", language=language)
    assert [read_reply(one, question) for one in choices_of(question)] == [True, False]
