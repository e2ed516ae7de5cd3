"""JSON that a schema asks for, of models that are asked for it at once and of others."""

import json
import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from enrich.api.errors import InvalidParameter
from enrich.api.openai_models import Completion
from enrich.api.requests import Chat
from enrich.api.structured import properties_of, write_json
from enrich.errors import UsageError
from enrich.types import Decoding, Question

PROPERTIES: dict[str, Any] = {
    "people": {"type": "integer"},
    "title": {"type": "string"},
    "is_day": {"type": "boolean"},
    "ground": {"enum": ["white", "grey"]},
}
SCHEMA = {"type": "object", "properties": PROPERTIES}


class Told:
    """Says its replies one after the other, and notes the words and what there was to choose from."""

    def __init__(self, *replies: str | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, words: Sequence[str], decoding: Decoding) -> list[str]:
        self.asked += [(one, decoding.choices) for one in words]
        return [self._reply() for _ in words]

    def _reply(self) -> str:
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


def written(
    told: Callable[..., Any],
    schema: Any = SCHEMA,
    *,
    follows: bool = True,
    strict: bool = False,
    finish: str = "stop",
) -> Any:
    handle: Any = types.SimpleNamespace(name="speaker", finish=finish)
    chat = Chat((), json_schema=schema, is_strict=strict)
    return json.loads(write_json(chat, "What is it?", handle, told, follows=follows))


def test_a_whole_object_is_asked_for_once() -> None:
    told = Told('{"ground": "Grey", "people": 3, "title": "Noon", "is_day": true}')
    found = written(told)
    assert found == {"people": 3, "title": "Noon", "is_day": True, "ground": "grey"}
    assert list(found) == list(PROPERTIES)
    assert len(told.asked) == 1


def test_only_what_is_missing_is_asked_for_again_and_then_alone() -> None:
    told = Told(
        "```{'people': 'three', 'is_day': 'who knows',}```", '{"title": "No', "No", "grey", "not asked for"
    )
    assert written(told) == {"people": 3, "title": "No", "is_day": False, "ground": "grey"}
    first, again, *alone = told.asked
    assert '"people"' in first[0]
    assert '"people"' not in again[0]
    assert alone == [("What is it? (is_day)", ("Yes", "No")), ("What is it? (ground)", ("white", "grey"))]
    assert told.replies == ["not asked for"]


def test_other_models_are_asked_one_by_one_and_held_to_choices_where_they_say_none() -> None:
    told = Told("3.", "Noon", "perhaps", "a wall", "Yes", "white")
    found = written(told, follows=False)
    assert found == {"people": 3, "title": "Noon", "is_day": True, "ground": "white"}
    assert [choices for _, choices in told.asked] == [(), (), (), (), ("Yes", "No"), ("white", "grey")]


def test_a_model_without_tokens_for_the_choices_says_null() -> None:
    told = Told("perhaps", UsageError("choices: the model has no tokens for 'Yes'"))
    assert written(told, {"properties": {"is_day": {"type": "boolean"}}}, follows=False) == {"is_day": None}


def test_what_may_be_null_is_not_made_up() -> None:
    schema = {"properties": {"is_day": {"type": ["boolean", "null"]}, "ground": {"enum": ["white", None]}}}
    told = Told("perhaps", "a wall")
    assert written(told, schema, follows=False, strict=True) == {"is_day": None, "ground": None}


@pytest.mark.parametrize(
    ("reply", "value"), [("2.5", None), ("2.0", 2), ("many", None), ("2", 2), ("1e400", None)]
)
def test_an_integer_is_whole(reply: str, value: int | None) -> None:
    schema = {"properties": {"people": {"type": "integer"}}}
    in_words = written(Told(reply), schema, follows=False)
    assert in_words == {"people": value}
    assert type(in_words["people"]) is type(value)
    together = written(Told(f'{{"people": {reply}}}', f'{{"people": {reply}}}', reply), schema)
    assert together == {"people": value}


def test_what_was_not_said_is_null_and_of_a_strict_schema_an_error() -> None:
    schema = {"properties": {"people": {"type": "number"}}}
    assert written(Told("many"), schema, follows=False) == {"people": None}
    with pytest.raises(InvalidParameter, match="speaker was asked and did not say 'people'") as error:
        written(Told("many"), schema, follows=False, strict=True)
    assert error.value.parameter == "response_format"
    # Where the budget ended it, the client is told that.
    assert written(Told("ma"), schema, follows=False, strict=True, finish="length") == {"people": None}


@pytest.mark.parametrize(
    ("strict", "is_strict"), [({"strict": True}, True), ({"strict": None}, False), ({}, False)]
)
def test_openais_clients_say_whether_a_schema_is_strict(strict: Any, is_strict: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, **strict}}
    messages = [{"role": "user", "content": "?"}]
    wanted = Completion.model_validate({"model": "m", "messages": messages, "response_format": form})
    assert (wanted.json_schema, wanted.is_strict) == (SCHEMA, is_strict)


def test_an_object_that_nobody_described_is_the_models_own() -> None:
    told = Told('Here it is: {"shape": "round", "sides": NaN}')
    assert written(told, {}) == {"shape": "round", "sides": None}
    assert told.asked == [("What is it?", ())]
    again = Told("round", '{"shape": "round"}')
    assert written(again, {}) == {"shape": "round"}
    assert again.asked[1][0].startswith("What is it?\nWrite one JSON object")
    assert written(Told("round", "Round!"), {}) == {"text": "round"}
    assert written(Told("round"), {}, follows=False) == {"text": "round"}


def test_a_half_of_a_character_is_no_answer_that_cannot_be_sent() -> None:
    assert written(Told('{"sign": "\\ud83d"}'), {}) == {"sign": "�"}


def test_optional_properties_and_enumerations_are_read_as_pydantic_writes_them() -> None:
    schema = {
        "$defs": {"Ground": {"enum": ["white", "grey"], "type": "string", "description": "A kind."}},
        "properties": {
            "ground": {"$ref": "#/$defs/Ground", "description": "What ground?"},
            "other": {"anyOf": [{"$ref": "#/$defs/Ground"}, {"type": "null"}]},
            "people": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "How many?"},
        },
    }
    ground, other, people = properties_of(schema, "?")
    assert ground.question == Question("ground", "What ground?", "choice", ("white", "grey"))
    assert (ground.may_be_null, other.may_be_null, people.may_be_null) == (False, True, True)
    assert other.question.text == "A kind."
    assert (people.question, people.is_integer) == (Question("people", "How many?", "number"), True)


def looped() -> Any:
    return {"$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"a": {"$ref": "#/$defs/A"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {}},
        {"properties": {"a": 1}},
        {"properties": {"a": {"type": "array"}}},
        {"properties": {"a": {"enum": []}}},
        {"properties": {"a": {"enum": [None]}}},
        {"properties": {"a": {"enum": ["x", 1]}}},
        {"properties": {"a": {"enum": ["x", " "]}}},
        {"properties": {"a": {"$ref": "#/$defs/Nobody"}}},
        {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "number"}]}}},
        {"properties": {str(number): {"type": "string"} for number in range(21)}},
        looped(),
    ],
)
def test_other_schemas_are_refused(schema: Any) -> None:
    with pytest.raises(InvalidParameter, match="response_format"):
        properties_of(schema, "?")
