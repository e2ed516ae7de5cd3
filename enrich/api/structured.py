"""JSON of models that write words: each property of the schema is a question, its answer read by its type.

A model that follows instructions is asked for the object itself, and once more where it is not whole;
what is missing then, and other models, are asked question by question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enrich.api.errors import InvalidParameter
from enrich.replies import read_reply, read_together, request_together
from enrich.types import AnswerType, Question

__all__ = ["as_json", "ask_for_json", "questions_of"]

_MAX_PROPERTIES = 20
_LONGEST = 1000
#: What a JSON object is called that nobody described.
_DEFAULT = "text"
_TYPES: Mapping[str, AnswerType] = {
    "string": "string",
    "boolean": "boolean",
    "number": "number",
    "integer": "number",
}


def questions_of(schema: Mapping[str, Any], question: str) -> list[Question]:
    """Return a question for each property: its description, or the user's question where it is the only one.

    Raises
    ------
    InvalidParameter
        The schema is not an object of texts, numbers, truths and choices. Not retryable.
    """
    properties = schema.get("properties")
    if properties is None and not schema:
        return [Question(_DEFAULT, question)]
    if not isinstance(properties, Mapping) or not 0 < len(properties) <= _MAX_PROPERTIES:
        raise _refusal(f"the schema must be an object with 1 to {_MAX_PROPERTIES} properties")
    return [
        _question(str(name), of, question, is_only=len(properties) == 1) for name, of in properties.items()
    ]


def _question(name: str, of: Any, question: str, *, is_only: bool) -> Question:
    if not isinstance(of, Mapping):
        raise _refusal(f"the property {name[:100]!r} is no schema")
    said = of.get("description")
    text = said if isinstance(said, str) and said.strip() else question if is_only else f"{question} ({name})"
    if len(text) > _LONGEST + len(question):
        raise _refusal(f"the description of {name[:100]!r} is too long")
    choices = of.get("enum")
    if choices is not None:
        if not isinstance(choices, list) or not choices or not all(isinstance(one, str) for one in choices):
            raise _refusal(f"the choices of {name[:100]!r} must be texts")
        return Question(name, text, "choice", tuple(choices))
    kind = of.get("type")
    if isinstance(kind, list):  # ["string", "null"]
        kind = next((one for one in kind if one != "null"), None)
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _refusal(f"the property {name[:100]!r} must be a string, number, integer, boolean or enum")
    return Question(name, text, _TYPES[kind])


def ask_for_json(questions: Sequence[Question], ask: Callable[[str], str]) -> dict[str, Any]:
    """Ask for one JSON object, and once more where a value is missing or of another type.

    Parameters
    ----------
    questions : sequence of Question
        One for each property.
    ask : callable
        Returns the model's reply to words.

    Returns
    -------
    dict of str to Any
        The values by the properties' names; without those that were not said.
    """
    values: dict[str, Any] = {}
    for insists in (False, True):
        missing = [one for one in questions if one.name not in values]
        if missing:
            found = read_together(ask(request_together(missing, insists=insists)), missing)
            values |= {name: answer.value for name, answer in found.items()}
    return values


def as_json(
    questions: Sequence[Question], texts: Mapping[str, str], values: Mapping[str, Any] | None = None
) -> str:
    """Return the answers as a JSON object; what cannot be read as its type is null.

    Parameters
    ----------
    questions : sequence of Question
        One for each property, in its order.
    texts : mapping of str to str
        What was replied to each alone, by its name.
    values : mapping of str to Any
        Those that are known already.
    """
    known = values or {}
    answers = {
        one.name: known[one.name] if one.name in known else _value(one, texts[one.name]) for one in questions
    }
    return json.dumps(answers, ensure_ascii=False)


def _value(question: Question, text: str) -> str | bool | int | float | None:
    return text if question.type == "string" else read_reply(text, question)


def _refusal(why: str) -> InvalidParameter:
    return InvalidParameter(f"response_format: {why}", "response_format")
