"""The questions of a step, as they may be written in config.yaml."""

from typing import Any

import pydantic
import pytest

from enrich.prompts import PromptTemplate
from enrich.questions import Questions, questions_of
from enrich.types import Question


class Options(pydantic.BaseModel):
    questions: Questions
    lang: str | None = None


def read(questions: Any, **keys: Any) -> tuple[Question, ...]:
    return questions_of(Options.model_validate({"questions": questions, **keys}))


def test_a_question_is_a_text_or_a_section() -> None:
    assert read({"a": "What?", "b": {"ask": "How many?", "type": "number", "lang": "en"}}, lang="de") == (
        Question("a", "What?", "string", (), "de"),
        Question("b", "How many?", "number", (), "en"),
    )
    assert isinstance(read({"a": "What?"})[0].text, PromptTemplate)


def test_choices_make_a_choice_and_numbers_among_them_are_texts() -> None:
    assert read({"a": {"ask": "?", "choices": ["one", 2, 3.5]}}) == (
        Question("a", "?", "choice", ("one", "2", "3.5")),
    )


@pytest.mark.parametrize(
    ("questions", "complaint"),
    [
        ({}, "at least 1"),
        ({"a b": "What?"}, r"the name 'a b' must be of letters, digits, - and _"),
        ({"a" * 101: "What?"}, "at most 100 of them"),
        ({True: "What?"}, "the name True is no text: put it into quotes"),
        ({7: "What?"}, "the name 7 is no text"),
        (["What?"], "valid dictionary"),
        ({"a": ""}, "the text is empty"),
        ({"a": None}, "a text, or a section with the key `ask`"),
        ({"a": {"question": "?"}}, "Field required|not permitted"),
        ({"a": {"ask": "?", "type": "text"}}, "'string', 'boolean', 'number', 'choice' or 'date'"),
        ({"a": {"ask": "?", "type": "choice"}}, "at least two choices"),
        ({"a": {"ask": "?", "choices": ["one"]}}, "at least two choices"),
        ({"a": {"ask": "?", "choices": [True, False]}}, "put yes and no into quotes"),
        ({"a": {"ask": "?", "choices": ["Grey", "the grey"]}}, "are the same words"),
        ({"a": {"ask": "?", "choices": ["-", "+"]}}, "has no word"),
        ({"a": {"ask": "?", "type": "number", "choices": ["1", "2"]}}, "of the type choice, not number"),
        ({"a": {"ask": "{"}}, "a brace in the text is written twice"),
        ({"a": {"ask": "?", "lang": "a language"}}, "pattern"),
    ],
)
def test_wrong_questions_are_refused(questions: Any, complaint: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=complaint):
        read(questions)


def test_options_without_questions_have_none() -> None:
    assert questions_of({}) == ()
    assert questions_of(object()) == ()
