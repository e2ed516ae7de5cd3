"""JSON as models write it, and several questions answered by one object."""

import dataclasses
import json
import random
from typing import Any

import pytest

from enrich.replies import budget_together, read_object, read_together, request_together
from enrich.types import Answer, Question


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
        ('Here it is:\n```json\n{"a": 1, "b": "x",}\n```\nBye {}', {"a": 1, "b": "x"}),
        ("{'a': True, 'b': 'it's red', c: none}", {"a": True, "b": "it's red", "c": None}),
        ('{“a”: “b”, a_b: red apple, "n": [1, 2,], "o": {"d": 1}}', None),
        ('{"a": "x" "b": 2}', {"a": "x", "b": 2}),
        ('{"a": "say "hi" now", "b": 2}', {"a": 'say "hi" now', "b": 2}),
        ('{"a": "x \\"y\\" z", // note\n "b": null}', {"a": 'x "y" z', "b": None}),
        ("{'a': '\\ud83d\\ude00\\n\\u00e9'}", {"a": "😀\né"}),
        ('[{"a": 1}, {"a": 2}]', {"a": 1}),
        # Cut by the budget: of a number or a word it cannot be told whether it is whole.
        ('{"a": 1, "b": "a red', {"a": 1, "b": "a red"}),
        ('{"a": 1, "b": 12', {"a": 1}),
        ('{"a": 1, "b": tru', {"a": 1}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": 1, "b":', {"a": 1}),
        ('{"a": 1, "b": [1, 2', {"a": 1}),
        ('{"a": 1, "b": ["x", "y', {"a": 1}),
        ('{"a": "x\\u00', {"a": "x"}),
        # What only looks like the object, or has a second layer of escapes.
        ('Here is the {JSON}, of {1, 2}: {"a": 1}', {"a": 1}),
        ("{} {'a': 1}", {"a": 1}),
        ('"{\\"a\\": \\"x\\"}"', {"a": "x"}),
        # Quotation marks within a text, and separators of other kinds.
        ('{"a": "He said "hello", and left", "b": 1}', {"a": 'He said "hello", and left', "b": 1}),
        ('{"a": "it says "STOP", "GO"", "b": 1}', {"a": 'it says "STOP", "GO"', "b": 1}),
        ('{"a": "red", "blue"}', {"a": "red"}),
        ('{"a": "x";"b": 2}', {"a": "x", "b": 2}),
        ('{"a"= 1, "b" => 2, "c":: 3}', {"a": 1, "b": 2, "c": 3}),
        ('{"a"：1，"b"："x"}', {"a": 1, "b": "x"}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": "x" /* c */, # d\n "b": /* e */ 1 // f\n}', {"a": "x", "b": 1}),
        ("{a: http://x.y/z, b: 12:30, c: #ff0000}", {"a": "http://x.y/z", "b": "12:30", "c": "#ff0000"}),
        ('{"a": 1,234, "b": [1,234]}', {"a": "1,234", "b": [1, 234]}),
        ('{"is\\_day": true, "path": "C:\\Users", "n": "a\\nb"}', None),
        (
            '{"a": NaN, "b": -Infinity, "c": 1e999, "d": [NaN]}',
            {"a": None, "b": None, "c": None, "d": [None]},
        ),
        ('{"a": "\\ud83d"}', {"a": "�"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("{", {}),
        ("no object", None),
        ("", None),
    ],
)
def test_objects_are_mended(reply: str, found: dict[str, Any] | None) -> None:
    if "“a”" in reply:
        found = {"a": "b", "a_b": "red apple", "n": [1, 2], "o": {"d": 1}}
    if "_day" in reply:
        found = {"is_day": True, "path": "C:\\Users", "n": "a\nb"}
    assert read_object(reply) == found


def test_whatever_is_cut_or_altered_is_read_to_its_end() -> None:
    whole = json.dumps({"a": [1, {"b": "x, y"}], "c": 'it\'s: {"d"}', "e": None, "f": -1.5e3})
    rng = random.Random(1)
    for _ in range(3000):
        letters = list(whole[: rng.randrange(1, len(whole) + 1)])
        for _ in range(rng.randrange(4)):
            letters[rng.randrange(len(letters))] = rng.choice("{}[]\"',:\\ a1\n`“")
        result = read_object("".join(letters))
        assert result is None or isinstance(result, dict)


def test_depth_and_length_are_bounded() -> None:
    assert read_object('{"a":' * 10_000) is not None
    for levels in (12, 10_000):
        nested: Any = read_object('{"b": 1, "a":' * levels + "2" + "}" * levels)
        assert nested["b"] == 1
        for _ in range(12):
            nested = nested and nested.get("a")
        assert nested is None
    assert read_object("{" * 100_000) == {}
    assert read_object('{"a":' + "[" * 5000) is not None
    assert read_object("{'a': 'x', 'b': '" + "'" * 200_000) is not None


QUESTIONS = [
    Question("ground", "What colour is the ground?", "choice", ("white", "grey")),
    Question("people", "How many people?", "number"),
    Question("is_day", "Is it day?", "boolean"),
    Question("title", "What would you call it?"),
    Question("taken", "When?", "date"),
]


def test_the_request_names_each_question_its_kind_and_the_form() -> None:
    words = request_together(QUESTIONS)

    assert '"ground": What colour is the ground? (one of "white", "grey")' in words
    assert '"people": How many people? (a number)' in words
    assert words.endswith('{"ground": ..., "people": ..., "is_day": ..., "title": ..., "taken": ...}')
    assert request_together(QUESTIONS, insists=True).startswith(words)
    assert budget_together(QUESTIONS, 100) - budget_together(QUESTIONS) == 500
    assert budget_together(QUESTIONS) > budget_together(QUESTIONS[:1])


def test_answers_are_read_by_their_types() -> None:
    reply = '{"Ground": "Grey.", "people": "three", "is_day": "yes", "title": 1984, "taken": "31 May 2024"}'

    assert read_together(reply, QUESTIONS) == {
        "ground": Answer("Grey.", "grey"),
        "people": Answer("three", 3),
        "is_day": Answer("yes", True),
        "title": Answer("1984", "1984"),
        "taken": Answer("31 May 2024", "2024-05-31"),
    }


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        # Keys are written as words are; braces and quotation marks are forgotten.
        ('{"Is Day": true, "GROUND": "white"}', {"is_day": True, "ground": "white"}),
        ("ground: white\npeople: 2\ntitle: A dog\n", {"ground": "white", "people": 2, "title": "A dog"}),
        ('"people": 2, "is_day": "no, it\'s night",', {"people": 2, "is_day": False}),
        # Whether it was cut cannot be told.
        ("ground: white\npeople: 2", {"ground": "white"}),
        ('{"title": ["red", "blue"], "ground": ["grey"]}', {"title": "red, blue", "ground": "grey"}),
        ('{"people": 1.234}', {"people": 1.234}),
        ('{"people": 1,234}', {"people": 1234}),
        ('{"title": true}', {"title": "true"}),
    ],
)
def test_what_a_model_meant_is_found(reply: str, values: dict[str, Any]) -> None:
    questions = [dataclasses.replace(one, language="de") for one in QUESTIONS]
    if "1,234" in reply:
        questions = QUESTIONS
    assert {name: one.value for name, one in read_together(reply, questions).items()} == values


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot say.",
        '{"ground": ..., "people": ..., "is_day": ..., "title": ..., "taken": ...}',
        '{"title": "...", "people": "null", "taken": {"year": 2024}}',
        '{"people": 12345678901234567890, "title": {"text": "x"}}',
        '{"people": {"men": 2}}',
        "{}",
        '{"ground": "blue", "people": true, "is_day": "perhaps", "title": " ", "taken": "soon"}',
        '{"ground": null, "people": [1, 2], "is_day": {}, "title": null, "taken": false}',
    ],
)
def test_what_is_missing_or_of_another_type_is_left_out(reply: str) -> None:
    assert read_together(reply, QUESTIONS) == {}
