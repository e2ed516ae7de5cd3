"""Several questions as one: what a model is told, and what its JSON says of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from enrich.replies.objects import read_object
from enrich.replies.reading import read_reply
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
    found = read_object(reply) or {}
    # Models write keys as they write words.
    by_name = {key.strip().casefold(): value for key, value in found.items() if isinstance(key, str)}
    answers = ((one.name, _answer(by_name, one)) for one in questions)
    return {name: answer for name, answer in answers if answer is not None}


def _answer(by_name: Mapping[str, Any], question: Question) -> Answer | None:
    value = by_name.get(question.name.casefold())
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, (list, dict)):
        return None
    if isinstance(value, bool) and question.type in ("number", "date"):
        return None
    text = value.strip() if isinstance(value, str) else json.dumps(value)
    read = value if isinstance(value, bool) and question.type == "boolean" else read_reply(text, question)
    if not text or read is None:
        return None
    return Answer(text, read)


def _kind(question: Question) -> str:
    if question.type == "choice":
        return f"one of {', '.join(map(_text, question.choices))}"
    return _KINDS[question.type]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
