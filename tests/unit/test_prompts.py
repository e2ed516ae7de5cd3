"""Prompts with placeholders: what is known of a picture fills them, and strangers' text stays text."""

import copy
from pathlib import Path

import numpy as np
import pydantic
import pytest

from enrich.prompts import MAX_PROMPT, MAX_VALUE, PromptTemplate, one_line
from enrich.types import Rendition, Statement


def picture(name: str | None = "a b.jpg", **embedded: object) -> Rendition:
    path = None if name is None else Path("/pictures") / name
    return Rendition(1, path, 0, np.zeros((1, 1, 3), np.uint8), 1, 1, 1, 1, embedded)


SAID = (
    Statement("caption", "", "caption", "A dog."),
    Statement("facts", "color", "answer", "red"),
    Statement("facts", "people", "answer", None),
    Statement("facts", "place", "answer", "indoors"),
)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("What is this?", "What is this?"),
        ("{file_name}: {caption}", "a b.jpg: A walk"),
        ("{steps.caption}", "A dog."),
        ("{facts.color} and {steps.facts.place}", "red and indoors"),
        ("[{facts.people}] [{unknown}]", "[] []"),
        ("{facts}", "red, indoors"),
        ("{{file_name}} }}{{", "{file_name} }{"),
        ("{{{file_name}}}", "{a b.jpg}"),
    ],
)
def test_placeholders_are_filled(text: str, filled: str) -> None:
    assert PromptTemplate(text).fill(picture(description="A walk"), SAID) == filled


def test_what_is_not_known_is_empty() -> None:
    template = PromptTemplate("[{file_name}{caption}{steps.caption}]")
    assert template.fill(picture(None, description=7), ()) == "[]"


def test_braces_in_what_is_filled_in_mean_nothing() -> None:
    template = PromptTemplate("{file_name} {caption}")
    assert template.fill(picture("{caption}.jpg", description="{facts.color}"), SAID) == (
        "{caption}.jpg {facts.color}"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n\n b\t c\x00\x1b[31m", "a b c [31m"),
        ("left\u202eright\u200b", "leftright"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("a\udc80b\u2028c", "a b c"),
        ("x" * 10_000, "x" * MAX_VALUE),
        ("\n" * 10_000 + "x", ""),
    ],
)
def test_text_of_strangers_is_one_short_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "a single '{'; a brace"),
        ("a } b", "a single '}'"),
        ("{}", "{} is no placeholder"),
        ("{file name}", "is no placeholder"),
        ("{a.b.c}", "is no placeholder"),
        ("{file_name.__class__}", None),
        ("{0!r}", "is no placeholder"),
        (" \n", "the text is empty"),
        ("x" * (MAX_PROMPT + 1), "at most 4000"),
    ],
)
def test_what_is_no_template_is_refused(text: str, complaint: str | None) -> None:
    if complaint is None:  # a question of a step, by its look: found out where the steps are known
        with pytest.raises(ValueError, match="is no earlier step"):
            PromptTemplate(text).check({})
        return
    with pytest.raises(ValueError, match=complaint.replace("{", r"\{")):
        PromptTemplate(text)


def test_placeholders_are_checked_against_earlier_steps() -> None:
    earlier = {"caption": [], "facts": ["color"], "colors": None}
    PromptTemplate("{file_name} {caption} {steps.caption} {facts} {facts.color}").check(earlier)
    for text, complaint in (
        ("{later}", "later} is no earlier step; there are: file_name, caption, steps.caption, facts"),
        ("{facts.size}", "the step facts has no question size; it has: color"),
        ("{steps.caption.x}", "the step caption has no question x; it has: none"),
        ("{colors}", "the step colors says nothing in words"),
    ):
        with pytest.raises(ValueError, match=complaint):
            PromptTemplate(text).check(earlier)


def test_a_quoted_text_says_itself() -> None:
    assert PromptTemplate.quoting("{a} }").fill(picture(), SAID) == "{a} }"


def test_it_is_a_type_of_options() -> None:
    class Options(pydantic.BaseModel):
        prompt: PromptTemplate

    options = Options.model_validate({"prompt": "{file_name}?"})
    assert options.prompt.names == ("file_name",)
    assert options.model_dump(mode="json") == {"prompt": "{file_name}?"}
    assert copy.deepcopy(options).prompt.names == ("file_name",)
    with pytest.raises(pydantic.ValidationError, match="a brace in the text is written twice"):
        Options.model_validate({"prompt": "{"})
    with pytest.raises(pydantic.ValidationError, match="string"):
        Options.model_validate({"prompt": 7})
