"""Several questions as one: what a model is told, and what its JSON says of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from enrich.replies.numbers import NUMBER_MAX
from enrich.replies.objects import read_object
from enrich.replies.reading import read_reply
from enrich.replies.words import same_words
from enrich.types import Answer, Question

__all__ = ["budget_together", "read_together", "request_together"]

_KINDS = {
    "boolean": "true or false",
    "number": "a number",
    "date": 'a date as "2024-05-31"',
    "string": "a short text",
}
_TOKENS_EACH, _TOKENS_AROUND = 24, 16


def request_together(questions: Sequence[Question], *, insists: bool = False) -> str:
    """Return the words that ask for one JSON object with a key for each question.

    Parameters
    ----------
    questions : sequence of Question
        With names of their own.
    insists : bool
        It was asked before, in vain.
    """
    keys = "\n".join(f"{_text(one.name)}: {one.text.strip()} ({_kind(one)})" for one in questions)
    form = ", ".join(f"{_text(one.name)}: ..." for one in questions)
    again = "\nWrite no other word: begin with { and end with }." if insists else ""
    return (
        "Answer these questions about the picture with one JSON object and nothing else. Its keys, and "
        f"what each asks:\n{keys}\nThe form of the answer: {{{form}}}{again}"
    )


def budget_together(questions: Sequence[Question], each: int | None = None) -> int:
    """Return how many tokens are enough for the answer; ``each`` is what an answer alone may have."""
    names = sum(len(one.name) // 2 for one in questions)
    return _TOKENS_AROUND + names + len(questions) * (_TOKENS_EACH + (each or 0))


def read_together(reply: str, questions: Sequence[Question]) -> dict[str, Answer]:
    """Return the answers by their question's name; those that are missing or of another type are left out.

    Parameters
    ----------
    reply : str
        The model's words.
    questions : sequence of Question
        What was asked.
    """
    # Some leave out the braces.
    found = read_object(reply) or read_object("{" + reply) or {}
    # And write keys as they write words.
    by_words = {same_words(key): value for key, value in found.items()}
    answers = (
        (one.name, _answer(found.get(one.name, by_words.get(same_words(one.name))), one)) for one in questions
    )
    return {name: answer for name, answer in answers if answer is not None}


def _answer(value: Any, question: Question) -> Answer | None:
    """Return an answer of a JSON value; None where it is none of the question's type."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else _listed(value) if question.type == "string" else None
    if isinstance(value, bool):
        value = {True: "true", False: "false"}[value]
    if isinstance(value, (int, float)) and question.type == "number":
        # As JSON has it, whatever the question's language makes of points.
        return Answer(json.dumps(value), value) if abs(value) <= NUMBER_MAX else None
    if value is None or isinstance(value, dict):
        return None
    text = value.strip() if isinstance(value, str) else json.dumps(value)
    read = read_reply(text, question)
    # The form that was asked for has three points in each place.
    if read is None or not text.strip(" .…"):
        return None
    return Answer(text, read)


def _listed(values: list[Any]) -> str | None:
    return ", ".join(values) if all(isinstance(one, str) for one in values) else None


def _kind(question: Question) -> str:
    if question.type == "choice":
        return f"one of {', '.join(map(_text, question.choices))}"
    return _KINDS[question.type]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
