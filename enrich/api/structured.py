"""JSON of models that write words: each property of the schema is a question, its answer read by its type.

A model that follows instructions is asked for the object itself, and once more where it is not whole;
what is missing then, and other models, are asked question by question. Where a choice, or yes and no, cannot
be read either, the model writes nothing but one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enrich.api.errors import InvalidParameter
from enrich.api.handle import RequestHandle
from enrich.api.requests import Chat
from enrich.errors import UsageError
from enrich.replies import (
    budget_together,
    choices_of,
    read_object,
    read_reply,
    read_together,
    request_together,
)
from enrich.types import AnswerType, Decoding, Question

__all__ = ["Property", "properties_of", "write_json"]

_MAX_PROPERTIES = 20
_LONGEST = 1000
#: References and alternatives within each other.
_MAX_STEPS = 8
_DEFINITIONS = "#/$defs/"
#: What words are called in an object that nobody described.
_DEFAULT = "text"
_INSIST = "Write one JSON object and no other word: begin with { and end with }."
_TYPES: Mapping[str, AnswerType] = {
    "string": "string",
    "boolean": "boolean",
    "number": "number",
    "integer": "number",
}
_PLAIN = Decoding()
_Value = str | bool | int | float | None
_Ask = Callable[[Sequence[str], Decoding], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Property:
    """What is asked for one property of a schema, and what else its value must be like."""

    question: Question
    is_integer: bool = False
    may_be_null: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """All that may be said; none where that is too much, or nothing may be said as well."""
        return () if self.may_be_null else choices_of(self.question)

    def read(self, value: _Value) -> _Value:
        """Return a value as the schema wants it; None where it does not."""
        if self.is_integer and isinstance(value, float):
            return int(value) if value.is_integer() else None
        return value


def write_json(chat: Chat, question: str, handle: RequestHandle, ask: _Ask, *, follows: bool) -> str:
    """Return the JSON that a conversation wants; what was not said is null.

    Parameters
    ----------
    chat : Chat
        With its schema.
    question : str
        The user's last words.
    handle : RequestHandle
        The model, for this request.
    ask : callable
        Returns the model's reply to each of several texts in the place of those words.
    follows : bool
        The model does what it is told, and so can be asked for JSON.

    Raises
    ------
    InvalidParameter
        The schema is not one that can be filled; or it is strict, and a value was not said that must not
        be null. Not retryable.
    """
    schema = chat.json_schema or {}
    if not schema:
        return _dump(_any_object(question, ask, follows=follows))
    properties = properties_of(schema, question)
    values: dict[str, _Value] = {}
    if follows:
        _ask_together(properties, ask, values)
    _ask_alone(_missing(properties, values), ask, values, follows=follows)
    lost = [one.question.name for one in _missing(properties, values) if not one.may_be_null]
    # Where the budget ended it the client is told so, and expects no whole answer.
    if lost and chat.is_strict and handle.finish != "length":
        raise _refusal(
            f"the model {handle.name} was asked and did not say {_shown(lost[0])} in its type; describe it "
            'otherwise, or let it be null: "type": ["number", "null"]'
        )
    return _dump({one.question.name: values.get(one.question.name) for one in properties})


def _any_object(question: str, ask: _Ask, *, follows: bool) -> Mapping[str, Any]:
    (reply,) = ask([question], _PLAIN)
    found = read_object(reply)
    if not found and follows:
        (again,) = ask([f"{question}\n{_INSIST}"], _PLAIN)
        found = read_object(again)
    return found or {_DEFAULT: reply}


def _ask_together(properties: Sequence[Property], ask: _Ask, values: dict[str, _Value]) -> None:
    """Ask for one object, and once more for what is missing in it or of another type."""
    for insists in (False, True):
        missing = _missing(properties, values)
        if not missing:
            return
        questions = [one.question for one in missing]
        (reply,) = ask(
            [request_together(questions, insists=insists)], Decoding(max_tokens=budget_together(questions))
        )
        found = read_together(reply, questions)
        for one in missing:
            if one.question.name in found:
                values[one.question.name] = one.read(found[one.question.name].value)


def _ask_alone(
    properties: Sequence[Property], ask: _Ask, values: dict[str, _Value], *, follows: bool
) -> None:
    """Ask for each value by itself, in any words; then for nothing but one of a property's choices."""
    # Who was asked in words twice is not asked so again where there is a choice.
    in_words = [one for one in properties if not (follows and one.choices)]
    if in_words:
        replies = ask([one.question.text for one in in_words], _PLAIN)
        for one, reply in zip(in_words, replies, strict=True):
            is_text = one.question.type == "string"
            values[one.question.name] = reply if is_text else one.read(read_reply(reply, one.question))
    for one in _missing(properties, values):
        if not one.choices:
            continue
        try:
            (reply,) = ask([one.question.text], Decoding(choices=one.choices))
        except UsageError:
            continue  # the model has no tokens for them
        values[one.question.name] = read_reply(reply, one.question)


def _missing(properties: Sequence[Property], values: Mapping[str, _Value]) -> list[Property]:
    return [one for one in properties if values.get(one.question.name) is None]


def properties_of(schema: Mapping[str, Any], question: str) -> list[Property]:
    """Return what is asked for each property: its description, or else the user's question.

    Raises
    ------
    InvalidParameter
        The schema is not an object of texts, numbers, truths and choices. Not retryable.
    """
    properties, definitions = schema.get("properties"), schema.get("$defs")
    if not isinstance(properties, Mapping) or not 0 < len(properties) <= _MAX_PROPERTIES:
        raise _refusal(f"the schema must be an object with 1 to {_MAX_PROPERTIES} properties")
    defined = definitions if isinstance(definitions, Mapping) else {}
    return [
        _property(str(name), of, defined, question, is_only=len(properties) == 1)
        for name, of in properties.items()
    ]


def _property(name: str, of: Any, defined: Mapping[str, Any], question: str, *, is_only: bool) -> Property:
    of, may_be_null = _resolved(name, of, defined)
    said = of.get("description")
    text = said if isinstance(said, str) and said.strip() else question if is_only else f"{question} ({name})"
    if len(text) > _LONGEST + len(question):
        raise _refusal(f"the description of {_shown(name)} is too long")
    if (choices := of.get("enum")) is not None:
        return _choice(name, text, choices, may_be_null=may_be_null)
    kind = of.get("type")
    if isinstance(kind, list):  # ["string", "null"]
        may_be_null = may_be_null or "null" in kind
        kind = next((one for one in kind if one != "null"), None)
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _refusal(f"the property {_shown(name)} must be a string, number, integer, boolean or enum")
    return Property(Question(name, text, _TYPES[kind]), kind == "integer", may_be_null)


def _choice(name: str, text: str, choices: Any, *, may_be_null: bool) -> Property:
    given = [one for one in choices if one is not None] if isinstance(choices, list) else []
    if not given or not all(isinstance(one, str) and one.strip() for one in given):
        raise _refusal(f"the choices of {_shown(name)} must be texts")
    question = Question(name, text, "choice", tuple(dict.fromkeys(given)))
    return Property(question, may_be_null=may_be_null or len(given) < len(choices))


def _resolved(name: str, of: Any, defined: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Return what a property is where it is not null, and whether it may be null, as pydantic writes it."""
    may_be_null = False
    for _ in range(_MAX_STEPS):
        if not isinstance(of, Mapping):
            break
        reference, some = of.get("$ref"), of.get("anyOf")
        if isinstance(reference, str):
            inner = defined.get(reference.removeprefix(_DEFINITIONS))
        elif isinstance(some, list):
            others = [one for one in some if one != {"type": "null"}]
            may_be_null = may_be_null or len(others) < len(some)
            inner = others[0] if len(others) == 1 else None
        else:
            return of, may_be_null
        # The property's own description goes before that of what it refers to.
        said = {"description": of["description"]} if "description" in of else {}
        of = {**inner, **said} if isinstance(inner, Mapping) else None
    raise _refusal(f"the property {_shown(name)} must be a string, number, integer, boolean or enum")


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def _shown(name: str) -> str:
    return repr(name[:100])


def _refusal(why: str) -> InvalidParameter:
    return InvalidParameter(f"response_format: {why}", "response_format")
