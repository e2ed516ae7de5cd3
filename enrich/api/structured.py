"""JSON of models that write words: each property of the schema is a question, its answer read by its type."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from enrich.api.errors import InvalidParameter
from enrich.replies import read_reply
from enrich.types import AnswerType, Question

__all__ = ["as_json", "questions_of"]

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


def as_json(questions: Sequence[Question], texts: Sequence[str]) -> str:
    """Return the answers as a JSON object; what cannot be read as its type is null."""
    values = {
        question.name: text if question.type == "string" else read_reply(text, question)
        for question, text in zip(questions, texts, strict=True)
    }
    return json.dumps(values, ensure_ascii=False)


def _refusal(why: str) -> InvalidParameter:
    return InvalidParameter(f"response_format: {why}", "response_format")
