"""A step's questions, as config.yaml has them and as a plugin's ``Options`` checks them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from enrich.languages import LanguageTag
from enrich.prompts import PromptTemplate
from enrich.replies import same_words
from enrich.types import AnswerType, Question

__all__ = ["MAX_NAME", "MAX_QUESTIONS", "AskedQuestion", "Questions", "questions_of"]

#: Each of them costs a pass of the model for each picture.
MAX_QUESTIONS = 200

#: The most characters of a question's name.
MAX_NAME = 100

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")


class AskedQuestion(pydantic.BaseModel):
    """One question: what is asked, and what kind of value the answer is."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    ask: PromptTemplate = pydantic.Field(
        description="The question, in any language; it may have placeholders."
    )
    type: AnswerType = pydantic.Field("string", description="What the answer is read as.")
    choices: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=200)], ...] = pydantic.Field(
        (), max_length=1000, description="The values a choice may have."
    )
    lang: LanguageTag | None = pydantic.Field(
        None, description="The language of question and answer (BCP 47)."
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Take a string for the question itself, and choices for the type ``choice``."""
        if isinstance(given, str):
            return {"ask": given}
        if not isinstance(given, Mapping):
            raise ValueError("a question is a text, or a section with the key `ask`")
        given = dict(given)
        if isinstance(given.get("choices"), (list, tuple)):
            given["choices"] = tuple(map(_choice, given["choices"]))
            given.setdefault("type", "choice")
        return given

    @pydantic.model_validator(mode="after")
    def _check_choices(self) -> AskedQuestion:
        if self.type != "choice":
            if self.choices:
                raise ValueError(f"choices are of the type choice, not {self.type}")
            return self
        if len(self.choices) < 2:
            raise ValueError("the type choice needs at least two choices")
        seen: dict[str, str] = {}
        for choice in self.choices:
            words = same_words(choice)
            if not words:
                raise ValueError(f"the choice {choice!r} has no word")
            if words in seen:
                raise ValueError(f"the choices {seen[words]!r} and {choice!r} are the same words")
            seen[words] = choice
        return self


def _choice(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a choice is true or false: put yes and no into quotes, or use the type boolean")
    return str(value) if isinstance(value, (int, float)) else value


def _check_names(given: Any) -> Any:
    # YAML reads yes, no, on and off as truth, and digits as numbers.
    for name in given if isinstance(given, Mapping) else ():
        if not isinstance(name, str):
            raise ValueError(f"the name {name!r} is no text: put it into quotes")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"the name {name!r} must be of letters, digits, - and _; at most {MAX_NAME} of them"
            )
    return given


#: The type of an option ``questions``: by name, a text or a section.
Questions = Annotated[
    dict[str, AskedQuestion],
    pydantic.Field(min_length=1, max_length=MAX_QUESTIONS),
    pydantic.BeforeValidator(_check_names),
]


def questions_of(options: Any) -> tuple[Question, ...]:
    """Return the questions among a step's options; their texts are templates yet."""
    asked = getattr(options, "questions", None)
    if not isinstance(asked, Mapping):
        return ()
    shared = getattr(options, "lang", None)
    return tuple(
        Question(name, one.ask, one.type, one.choices, one.lang or shared)
        for name, one in asked.items()
        if isinstance(one, AskedQuestion)
    )
